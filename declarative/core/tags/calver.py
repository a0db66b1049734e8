"""The calver policy: 2026.11.23 (or 2026.11.4, 26.11.4) competes for 2026.11, 2026 and latest.

The rule that keeps it simple: a version has more parts than the deepest floating level, so that a tag is either a version or a
floating name, never both. `2026.11` is a version only where `month` is not among the levels. Zero padding is kept as written,
and does not count in the order: 2026.04.1 and 2026.4.1 are one version in two spellings.
"""

from __future__ import annotations

import re

from declarative.core.tags.release import Floating, Release
from declarative.core.tags.version import LONGEST, Order, identifier_order, shown
from declarative.errors import Invalid

LEVELS = ("year", "month", "full", "latest")
ALL_LEVELS = ("year", "month", "day", "full", "latest")

_DEPTH = {"day": 3, "month": 2, "year": 1}
"""Level to the number of leading parts it shows, most specific first."""

_GRAMMAR = re.compile(
    r"v?(?P<date>(?:[0-9]{4}|[0-9]{2})(?:\.[0-9]{1,18}){1,4})(?:[-.]?(?P<modifier>[A-Za-z][0-9A-Za-z]*(?:[.-][0-9A-Za-z]+)*))?"
)
_FINAL = (3, 0, "")


def read(text: str, levels: tuple[str, ...], *, replace_build: bool) -> Release:  # noqa: ARG001 - the policies' common shape
    """Read YYYY.MM.DD, YYYY.MM.MICRO or YY.MM.MICRO; a modifier (`-rc1`) makes it a prerelease. Raises Invalid if it is none."""
    found = _GRAMMAR.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        raise Invalid(f"version {shown(text)!r}", "is not a calendar version", "write YYYY.MM.DD or YYYY.MM.MICRO")
    parts = found["date"].split(".")
    _check(text, parts, levels)
    modifier = found["modifier"]
    floats = () if modifier else _floats(parts, levels)
    return Release(full=text.removeprefix("v"), order=_order(parts, modifier), final=not modifier, floats=floats)


def _check(text: str, parts: list[str], levels: tuple[str, ...]) -> None:
    if not 1 <= int(parts[1]) <= 12:
        raise Invalid(f"version {text!r}", f"has no month {parts[1]}", "months are 1 to 12")
    for level, depth in _DEPTH.items():
        if level in levels and len(parts) <= depth:
            remedy = f"add a part (the day, or a counter), or leave {level} out of the levels"
            raise Invalid(f"version {text!r}", f"looks like a tag of the level {level}", remedy)


def _order(parts: list[str], modifier: str | None) -> Order:
    """Order by number; 26 is 2026. A shorter version comes before its own continuation, a modified one before the plain."""
    year = int(parts[0]) + (2000 if len(parts[0]) == 2 else 0)
    numbers = ((4, year, ""), *((4, int(part), "") for part in parts[1:]))
    if modifier is None:
        return (*numbers, _FINAL)
    return (*numbers, *(identifier_order(part) for part in re.split(r"[.-]", modifier)))


def _floats(parts: list[str], levels: tuple[str, ...]) -> tuple[Floating, ...]:
    dated = [Floating(level=level, body=".".join(parts[:depth])) for level, depth in _DEPTH.items() if level in levels]
    latest = [Floating(level="latest", body="")] if "latest" in levels else []
    return (*dated, *latest)
