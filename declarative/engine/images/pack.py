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
    made = compressor()

    def compress(piece: bytes) -> None:
        if packed := made.compress(piece):
            write(packed)

    pieces = gathered(chunks)
    for _, piece in zip(range(_IN_LINE), pieces, strict=False):
        hasher.update(piece)
        compress(piece)
    with Behind(compress) as behind:
        for piece in pieces:
            behind.put(piece)
            hasher.update(piece)
    write(made.flush())
    return Digest(algorithm="sha256", hex=hasher.hexdigest())


def gathered(chunks: Iterable[bytes], size: int = _PIECE) -> Iterator[bytes]:
    """Join small chunks to pieces of about `size` bytes."""
    waiting: list[bytes] = []
    length = 0
    for chunk in chunks:
        waiting.append(chunk)
        length += len(chunk)
        if length >= size:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, length = [], 0
    if waiting:
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
