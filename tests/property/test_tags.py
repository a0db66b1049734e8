"""Laws of versions and tags, for any versions in any order."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from declarative.core.tags.rules import Prune, Rules
from declarative.core.tags.scheme import Outcome, Place, needed, settle, tags_of
from declarative.core.tags.version import Version

if TYPE_CHECKING:
    from collections.abc import Sequence

NUMBERS = st.integers(0, 3)
IDENTIFIERS = st.sampled_from(["0", "1", "10", "rc", "rc1", "alpha", "BETA", "-", "a-b", "1a"])
ANY_VERSION = st.builds(
    Version,
    major=NUMBERS,
    minor=NUMBERS,
    patch=NUMBERS,
    prerelease=st.lists(IDENTIFIERS, max_size=3).map(tuple),
    build=st.lists(IDENTIFIERS, max_size=2).map(tuple),
)
TAGGED = st.builds(
    Version,
    major=NUMBERS,
    minor=st.integers(0, 2),
    patch=st.integers(0, 2),
    prerelease=st.sampled_from([(), (), (), ("rc", "1"), ("rc", "2")]),
)
VERSIONS = st.lists(TAGGED, min_size=1, max_size=12, unique=True)
RULES = st.builds(
    Rules,
    variant=st.sampled_from(["", "alpine"]),
    prefix=st.sampled_from(["", "v"]),
    levels=st.sampled_from([(), ("major", "patch"), ("minor", "latest"), ("patch",)]),
)


def content(version: Version) -> str:
    return f"image-{version}"


def run(rules: Rules, version: Version, tags: dict[str, str]) -> Outcome:
    return settle(rules, str(version), Place(repository="r", content=content(version), tags=tags))


def publish(rules: Rules, versions: Sequence[Version], tags: dict[str, str] | None = None) -> dict[str, str]:
    found = dict(tags or {})
    for version in versions:
        outcome = run(rules, version, found)
        assert outcome.errors == ()
        found |= {move.tag: move.after or "" for move in outcome.moves}
        for tag, held in outcome.removals:
            assert found.pop(tag) == held
    return found


def by_the_book(one: Version, two: Version) -> int:
    """SemVer section 11 word by word, as an oracle for the sort key."""
    ours, theirs = (one.major, one.minor, one.patch), (two.major, two.minor, two.patch)
    if ours != theirs:
        return 1 if ours > theirs else -1
    if not one.prerelease or not two.prerelease:
        return (not one.prerelease) - (not two.prerelease)
    for left, right in zip(one.prerelease, two.prerelease, strict=False):
        if left != right:
            if left.isdigit() and right.isdigit():
                return 1 if int(left) > int(right) else -1
            if left.isdigit() != right.isdigit():
                return -1 if left.isdigit() else 1
            return 1 if left.encode() > right.encode() else -1
    return (len(one.prerelease) > len(two.prerelease)) - (len(one.prerelease) < len(two.prerelease))


@given(ANY_VERSION, ANY_VERSION)
def test_order_is_the_order_of_the_book(one: Version, two: Version) -> None:
    assert (one > two) - (one < two) == by_the_book(one, two)
    assert (one == two) == (by_the_book(one, two) == 0)
    assert (one <= two) == (not one > two)


@given(st.lists(ANY_VERSION, max_size=8))
def test_order_is_total(versions: list[Version]) -> None:
    ordered = sorted(versions)
    assert all(low <= high for index, low in enumerate(ordered) for high in ordered[index:])
    assert ordered == sorted(versions, key=functools.cmp_to_key(by_the_book))


@given(ANY_VERSION)
def test_text_and_back(version: Version) -> None:
    for text in (str(version), f"v{version}"):
        found = Version.parse(text)
        assert (found, found.build, str(found)) == (version, version.build, str(version))


@given(RULES, TAGGED)
def test_what_is_written_is_read_back(rules: Rules, version: Version) -> None:
    release = rules.read(str(version))
    found = rules.recognise(rules.write(release.full))
    assert found is not None
    assert (found.full, found.order, found.floats) == (release.full, release.order, release.floats)
    assert all(rules.recognise(rules.write(name.body)) is None for name in release.floats)


@given(RULES, VERSIONS)
def test_floating_tags_point_to_the_best_of_their_family(rules: Rules, versions: list[Version]) -> None:
    tags = publish(rules, versions)
    finals = [version for version in versions if not version.prerelease]
    expected = {rules.write(str(version)): content(version) for version in versions}
    for version in sorted(finals):
        expected |= {tag: content(version) for tag in tags_of(rules, str(version))}
    assert tags == expected


@given(RULES, VERSIONS, st.randoms(use_true_random=False))
def test_the_order_of_publishing_does_not_matter(rules: Rules, versions: list[Version], random: st.DrawFn) -> None:
    shuffled = list(versions)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types the strategy, not the Random
    assert publish(rules, shuffled) == publish(rules, versions)


@given(RULES, VERSIONS, st.data())
def test_publishing_again_changes_nothing(rules: Rules, versions: list[Version], data: st.DataObject) -> None:
    tags = publish(rules, versions)
    again = run(rules, data.draw(st.sampled_from(versions)), tags)
    assert (again.moves, again.removals, again.errors) == ((), (), ())


@given(RULES, VERSIONS, st.data())
def test_a_cut_at_any_move_is_mended_by_the_next_run(
    rules: Rules, versions: list[Version], data: st.DataObject
) -> None:
    *before, last = versions
    tags = publish(rules, before)
    moves = run(rules, last, tags).moves
    cut = data.draw(st.integers(0, len(moves)))
    half = {**tags, **{move.tag: move.after or "" for move in moves[:cut]}}
    assert publish(rules, [last], half) == publish(rules, versions)
    floating = [move.floating for move in moves]
    assert floating == sorted(floating), "full tags first"


@given(RULES, VERSIONS, st.data())
def test_full_tags_never_move(rules: Rules, versions: list[Version], data: st.DataObject) -> None:
    tags = publish(rules, versions)
    version = data.draw(st.sampled_from(versions))
    place = Place(repository="r", content="something else", tags=tags)
    outcome = settle(rules, str(version), place)
    assert (len(outcome.errors), outcome.moves) == (1, ())
    assert content(version) in str(outcome.errors[0])
    assert "something else" in str(outcome.errors[0])


@given(RULES, VERSIONS, st.data())
def test_a_floating_tag_moved_by_hand_goes_back(rules: Rules, versions: list[Version], data: st.DataObject) -> None:
    tags = publish(rules, versions)
    floating = sorted(tag for tag in tags if rules.recognise(tag) is None)
    if floating:
        broken = tags | {data.draw(st.sampled_from(floating)): "stranger"}
        outcome = run(rules, versions[-1], broken)
        assert [move.origin for move in outcome.moves] == ["drift"]
        assert publish(rules, [versions[-1]], broken) == tags


@given(RULES, VERSIONS, VERSIONS)
def test_versions_known_elsewhere_are_never_outranked(
    rules: Rules, versions: list[Version], elsewhere: list[Version]
) -> None:
    """No floating name goes to a version while a higher one of its family is known in another place."""
    version = versions[0]
    names = [rules.write(str(other)) for other in elsewhere]
    outcome = settle(rules, str(version), Place(repository="r", content="x", tags={}), names)
    everything = publish(rules, sorted({*elsewhere, version}))
    for move in outcome.moves:
        assert everything[move.tag] == content(version)


@given(RULES, VERSIONS, TAGGED)
def test_looking_up_only_what_is_needed_gives_the_same_moves(
    rules: Rules, versions: list[Version], version: Version
) -> None:
    tags = publish(rules, [other for other in versions if other != version])
    looked = needed(rules, str(version), tags)
    known = {tag: held if tag in looked else None for tag, held in tags.items()}
    lazy = settle(rules, str(version), Place(repository="r", content=content(version), tags=known))
    assert lazy == run(rules, version, tags)


@given(RULES, VERSIONS, st.integers(1, 4))
def test_pruning_never_changes_where_names_lead(rules: Rules, versions: list[Version], keep: int) -> None:
    pruned = publish(
        Rules(variant=rules.variant, prefix=rules.prefix, levels=rules.levels, prune=Prune(keep=keep)), versions
    )
    whole = publish(rules, versions)
    assert {tag: held for tag, held in whole.items() if rules.recognise(tag) is None}.items() <= pruned.items()
    assert pruned.items() <= whole.items()
    assert rules.write(str(versions[-1])) in pruned
    finals = sorted(version for version in versions if not version.prerelease)
    assert all(rules.write(str(version)) in pruned for version in finals[-keep:])
