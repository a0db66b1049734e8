"""Reading a container's log: all of it or the last lines, and following it while it grows and is rotated.

`PATH` is being written; `PATH.1` is the newest of those that are full, `PATH.2` the one before it.

The rule that keeps it simple: a reader holds the file that it reads, whatever that is called by now. It goes on to the next one
when that is there, which means that the monitor has opened it, and the old one has been read to its end after that. So nothing is
missed and nothing read twice, however many rotations pass.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from typing import IO, TYPE_CHECKING, Self

from declarative.engine.runtime import kernel
from declarative.engine.runtime.logformat import Encoder, Wanted, is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BLOCK = 1 << 20
_TAIL_BLOCK = 64 << 10
_TICK_SECONDS = 1.0
RENAMING = threading.Lock()
"""Held while log files get other names, and while a reader looks for the next one."""


def read_log(
    path: Path,
    wanted: Wanted,
    *,
    tail: int | None = None,
    ended: Callable[[], bool] | None = None,
    gone: Callable[[], bool] = lambda: False,
    clock: Callable[[], int] = time.time_ns,
) -> Iterator[bytes]:
    """Give what a client gets of a log, in blocks. `tail`: the last lines only, counted before anything is left out.

    With `ended` the log is followed until that is true (the monitor has ended, so no more will be written) and all is read, or
    `gone` is (the reader does not want more), or the time `until` has come; both are asked about once a second.
    """
    encoder = Encoder(wanted)
    reader = _Reader(path, tail)
    try:
        yield from _all_there_is(reader, encoder)
        if ended is None:
            return
        with contextlib.ExitStack() as stack:
            try:
                changes = stack.enter_context(_Changes(path.parent))
            except FileNotFoundError:  # its container has ended, and was removed: what is left to read is all
                yield from _all_there_is(reader, encoder)
                return
            while not encoder.over and not gone() and not (wanted.until is not None and clock() > wanted.until):
                over = ended()  # asked before reading: what was written before the end is read after it
                found = False
                for block in _all_there_is(reader, encoder):
                    found = True
                    yield block
                if over and not found:
                    return
                if not found:
                    changes.wait(_TICK_SECONDS)
    finally:
        reader.close()


def files(path: Path) -> list[Path]:
    """Give the files of a log that are there, oldest first."""
    found = [path] if path.exists() else []
    number = 1
    while (older := path.with_name(f"{path.name}.{number}")).exists():
        found.append(older)
        number += 1
    return found[::-1]


def _all_there_is(reader: _Reader, encoder: Encoder) -> Iterator[bytes]:
    while not encoder.over and (entries := reader.entries()):
        block = encoder.encode(entries)
        if block:
            yield block


class _Reader:
    """Reads entries, file after file."""

    def __init__(self, path: Path, tail: int | None) -> None:
        self._path = path
        self._rest = b""
        self._later: list[IO[bytes]] = []
        self._file: IO[bytes] | None = None
        with RENAMING:
            for file in files(path):
                with contextlib.suppress(FileNotFoundError):
                    self._later.append(file.open("rb", buffering=0))
        if tail is not None:
            self._skip_to(tail)

    def entries(self) -> list[bytes]:
        """Give the next whole entries; [] where none are there yet."""
        while True:
            if self._file is None and not self._go_on():
                return []
            block = self._file.read(_BLOCK) if self._file is not None else b""
            if block:
                found = _lines(self._rest + block)
                self._rest = b"" if found[-1].endswith(b"\n") else found.pop()
                if found:
                    return found
            elif not self._go_on():
                return []

    def close(self) -> None:
        for file in (*self._later, *((self._file,) if self._file is not None else ())):
            file.close()

    def _go_on(self) -> bool:
        """Take the next file, if the monitor writes to a later one than this; what is left in this one is read first."""
        if not self._later and self._file is not None:
            self._look_for_later(self._file)
        if not self._later:
            if self._file is None:
                with RENAMING, contextlib.suppress(FileNotFoundError):
                    self._later.append(self._path.open("rb", buffering=0))
            if not self._later:
                return False
        if self._file is not None:
            last = self._file.read(_BLOCK)  # it may have grown before the monitor left it
            if last:
                self._file.seek(-len(last), os.SEEK_CUR)
                return True
            self._file.close()
            self._rest = b""  # an entry without an end: the machine stopped while it was written
        self._file = self._later.pop(0)
        return True

    def _look_for_later(self, current: IO[bytes]) -> None:
        """Open every file that is newer than the current one: each was opened by the monitor, which has left those before it.

        None may be called PATH: the monitor ends, or takes a moment, between two names.
        """
        number = os.fstat(current.fileno()).st_ino
        with RENAMING, contextlib.suppress(FileNotFoundError):  # those that are too many go at any time
            if self._path.exists() and self._path.stat().st_ino == number:
                return
            found = files(self._path)
            numbers = [file.stat().st_ino for file in found]
            newer = found[numbers.index(number) + 1 :] if number in numbers else found
            self._later = [file.open("rb", buffering=0) for file in newer]

    def _skip_to(self, tail: int) -> None:
        """Leave what comes before the last `tail` lines."""
        kept: list[IO[bytes]] = []
        while self._later:
            file = self._later.pop()
            kept.insert(0, file)
            left = _seek_to_tail(file, tail, newest=len(kept) == 1)
            if left <= 0:
                break
            tail = left
        for file in self._later:
            file.close()
        self._later = kept


def _seek_to_tail(file: IO[bytes], tail: int, *, newest: bool) -> int:
    """Go to where the last `tail` lines of a file begin; give how many more there would have to be."""
    position = file.seek(0, os.SEEK_END)
    if tail <= 0:
        return 0
    rest = b""
    first = True
    while position > 0:
        size = min(_TAIL_BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size) + rest
        cut = 0 if position == 0 else block.find(b"\n") + 1
        if cut == 0 and position > 0:
            rest = block
            continue
        found = _lines(block[cut:])
        at = position + len(block)
        for entry in reversed(found):
            # a line ends here; what is open at the very end counts as one
            if entry.endswith(b"\n") and (is_whole(entry) or (first and newest)):
                if tail == 0:
                    file.seek(at)
                    return 0
                tail -= 1
            first = False
            at -= len(entry)
        rest = block[:cut]
    file.seek(0)
    return tail


def _lines(block: bytes) -> list[bytes]:
    """Split at newlines, which stay. `splitlines` takes carriage returns for ends of lines too."""
    if b"\r" not in block:
        return block.splitlines(keepends=True)
    parts = block.split(b"\n")
    last = parts.pop()
    found = [part + b"\n" for part in parts]
    return [*found, last] if last else found


class _Changes:
    """Tells that something in a folder was written or renamed."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = kernel.inotify()
        mask = kernel.IN_MODIFY | kernel.IN_CREATE | kernel.IN_MOVED_TO
        try:
            kernel.inotify_watch(self._descriptor, folder, mask)
        except OSError:
            os.close(self._descriptor)
            raise

    def wait(self, seconds: float) -> None:
        """Return at a change since the last call, or after `seconds`."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if poll.poll(seconds * 1000):
            with contextlib.suppress(BlockingIOError):
                while os.read(self._descriptor, 64 << 10):
                    pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)
