"""Shell patterns over references, as in `docker images --filter reference=…`.

The rule: patterns are those of Go's `path.Match`, not of Python's fnmatch: `*` stops at a slash, a class is negated by
`^`, a backslash quotes, and a malformed pattern is an error.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.oci.reference import Reference


STAR = "[^/]*"


def matches_familiar(pattern: str, reference: Reference) -> bool:
    """Tell whether `pattern` matches the familiar text of `reference`, with or without its tag; raise Invalid."""
    expression = compile_pattern(pattern)
    return any(expression.fullmatch(text) for text in (reference.familiar(), reference.repository))


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Turn a `path.Match` pattern into an expression for `fullmatch`; raise Invalid if it is malformed."""
    pieces: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "[":
            piece, position = _read_class(pattern, position + 1)
        elif character == "\\":
            piece, position = _read_character(pattern, position)
            piece = re.escape(piece)
        else:
            piece = {"*": STAR, "?": "[^/]"}.get(character) or re.escape(character)
            position += 1
        pieces.append(piece)
    return re.compile(starred(pieces), re.DOTALL)


def starred(pieces: Iterable[str]) -> str:
    """Join expressions of one character each, and STAR, to one that costs no exponential time, whatever the pattern and the text.

    What stands between two stars is sought once: the first place where it fits is as good as any later one, for the star behind
    it takes what lies between. Python would go back and try them all, in all combinations, and hold up every other thread.
    """
    chunks = [""]
    for piece in pieces:
        if piece != STAR:
            chunks[-1] += piece
        elif chunks[-1] or len(chunks) == 1:  # runs of stars mean one star
            chunks.append("")
    first, *middle = chunks[:-1] or chunks
    last = STAR + chunks[-1] if len(chunks) > 1 else ""
    return first + "".join(f"(?>[^/]*?{chunk})" for chunk in middle) + last


def _read_class(pattern: str, position: int) -> tuple[str, int]:
    """Read `^a-z0-9]` from `position`; return an expression and the position behind it."""
    negated = pattern[position : position + 1] == "^"
    position += negated
    ranges = ""
    while pattern[position : position + 1] != "]" or not ranges:
        low, position = _read_member(pattern, position)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _read_member(pattern, position + 1)
        # An empty range is legal in Go and matches nothing; Python would refuse it.
        ranges += f"{re.escape(low)}-{re.escape(high)}" if low <= high else "\0-\0"
    return f"[{'^' if negated else ''}{ranges}]", position + 1


def _read_member(pattern: str, position: int) -> tuple[str, int]:
    if pattern[position : position + 1] in {"", "-", "]"}:
        raise _malformed(pattern)
    return _read_character(pattern, position)


def _read_character(pattern: str, position: int) -> tuple[str, int]:
    if pattern[position] == "\\":
        position += 1
        if position == len(pattern):
            raise _malformed(pattern)
    return pattern[position], position + 1


def _malformed(pattern: str) -> Invalid:
    return Invalid(repr(pattern[:80]), "malformed pattern", "known are * ? [a-z] [^a-z], and a backslash to quote")
