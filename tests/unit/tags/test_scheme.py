"""Where tags point: the rules of DESIGN section 3, one test each, and the sequence that the project came from."""

from __future__ import annotations

from typing import Any

import pytest

from declarative.core.tags.rules import Prune, Rules
from declarative.core.tags.scheme import Cause, Outcome, Place, needed, settle, tags_of, track_tag
from declarative.errors import Conflict, Invalid
from tests.shared_cases import load_cases

SEMVER = Rules()
CASES: dict[str, Any] = load_cases("metadata-action-semver.json")


def decide(
    version: str, content: str | None, tags: dict[str, str], rules: Rules = SEMVER, elsewhere: tuple[str, ...] = ()
) -> Outcome:
    return settle(rules, version, Place(repository="myimage", content=content, tags=tags), elsewhere)


def publish(version: str, content: str, tags: dict[str, str], rules: Rules = SEMVER) -> dict[str, str]:
    outcome = decide(version, content, tags, rules)
    assert outcome.errors == ()
    after = {**tags, **{move.tag: move.after or "" for move in outcome.moves}}
    return {tag: held for tag, held in after.items() if tag not in dict(outcome.removals)}


def history(*versions: str, rules: Rules = SEMVER) -> dict[str, str]:
    """Publish versions, each with content of its own name."""
    tags: dict[str, str] = {}
    for version in versions:
        tags = publish(version, f"image-{version}", tags, rules)
    return tags


def moved(outcome: Outcome) -> list[tuple[str, str | None, str | None]]:
    return [(move.tag, move.before, move.after) for move in outcome.moves]


def test_the_sequence_of_the_architecture_document() -> None:
    first = decide("v1.9.1", "A", {})
    assert moved(first) == [("1.9.1", None, "A"), ("1.9", None, "A"), ("1", None, "A"), ("latest", None, "A")]
    tags = publish("v1.9.1", "A", {})
    second = decide("v1.9.2", "B", tags)
    assert moved(second) == [("1.9.2", None, "B"), ("1.9", "A", "B"), ("1", "A", "B"), ("latest", "A", "B")]
    tags = publish("v1.9.2", "B", tags)
    third = decide("v2.0.0", "C", tags)
    assert moved(third) == [("2.0.0", None, "C"), ("2.0", None, "C"), ("2", None, "C"), ("latest", "B", "C")]
    tags = publish("v2.0.0", "C", tags)
    backport = decide("v1.9.3", "D", tags)
    assert moved(backport) == [("1.9.3", None, "D"), ("1.9", "B", "D"), ("1", "B", "D")]
    assert backport.held == (("latest", "2.0.0"),)
    assert publish("v1.9.3", "D", tags) == {
        "1.9.1": "A",
        "1.9.2": "B",
        "1.9.3": "D",
        "2.0.0": "C",
        "1.9": "D",
        "1": "D",
        "2.0": "C",
        "2": "C",
        "latest": "C",
    }


def test_a_backport_moves_only_what_is_its_own() -> None:
    tags = history("1.9.9", "2.0.1")
    outcome = decide("1.8.7", "X", tags)
    assert moved(outcome) == [("1.8.7", None, "X"), ("1.8", None, "X")]
    assert outcome.held == (("1", "1.9.9"), ("latest", "2.0.1"))
    alone = decide("1.8.7", "X", history("2.0.1"))
    assert [move.tag for move in alone.moves] == ["1.8.7", "1.8", "1"]


def test_a_prerelease_gets_its_full_tag_alone() -> None:
    assert moved(decide("2.1.0-rc.1", "X", history("2.0.0"))) == [("2.1.0-rc.1", None, "X")]
    assert moved(decide("1.0.0-rc.1", "X", {})) == [("1.0.0-rc.1", None, "X")]
    tags = history("1.0.0-rc.2", "1.0.0")
    assert tags["latest"] == "image-1.0.0"


