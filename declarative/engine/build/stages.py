"""A Dockerfile as stages: what each starts from, which others it takes from, which of them a target needs.

The rule that keeps it simple: pure, and numbers instead of names. A stage only ever takes from stages before it, so their order
in the file is an order to build them in. What an image's ONBUILD triggers ask for is added by whoever has read the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.build import commands as c
from declarative.engine.build.instructions import read
from declarative.errors import Invalid, NotFound, Span
from declarative.oci.dockerfile.lexer import lex
from declarative.oci.suggest import did_you_mean
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from declarative.engine.build.scope import Scope
    from declarative.oci.dockerfile.lexer import Source

SCRATCH = "scratch"
NO_STAGE = "no build stage in current context"


@record
class Numbered:
    """A step as it is shown: its number among all instructions of the file, 0 for a trigger, and its text."""

    number: int
    text: str
    step: c.Step


@record
class Stage:
    """One stage. `base`: a reference, or SCRATCH; `parent`: the stage it starts from, if it starts from one.

    `number` and `text` are those of its FROM.
    """

    index: int
    name: str
    base: str
    span: Span
    platform: str = ""
    parent: int | None = None
    number: int = 0
    text: str = ""
    steps: tuple[Numbered, ...] = ()


@record
class Recipe:
    """A whole Dockerfile up to its target. `header`: its ARGs before the first FROM. `total`: how many instructions there are."""

    stages: tuple[Stage, ...]
    header: tuple[Numbered, ...]
    scope: Scope
    total: int

    @property
    def target(self) -> Stage:
        """The stage that becomes the image."""
        return self.stages[-1]


@record
class Origin:
    """Where a COPY or a mount takes from: a stage, or an image."""

    stage: int | None = None
    image: str = ""


def read_recipe(source: Source, scope: Scope, target: str = "", labels: Mapping[str, str] | None = None) -> Recipe:
    """Sort instructions into stages up to `target` ("" is the last one); `labels` become LABELs of it.

    Invalid for an instruction before the first FROM, a name used twice, a FROM of nothing. NotFound for an unknown target.
    """
    header: list[Numbered] = []
    groups: list[tuple[int, str, c.From, list[Numbered]]] = []
    for number, instruction in enumerate(source.instructions, start=1):
        step = read(instruction)
        if isinstance(step, c.From):
            groups.append((number, instruction.original, step, []))
        elif groups:
            groups[-1][3].append(Numbered(number=number, text=instruction.original, step=step))
        elif isinstance(step, c.Arg):
            header.append(Numbered(number=number, text=instruction.original, step=step))
            scope = scope.with_header(step.pairs, step.span)
        else:
            raise _no_stage(str(step.span))
    if not groups:
        raise _no_stage("Dockerfile")
    kept = groups[: find_target([start.name for _, _, start, _ in groups], target) + 1]
    stages: list[Stage] = []
    for number, text, start, steps in kept:
        stages.append(_stage(start, scope, stages, number=number, text=text, steps=tuple(steps)))
    stages[-1] = _labelled(stages[-1], labels or {})
    total = len(header) + sum(1 + len(stage.steps) for stage in stages)
    return Recipe(stages=tuple(stages), header=tuple(header), scope=scope, total=total)


def find_target(names: Sequence[str], target: str) -> int:
    """Give the index of the stage of that name or number, the last one for "". NotFound where there is none."""
    if not target:
        return len(names) - 1
    for index in range(len(names) - 1, -1, -1):
        if names[index] and names[index] == target.lower():
            return index
    if target.isascii() and target.isdecimal() and int(target) < len(names):
        return int(target)
    remedy = did_you_mean(target, [name for name in names if name]) or "name a stage of the Dockerfile"
    raise NotFound("", f"failed to reach build target {target} in Dockerfile", remedy)


def find_origin(text: str, stage: int, stages: Sequence[Stage], span: Span) -> Origin:
    """Say what `--from=text` in stage number `stage` means: an earlier stage by name or number, else an image. Raises Invalid."""
    if "$" in text:
        problem = "variable expansion is not supported for --from"
        raise Invalid(text, problem, "define a new stage with FROM, using an ARG before the first FROM", str(span))
    if text.isascii() and text.isdecimal():
        if int(text) >= stage:
            problem = f"invalid from flag value {text}: only {stage} stages come before this one"
            raise Invalid("", problem, "count the stages from 0, or name them", str(span))
        return Origin(stage=int(text))
    for earlier in reversed(stages[:stage]):
        if earlier.name and earlier.name == text.lower():
            return Origin(stage=earlier.index)
    return Origin(image=text)


def origins(step: c.Step) -> tuple[str, ...]:
    """Give what a step takes files from, besides the stage and the context, as written."""
    match step:
        case c.Copy(origin=origin):
            return (origin,) if origin else ()
        case c.Run(mounts=mounts):
            found = (dict(mount.options).get("from", "") for mount in mounts)
            return tuple(origin for origin in found if origin)
    return ()


def triggers(texts: Iterable[str], escape: str, place: str) -> tuple[Numbered, ...]:
    """Read the ONBUILD triggers of an image as steps. Raises Invalid for one that cannot be a step."""
    found = []
    for text in texts:
        for instruction in lex(f"# escape={escape}\n{text}".encode(), place).instructions:
            step = read(instruction, place)
            if isinstance(step, c.From | c.Maintainer | c.OnBuild):
                problem = f"{instruction.name} isn't allowed as an ONBUILD trigger"
                raise Invalid(place, problem, "use another base image")
            found.append(Numbered(number=0, text=text, step=step))
    return tuple(found)


def own_triggers(stage: Stage) -> tuple[str, ...]:
    """Give the triggers that a stage leaves to those that start from it."""
    return tuple(each.step.text for each in stage.steps if isinstance(each.step, c.OnBuild))


def needed(recipe: Recipe, extra: Mapping[int, Sequence[Numbered]] | None = None) -> frozenset[int]:
    """Give the stages that the target needs. `extra`: the triggers of each stage's base, where they are known."""
    found: set[int] = set()
    left = [recipe.target.index]
    while left:
        index = left.pop()
        if index not in found:
            found.add(index)
            left += dependencies(recipe, index, (extra or {}).get(index, ()))
    return frozenset(found)


