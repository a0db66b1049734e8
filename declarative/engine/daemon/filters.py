"""Filters of lists, prunes and events: `{"label": ["a=b"], "reference": ["busy*"]}`.

The rule that keeps it simple: values of one name are alternatives, but for labels, which must all be there; a name that the
endpoint does not know is refused, as dockerd refuses it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from declarative.errors import Invalid
from declarative.oci.matching import STAR, starred

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

Filters = dict[str, tuple[str, ...]]


def check_names(filters: Filters, known: Collection[str]) -> None:
    """Raise Invalid, in Docker's words, for a filter that is none of `known`."""
    for name in filters:
        if name not in known:
            raise Invalid("", f"invalid filter '{name}'")


def flag(filters: Filters, name: str, *, default: bool) -> bool:
    """Give a filter that is a boolean. Invalid for another value, or for both."""
    found = {value.lower() for value in filters.get(name, ())}
    if not found:
        return default
    if found <= {"1", "true"}:
        return True
    if found <= {"0", "false"}:
        return False
    raise Invalid("", f"invalid filter '{name}={sorted(found)}'")


def labels_match(wanted: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Tell whether all `NAME` or `NAME=VALUE` are there."""
    for entry in wanted:
        name, equals, value = entry.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True


def labels_allow(filters: Filters, labels: Mapping[str, str]) -> bool:
    """Apply `label` and `label!`, as prunes have them."""
    if not labels_match(filters.get("label", ()), labels):
        return False
    return not any(labels_match((entry,), labels) for entry in filters.get("label!", ()))


def pattern_matches(pattern: str, text: str) -> bool:
    """Match as Go's path.Match does: `*` and `?` stop at slashes. Invalid for a pattern that is none."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    made: list[str] = []
    place = 0
    while place < len(pattern):
        sign = pattern[place]
        place += 1
        if sign == "*":
            made.append(STAR)
        elif sign == "?":
            made.append("[^/]")
        elif sign == "[":
            text, place = _class(pattern, place)
            made.append(text)
        elif sign == "\\":
            if place >= len(pattern):
                raise _bad(pattern)
            made.append(re.escape(pattern[place]))
            place += 1
        else:
            made.append(re.escape(sign))
    return re.compile(starred(made), re.DOTALL)


def _class(pattern: str, place: int) -> tuple[str, int]:
    """Translate a class such as `[^a-z]`, from behind its bracket on; and give the place behind it."""
    negated = pattern[place : place + 1] == "^"
    place += negated
    ranges: list[str] = []
    while True:
        if pattern[place : place + 1] == "]" and ranges:
            break
        low, place = _member(pattern, place)
        high = low
        if pattern[place : place + 1] == "-":
            high, place = _member(pattern, place + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            ranges.append("")  # an empty range matches nothing, and is no error (path.Match)
    body = "".join(ranges)
    if not body:
        return ("[^/]" if negated else "(?!)"), place + 1
    return (f"(?!/)[^{body}]" if negated else f"[{body}]"), place + 1


def _member(pattern: str, place: int) -> tuple[str, int]:
    if place >= len(pattern) or pattern[place] in "-]":
        raise _bad(pattern)
    if pattern[place] == "\\":
        place += 1
        if place >= len(pattern):
            raise _bad(pattern)
    return pattern[place], place + 1


def _bad(pattern: str) -> Invalid:
    return Invalid("", f"invalid pattern {pattern[:80]!r}: syntax error in pattern")
