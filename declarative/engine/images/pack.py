"""A tar stream into a gzip'd layer blob: one pass that hashes both sides.

The rule that keeps it simple: the fastest compression that helps (isal, level 1); small layers are done in line, a large one
by a second thread, since hashing and compressing let go of the interpreter.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import zlib
from typing import TYPE_CHECKING, Protocol, Self

from declarative.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_PIECE = 256 << 10
_IN_LINE = 4
"""Pieces that are done without a second thread: a megabyte takes less time than a thread and its queue are worth."""
_AHEAD = 8


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def compressor() -> _Compressor:
    """Make what writes one gzip member without a time or a name in it."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(1, zlib.DEFLATED, 31)
    made: _Compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
    return made


def pack(chunks: Iterable[bytes], write: Callable[[bytes], object]) -> Digest:
    """Compress a stream and `write` it, from one thread at a time; give the digest of the stream itself."""
    hasher = hashlib.sha256()
    with Packing(write) as packing:
        for piece in gathered(chunks):
            packing.feed(piece)
            hasher.update(piece)
    return Digest(algorithm="sha256", hex=hasher.hexdigest())


class Packing:
    """Compresses what it is fed, and writes it. All is written once the block has ended well."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._compressor = compressor()
        self._behind = Behind(self._compress)
        self._pieces = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._behind.__exit__(kind, *rest)
        if kind is None:
            self._write(self._compressor.flush())

    def feed(self, piece: bytes) -> None:
        """Take the next bytes. Raises what `write` raised."""
        self._pieces += 1
        if self._pieces <= _IN_LINE:
            self._compress(piece)
        else:
            self._behind.put(piece)

    def _compress(self, piece: bytes) -> None:
        if packed := self._compressor.compress(piece):
            self._write(packed)


def gathered(chunks: Iterable[bytes], size: int = _PIECE) -> Iterator[bytes]:
    """Cut a stream anew, into pieces of exactly `size` bytes: what isal makes of the same bytes depends on how they come."""
    waiting: list[bytes] = []
    length = 0
    for chunk in chunks:
        waiting.append(chunk)
        length += len(chunk)
        if length >= size:
            whole = waiting[0] if len(waiting) == 1 else b"".join(waiting)
            end = length - length % size
            for at in range(0, end, size):
                yield whole[at : at + size]
            waiting, length = [whole[end:]], length - end
    if length:
        yield b"".join(waiting)


class Behind:
    """Does one thing after the other in a second thread, begun with the first. Its error comes out here."""

    def __init__(self, act: Callable[[bytes], None]) -> None:
        self._act = act
        self._queue: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def put(self, piece: bytes) -> None:
        """Hand over the next thing, and wait while many are not done yet. Raises what the thread raised."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="behind", daemon=True)
            self._thread.start()
        if self._error is not None:
            raise self._error
        self._queue.put(piece)

    def _run(self) -> None:
        while (piece := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._act(piece)
                except BaseException as error:  # noqa: BLE001 - it is raised in the other thread
                    self._error = error
