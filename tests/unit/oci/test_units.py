"""Sizes and durations against the conformance cases of github.com/docker/go-units, and Go's duration rules."""

from __future__ import annotations

from typing import Any

import pytest

from declarative.errors import Invalid
from declarative.oci import units
from tests.shared_cases import load_cases

CASES: dict[str, Any] = load_cases("units/go-units.json")


@pytest.mark.parametrize("case", CASES["ram_in_bytes"], ids=lambda case: repr(case["input"]))
def test_binary_sizes(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(Invalid):
            units.parse_size(case["input"])
    else:
        assert case["bytes"] == units.parse_size(case["input"])


@pytest.mark.parametrize("case", CASES["bytes_size"], ids=lambda case: case["text"])
def test_format_binary(case: dict[str, Any]) -> None:
    assert case["text"] == units.format_size(case["bytes"])


@pytest.mark.parametrize("case", CASES["human_size"], ids=lambda case: case["text"])
def test_format_decimal(case: dict[str, Any]) -> None:
    assert case["text"] == units.format_decimal_size(case["bytes"])


@pytest.mark.parametrize("case", CASES["human_duration"], ids=lambda case: str(case["seconds"]))
def test_human_duration(case: dict[str, Any]) -> None:
    assert case["text"] == units.human_duration(round(case["seconds"] * units.SECOND))


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("-0", 0),
        ("5s", 5 * units.SECOND),
        ("1m30s", 90 * units.SECOND),
        ("1h0m0s", units.HOUR),
        ("1.5h", 90 * units.MINUTE),
        (".5s", 500 * units.MILLISECOND),
        ("1.s", units.SECOND),
        ("10ns", 10),
        ("11us", 11_000),
        ("12µs", 12_000),
        ("12μs", 12_000),
        ("13ms", 13_000_000),
        ("-1m", -units.MINUTE),
        ("+5s", 5 * units.SECOND),
        ("39h9m14.425s", 140_954_425_000_000),
        ("0.3333333333333333333h", 1_199_999_999_999),
        ("9223372036854775807ns", 2**63 - 1),
        ("2d", 2 * units.DAY),
        ("1w", 7 * units.DAY),
        ("30s1m", 90 * units.SECOND),
    ],
)
def test_parse_duration(text: str, nanoseconds: int) -> None:
    assert nanoseconds == units.parse_duration(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "-",
        "s",
        ".",
        ".s",
        "+.s",
        "1d2x",
        "1 s",
        "1h ",
        " 1h",
        "3000000h",
        "1s\n",
        "٣s",
        "9" * 10_000_000 + "s",
        "--1s",
    ],
)
def test_not_a_duration(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        units.parse_duration(text)

    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (300 * units.MILLISECOND, "300ms"),
        (30 * units.SECOND, "30s"),
        (4 * units.MINUTE + 5 * units.SECOND + 1, "4m5.000000001s"),
        (units.HOUR, "1h0m0s"),
        (100 * units.MINUTE, "1h40m0s"),
        (-90 * units.SECOND, "-1m30s"),
        (2**63 - 1, "2562047h47m16.854775807s"),
    ],
)
def test_format_duration(nanoseconds: int, text: str) -> None:
    assert text == units.format_duration(nanoseconds)
    assert nanoseconds == units.parse_duration(text)


@pytest.mark.parametrize("text", ["9" * 10_000_000, "8589934592g", "1e3", "nan", "inf", "٣k", "1_000", "1\n"])
def test_hostile_sizes(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        units.parse_size(text)

    assert len(str(caught.value)) < 400
