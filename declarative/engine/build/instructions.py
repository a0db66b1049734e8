"""From lexed instructions to typed ones: which exist, which flags they have, how many arguments they take.

The rule that keeps it simple: one table, INSTRUCTIONS, from name to flags and reader. What is wrong is refused here with its
line; behind it, no text is taken apart again but for variables. Messages follow BuildKit's, which people search for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.engine.build import commands as c
from declarative.errors import Invalid, Span
from declarative.oci.dockerfile.heredoc import parse_heredoc
from declarative.oci.suggest import did_you_mean
from declarative.oci.units import parse_duration
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.oci.dockerfile.lexer import Instruction

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_TARGET = ("target", "dst", "destination")
_SOURCE = ("from", "source", "src")
_ACCESS = ("rw", "readwrite", "ro", "readonly")
_OWNER = ("mode", "uid", "gid")
_MOUNTS: dict[str, tuple[str, ...]] = {
    "bind": (*_TARGET, *_SOURCE, *_ACCESS),
    "cache": (*_TARGET, *_SOURCE, *_ACCESS, "id", "sharing", *_OWNER),
    "secret": (*_TARGET, "source", "src", "id", "required", "env", *_OWNER),
    "ssh": (*_TARGET, "id", "required", *_OWNER),
    "tmpfs": (*_TARGET, "size"),
}
"""Kinds of RUN --mount, and the options that each takes."""
_MILLISECOND = 1_000_000
_SWITCH = {"": True, "true": True, "false": False}


@record
class Kind:
    """How one instruction is read. `flags`: those that hold a value; `switches`: those that may stand alone."""

    read: Callable[[_Reading], c.From | c.Step]
    flags: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()


def read(instruction: Instruction, file: str = "Dockerfile") -> c.From | c.Step:
    """Type one instruction. Raises Invalid for an unknown one, a wrong flag, a wrong number of arguments."""
    kind = INSTRUCTIONS.get(instruction.name)
    if kind is None:
        problem = f"unknown instruction: {instruction.written}"
        remedy = did_you_mean(instruction.name, INSTRUCTIONS) or "write one of " + ", ".join(INSTRUCTIONS)
        raise Invalid(file, problem, remedy, f"{file}:{instruction.line}")
    return kind.read(_Reading(instruction, kind, file))


class _Reading:
    """One instruction with its flags sorted, and the refusals they all share."""

    def __init__(self, instruction: Instruction, kind: Kind, file: str) -> None:
        self.name = instruction.name
        self.args = instruction.args
        self.text = instruction
        self.span = Span(file=file, line=instruction.line)
        self.values: dict[str, list[str]] = {}
        for flag in instruction.flags:
            self._flag(flag, kind)

    def _flag(self, flag: str, kind: Kind) -> None:
        name, equals, value = flag.removeprefix("--").partition("=")
        known = (*kind.flags, *kind.switches, *kind.repeated)
        if name not in known:
            near = did_you_mean(name, known) or ("it takes --" + ", --".join(known) if known else "it takes no flags")
            raise self.wrong(f"unknown flag: --{name}", near)
        if name in self.values and name not in kind.repeated:
            raise self.wrong(f"duplicate flag specified: {name}", "keep one")
        if name in kind.switches:
            if value not in _SWITCH:
                raise self.wrong(f"expecting boolean value for flag {name}, not: {value}", "write true or false")
        elif not equals:
            raise self.wrong(f"missing a value on flag: {name}", f"write --{name}=VALUE")
        self.values.setdefault(name, []).append(value)

    def wrong(self, problem: str, remedy: str) -> Invalid:
        return Invalid(self.name, problem, remedy, str(self.span))

    def flag(self, name: str) -> str:
        return self.values.get(name, [""])[0]

    def every(self, name: str) -> tuple[str, ...]:
        return tuple(self.values.get(name, ()))

    def switch(self, name: str) -> bool:
        return name in self.values and _SWITCH[self.flag(name)]

    def one(self) -> str:
        if len(self.args) != 1:
            raise self.wrong(f"{self.name} requires exactly one argument", f"write {self.name} VALUE")
        return self.args[0]

    def some(self) -> tuple[str, ...]:
        if not self.args:
            raise self.wrong(f"{self.name} requires at least one argument", f"write {self.name} VALUE")
        return self.args

    def command(self, words: tuple[str, ...]) -> c.Command:
        shell = bool(words) and not self.text.json_form
        return c.Command(words=words, shell=shell, heredocs=self.text.heredocs)

    def pairs(self) -> tuple[c.Pair, ...]:
        """Read name-value triples of ENV and LABEL."""
        args = self.some()
        found = []
        for at in range(0, len(args), 3):
            if not args[at]:
                raise self.wrong(f"{self.name} names can not be blank", "put a name before the =")
            found.append(c.Pair(name=args[at], value=args[at + 1], old=args[at + 2] == ""))
        return tuple(found)


def _from(of: _Reading) -> c.From:
    if len(of.args) not in (1, 3) or (len(of.args) == 3 and of.args[1].lower() != "as"):
        raise of.wrong("FROM requires either one or three arguments", "write FROM IMAGE, or FROM IMAGE AS NAME")
    name = of.args[2].lower() if len(of.args) == 3 else ""
    if name and not _STAGE_NAME.fullmatch(name):
        remedy = "begin with a letter; then letters, digits, -, _ and ."
        problem = f"invalid name for build stage: {of.args[2]!r}, name can't start with a number or contain symbols"
        raise of.wrong(problem, remedy)
    return c.From(span=of.span, base=of.args[0], name=name, platform=of.flag("platform"))


def _run(of: _Reading) -> c.Run:
    mounts = tuple(_mount(of, text) for text in of.every("mount"))
    network, security = of.flag("network"), of.flag("security")
    if network not in ("", "default", "none", "host"):
        raise of.wrong(f"network mode {network!r} is not supported", "write default, none or host")
    if security not in ("", "sandbox", "insecure"):
        raise of.wrong(f"security {security!r} is not valid", "write sandbox or insecure")
    return c.Run(span=of.span, command=of.command(of.args), mounts=mounts, network=network, security=security)


def _mount(of: _Reading, text: str) -> c.Mount:
    kind, options = "bind", []
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if name.lower() == "type":
            kind = value.lower() if "$" not in value else value
        else:
            options.append((name.lower(), value if equals else ""))
    known = _MOUNTS.get(kind, tuple(dict.fromkeys(name for names in _MOUNTS.values() for name in names)))
    if kind not in _MOUNTS and "$" not in kind:
        raise of.wrong(f"unsupported mount type {kind!r}", did_you_mean(kind, _MOUNTS) or f"use {', '.join(_MOUNTS)}")
    for name, value in options:
        if name not in known:
            remedy = did_you_mean(name, (*known, "type")) or f"it takes {', '.join(known)}"
            raise of.wrong(f"unexpected key '{name}' in '{name}={value}'", remedy)
    return c.Mount(kind=kind, options=tuple(options))


def _copy(of: _Reading) -> c.Copy:
    if len(of.args) < 2:
        only = ", but only one was provided. Destination could not be determined." if of.args else ""
        raise of.wrong(f"{of.name} requires at least two arguments{only}", f"write {of.name} SOURCE... DESTINATION")
    *sources, destination = of.args
    if of.text.heredocs and parse_heredoc(destination):
        raise of.wrong(f"{of.name} cannot accept a heredoc as a destination", "put the path last")
    paths = tuple(source for source in sources if not (of.text.heredocs and parse_heredoc(source)))
    return c.Copy(
        span=of.span,
        add=of.name == "ADD",
        sources=paths,
        destination=destination,
        heredocs=of.text.heredocs,
        origin=of.flag("from"),
        chown=of.flag("chown"),
        chmod=of.flag("chmod"),
        checksum=of.flag("checksum"),
        exclude=of.every("exclude"),
        link=of.switch("link"),
        parents=of.switch("parents"),
        keep_git_dir=of.switch("keep-git-dir"),
        unpack=of.switch("unpack") if "unpack" in of.values else None,
    )


def _arg(of: _Reading) -> c.Arg:
    found = []
    for word in of.some():
        name, equals, value = word.partition("=")
        if not name:
            raise of.wrong("ARG names can not be blank", "put a name before the =")
        found.append(c.Pair(name=name, value=value if equals else None))
    return c.Arg(span=of.span, pairs=tuple(found))


def _volume(of: _Reading) -> c.Volume:
    if not all(path.strip() for path in of.some()):
        raise of.wrong("VOLUME specified can not be an empty string", "write a path")
    return c.Volume(span=of.span, paths=tuple(path.strip() for path in of.args))


def _shell(of: _Reading) -> c.Shell:
    if not of.text.json_form:
        raise of.wrong("SHELL requires the arguments to be in JSON form", 'write SHELL ["/bin/sh", "-c"]')
    return c.Shell(span=of.span, words=of.some())


def _health(of: _Reading) -> c.Healthcheck:
    kind, *words = of.some()
    if kind.upper() == "NONE":
        if words or of.values:
            raise of.wrong("HEALTHCHECK NONE takes no arguments", "write it alone")
        return c.Healthcheck(span=of.span, command=None)
    if kind.upper() != "CMD":
        raise of.wrong(f"unknown type {kind!r} in HEALTHCHECK (try CMD)", "write HEALTHCHECK CMD ..., or NONE")
    if not words:
        raise of.wrong("missing command after HEALTHCHECK CMD", "write what to run")
    return c.Healthcheck(
        span=of.span,
        command=of.command(tuple(words)),
        interval=_duration(of, "interval"),
        timeout=_duration(of, "timeout"),
        start_period=_duration(of, "start-period"),
        start_interval=_duration(of, "start-interval"),
        retries=_retries(of),
    )


def _duration(of: _Reading, name: str) -> int:
    text = of.flag(name)
    if not text:
        return 0
    try:
        found = parse_duration(text)
    except Invalid as error:
        raise of.wrong(f"--{name}: {error.problem}", error.remedy) from None
    if found < 0 or 0 < found < _MILLISECOND:
        raise of.wrong(f"interval {name!r} cannot be less than 1ms", "write a duration such as 30s")
    return found


def _retries(of: _Reading) -> int:
    text = of.flag("retries")
    if not text:
        return 0
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise of.wrong(f"--retries must be a whole number, at least 0 (not {text})", "write --retries=3")
    return int(text)


def _onbuild(of: _Reading) -> c.OnBuild:
    trigger = of.text.trigger
    if trigger is None:
        raise of.wrong("ONBUILD requires at least one argument", "write the instruction after it")
    if trigger.name == "ONBUILD":
        raise of.wrong("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", "write it once")
    if trigger.name in ("FROM", "MAINTAINER"):
        raise of.wrong(f"{trigger.name} isn't allowed as an ONBUILD trigger", "leave it out")
    read(trigger, of.span.file)  # for its refusals: an image must not carry what no build can run
    bodies = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in trigger.heredocs)
    return c.OnBuild(span=of.span, text=of.text.rest + bodies)


_FILES = ("chown", "chmod")
INSTRUCTIONS: dict[str, Kind] = {
    "FROM": Kind(read=_from, flags=("platform",)),
    "RUN": Kind(read=_run, flags=("network", "security"), repeated=("mount",)),
    "COPY": Kind(read=_copy, flags=("from", *_FILES), switches=("link", "parents"), repeated=("exclude",)),
    "ADD": Kind(
        read=_copy,
        flags=("checksum", *_FILES),
        switches=("link", "keep-git-dir", "unpack"),
        repeated=("exclude",),
    ),
    "CMD": Kind(read=lambda of: c.Cmd(span=of.span, command=of.command(of.args))),
    "ENTRYPOINT": Kind(read=lambda of: c.Entrypoint(span=of.span, command=of.command(of.args))),
    "ENV": Kind(read=lambda of: c.Env(span=of.span, pairs=of.pairs())),
    "ARG": Kind(read=_arg),
    "LABEL": Kind(read=lambda of: c.Label(span=of.span, pairs=of.pairs())),
    "EXPOSE": Kind(read=lambda of: c.Expose(span=of.span, ports=tuple(sorted(of.some())))),
    "VOLUME": Kind(read=_volume),
    "USER": Kind(read=lambda of: c.User(span=of.span, name=of.one())),
    "WORKDIR": Kind(read=lambda of: c.Workdir(span=of.span, path=of.one())),
    "SHELL": Kind(read=_shell),
    "STOPSIGNAL": Kind(read=lambda of: c.StopSignal(span=of.span, signal=of.one())),
    "HEALTHCHECK": Kind(read=_health, flags=("interval", "timeout", "start-period", "start-interval", "retries")),
    "ONBUILD": Kind(read=_onbuild),
    "MAINTAINER": Kind(read=lambda of: c.Maintainer(span=of.span, name=of.one())),
}
