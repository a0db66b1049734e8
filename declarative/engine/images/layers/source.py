"""A stream that comes in pieces of any size, read in pieces of the size that is wanted.

The rule that keeps it simple: nothing is kept that was read, and no more is gathered than was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Source:
    """`chunks`, read by size. `subject` names the stream in errors."""

    def __init__(self, chunks: Iterable[bytes], subject: str) -> None:
        self.subject = subject
        self._chunks = iter(chunks)
        self._chunk = memoryview(b"")
        self._at = 0

    def take(self, size: int) -> bytes:
        """Give exactly `size` bytes. Invalid where the stream ends before."""
        end = self._at + size
        if end <= len(self._chunk):
            data = bytes(self._chunk[self._at : end])
            self._at = end
            return data
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Give exactly `size` bytes in pieces as they come. Invalid where the stream ends before."""
        while size:
            if self._at == len(self._chunk) and not self._more():
                raise Invalid(self.subject, f"ends in the middle: {size} bytes are missing", "fetch it again")
            piece = self._chunk[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def piece(self, size: int) -> memoryview | None:
        """Give `size` bytes at once, where they have come already."""
        end = self._at + size
        if end > len(self._chunk):
            return None
        found = self._chunk[self._at : end]
        self._at = end
        return found

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        if self._at + size <= len(self._chunk):
            self._at += size
            return
        for _ in self.pieces(size):
            pass

    def at_end(self) -> bool:
        """Tell whether nothing is left."""
        return self._at == len(self._chunk) and not self._more()

    def drain(self) -> None:
        """Read all that is left, and forget it: digests cover it."""
        while self._more():
            pass

    def _more(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._chunk, self._at = memoryview(chunk), 0
                return True
        self._chunk, self._at = memoryview(b""), 0
        return False
