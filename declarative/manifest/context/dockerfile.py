"""A Dockerfile as the tool needs it: stages, images built on, what it takes from the context, what it asks of the builder.

The rule that keeps it simple: this reader must never be wrong about a file that builds. What it cannot know (the environment of a
base image, a front end of somebody else's) it leaves alone instead of guessing; the builder has the last word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.errors import Invalid, Problem, Span
from declarative.manifest.context.features import Feature, features_of
from declarative.manifest.context.grammar import complaints
from declarative.manifest.context.stages import Stage, read_stages
from declarative.manifest.suggest import did_you_mean
from declarative.oci.dockerfile.lexer import Source, lex
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@record
class Dockerfile:
    """What was read. With `problems`, the rest may be incomplete, and nothing should be built.

    `stages`: all, in order. `needed`: those that the target reaches, in order. `bases`: references of the images that
    these take anything from (FROM, COPY --from, RUN --mount from), each once, as written after expansion. `features`: what
    needs BuildKit, in the needed stages.
    """

    file: str
    source: Source = field(default_factory=lambda: Source(instructions=()))
    stages: tuple[Stage, ...] = ()
    needed: tuple[Stage, ...] = ()
    target: int = -1
    bases: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def needs_buildkit(self) -> tuple[str, ...]:
        """What the classic builder would refuse or get wrong: "Dockerfile:7: RUN --mount"."""
        return tuple(f"{self.file}:{feature.line}: {feature.what}" for feature in self.features)


def read_dockerfile(
    text: bytes,
    *,
    file: str = "Dockerfile",
    args: Mapping[str, str] | None = None,
    target: str = "",
    platform: str = "",
) -> Dockerfile:
    """Read a Dockerfile for a build with these `args`, `target` and `platform` ("" if the engine chooses).

    `file` is how problems name it. Raises nothing: everything that is wrong comes back in `problems`, with its line.
    """
    try:
        source = lex(text, file)
    except Invalid as error:
        return Dockerfile(file=file, problems=(_problem(file, _line_of(error.place), error),))
    if _foreign(source):
        return Dockerfile(file=file, source=source, features=features_of(source, (), args or {}))
    problems = list(_shape_problems(source, file))
    first = next((number for number, each in enumerate(source.instructions) if each.name == "FROM"), None)
    problems += _order_problems(source, first, file)
    if problems or first is None:
        return Dockerfile(file=file, source=source, problems=tuple(problems))
    stages, stage_problems = read_stages(source, first, args or {}, platform)
    wanted = _find_target(stages, target)
    if wanted is None:
        names = [stage.name for stage in stages if stage.name]
        remedy = did_you_mean(target, names) or (f"stages: {', '.join(names)}" if names else "no stage has a name")
        missing = Problem(subject=file, text=f"has no stage {target!r} to build", remedy=remedy, span=Span(file=file))
        return Dockerfile(file=file, source=source, stages=stages, problems=(missing,))
    needed = tuple(stages[index] for index in sorted(reached(stages, wanted)))
    return Dockerfile(
        file=file,
        source=source,
        stages=stages,
        needed=needed,
        target=wanted,
        bases=tuple(dict.fromkeys(image for stage in needed for image in stage.images)),
        features=features_of(source, needed, args or {}),
        problems=tuple(
            Problem(subject=file, text=each.text, remedy=each.remedy, span=Span(file=file, line=each.line))
            for each in stage_problems
        ),
    )


def reached(stages: tuple[Stage, ...], target: int) -> set[int]:
    """Find the stages that building `target` needs, itself among them."""
    found: set[int] = set()
    waiting = [target]
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += stages[index].uses
    return found


def _find_target(stages: tuple[Stage, ...], target: str) -> int | None:
    if not target:
        return len(stages) - 1
    named = [stage.index for stage in stages if stage.name == target.lower()]
    if named:
        return named[-1]
    return int(target) if target.isdecimal() and int(target) < len(stages) else None


def _foreign(source: Source) -> bool:
    """Tell whether another front end reads this file; then its language is not ours to judge."""
    image = source.syntax.removeprefix("docker.io/").partition(":")[0].partition("@")[0]
    return image not in ("", "docker/dockerfile", "docker/dockerfile-upstream")


def _shape_problems(source: Source, file: str) -> Iterator[Problem]:
    for instruction in source.instructions:
        for found in complaints(instruction):
            if source.syntax and found.text.startswith("unknown flag"):
                continue  # a front end that the file pins may know flags that are younger than this table
            yield Problem(
                subject=file, text=found.text, remedy=found.remedy, span=Span(file=file, line=instruction.line)
            )


def _order_problems(source: Source, first: int | None, file: str) -> Iterator[Problem]:
    if first is None:
        yield Problem(subject=file, text="has no FROM", remedy="start with FROM", span=Span(file=file))
        return
    for instruction in source.instructions[:first]:
        if instruction.name != "ARG":
            text = f"{instruction.name} comes before the first FROM"
            remedy = "only ARG may; move it below"
            yield Problem(subject=file, text=text, remedy=remedy, span=Span(file=file, line=instruction.line))


def _problem(file: str, line: int, error: Invalid) -> Problem:
    subject = error.subject if error.subject != file else file
    return Problem(subject=subject, text=error.problem, remedy=error.remedy, span=Span(file=file, line=line))


def _line_of(place: str) -> int:
    line = place.rpartition(":")[2]
    return int(line) if line.isdecimal() else 0
