"""Guesses what a person meant to write.

The rule that keeps it simple: one distance (Damerau-Levenshtein, restricted to adjacent swaps), and one threshold that grows with
the word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 64
"""Characters compared: no key or name of ours is longer, and the distance costs the product of the lengths."""


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Give the candidate most likely meant by `word`, or None where none is near. Ties go to the first in the alphabet."""
    if len(word) > _LONGEST:
        return None
    folded = word.casefold()
    allowed = max(1, (len(word) + 1) // 3)
    best: tuple[int, str] | None = None
    for candidate in candidates:
        other = candidate.casefold()
        if abs(len(other) - len(folded)) > allowed:
            continue
        found = (distance(folded, other), candidate)
        if found[0] <= allowed and found[0] < max(len(word), len(candidate)) and (best is None or found < best):
            best = found
    return best[1] if best else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Word the guess as a remedy: "did you mean `image`?", or "" where there is none."""
    guess = closest(word, candidates)
    return f"did you mean `{guess}`?" if guess is not None else ""


def distance(left: str, right: str) -> int:
    """Count the insertions, removals, replacements and swaps of neighbours that turn `left` into `right`."""
    older: list[int] = []
    old = list(range(len(right) + 1))
    for row, character in enumerate(left, start=1):
        new = [row]
        for column, other in enumerate(right, start=1):
            cost = min(old[column] + 1, new[-1] + 1, old[column - 1] + (character != other))
            if row > 1 and column > 1 and character == right[column - 2] and left[row - 2] == other:
                cost = min(cost, older[column - 2] + 1)
            new.append(cost)
        older, old = old, new
    return old[-1]
