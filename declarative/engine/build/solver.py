"""Building what is numbered and depends on smaller numbers only: several at once, each when what it needs is there.

The rule that keeps it simple: workers take numbers in order, and whoever needs another's result waits for it. Since that has a
smaller number, it is done or somebody works on it; so nobody waits for ever. The first failure stops all.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from declarative.errors import DeclarativeError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
_ASK_SECONDS = 0.5


class Stop:
    """Whether to go on. Set once, by whoever has a reason; work looks at it between steps, and waits on it.

    `gone`: tells whether nobody waits for the result any more; asked a few times a second at most.
    """

    def __init__(self, gone: Callable[[], bool] = lambda: False, clock: Callable[[], float] = time.monotonic) -> None:
        self.event = threading.Event()
        self._gone = gone
        self._clock = clock
        self._asked = clock()

    def set(self) -> None:
        """Stop everything."""
        self.event.set()

    def __bool__(self) -> bool:
        if not self.event.is_set() and self._clock() - self._asked > _ASK_SECONDS:
            self._asked = self._clock()
            if self._gone():
                self.event.set()
        return self.event.is_set()

    def check(self) -> None:
        """Raise Interrupted where it is set."""
        if self:
            raise Interrupted("", "Build cancelled")


class Solver(Generic[T]):
    """Does `work(number, solver)` for each of `order`, ascending, by up to `workers` threads."""

    def __init__(self, order: Sequence[int], work: Callable[[int, Solver[T]], T], stop: Stop, workers: int = 4) -> None:
        self._order = sorted(order)
        self._work = work
        self._stop = stop
        self._workers = min(workers, len(self._order))
        self._changed = threading.Condition()
        self._next = 0
        self._results: dict[int, T] = {}
        self._errors: dict[int, BaseException] = {}

    def result(self, number: int) -> T:
        """Give the result for a number, once it is there. Interrupted where it failed, or all is stopped."""
        with self._changed:
            while number not in self._results:
                if self._errors or self._stop:
                    raise Interrupted("", "Build cancelled")
                self._changed.wait(0.2)
            return self._results[number]

    def run(self) -> dict[int, T]:
        """Do everything; raise the first failure, if there is one, after all work has ended."""
        if self._workers == 1:
            self._take()
        else:
            threads = [threading.Thread(target=self._take, name=f"build-{at}") for at in range(self._workers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._cause()
        return self._results

    def _take(self) -> None:
        while True:
            with self._changed:
                if self._next == len(self._order) or self._errors or self._stop:
                    return
                number = self._order[self._next]
                self._next += 1
            try:
                result = self._work(number, self)
            except BaseException as error:  # noqa: BLE001 - raised again by `run`, in the thread that asked
                with self._changed:
                    self._errors[number] = error
                    self._changed.notify_all()
                self._stop.set()
                return
            with self._changed:
                self._results[number] = result
                self._changed.notify_all()

    def _cause(self) -> BaseException:
        """Give the failure that the others followed from."""
        ordered = [self._errors[number] for number in sorted(self._errors)]
        for error in ordered:
            if not isinstance(error, DeclarativeError):
                return error
        return next((error for error in ordered if not isinstance(error, Interrupted)), ordered[0])