def dependencies(recipe: Recipe, index: int, extra: Sequence[Numbered] = ()) -> tuple[int, ...]:
    """Give the stages that one stage takes from or starts from."""
    stage = recipe.stages[index]
    found = [] if stage.parent is None else [stage.parent]
    for each in (*extra, *stage.steps):
        for text in origins(each.step):
            origin = find_origin(text, index, recipe.stages, each.step.span)
            if origin.stage is not None:
                found.append(origin.stage)
    return tuple(dict.fromkeys(found))


def _stage(
    start: c.From, scope: Scope, earlier: Sequence[Stage], *, number: int, text: str, steps: tuple[Numbered, ...]
) -> Stage:
    base = scope.in_header(start.base, start.span)
    if not base:
        problem = f"base name ({start.base}) should not be blank"
        raise Invalid("", problem, "give the ARG a default, or pass --build-arg", str(start.span))
    if start.name and any(stage.name == start.name for stage in earlier):
        raise Invalid("", f"{start.name} stage name already used", "name each stage once", str(start.span))
    parent = next((stage.index for stage in reversed(earlier) if stage.name and stage.name == base.lower()), None)
    return Stage(
        index=len(earlier),
        name=start.name,
        base=base,
        span=start.span,
        platform=scope.in_header(start.platform, start.span),
        parent=parent,
        number=number,
        text=text,
        steps=steps,
    )


def _labelled(stage: Stage, labels: Mapping[str, str]) -> Stage:
    """Add the client's labels, as the classic builder does: as steps at the end, not expanded."""
    last = stage.steps[-1].number if stage.steps else stage.number
    added = tuple(
        Numbered(
            number=last + count,
            text=f"LABEL {name}={value}",
            step=c.Label(span=stage.span, pairs=(c.Pair(name=name, value=value),), literal=True),
        )
        for count, (name, value) in enumerate(sorted(labels.items()), start=1)
    )
    return replace(stage, steps=(*stage.steps, *added))


def _no_stage(place: str) -> Invalid:
    return Invalid("", NO_STAGE, "begin with FROM", place)