def test_build_metadata_is_refused_or_replaced() -> None:
    with pytest.raises(Invalid, match=r"has build metadata, and \+ cannot be part of a tag — .*build: replace"):
        decide("1.2.3+b5", "X", {})
    replace = Rules(build="replace")
    assert moved(decide("1.2.3+b.5", "X", {}, replace)) == [("1.2.3-b.5", None, "X")]
    assert moved(decide("1.2.3-rc.1+b5", "X", {}, replace)) == [("1.2.3-rc.1-b5", None, "X")]
    assert moved(decide("1.2.3+001", "X", {}, replace)) == [("1.2.3-001", None, "X")]
    assert decide("1.2.3+b5", "Y", {"1.2.3-b5": "X"}, replace).errors != ()


def test_a_full_version_tag_never_moves() -> None:
    outcome = decide("1.9.2", "sha256:bbb", {"1.9.2": "sha256:aaa", "latest": "sha256:aaa"})
    assert (outcome.moves, outcome.removals) == ((), ())
    (error,) = outcome.errors
    assert isinstance(error, Conflict)
    assert str(error) == (
        "myimage:1.9.2: is published already, with other content: it is sha256:aaa, this is sha256:bbb"
        " — raise the version, or overwrite it with --allow-retag"
    )


def test_allow_retag_moves_it_and_what_floats_on_it() -> None:
    tags = history("1.9.2", "2.0.0")
    outcome = decide("1.9.2", "X", tags, Rules(allow_retag=True))
    assert moved(outcome) == [
        ("1.9.2", "image-1.9.2", "X"),
        ("1.9", "image-1.9.2", "X"),
        ("1", "image-1.9.2", "X"),
    ]
    assert {move.cause for move in outcome.moves} == {Cause.RETAG}


def test_a_version_that_is_about_to_be_built_anew() -> None:
    assert moved(decide("1.0.0", None, {}))[0] == ("1.0.0", None, None)
    (error,) = decide("1.0.0", None, {"1.0.0": "sha256:aaa"}).errors
    assert "it is sha256:aaa, its image is about to be built anew" in str(error)
    allowed = decide("1.0.0", None, {"1.0.0": "A", "latest": "A"}, Rules(allow_retag=True, levels=("patch", "latest")))
    assert moved(allowed) == [("1.0.0", "A", None), ("latest", "A", None)]


def test_content_that_nobody_looked_at_is_not_taken_for_the_same() -> None:
    place = Place(repository="r", content="A", tags={"1.0.0": None})
    (error,) = settle(SEMVER, "1.0.0", place).errors
    assert "content that could not be read" in str(error)


def test_publishing_again_changes_nothing() -> None:
    tags = history("1.9.1", "1.9.2", "2.0.0", "1.9.3", "2.1.0-rc.1")
    for version in ("1.9.1", "1.9.2", "2.0.0", "1.9.3", "2.1.0-rc.1"):
        assert decide(version, f"image-{version}", tags).moves == ()
    assert decide("2.0.0", "image-2.0.0", tags).unchanged == ("2", "2.0", "2.0.0", "latest")
    assert decide("1.9.3", "image-1.9.3", tags).unchanged == ("1", "1.9", "1.9.3")


def test_tags_that_are_no_versions_are_left_alone() -> None:
    strangers = {
        "nightly": "N",
        "1.x": "N",
        "v3": "N",
        "20.10": "N",
        "1.2.3.4": "N",
        "sha-860c190": "N",
        "9.9.9-alpine": "N",
    }
    outcome = decide("1.0.0", "A", strangers)
    assert [move.tag for move in outcome.moves] == ["1.0.0", "1.0", "1", "latest"]
    assert outcome.removals == ()


def test_v_is_read_and_not_written() -> None:
    tags = {"v1.9.2": "A", "1": "A", "1.9": "A", "latest": "A"}
    assert moved(decide("v1.9.2", "A", tags)) == [("1.9.2", None, "A")]
    assert decide("v1.9.2", "B", tags).errors != ()
    assert moved(decide("1.9.1", "B", tags)) == [("1.9.1", None, "B")]


