"""Work that can wait a moment: taking down what may be needed again at once, or what the kernel takes down by itself.

The rule that keeps it simple: one thread, a name for each piece of work, and none is lost: `flush` does what is left.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Later:
    """Pieces of work, each with the time when it is due. `failed` is told what one raises. Safe to use from several threads."""

    def __init__(self, failed: Callable[[str, Exception], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._failed = failed
        self._clock = clock
        self._changed = threading.Condition()
        self._due: dict[str, tuple[float, Callable[[], None]]] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        """Do this in a while, in the place of what has the same name."""
        with self._changed:
            self._due[name] = (self._clock() + seconds, work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="later", daemon=True)
                self._thread.start()
            self._changed.notify()

    def cancel(self, name: str) -> bool:
        """Leave it undone; whether it was still to be done."""
        with self._changed:
            return self._due.pop(name, None) is not None

    def flush(self) -> None:
        """Do all of it now, here."""
        while True:
            with self._changed:
                if not self._due:
                    return
                name = next(iter(self._due))
                _, work = self._due.pop(name)
            self._do(name, work)

    def close(self) -> None:
        """Do what is left, and end."""
        self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                name = min(self._due, key=lambda name: self._due[name][0], default=None)
                if name is None:
                    self._changed.wait()
                    continue
                due, work = self._due[name]
                if (wait := due - self._clock()) > 0:
                    self._changed.wait(wait)
                    continue
                del self._due[name]
            self._do(name, work)

    def _do(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the rest is still to be done
            self._failed(name, error)
