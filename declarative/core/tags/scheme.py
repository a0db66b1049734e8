"""The decision where every tag of a repository points, from the version being published and everything that is there.

The rule that keeps it simple: one place (an engine, a registry) at a time, because content has another name in each: image ids
here, manifest digests there. What other places hold counts as versions only (`elsewhere`): it can keep a floating tag from
moving, never supply the content it moves to.

Laws, tested as such: every floating tag whose best version is here points to it; publishing in any order ends in the same
floating tags; deciding again after applying decides nothing; no full version tag ever moves unless `allow_retag`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal

from declarative.core.tags.prune import doomed
from declarative.errors import Conflict, DeclarativeError, Invalid
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from declarative.core.tags.release import Release
    from declarative.core.tags.rules import Rules
    from declarative.core.tags.version import Order


class Cause(Enum):
    """Why a tag moves. The value is what a plan prints."""

    NEW = "new version"  # the full tag of a version that was not here
    MISSING = "missing"  # a floating name that nothing has yet
    NEWER = "newer version"  # it points to a version that is now outranked
    DRIFT = "moved by hand"  # its best version was here before, and yet it points elsewhere
    RETAG = "retag allowed"  # same version, other content, and the user insists


@record
class Place:
    """One repository in one place.

    `repository`: for messages. `content`: what this place calls the content being published (image id or manifest digest);
    None while it is not known, as before a build. `tags`: all tags here and what they point to, under the same naming of
    content; a value of None says the tag is there but nobody looked (see `needed`).
    """

    repository: str
    content: str | None
    tags: Mapping[str, str | None] = field(default_factory=dict)


@record
class TagMove:
    """One tag to write. `before` None: no such tag yet. `after` None: the content that is still to be built.

    `source`: the full tag of this place that holds (or will, once the full tags moved) what a floating tag is to point to.
    """

    tag: str
    before: str | None
    after: str | None
    cause: Cause
    version: str
    floating: bool = False
    source: str = ""

    @property
    def origin(self) -> Literal["change", "drift"]:
        """Drift is what somebody did to a tag that was right; everything else is a change of the manifests."""
        return "drift" if self.cause is Cause.DRIFT else "change"


@record
class Outcome:
    """What is to be done in one place.

    `moves`: in the order to do them: full tags, then floating ones, latest last. `removals`: then these, as (tag, content).
    With `errors`, nothing may be done at all and both are empty.
    `unchanged`: tags of this version that are right already. `held`: floating tags of this version that belong to a higher
    version which is known, with its version: ("latest", "2.0.1").
    """

    moves: tuple[TagMove, ...] = ()
    removals: tuple[tuple[str, str | None], ...] = ()
    unchanged: tuple[str, ...] = ()
    held: tuple[tuple[str, str], ...] = ()
    errors: tuple[DeclarativeError, ...] = ()


def tags_of(rules: Rules, version: str) -> tuple[str, ...]:
    """List the tags that `version` would have were it alone, in the order of the levels: 1.9.2 → 1, 1.9, 1.9.2, latest.

    Raises Invalid if the scheme cannot read the version.
    """
    tags: list[str] = []
    for release in releases_of(rules, version):
        by_level = {name.level: rules.write(name.body) for name in release.floats}
        full = rules.write(release.full)
        named = [full if level in {"patch", "full"} else by_level.get(level) for level in rules.wanted]
        tags += [tag for tag in ([] if full in named else [full]) + named if tag is not None]
    return tuple(tags)


def releases_of(rules: Rules, version: str) -> tuple[Release, ...]:
    """Read the version of a manifest. A literal one may list several tags, split by commas or blanks. Invalid."""
    texts = version.replace(",", " ").split() if rules.scheme == "literal" else [version]
    if not texts:
        raise Invalid("version", "is empty", "state a version")
    return tuple(rules.read(text) for text in texts)


def track_tag(rules: Rules, track: str) -> str:
    """Spell the tag that a container follows with `track`: "1" → `1-alpine`, "latest" → `alpine`, in a variant's family."""
    return rules.write("" if track == "latest" else track.removeprefix(rules.prefix).removeprefix("v"))


def needed(rules: Rules, version: str, names: Iterable[str]) -> frozenset[str]:
    """Name the tags whose content `settle` must know to publish `version`, out of all `names` in a place.

    For places where each look costs a request. Names not listed here may have the content None in `Place.tags`.
    """
    names = set(names)
    family = _Family(rules, releases_of(rules, version), names)
    wanted = {tag for release in family.published for tag in family.spellings(release)}
    for release in family.published:
        for name in release.floats:
            tag = rules.write(name.body)
            wanted |= {tag, *family.spellings(family.heads[tag])}
    return frozenset(wanted & names)


