"""Detach keys: the sequence that lets a terminal's client go while the container runs on (`ctrl-p,ctrl-q`).

The rule that keeps it simple: bytes in, bytes out. What may be the beginning of the sequence is held back until it is certain.
"""

from __future__ import annotations

from declarative.errors import Invalid

DEFAULT = (16, 17)
_NAMED = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def read_keys(text: str) -> tuple[int, ...]:
    """Read `ctrl-p,ctrl-q` or `a,b`; the default for "". Invalid."""
    if not text:
        return DEFAULT
    keys = []
    for word in text.split(","):
        if len(word) == 1 and word.isascii():
            keys.append(ord(word))
            continue
        name = word.removeprefix("ctrl-")
        if name == word or len(name) != 1 or not (name in _NAMED or ("a" <= name.lower() <= "z")):
            raise Invalid("", f"Invalid detach keys ({text}) provided")
        keys.append(_NAMED.get(name, ord(name.lower()) - 96))
    return tuple(keys)


class Detector:
    """Watches what a terminal's client types."""

    def __init__(self, keys: tuple[int, ...]) -> None:
        self._keys = bytes(keys)
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Give what is to be passed on, and whether the client asks to be let go; then the rest of `data` is dropped."""
        passed = bytearray()
        for number in data:
            self._held += bytes((number,))
            while self._held and not self._keys.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
            if self._held == self._keys:
                self._held = b""
                return bytes(passed), True
        return bytes(passed), False
