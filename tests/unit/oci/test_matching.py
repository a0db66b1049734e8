"""Patterns over references, as Go matches them."""

from __future__ import annotations

from typing import Any

import pytest

from declarative.errors import Invalid
from declarative.oci.matching import compile_pattern, matches_familiar
from declarative.oci.reference import Reference
from tests.shared_cases import load_cases

REFERENCES: dict[str, Any] = load_cases("reference/distribution-reference.json")


@pytest.mark.parametrize("case", REFERENCES["familiar_match"], ids=lambda case: case["reference"])
def test_familiar_match(case: dict[str, Any]) -> None:
    assert case["expected"] == matches_familiar(case["pattern"], Reference.parse(case["reference"]))


@pytest.mark.parametrize(
    "pattern",
    [
        *(case["pattern"] for case in REFERENCES["familiar_match_errors"]),
        *("[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[a", "[^", "[^bc", "a[", "[\\", "a\\"),
    ],
)
def test_malformed_pattern(pattern: str) -> None:
    with pytest.raises(Invalid, match="malformed pattern"):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "abc", True),
        ("*", "a/c", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[^a-c]", "d", True),
        ("[^a-c]", "b", False),
        ("[z-a]", "m", False),
        ("\\*", "*", True),
        ("\\*", "a", False),
        ("[\\]]", "]", True),
        ("a.c", "abc", False),
        ("a[^b]c", "a/c", True),  # a slash stops * and ? alone
        # of Go's path/match_test.go
        ("abc", "abc", True),
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
        ("*" * 60 + "x", "a" * 60, False),
    ],
)
def test_pattern(pattern: str, text: str, expected: bool) -> None:
    assert expected == (compile_pattern(pattern).fullmatch(text) is not None)
