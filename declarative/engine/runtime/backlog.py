"""What a client has not taken yet: a little in memory, more in a file without a name, and not without end.

The rule that keeps it simple: first in, first out, whatever is where. Once something is in the file, all that follows goes there
too, until it has been read to its end. Where the disk is full, the backlog is.
"""

from __future__ import annotations

import struct
import tempfile
from collections import deque
from typing import IO, TYPE_CHECKING

from declarative.engine.runtime.streams import Chunk

if TYPE_CHECKING:
    from pathlib import Path

MEMORY_MAX = 1 << 20
FILE_MAX = 256 << 20
"""A client that is further behind holds the process up, as any does that is a megabyte behind dockerd."""
_MERGED = 64 << 10
_HEAD = struct.Struct(">BL")


class Backlog:
    """Chunks of one client. Not safe to use from several threads: the owner has the lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._chunks: deque[Chunk] = deque()
        self._file: IO[bytes] | None = None
        self._read = self._written = 0
        self._beyond: deque[Chunk] = deque()
        self.size = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be put in."""
        return bool(self._beyond) or self.size > MEMORY_MAX + FILE_MAX

    def put(self, chunk: Chunk) -> None:
        """Put a chunk at the end."""
        fits = self._file is None and self.size + len(chunk.data) <= MEMORY_MAX
        self.size += len(chunk.data)
        if self._beyond or not (fits or self._spill(chunk)):
            self._beyond.append(chunk)
        elif fits:
            self._chunks.append(chunk)

    def _spill(self, chunk: Chunk) -> bool:
        """Write a chunk to the file; False where the disk does not take it."""
        record = _HEAD.pack(chunk.stream, len(chunk.data)) + chunk.data
        try:
            if self._file is None:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed when it has been read
                self._read = self._written = 0
            self._file.seek(self._written)
            taken = self._file.write(record)
        except OSError:
            taken = 0
        if taken == len(record):
            self._written += taken
            return True
        if self._file is not None and self._written == 0:
            self._file.close()
            self._file = None
        return False

    def take(self) -> Chunk | None:
        """Take what comes first: as much of one stream as is there, within bounds. None where there is nothing."""
        first = self._next()
        if first is None:
            return None
        parts, size = [first.data], len(first.data)
        while size < _MERGED and self._chunks and self._chunks[0].stream == first.stream:
            parts.append(self._chunks.popleft().data)
            size += len(parts[-1])
        self.size -= size
        return first if len(parts) == 1 else Chunk(stream=first.stream, data=b"".join(parts))

    def close(self) -> None:
        """Throw everything away."""
        self._chunks.clear()
        self._beyond.clear()
        self.size = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next(self) -> Chunk | None:
        if self._chunks:
            return self._chunks.popleft()
        if self._file is None:
            self._chunks, self._beyond = self._beyond, self._chunks
            return self._chunks.popleft() if self._chunks else None
        self._file.seek(self._read)
        stream, size = _HEAD.unpack(self._file.read(_HEAD.size))
        data = self._file.read(size)
        self._read += _HEAD.size + size
        if self._read == self._written:
            self._file.close()
            self._file = None
        return Chunk(stream=stream, data=data)