def settle(rules: Rules, version: str, place: Place, elsewhere: Iterable[str] = ()) -> Outcome:
    """Decide every move in one place. `elsewhere`: names of the tags of the same repository in other places.

    Errors come back in the outcome (Conflict, naming both digests); Invalid is raised if the version cannot be read.
    """
    family = _Family(rules, releases_of(rules, version), [*place.tags, *elsewhere])
    errors = tuple(
        _conflict(place, tag, family.rules)
        for release in family.published
        if not (release.movable or rules.allow_retag)
        for tag in family.spellings(release)
        if tag in place.tags and (place.content is None or place.tags[tag] != place.content)
    )
    if errors:
        return Outcome(errors=errors)
    full = tuple(move for release in family.published for move in _full_moves(family, release, place))
    floating = tuple(_floating_moves(family, place))
    moves = (*full, *floating)
    moved = {move.tag for move in moves}
    own = tuple(dict.fromkeys(tag for tag in tags_of(rules, version) if tag in place.tags and tag not in moved))
    held = tuple(_held(family))
    after = {**place.tags, **{move.tag: move.after for move in moves}}
    return Outcome(
        moves=moves,
        removals=tuple((tag, place.tags[tag]) for tag in doomed(rules, family, after) if tag in place.tags),
        unchanged=tuple(tag for tag in own if tag not in dict(held)),
        held=held,
    )


class _Family:
    """The releases of one scheme and variant: those published now, and all that are known anywhere."""

    def __init__(self, rules: Rules, published: tuple[Release, ...], names: Iterable[str]) -> None:
        self.rules = rules
        self.published = published
        self.known: dict[Order, Release] = {}
        self._spellings: dict[Order, set[str]] = {}
        for release in published:
            self._add(rules.write(release.full), release)
        for tag in names:
            if (release_there := rules.recognise(tag)) is not None:
                self._add(tag, release_there)
        self.heads = self._heads()

    def _add(self, tag: str, release: Release) -> None:
        self.known.setdefault(release.order, release)
        self._spellings.setdefault(release.order, set()).add(tag)

    def _heads(self) -> dict[str, Release]:
        """Floating tag → the highest release that competes for it. Ordered: most specific level first, latest last."""
        heads: dict[str, Release] = {}
        depth: dict[str, int] = {}
        for release in sorted(self.known.values(), key=lambda known: known.order):
            for rank, name in enumerate(release.floats):
                tag = self.rules.write(name.body)
                heads[tag] = release
                depth[tag] = len(release.floats) if not name.body else rank
        return {tag: heads[tag] for tag in sorted(heads, key=lambda tag: depth[tag])}

    def spellings(self, release: Release) -> tuple[str, ...]:
        """All tags that mean this release: the one we write first, then others that are about (`v1.9.2`, `2026.4.1`)."""
        own = self.rules.write(self.known[release.order].full)
        return (own, *sorted(self._spellings[release.order] - {own}))

    def holder(self, release: Release, place: Place) -> str | None:
        """Name the tag by which a known release is here and was looked at; None if there is none."""
        return next((tag for tag in self.spellings(release) if place.tags.get(tag) is not None), None)


def _conflict(place: Place, tag: str, rules: Rules) -> Conflict:
    there = place.tags[tag] or "content that could not be read"
    now = f"this is {place.content}" if place.content else "its image is about to be built anew"
    flag = "raise the version, or overwrite it with --allow-retag"
    remedy = flag if rules.scheme != "literal" else "overwrite it with --allow-retag"
    return Conflict(
        f"{place.repository}:{tag}", f"is published already, with other content: it is {there}, {now}", remedy
    )


def _full_moves(family: _Family, release: Release, place: Place) -> Iterable[TagMove]:
    tag = family.rules.write(release.full)
    before = place.tags.get(tag)
    if tag in place.tags and before == place.content and before is not None:
        return
    retag = Cause.NEWER if release.movable else Cause.RETAG
    cause = retag if tag in place.tags else Cause.NEW
    yield TagMove(tag=tag, before=before, after=place.content, cause=cause, version=release.full)


def _floating_moves(family: _Family, place: Place) -> Iterable[TagMove]:
    own = {family.rules.write(name.body) for release in family.published for name in release.floats}
    orders = {release.order for release in family.published}
    for tag, head in family.heads.items():
        published = head.order in orders
        source = family.rules.write(head.full) if published else family.holder(head, place)
        if source is None:
            continue  # the best version is known, but not what it holds here: leave the tag alone
        after = place.content if published else place.tags[source]
        before = place.tags.get(tag)
        if tag not in place.tags and tag not in own:
            continue  # taken away, or never written: only this version's names are created
        if tag in place.tags and before is None and not published:
            continue  # nobody looked at a tag that this version does not compete for
        if before is not None and before == after:
            continue
        cause = _cause(family, head, place, tag, published=published)
        yield TagMove(tag=tag, before=before, after=after, cause=cause, version=head.full, floating=True, source=source)


def _cause(family: _Family, head: Release, place: Place, tag: str, *, published: bool) -> Cause:
    if tag not in place.tags:
        return Cause.MISSING
    standing = [place.tags[spelling] for spelling in family.spellings(head) if spelling in place.tags]
    if not published or (standing and standing[0] == place.content):
        return Cause.DRIFT
    return Cause.RETAG if standing else Cause.NEWER


def _held(family: _Family) -> Iterable[tuple[str, str]]:
    """Yield the names this version competes for and does not get, with the version that has them."""
    orders = {release.order for release in family.published}
    for release in family.published:
        for name in release.floats:
            tag = family.rules.write(name.body)
            if family.heads[tag].order not in orders:
                yield tag, family.heads[tag].full
