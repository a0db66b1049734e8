"""A stream that is prepared by a second thread, a little ahead of whoever reads it.

The rule that keeps it simple: what unpacks and hashes lets go of the interpreter, so it costs the reader nothing while he waits
for the disk. A small stream is not worth a thread: it begins with the first piece after a few.
"""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_IN_LINE = 2
"""Pieces, of a megabyte mostly, without a thread."""
_AHEAD = 4
"""Pieces that wait to be read: with those in hand, less than ten megabytes."""


@contextmanager
def ahead(pieces: Iterable[bytes]) -> Iterator[Iterator[bytes]]:
    """Give the same pieces; an error of theirs comes where they would. The thread has ended when the block has."""
    source = iter(pieces)
    waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
    stopped = threading.Event()
    thread = threading.Thread(target=_run, args=(source, waiting, stopped), name="ahead", daemon=True)

    def stream() -> Iterator[bytes]:
        yield from islice(source, _IN_LINE)
        thread.start()
        while (piece := waiting.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    try:
        yield stream()
    finally:
        stopped.set()
        while thread.is_alive():
            try:
                waiting.get(timeout=0.05)
            except queue.Empty:
                continue


def _run(source: Iterator[bytes], waiting: queue.Queue[bytes | BaseException | None], stopped: threading.Event) -> None:
    try:
        for piece in source:
            waiting.put(piece)
            if stopped.is_set():
                return
    except BaseException as error:  # noqa: BLE001 - it is raised where the pieces are read
        waiting.put(error)
    else:
        waiting.put(None)