def test_the_prefix_is_written() -> None:
    rules = Rules(prefix="v")
    assert tags_of(rules, "1.9.2") == ("v1", "v1.9", "v1.9.2", "latest")
    tags = history("1.9.2", rules=rules) | {"2.0.0": "X"}
    moves = decide("1.9.3", "B", tags, rules).moves
    assert [(move.tag, move.after) for move in moves] == [("v1.9.3", "B"), ("v1.9", "B"), ("v1", "B"), ("latest", "X")]
    assert [move.source for move in moves] == ["", "v1.9.3", "v1.9.3", "2.0.0"], "where a registry finds the content"


def test_variants_are_families_of_their_own() -> None:
    """Spelt as Docker's official images are; the latest one is the variant's bare name."""
    alpine = Rules(variant="alpine")
    assert tags_of(alpine, "1.9.2") == ("1-alpine", "1.9-alpine", "1.9.2-alpine", "alpine")
    tags = history("2.0.0")
    outcome = decide("1.9.2", "X", tags, alpine)
    assert [move.tag for move in outcome.moves] == ["1.9.2-alpine", "1.9-alpine", "1-alpine", "alpine"]
    both = publish("1.9.2", "X", tags, alpine)
    assert [move.tag for move in decide("1.9.9", "Y", both).moves] == ["1.9.9", "1.9", "1"]
    assert tags_of(Rules(variant="alpine", prefix="v"), "1.0.0-rc.1") == ("v1.0.0-rc.1-alpine",)


def test_a_tag_moved_by_hand_goes_back() -> None:
    tags = history("1.9.2", "2.0.0") | {"latest": "busybox", "1": "image-2.0.0", "1.9": "image-1.9.2"}
    outcome = decide("2.0.0", "image-2.0.0", tags)
    assert moved(outcome) == [("1", "image-2.0.0", "image-1.9.2"), ("latest", "busybox", "image-2.0.0")]
    assert [(move.cause, move.origin) for move in outcome.moves] == [(Cause.DRIFT, "drift")] * 2


def test_going_back_to_an_older_version_by_hand_is_drift_too() -> None:
    tags = history("1.9.1", "1.9.2") | {"latest": "image-1.9.1"}
    (move,) = decide("1.9.2", "image-1.9.2", tags).moves
    assert (move.tag, move.after, move.origin) == ("latest", "image-1.9.2", "drift")


def test_a_floating_tag_whose_version_is_not_here_is_left_alone() -> None:
    """Another machine published 2.0.0: what it holds is unknown here, and latest belongs to it."""
    outcome = decide("1.9.3", "X", {"latest": "C", "1": "B"}, elsewhere=("2.0.0", "1.9.4", "latest"))
    assert moved(outcome) == [("1.9.3", None, "X")]
    assert outcome.held == (("1.9", "1.9.4"), ("1", "1.9.4"), ("latest", "2.0.0"))


def test_a_crash_in_between_is_finished_by_the_next_run() -> None:
    tags = history("1.9.1")
    moves = decide("1.9.2", "B", tags).moves
    for done in range(len(moves) + 1):
        half = {**tags, **{move.tag: move.after or "" for move in moves[:done]}}
        assert publish("1.9.2", "B", half) == publish("1.9.2", "B", tags)


def test_levels() -> None:
    assert tags_of(Rules(levels=("latest", "patch")), "1.9.2") == ("latest", "1.9.2")
    assert tags_of(Rules(levels=("minor",)), "1.9.2") == ("1.9.2", "1.9"), "the full tag is the memory: always written"
    with pytest.raises(Invalid, match="is not a level of scheme semver — choose from major, minor, patch, latest"):
        tags_of(Rules(levels=("month",)), "1.9.2")


def test_zero_major_is_a_level_like_any() -> None:
    assert tags_of(SEMVER, "0.3.1") == ("0", "0.3", "0.3.1", "latest")


def test_a_tag_that_would_be_too_long() -> None:
    with pytest.raises(Invalid, match="which is not valid — a tag has at most 128"):
        decide("1.0.0-" + "a" * 130, "X", {})
    with pytest.raises(Invalid, match="is not valid"):
        decide("1.0.0", "X", {}, Rules(variant="bad/variant"))


