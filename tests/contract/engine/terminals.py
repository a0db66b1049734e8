"""A stock docker client on a terminal of its own, for tests of `-t`: typed into, read from, resized.

The rule that keeps it simple: what was read is kept as one text; tests wait for what they expect in it.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from tests.engines import Engine

_SECONDS = 30.0


class Terminal:
    """One client on a terminal. Use it as a context manager."""

    def __init__(self, engine: Engine, *args: str) -> None:
        self._master, slave = pty.openpty()
        self.resize(24, 80)
        environment = {
            "PATH": engine.flavour.path,
            "HOME": str(engine.folder),
            "DOCKER_HOST": engine.url,
            "TERM": "xterm",
        }
        self.client = subprocess.Popen(
            [engine.flavour.docker, *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no other thread forks here
        )
        os.close(slave)
        self.text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.kill()
        self.client.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, wanted: str, seconds: float = _SECONDS) -> str:
        """Read until `wanted` was seen; AssertionError with what there was where it is not."""
        ends = time.monotonic() + seconds
        while wanted not in self.text:
            assert time.monotonic() < ends, f"{wanted!r} not in {self.text!r}"
            if not select.select([self._master], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the client has closed its side
                data = b""
            if not data:
                break
            self.text += data.decode(errors="replace")
        assert wanted in self.text, f"{wanted!r} not in {self.text!r}"
        return self.text

    def ends(self, seconds: float = _SECONDS) -> int:
        """Wait for the client's end; give its exit code."""
        ends = time.monotonic() + seconds
        while self.client.poll() is None and time.monotonic() < ends:
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self._master, 65536).decode(errors="replace")
                except OSError:
                    break
        return self.client.wait(max(0.1, ends - time.monotonic()))
