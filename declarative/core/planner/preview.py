"""What tag schemes will do, tag by tag: where each points now, where it will, and why. Decided by the planner itself.

The rule that keeps it simple: nothing is decided here; what the planner settled is put into rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from declarative.core.plan import Policy
from declarative.core.planner.draft import Draft
from declarative.core.planner.images import ImagePlanner
from declarative.core.planner.publish import TagPlanner
from declarative.core.tags.rules import Rules
from declarative.core.tags.scheme import tags_of
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from declarative.core.planner.publish import Settled
    from declarative.core.resources import Desired
    from declarative.core.state import Actual
    from declarative.core.tags.scheme import Place
    from declarative.errors import DeclarativeError

TagAction = Literal["create", "move", "keep", "hold", "remove"]


@record
class TagRow:
    """One tag. `now` and `after` are contents; None: no such tag, not to be seen, or yet to be built.

    `now_version`: the highest version that has the same content; "" where none has. `version`: whose tag it is afterwards.
    """

    tag: str
    action: TagAction
    now: str | None
    after: str | None
    cause: str = ""
    now_version: str = ""
    version: str = ""


@record
class PlacePreview:
    """One repository in one place. `content`: what is being published, under the place's own name; None: yet to be built."""

    where: Literal["engine", "registry"]
    content: str | None
    rows: tuple[TagRow, ...]


@record
class SchemePreview:
    """One TagScheme. `version` is "" where it is a label of an image yet to be made; then there are no places."""

    name: str
    repository: str
    version: str
    places: tuple[PlacePreview, ...]


@record
class TagPreview:
    """All schemes of a stack, and every reason not to go on."""

    schemes: tuple[SchemePreview, ...]
    problems: tuple[DeclarativeError, ...]

    @property
    def in_sync(self) -> bool:
        """Whether no tag has to be written or removed."""
        rows = (row for scheme in self.schemes for place in scheme.places for row in place.rows)
        settled = all(scheme.places for scheme in self.schemes)
        return settled and not self.problems and all(row.action in {"keep", "hold"} for row in rows)


def preview(desired: Desired, actual: Actual, policy: Policy | None = None) -> TagPreview:
    """Settle images and tag schemes, and nothing else of the stack."""
    draft = Draft(desired=desired, actual=actual, policy=policy or Policy())
    images = ImagePlanner(draft)
    tags = TagPlanner(draft, images)
    for name in desired.images:
        images.image(name)
    tags.plan()
    found: dict[str, list[Settled]] = {name: [] for name in desired.schemes}
    for settled in tags.settled:
        found[settled.scheme.name].append(settled)
    schemes = tuple(
        SchemePreview(
            name=name,
            repository=desired.schemes[name].spec.repository,
            version=places[0].version if places else desired.schemes[name].spec.version,
            places=tuple(_place(settled, draft.policy) for settled in places),
        )
        for name, places in found.items()
    )
    return TagPreview(schemes=schemes, problems=tuple(draft.problems))


def _place(settled: Settled, policy: Policy) -> PlacePreview:
    rules = Rules.of(settled.scheme.spec, allow_retag=policy.allow_retag)
    rows = {row.tag: row for row in _rows(settled, _versions(settled.place, rules))}
    own = [tag for tag in tags_of(rules, settled.version) if tag in rows]
    ordered = [*own, *(tag for tag in rows if tag not in own)]
    return PlacePreview(where=settled.where, content=settled.place.content, rows=tuple(rows[tag] for tag in ordered))


def _rows(settled: Settled, versions: Mapping[str, str]) -> Iterator[TagRow]:
    """Give a row for each tag; where a tag has two, the later one counts."""
    place, outcome = settled.place, settled.outcome
    for tag in outcome.unchanged:
        now = place.tags.get(tag)
        version = versions.get(now or "", "")
        yield TagRow(tag=tag, action="keep", now=now, after=now, now_version=version, version=settled.version)
    for tag, version in outcome.held:
        now = place.tags.get(tag)
        cause = f"belongs to {version}"
        held = versions.get(now or "", "")
        yield TagRow(tag=tag, action="hold", now=now, after=now, cause=cause, now_version=held, version=version)
    for move in outcome.moves:
        yield TagRow(
            tag=move.tag,
            action="move" if move.tag in place.tags else "create",
            now=move.before,
            after=move.after,
            cause=move.cause.value,
            now_version=versions.get(move.before or "", ""),
            version=move.version,
        )
    for tag, content in outcome.removals:
        cause = "no longer a level, or beyond what is kept"
        yield TagRow(
            tag=tag, action="remove", now=content, after=None, cause=cause, now_version=versions.get(content or "", "")
        )


def _versions(place: Place, rules: Rules) -> dict[str, str]:
    """Give content → the highest version whose full tag has it."""
    found: dict[str, str] = {}
    known = [(release, tag) for tag in place.tags if (release := rules.recognise(tag)) is not None]
    for release, tag in sorted(known, key=lambda pair: pair[0].order):
        content = place.tags[tag]
        if content is not None:
            found[content] = release.full
    return found
