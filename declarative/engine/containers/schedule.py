"""What is to be done later: restarts, health checks, time-outs. One thread that waits, a few that work.

The rule that keeps it simple: work is handed to the workers, never done by the thread that waits; so a slow one delays nobody.
`clock` is monotonic, in seconds.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_WORKERS = 8


class Appointment:
    """Work that is due at some time, unless it is called off first."""

    __slots__ = ("_off", "due", "work")

    def __init__(self, due: float, work: Callable[[], None]) -> None:
        self.due = due
        self.work = work
        self._off = False

    def call_off(self) -> None:
        """Have it not done, where it has not begun."""
        self._off = True

    @property
    def is_off(self) -> bool:
        """Whether it was called off."""
        return self._off


class Schedule:
    """The appointments. `failed` is told of errors that work raises: nobody else hears of them."""

    def __init__(
        self,
        failed: Callable[[BaseException], None],
        clock: Callable[[], float] = time.monotonic,
        workers: int = _WORKERS,
    ) -> None:
        self._failed = failed
        self._clock = clock
        self._turn = threading.Condition()
        self._heap: list[tuple[float, int, Appointment]] = []
        self._count = itertools.count()
        self._closed = False
        self._workers = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="work")
        self._one = ThreadPoolExecutor(max_workers=1, thread_name_prefix="long work")
        self._thread = threading.Thread(target=self._wait, name="schedule", daemon=True)
        self._thread.start()

    def soon(self, work: Callable[[], None]) -> None:
        """Have it done now, by a worker."""
        self._submit(self._workers, work)

    def in_turn(self, work: Callable[[], None]) -> None:
        """Have it done one after another: it may take long, and nobody waits for it, nor should for the others."""
        self._submit(self._one, work)

    def _submit(self, workers: ThreadPoolExecutor, work: Callable[[], None]) -> None:
        with self._turn:  # the workers go home once `_closed` is set
            if not self._closed:
                workers.submit(self._do, work)

    def after(self, seconds: float, work: Callable[[], None]) -> Appointment:
        """Have it done in so many seconds."""
        appointment = Appointment(self._clock() + seconds, work)
        with self._turn:
            heapq.heappush(self._heap, (appointment.due, next(self._count), appointment))
            if self._heap[0][2] is appointment:
                self._turn.notify()
        return appointment

    def close(self) -> None:
        """Do nothing more; what has begun comes to its end."""
        with self._turn:
            self._closed = True
            self._heap.clear()
            self._turn.notify()
        self._thread.join()
        for workers in (self._workers, self._one):
            workers.shutdown(wait=True, cancel_futures=True)

    def _wait(self) -> None:
        while True:
            with self._turn:
                while not self._closed and (not self._heap or self._heap[0][0] > self._clock()):
                    self._turn.wait(self._heap[0][0] - self._clock() if self._heap else None)
                if self._closed:
                    return
                appointment = heapq.heappop(self._heap)[2]
            if not appointment.is_off:
                self.soon(appointment.work)

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a worker must go on
            self._failed(error)
