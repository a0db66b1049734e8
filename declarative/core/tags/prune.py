"""Which tags a scheme may take away again. The conditions are stated at `Prune`; when in doubt a tag stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from declarative.core.tags.release import Release
    from declarative.core.tags.rules import Rules
    from declarative.core.tags.version import Order


class Family(Protocol):
    """What pruning asks of the releases of a family."""

    published: tuple[Release, ...]
    known: dict[Order, Release]
    heads: dict[str, Release]

    def spellings(self, release: Release) -> tuple[str, ...]:
        """All tags that mean this release."""


def doomed(rules: Rules, family: Family, after: Mapping[str, str | None]) -> Iterator[str]:
    """Yield the tags to remove, floating ones first, given what each tag points to once the moves are done."""
    if rules.prune is None or rules.scheme == "literal":
        return
    if rules.prune.levels:
        yield from _left_levels(rules, family, after)
    if rules.prune.keep is not None:
        yield from _old_versions(family, max(1, rules.prune.keep), after)


def _left_levels(rules: Rules, family: Family, after: Mapping[str, str | None]) -> Iterator[str]:
    contents = {after.get(tag) for release in family.known.values() for tag in family.spellings(release)} - {None}
    full = {tag for release in family.known.values() for tag in family.spellings(release)}
    left = [level for level in rules.possible if level not in rules.wanted]
    names = {rules.floating(release, level) for release in family.known.values() for level in left}
    for tag in sorted(name for name in names if name is not None):
        if tag in after and tag not in full and after[tag] in contents:
            yield tag


def _old_versions(family: Family, keep: int, after: Mapping[str, str | None]) -> Iterator[str]:
    finals = sorted((order for order, known in family.known.items() if known.final), reverse=True)
    if len(finals) <= keep:
        return
    oldest = finals[keep - 1]
    safe = {release.order for release in (*family.published, *family.heads.values())}
    for order in sorted(family.known):
        if order < oldest and order not in safe:
            yield from (tag for tag in family.spellings(family.known[order]) if tag in after)
