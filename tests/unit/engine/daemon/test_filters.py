"""Filters, and patterns as Go matches them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.engine.daemon.filters import check_names, flag, labels_allow, labels_match, pattern_matches
from declarative.errors import Invalid


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [  # of Go's path/match_test.go
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*", "ab/c", False),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("ab[c]", "abc", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False),
        ("a?b", "a☺b", True),
        ("a[^a]b", "a☺b", True),
        ("a???b", "a☺b", False),
        ("[a-ω]*", "β", True),
        ("*[a-ω]", "A", False),
        ("a?b", "a/b", False),
        ("a*b", "a/b", False),
        ("[\\]a]", "]", True),
        ("[\\-]", "-", True),
        ("[x\\-]", "x", True),
        ("[x\\-]", "z", False),
        ("[\\-x]", "a", False),
        ("*x", "xxx", True),
        ("[b-a]", "a", False),
        ("busy*:l?test", "busybox:latest", True),
    ],
)
def test_patterns_match_as_in_go(pattern: str, text: str, matches: bool) -> None:
    assert pattern_matches(pattern, text) is matches


@pytest.mark.parametrize("pattern", ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "[\\", "a\\"])
def test_bad_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(Invalid, match="syntax error in pattern"):
        pattern_matches(pattern, "a")


@given(st.text(max_size=12), st.text(max_size=12))
def test_no_pattern_brings_it_down(pattern: str, text: str) -> None:
    try:
        pattern_matches(pattern, text)
    except Invalid:
        return


def test_labels() -> None:
    labels = {"a": "1", "b": ""}

    assert labels_match([], labels)
    assert labels_match(["a", "a=1", "b", "b="], labels)
    assert not labels_match(["a=2"], labels)
    assert not labels_match(["a", "c"], labels)
    assert labels_allow({"label": ("a",), "label!": ("c", "a=2")}, labels)
    assert not labels_allow({"label!": ("c", "a")}, labels)


def test_flags_and_names() -> None:
    assert flag({}, "dangling", default=True)
    assert flag({"dangling": ("1", "true")}, "dangling", default=False)
    assert not flag({"dangling": ("False",)}, "dangling", default=True)
    for values in (("x",), ("1", "0")):
        with pytest.raises(Invalid, match="invalid filter 'dangling="):
            flag({"dangling": values}, "dangling", default=True)
    with pytest.raises(Invalid, match="invalid filter 'nope'"):
        check_names({"label": (), "nope": ()}, {"label"})