def test_what_a_container_follows() -> None:
    assert track_tag(SEMVER, "1") == "1"
    assert track_tag(SEMVER, "latest") == "latest"
    assert track_tag(Rules(variant="alpine", prefix="v"), "1.9") == "v1.9-alpine"
    assert track_tag(Rules(variant="alpine", prefix="v"), "v1.9") == "v1.9-alpine"
    assert track_tag(Rules(variant="alpine"), "latest") == "alpine"


def test_what_must_be_looked_up_in_a_registry() -> None:
    names = ["1.8.0", "1.9.1", "1.9.2", "2.0.0", "1", "1.9", "1.8", "2", "latest", "nightly", "v1.9.3"]
    assert needed(SEMVER, "1.9.3", names) == {"v1.9.3", "1", "1.9", "latest", "2.0.0"}


# ---- prune -------------------------------------------------------------------------------------------------------


def test_levels_that_were_dropped_are_taken_away() -> None:
    tags = history("1.9.2", "2.0.0")
    outcome = decide("2.0.0", "image-2.0.0", tags, Rules(levels=("patch", "latest"), prune=Prune()))
    assert [tag for tag, _ in outcome.removals] == ["1", "1.9", "2", "2.0"]
    assert decide("2.0.0", "image-2.0.0", tags, Rules(levels=("patch", "latest"))).removals == ()


def test_what_somebody_else_put_there_stays() -> None:
    tags = history("1.9.2") | {"1": "something-else"}
    outcome = decide("1.9.2", "image-1.9.2", tags, Rules(levels=("patch", "latest"), prune=Prune()))
    assert outcome.removals == (("1.9", "image-1.9.2"),)


def test_old_versions_go_but_never_one_that_a_name_leads_to() -> None:
    tags = history("1.8.0", "1.9.1", "1.9.2", "2.0.0-rc.1", "2.0.0", "2.0.1", "2.0.2")
    outcome = decide("2.0.2", "image-2.0.2", tags, Rules(prune=Prune(keep=2)))
    assert [tag for tag, _ in outcome.removals] == ["1.9.1", "2.0.0-rc.1", "2.0.0"]
    assert decide("2.0.2", "image-2.0.2", tags, Rules(prune=Prune(keep=9))).removals == ()
    kept = decide("1.9.1", "image-1.9.1", tags, Rules(prune=Prune(keep=0)))
    assert "1.9.1" not in dict(kept.removals), "the version published now stays"


# ---- other schemes -----------------------------------------------------------------------------------------------

CALVER = Rules(scheme="calver")


