"""The streams of a process that is our own child's: pipes, and one client who reads them himself.

The rule that keeps it simple: output ends with the process, not with the pipes: what it left running may hold them for ever. So
the process's descriptor is waited for along with them, and what is in the pipes by then is the last.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import TYPE_CHECKING, Self

from declarative.engine.runtime.streams import STDERR, STDOUT, Chunk
from declarative.errors import Unavailable

if TYPE_CHECKING:
    from types import TracebackType

_READ = 64 << 10


class PipeClient:
    """Takes over the ends of pipes, and a descriptor of the process that ends them. See `streams.Attachment`."""

    def __init__(self, stdin: int | None, stdout: int, stderr: int, process: int) -> None:
        self._stdin = stdin
        self._streams = {stdout: STDOUT, stderr: STDERR}
        self._process = process
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.epoll()
        for descriptor in (stdout, stderr, process, self._wake):
            self._poll.register(descriptor, select.EPOLLIN)
        for descriptor in self._streams:
            os.set_blocking(descriptor, False)
        self._owned = [stdout, stderr, process, self._wake]
        self._lock = threading.Lock()
        self._writing = self._input_ends = self._closed = self._ended = False

    def __del__(self) -> None:
        # not in `close`: another thread may be waiting for them
        self._poll.close()
        for descriptor in self._owned:
            os.close(descriptor)
        if self._stdin is not None:
            os.close(self._stdin)

    def fileno(self) -> int:
        """Give a descriptor for select and poll: readable when `read` does not block."""
        return self._poll.fileno()

    def read(self) -> Chunk | None:
        """Give the next output; None when there is no more. Blocks."""
        while not self._closed:
            ready = {number for number, _ in self._poll.poll()} if not self._ended else set(self._streams)
            if self._process in ready:
                self._ended = True  # the last turn: what it wrote is in the pipes
                self._poll.unregister(self._process)
                ready = set(self._streams)
            for descriptor in sorted(ready & self._streams.keys()):
                chunk = self._take(descriptor)
                if chunk is not None:
                    return chunk
            if self._ended:
                self._closed = True
                os.eventfd_write(self._wake, 1)  # so that `fileno` stays readable
        return None

    def _take(self, descriptor: int) -> Chunk | None:
        try:
            data = os.read(descriptor, _READ)
        except BlockingIOError:
            return None
        if data:
            return Chunk(stream=self._streams[descriptor], data=data)
        self._poll.unregister(descriptor)
        del self._streams[descriptor]
        return None

    def write(self, data: bytes) -> None:
        """Give input to the process. Blocks while it does not read. Unavailable where it takes none any more."""
        with self._lock:
            stdin = self._stdin
            if stdin is None or self._input_ends:
                raise Unavailable("attach", "the process takes no input any more")
            self._writing = True
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(stdin, view) :]
        except OSError as error:
            raise Unavailable("attach", f"the process takes no input any more: {error.strerror}") from error
        finally:
            with self._lock:
                self._writing = False
            if self._input_ends:
                self.close_input()

    def close_input(self) -> None:
        """End the input; output goes on."""
        with self._lock:
            self._input_ends = True
            if self._stdin is not None and not self._writing:
                os.close(self._stdin)
                self._stdin = None

    def close(self) -> None:
        """Go; a `read` in another thread gives None."""
        self._closed = True
        os.eventfd_write(self._wake, 1)
        with contextlib.suppress(OSError):
            self.close_input()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
