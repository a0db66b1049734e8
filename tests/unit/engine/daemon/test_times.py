"""Instants as clients write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.engine.daemon.times import SECOND, parse_instant, rfc3339
from declarative.errors import Invalid

_NOW = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("0", 0),
        ("1700000000", _NOW),
        ("1700000000.5", _NOW + SECOND // 2),
        ("1700000000.000000001", _NOW + 1),
        ("-1.5", -3 * SECOND // 2),
        ("2023-11-14T22:13:20Z", _NOW),
        ("2023-11-14T22:13:20.000000001Z", _NOW + 1),
        ("2023-11-14T23:13:20+01:00", _NOW),
        ("2023-11-14T22:13:20", _NOW),
        ("2023-11-14T22:13", _NOW - 20 * SECOND),
        ("2023-11-14T22", _NOW - 13 * 60 * SECOND - 20 * SECOND),
        ("2023-11-14", _NOW - (22 * 3600 + 13 * 60 + 20) * SECOND),
        ("10s", _NOW - 10 * SECOND),
        ("1h30m", _NOW - 5400 * SECOND),
    ],
)
def test_an_instant(text: str, instant: int) -> None:
    assert parse_instant(text, _NOW) == instant


@pytest.mark.parametrize("text", ["", "x", "2023-13-01", "2023-11-14T25:00", "1h30", "५", "2023-11-14T22:13:20+99:99"])
def test_what_is_no_instant(text: str) -> None:
    with pytest.raises(Invalid):
        parse_instant(text, _NOW)


@given(st.integers(0, 2**62))
def test_what_is_printed_is_read_again(instant: int) -> None:
    assert parse_instant(rfc3339(instant), 0) == instant


def test_printed_as_go_prints_it() -> None:
    assert rfc3339(_NOW) == "2023-11-14T22:13:20Z"
    assert rfc3339(_NOW + 120_000_000) == "2023-11-14T22:13:20.12Z"


@given(st.text(max_size=30))
def test_no_text_brings_it_down(text: str) -> None:
    try:
        parse_instant(text, _NOW)
    except Invalid:
        return