@pytest.mark.parametrize(
    ("version", "tags"),
    [
        ("2026.11.23", ("2026", "2026.11", "2026.11.23", "latest")),
        ("v2026.04.1", ("2026", "2026.04", "2026.04.1", "latest")),
        ("26.4.1", ("26", "26.4", "26.4.1", "latest")),
        ("2026.11.23.2", ("2026", "2026.11", "2026.11.23.2", "latest")),
        ("2026.11.23-rc1", ("2026.11.23-rc1",)),
        ("2026.11.23.dev1", ("2026.11.23.dev1",)),
    ],
)
def test_calver_tags(version: str, tags: tuple[str, ...]) -> None:
    assert tags_of(CALVER, version) == tags


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("2026.13.1", "has no month 13"),
        ("2026.0.1", "has no month 0"),
        ("2026.11", "looks like a tag of the level month — add a part"),
        ("1.9.2", "is not a calendar version"),
        ("2026", "is not a calendar version"),
        ("2026.11.23+b", "is not a calendar version"),
    ],
)
def test_calver_refusals(version: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        tags_of(CALVER, version)


def test_calver_backport_and_order() -> None:
    tags = history("2026.4.30", "2026.10.1", "2026.9.5", rules=CALVER)
    assert tags["latest"] == tags["2026"] == "image-2026.10.1"
    assert tags["2026.9"] == "image-2026.9.5"
    more = history("2026.11.9", "2026.11.10-rc1", "2026.11.10", rules=CALVER)
    assert more["2026.11"] == "image-2026.11.10"


def test_calver_two_parts_where_the_month_does_not_float() -> None:
    rules = Rules(scheme="calver", levels=("year", "full", "latest"))
    assert tags_of(rules, "24.04") == ("24", "24.04", "latest")
    tags = history("24.04", "24.04.1", "22.04.5", rules=rules)
    assert tags["latest"] == tags["24"] == "image-24.04.1"


def test_calver_spellings_are_one_version() -> None:
    outcome = decide("2026.4.1", "X", {"2026.04.1": "Y"}, CALVER)
    assert outcome.errors != ()


def test_literal_tags_move_freely() -> None:
    rules = Rules(scheme="literal")
    assert tags_of(rules, "nightly, edge") == ("nightly", "edge")
    assert moved(decide("nightly", "B", {"nightly": "A", "latest": "A"}, rules)) == [("nightly", "A", "B")]
    assert decide("nightly", "A", {"nightly": "A"}, rules).moves == ()
    assert decide("nightly", "A", {"nightly": "A"}, rules).unchanged == ("nightly",)
    assert tags_of(Rules(scheme="literal", variant="alpine"), "edge") == ("edge-alpine",)


@pytest.mark.parametrize("version", ["", " ", "a b/c", ".x", "x" * 129])
def test_literal_refusals(version: str) -> None:
    with pytest.raises(Invalid):
        tags_of(Rules(scheme="literal"), version)


# ---- metadata-action ---------------------------------------------------------------------------------------------

# Where our rules differ on purpose, and what we give instead of its tags.
DEPARTURES: dict[str, tuple[Rules, tuple[str, ...] | None, str]] = {
    "push12": (SEMVER, None, "no version in the event: it skips with a warning, we refuse"),
    "tag14": (SEMVER, None, "the same"),
    "tag31": (Rules(prefix="v"), ("v2.0.8-beta.67",), "{{raw}} keeps what was typed; we write v by prefix: v"),
    "tag34": (SEMVER, None, "p1/v1.0.0 is cut by a regular expression; we read versions, not refs"),
    "push35": (SEMVER, None, "the same"),
    "tag21": (Rules(levels=("patch", "latest"), variant="dev"), ("1.1.1-dev", "dev"), "latest-dev is spelt dev"),
    "tag22": (
        Rules(levels=("patch", "latest"), variant="dev", prefix="foo-"),
        ("foo-1.1.1-dev", "dev"),
        "the prefix goes before versions only",
    ),
}
_PATTERNS = {
    "{{version}}": "patch",
    "{{raw}}": "patch",
    "{{major}}.{{minor}}.{{patch}}": "patch",
    "{{major}}.{{minor}}": "minor",
    "{{major}}": "major",
}


def semver_cases() -> list[dict[str, Any]]:
    groups = [group for name, group in CASES.items() if isinstance(group, list) and not name.startswith("_")]
    return [case for group in groups for case in group if any("type=semver" in rule for rule in case["tags"])]


@pytest.mark.parametrize("case", semver_cases(), ids=lambda case: case["id"])
def test_metadata_action(case: dict[str, Any]) -> None:
    patterns = [rule.split("pattern=")[1].split(",")[0] for rule in case["tags"] if "type=semver" in rule]
    values = [
        rule.split("value=")[1].split(",")[0] for rule in case["tags"] if "type=semver" in rule and "value=" in rule
    ]
    version = values[0] if values else case["event"]["ref"].removeprefix("refs/tags/").removeprefix("refs/heads/")
    if case["id"] in DEPARTURES:
        rules, tags, _ = DEPARTURES[case["id"]]
        if tags is None:
            with pytest.raises(Invalid):
                tags_of(rules, version)
        else:
            assert tags_of(rules, version) == tags
        return
    levels = tuple(_PATTERNS[pattern] for pattern in patterns)
    latest = ("latest",) if case["expected_version"]["latest"] else ()
    ours = set(tags_of(Rules(levels=(*levels, *latest)), version))
    image = case["images"][0]
    theirs = {tag.removeprefix(f"{image}:") for tag in case["expected_tags"] if tag.startswith(f"{image}:")}
    other_rules = {"my", "custom", "tags", "edge", "foo", "2.0"}  # tags of raw, edge and match rules in the same case
    assert ours == theirs - other_rules
