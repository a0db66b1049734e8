"""Did you mean: near words are found, far ones are not."""

from __future__ import annotations

import pytest

from declarative.manifest.suggest import closest, did_you_mean, distance

KEYS = (
    "image",
    "command",
    "environment",
    "env_file",
    "ports",
    "expose",
    "volumes",
    "networks",
    "network_mode",
    "user",
    "init",
    "tty",
)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("imgae", "image"),
        ("imag", "image"),
        ("enviroment", "environment"),
        ("Ports", "ports"),
        ("port", "ports"),
        ("network", "networks"),
        ("volume", "volumes"),
        ("tyt", "tty"),
        ("banana", None),
        ("x", None),
        ("", None),
        ("e" * 10_000, None),
    ],
)
def test_the_nearest_key_is_found(word: str, meant: str | None) -> None:
    assert closest(word, KEYS) == meant


def test_ties_go_to_the_alphabet_whatever_the_order() -> None:
    assert closest("bat", ["cat", "bad"]) == closest("bat", ["bad", "cat"]) == "bad"


@pytest.mark.parametrize(
    ("left", "right", "steps"), [("", "", 0), ("a", "", 1), ("ab", "ba", 1), ("ca", "abc", 3), ("kitten", "sitting", 3)]
)
def test_the_distance_counts_edits_and_swaps(left: str, right: str, steps: int) -> None:
    assert distance(left, right) == distance(right, left) == steps


def test_the_remedy_is_worded_or_empty() -> None:
    assert did_you_mean("imgae", KEYS) == "did you mean `image`?"
    assert did_you_mean("banana", KEYS) == ""
