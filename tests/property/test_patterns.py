"""Patterns of paths: the expressions that cannot run away decide as those that can, and none of them runs away."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from declarative.oci.dockerfile.expand import _compiled, pattern_to_regex
from declarative.oci.dockerfile.patterns import PatternSet, _translate
from declarative.oci.matching import compile_pattern

_STAR, _DEEP = "[^/]*", "(.*/)?"
_TEXTS = st.text("ab/", max_size=9)


@given(st.lists(st.sampled_from(["a", "b", "/", "?", "*"]), max_size=8), _TEXTS)
@example(["*", "a", "*", "a", "b"], "aab")
def test_a_shell_pattern_decides_as_the_naive_expression(signs: list[str], text: str) -> None:
    naive = re.fullmatch("".join({"*": _STAR, "?": "[^/]"}.get(sign, sign) for sign in signs), text) is not None
    assert (compile_pattern("".join(signs)).fullmatch(text) is not None) is naive


@given(
    st.lists(st.sampled_from(["a", "b", "?", "*", "*a", "a*b*", "**", "**/a", "a**"]), min_size=1, max_size=6), _TEXTS
)
@example(["a", "**", "a", "**", "b"], "a/aa/b")
@example(["**", "a*b*", "**", "b"], "aab/b")
def test_a_pattern_of_dockerignore_decides_as_the_naive_expression(parts: list[str], path: str) -> None:
    text = "/".join(parts)
    pattern = PatternSet([f"x/../{text}/b"]).patterns[0]
    pieces = re.findall(r"\*\*/?|.", pattern.text)
    naive = "".join({"*": _STAR, "?": "[^/]"}.get(one, _DEEP if one.startswith("**") else one) for one in pieces)
    suffix = pattern.text.startswith("**") and "*" not in pattern.text[2:] and "?" not in pattern.text
    expected = path.endswith(pattern.text[2:]) or path == pattern.text[3:] if suffix else re.fullmatch(naive, path)
    assert pattern.matches(path) is bool(expected)


@given(
    st.lists(st.sampled_from(["a", "b", "/", "?", "*", "**", "**/", "[a]", "[^b]", "[^a/]"]), min_size=3, max_size=9),
    st.text("ab/\n", max_size=9),
)
@example(["a", "**", "a", "**", "b"], "aa/ab")
@example(["[^b]", "*", "[^b]", "**", "*", "b"], "a/a/b")
def test_any_pattern_of_dockerignore_decides_as_the_naive_expression(signs: list[str], path: str) -> None:
    text = f"?{''.join(signs)}b"
    pattern = PatternSet([text]).patterns[0]
    kind, pieces = _translate(pattern.text)
    assert kind == "regexp"
    assert pattern.matches(path) is (re.fullmatch("".join(pieces), path, re.ASCII) is not None)


@given(st.text("ab*?", max_size=7), st.text("ab", max_size=9))
def test_a_pattern_of_a_variable_decides_as_the_naive_expression(pattern: str, value: str) -> None:
    naive = re.compile(pattern_to_regex(pattern))
    assert (_compiled(pattern).fullmatch(value) is None) is (naive.fullmatch(value) is None)
    assert _compiled(pattern).sub("-", value) == naive.sub("-", value)


@pytest.mark.parametrize(
    "text",
    [
        *("*a" * 60 + "b", "**/" + "*a" * 60 + "b", "**/a/" * 40 + "b", "**/*a*b/" * 30 + "b"),
        *("*[a]" * 30 + "b", "**/*[a]/" * 20 + "b", "?" + "**a" * 20 + "b/c", "**/" * 20 + "b/c", "a**?" * 20 + "/b/c"),
    ],
)
def test_no_pattern_runs_away(text: str) -> None:
    began = time.monotonic()
    path = "a" * 120 + "/" + "a/" * 60 + "ab/" * 40
    assert not PatternSet([text]).matches(path)
    assert compile_pattern(text).fullmatch(path) is None
    assert _compiled(text).fullmatch(path) is None
    assert time.monotonic() - began < 2
