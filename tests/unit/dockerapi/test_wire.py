"""Conversions at the wire's edge."""

from __future__ import annotations

import urllib.parse
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.dockerapi import wire


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-02-29T23:59:59Z", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
        ("2024-02-29t23:59:59.5z", datetime(2024, 2, 29, 23, 59, 59, 500_000, tzinfo=UTC)),
        ("2024-02-29T23:59:59.123456789Z", datetime(2024, 2, 29, 23, 59, 59, 123_456, tzinfo=UTC)),
        ("2024-03-01T01:29:59.000000001+01:30", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_times(text: str, moment: datetime | None) -> None:
    assert wire.parse_time(text) == moment


@pytest.mark.parametrize(
    "text", ["now", "2024-02-30T00:00:00Z", "2024-02-29", "2024-02-29T00:00:00", "2024-02-29T25:00:00Z"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.parse_time(text)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9000, 1, 1)), st.integers(-12, 12))  # noqa: DTZ001 - hypothesis wants them naive; the zone is put on below
def test_times_come_back(naive: datetime, hours: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert wire.parse_time(wire.format_time(moment)) == moment


@given(st.text())
def test_quoting_is_what_others_read(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    assert urllib.parse.unquote(wire.quote(text)) == text
    assert urllib.parse.unquote(wire.quote_name(text)) == text
    assert set(wire.quote(text)) <= set(map(chr, range(0x21, 0x7F)))


def test_queries() -> None:
    query: dict[str, wire.QueryValue] = {
        "all": True,
        "v": False,
        "t": 10,
        "none": None,
        "name": "a b&c=d",
        "filters": {"label": ["x=y"]},
    }
    query["changes"] = ("ENV A=1", "ENV B=2")
    text = wire.encode_query(query)
    assert urllib.parse.parse_qsl(text) == [
        ("all", "1"),
        ("v", "0"),
        ("t", "10"),
        ("name", "a b&c=d"),
        ("filters", '{"label":["x=y"]}'),
        ("changes", "ENV A=1"),
        ("changes", "ENV B=2"),
    ]


def test_names_keep_what_references_are_made_of() -> None:
    assert wire.quote_name("localhost:5000/a/b:1@sha256:0f") == "localhost:5000/a/b:1@sha256:0f"
    assert wire.quote_name("a b?c#d%") == "a%20b%3Fc%23d%25"
