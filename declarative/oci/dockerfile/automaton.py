"""Patterns of paths decided in time that grows with the path alone, whatever the pattern.

The rule that keeps it simple: every place of the pattern where a match might be is followed at once, as bits of one number. An
expression of Python's would try the places one after the other, in all combinations, and hold up every other thread.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_STEPS_KEPT = 4096  # a few hundred do for any pattern that somebody wrote


def automaton(pieces: Sequence[str], *, repeated: Sequence[str], deep: str) -> Callable[[str], bool]:
    """Give what matches a whole text. `pieces`: expressions of one character each, but for three.

    Those are `repeated`, such as `[^/]*`, and `deep`, any text that ends with a slash, or none.
    """
    end = len(pieces)
    fits = [re.compile(piece.removesuffix("*") if piece in repeated else piece, re.ASCII).match for piece in pieces]
    optional = [piece == deep or piece in repeated for piece in pieces]

    def closed(places: int) -> int:
        """Add the places that are reached by nothing at all."""
        for at, may_be_nothing in enumerate(optional):
            if may_be_nothing and places >> at & 1:
                places |= 1 << at + 1
        return places

    @lru_cache(maxsize=_STEPS_KEPT)
    def step(places: int, character: str) -> int:
        """Give the places after one more character; bits above `end` are inside of a `deep`, which may not be left as nothing."""
        found = 0
        for at, piece in enumerate(pieces):
            here, inside = places >> at & 1, 1 << end + 1 + at
            if piece == deep and (here or places & inside):
                found |= inside if character != "\n" else 0
                found |= 1 << at + 1 if character == "/" else 0
            elif piece != deep and here and fits[at](character):
                found |= 1 << (at if piece in repeated else at + 1)
        return closed(found)

    def matches(text: str) -> bool:
        places = closed(1)
        for character in text:
            places = step(places, character)
            if not places:
                return False
        return bool(places >> end & 1)

    return matches
