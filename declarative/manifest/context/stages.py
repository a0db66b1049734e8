"""The stages of a Dockerfile: what each is built on, which variables it knows, what it takes from where.

The rule that keeps it simple: variables are followed as the builder follows them, and a value that depends on a base image's own
environment is unknown, not empty.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.errors import Invalid
from declarative.manifest.context.platform_args import NAMES, platform_args
from declarative.oci.dockerfile.expand import Style, expand
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from declarative.oci.dockerfile.lexer import Instruction, Source

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_REMOTE = re.compile(r"(?i)(?:https?|git|ssh|ftp)://|git@|github\.com/")


@record
class Taken:
    """Something taken from the build context: `path` as expanded, by `what` ("COPY", "ADD", "RUN --mount") at `line`."""

    what: str
    path: str
    line: int


@record
class Stage:
    """One stage.

    `name`: in lower case, "" if none. `base`: its reference as expanded; "" where it cannot be known.
    `platform`: what FROM --platform says; a `$` is left in it where only BuildKit knows the variable.
    `uses`: indices of the stages it needs. `images`: references of the images from outside it needs. `taken`: what it takes
    from the context, as far as that can be known. `instructions` without the FROM itself.
    """

    index: int
    name: str
    base: str
    line: int
    platform: str = ""
    instructions: tuple[Instruction, ...] = ()
    uses: tuple[int, ...] = ()
    images: tuple[str, ...] = ()
    taken: tuple[Taken, ...] = ()


@record
class StageProblem:
    """What is wrong in a stage."""

    line: int
    text: str
    remedy: str


@record(frozen=False)
class _Variables:
    """What a stage knows. `whole`: nothing else can be set, because all it is built on was read, down to scratch."""

    env: dict[str, str] = field(default_factory=dict)
    args: dict[str, str] = field(default_factory=dict)
    whole: bool = False

    def expand(self, word: str, escape: str) -> str | None:
        """Expand a word; None if its value depends on what we cannot know."""
        found = expand(word, {**self.args, **self.env}, Style(escape=escape))
        return found.text if self.whole or not found.unmatched else None


def read_stages(
    source: Source, first: int, args: Mapping[str, str], platform: str
) -> tuple[tuple[Stage, ...], tuple[StageProblem, ...]]:
    """Read the stages; `first` is the index of the first FROM."""
    reader = _Stages(source, args, platform)
    reader.read_globals(source.instructions[:first])
    for start, end in _spans(source, first):
        reader.read_stage(source.instructions[start], source.instructions[start + 1 : end])
    return tuple(reader.stages), tuple(reader.problems)


def _spans(source: Source, first: int) -> Iterator[tuple[int, int]]:
    starts = [number for number, each in enumerate(source.instructions) if each.name == "FROM" and number >= first]
    return zip(starts, [*starts[1:], len(source.instructions)], strict=True)


class _Stages:
    """Reads stage by stage, keeping what later ones may refer to."""

    def __init__(self, source: Source, args: Mapping[str, str], platform: str) -> None:
        self.escape = source.escape
        self.given = args
        self.automatic = platform_args(platform)
        self.globals: dict[str, str] = {}
        self.unknown = set(NAMES)  # variables whose value only the builder will know
        self.stages: list[Stage] = []
        self.known: list[_Variables] = []
        self.problems: list[StageProblem] = []

    def read_globals(self, instructions: tuple[Instruction, ...]) -> None:
        for instruction in instructions:
            for word in instruction.args:
                name, given, default = word.partition("=")
                if name in self.given:
                    self.globals[name] = self.given[name]
                elif given:
                    value = self._expand_from(default, instruction)
                    self.unknown |= {name} if value is None else set()
                    self.globals |= {} if value is None else {name: value}

    def read_stage(self, start: Instruction, body: tuple[Instruction, ...]) -> None:
        index = len(self.stages)
        base = self._base(start)
        name = self._stage_name(start)
        parent = self._stage_named(base)
        variables = _Variables(whole=base == "scratch")
        if parent is not None:
            below = self.known[parent]
            variables = _Variables(env=dict(below.env), args=dict(below.args), whole=below.whole)
        uses, images = ([parent], []) if parent is not None else ([], [base] if base not in ("", "scratch") else [])
        taken: list[Taken] = []
        for instruction in body:
            try:
                self._follow(instruction, variables, uses, images, taken)
            except Invalid as error:
                self._complain(instruction, f"{error.subject} {error.problem}", error.remedy)
        self.stages.append(
            Stage(
                index=index,
                name=name,
                base=base,
                line=start.line,
                platform=self._platform(start),
                instructions=body,
                uses=tuple(dict.fromkeys(uses)),
                images=tuple(dict.fromkeys(images)),
                taken=tuple(taken),
            )
        )
        self.known.append(variables)

    def _base(self, start: Instruction) -> str:
        base = self._expand_from(start.args[0], start)
        if base == "":
            self._complain(
                start, f"base name ({start.args[0]}) should not be blank", "give its ARG a default, or a value"
            )
        return base or ""

    def _expand_from(self, word: str, instruction: Instruction) -> str | None:
        """Expand with the ARGs before the first FROM; None where a platform that nobody named decides."""
        try:
            found = expand(word, {**self.automatic, **self.globals}, Style(escape=self.escape))
        except Invalid as error:
            self._complain(instruction, f"{error.subject} {error.problem}", error.remedy)
            return None
        return None if found.unmatched & self.unknown else found.text

    def _platform(self, start: Instruction) -> str:
        try:
            return expand(_flag(start, "platform"), self.globals, Style(escape=self.escape, keep_unset=True)).text
        except Invalid as error:
            self._complain(start, f"{error.subject} {error.problem}", error.remedy)
            return ""

    def _stage_name(self, start: Instruction) -> str:
        name = start.args[2].lower() if len(start.args) == 3 else ""
        if name and not _STAGE_NAME.fullmatch(name):
            self._complain(
                start, f"invalid name for build stage: {name!r}", "start with a letter; then letters, digits, _ . -"
            )
        return name

    def _stage_named(self, name: str) -> int | None:
        found = [stage.index for stage in self.stages if stage.name and stage.name == name.lower()]
        return found[-1] if found else None

    def _follow(
        self,
        instruction: Instruction,
        variables: _Variables,
        uses: list[int],
        images: list[str],
        taken: list[Taken],
    ) -> None:
        match instruction.name:
            case "ENV":
                self._set_env(instruction, variables)
            case "ARG":
                self._set_args(instruction, variables)
            case "COPY" | "ADD":
                origin = _flag(instruction, "from")
                if origin:
                    self._refer(instruction, origin, uses, images)
                else:
                    taken += self._copied(instruction, variables)
            case "RUN":
                for mount in _mounts(instruction):
                    if mount.get("from"):
                        self._refer(instruction, mount["from"], uses, images)
                    elif mount.get("type", "bind") == "bind":
                        path = variables.expand(mount.get("source", mount.get("src", ".")), self.escape)
                        taken += (
                            [Taken(what="RUN --mount", path=path, line=instruction.line)] if path is not None else []
                        )

    def _set_env(self, instruction: Instruction, variables: _Variables) -> None:
        """Set variables; all values of one instruction see the environment before it."""
        triples = zip(*[iter(instruction.args)] * 3, strict=True)
        values = {name: variables.expand(value, self.escape) for name, value, _ in triples}
        for name, value in values.items():
            variables.env.pop(name, None)
            if value is None:
                variables.whole = False
            else:
                variables.env[name] = value

    def _set_args(self, instruction: Instruction, variables: _Variables) -> None:
        for word in instruction.args:
            name, given, default = word.partition("=")
            value = self.given.get(name, self.automatic.get(name))
            if value is None:
                value = variables.expand(default, self.escape) if given else self.globals.get(name)
            if value is not None:
                variables.args[name] = value
            elif given or name in self.unknown:
                variables.args.pop(name, None)
                variables.whole = False

    def _refer(self, instruction: Instruction, origin: str, uses: list[int], images: list[str]) -> None:
        """Note what `--from` names: a stage by name or number, or else an image."""
        if "$" in origin:
            text = f"variable expansion is not supported for from ({origin})"
            self._complain(instruction, text, "give it a name with FROM ... AS name, and name that")
            return
        stage = self._stage_named(origin)
        if stage is None and origin.isdecimal():
            if int(origin) >= len(self.stages):
                self._complain(instruction, f"there is no stage {origin} before this one", "stages count from 0")
                return
            stage = int(origin)
        if stage is None:
            images.append(origin)
        else:
            uses.append(stage)

    def _copied(self, instruction: Instruction, variables: _Variables) -> Iterator[Taken]:
        announced = len(instruction.heredocs)
        for word in instruction.args[:-1]:
            if announced and re.match(r"\d*<<", word):
                continue
            path = variables.expand(word, self.escape)
            if path is not None and not (instruction.name == "ADD" and _REMOTE.match(path)):
                yield Taken(what=instruction.name, path=path, line=instruction.line)

    def _complain(self, instruction: Instruction, text: str, remedy: str) -> None:
        self.problems.append(StageProblem(line=instruction.line, text=text, remedy=remedy))


def _flag(instruction: Instruction, name: str) -> str:
    values = [flag.partition("=")[2] for flag in instruction.flags if flag.partition("=")[0] == f"--{name}"]
    return values[-1] if values else ""


def _mounts(instruction: Instruction) -> Iterator[dict[str, str]]:
    """Read the `--mount=type=bind,from=build,target=/x` flags of a RUN."""
    for flag in instruction.flags:
        if flag.startswith("--mount="):
            pairs = (field.partition("=") for field in flag.removeprefix("--mount=").split(","))
            yield {name.strip().lower(): value for name, _, value in pairs}
