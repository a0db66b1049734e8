"""Shows a place in a text: the offending line, the line before it, line numbers, and a mark under the place.

The rule that keeps it simple: what is printed is columns of a terminal, not characters: tabs become spaces, wide characters count
two, and the mark is put under what the reader sees.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from unicodedata import combining, east_asian_width

if TYPE_CHECKING:
    from declarative.errors import Span

_TAB = 4
_WIDEST = 160
"""Columns shown of one line: minified JSON and base64 come in lines of megabytes."""
_LEAD = 60
"""Columns kept before the mark where a line has to be cut."""


def snippet(text: str, span: Span, *, before: int = 1) -> str:
    """Give the lines of `text` that `span` points at, with `before` lines above; "" where the span names no line of the text."""
    lines = _lines(text)
    if not 1 <= span.line <= len(lines):
        return ""
    first = max(1, span.line - before)
    gutter = len(str(span.line))
    line = lines[span.line - 1]
    start = min(max(span.column - 1, 0), len(line))
    cut = _cut(start)
    shown = [f"{number:>{gutter}} | {_expand(lines[number - 1][cut:])}" for number in range(first, span.line + 1)]
    if span.column:
        shown.append(f"{'':{gutter}} | {_mark(line[cut:], start - cut, span.length)}")
    return "\n".join(row.rstrip() for row in shown)


@lru_cache(maxsize=8)
def _lines(text: str) -> list[str]:
    # str.splitlines breaks at NEL, LS and PS, as libyaml does (YAML 1.1 section 4.2); its other breaks are refused characters.
    return text.splitlines()


def _cut(start: int) -> int:
    return 0 if start + _LEAD // 2 < _WIDEST else start - _LEAD


def _width(character: str) -> int:
    if character == "\t":
        return _TAB
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def _expand(line: str) -> str:
    shown: list[str] = []
    room = _WIDEST
    for character in line:
        room -= _width(character)
        if room < 0:
            return "".join([*shown, "…"])
        shown.append(_visible(character))
    return "".join(shown)


def _visible(character: str) -> str:
    if character == "\t":
        return " " * _TAB
    # A control character must not reach a terminal: it could move the cursor or worse.
    return character if character.isprintable() or combining(character) else "\N{REPLACEMENT CHARACTER}"


def _mark(line: str, start: int, length: int) -> str:
    indent = sum(map(_width, line[:start]))
    width = sum(map(_width, line[start : start + max(1, length)]))
    return " " * indent + "^" * max(1, min(width, _WIDEST - indent))
