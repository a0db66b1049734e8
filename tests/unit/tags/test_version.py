"""Semantic versions: the grammar and the order of SemVer 2.0.0, against npm's and Masterminds' cases."""

from __future__ import annotations

from typing import Any

import pytest

from declarative.core.tags.version import Version
from declarative.errors import Invalid
from tests.shared_cases import load_cases

NPM: dict[str, Any] = load_cases("semver/node-semver.json")
GO: dict[str, Any] = load_cases("semver/masterminds-semver.json")


def strict(text: str) -> bool:
    try:
        Version.parse(text)
    except Invalid:
        return False
    return True


def test_npm_order() -> None:
    for case in NPM["comparisons_gt"]:
        greater, lesser = Version.parse(case["greater"]), Version.parse(case["lesser"])
        assert greater > lesser
        assert not greater < lesser
        assert greater != lesser


def test_npm_equality_ignores_builds() -> None:
    told = [case for case in NPM["equality"] if strict(case["a"]) and strict(case["b"])]
    assert len(told) >= 6
    for case in told:
        assert Version.parse(case["a"]) == Version.parse(case["b"])
        assert hash(Version.parse(case["a"])) == hash(Version.parse(case["b"]))


def test_go_order() -> None:
    told = [case for case in GO["compare"] if strict(case["v1"]) and strict(case["v2"])]
    assert len(told) >= 6
    for case in told:
        one, two = Version.parse(case["v1"]), Version.parse(case["v2"])
        assert (one > two) - (one < two) == case["expected"]


def test_npm_valid_versions() -> None:
    for case in NPM["valid_versions"]:
        found = Version.parse(case["version"])
        assert (found.major, found.minor, found.patch) == (case["major"], case["minor"], case["patch"])
        assert found.prerelease == tuple(map(str, case["prerelease"]))
        assert found.build == tuple(case["build"])


def test_invalid_versions() -> None:
    """Numbers beyond 2^53 are npm's limit, not SemVer's: those we read."""
    for case in NPM["invalid_versions"]:
        assert strict(str(case["version"])) is (case["reason"] == "too big")


def test_go_strict_versions() -> None:
    """A leading v is read, too, because git tags have one; that is the only departure."""
    for case in GO["strict_new_version"]:
        assert strict(case["version"].removeprefix("v")) is strict(case["version"])
        if not case["version"].startswith("v"):
            assert strict(case["version"]) is case["valid"], case


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("1.2", "write all three numbers, as in 1.2.0"),
        ("v1", "write all three numbers, as in 1.0.0"),
        ("1.02.3", "no leading zeros"),
        (" 1.2.3", "remove the blanks"),
        ("1.2.3.4", "MAJOR.MINOR.PATCH"),
        ("latest", "scheme: calver or literal"),
        ("1.2.3\n", "remove the blanks"),
        ("1.2.3-\u0661", "MAJOR.MINOR.PATCH"),
        ("", "MAJOR.MINOR.PATCH"),
        ("vv1.2.3", "MAJOR.MINOR.PATCH"),
        ("9" * 5000 + ".0.0", "MAJOR.MINOR.PATCH"),
    ],
)
def test_what_is_refused_says_what_to_write(text: str, remedy: str) -> None:
    with pytest.raises(Invalid) as caught:
        Version.parse(text)
    assert remedy in str(caught.value)
    assert len(str(caught.value)) < 220


def test_the_example_of_the_specification() -> None:
    """SemVer 2.0.0, section 11.4.4."""
    parts = ["-alpha", "-alpha.1", "-alpha.beta", "-beta", "-beta.2", "-beta.11", "-rc.1", ""]
    chain = [Version.parse(f"1.0.0{part}") for part in parts]
    chain.reverse()
    assert [str(version) for version in sorted(chain)] == [f"1.0.0{part}" for part in parts]
