"""Keeps the kernel ready to move processes into control groups while that is expected.

A move waits for a grace period of the kernel, eight milliseconds and more, unless another move was made a moment ago
(cgroup_threadgroup_rwsem, and kernel/rcu/sync.c: the way stays open for about two such periods). So while processes are expected
this process is moved now and then, to where it is: that costs fifty microseconds and makes nobody wait.

The rule that keeps it simple: one thread moves; whoever expects a process only says how long he does.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING

from declarative.engine.runtime.cgroups import own_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.engine.runtime.cgroups import Cgroups

SOON, AGAIN = 0.03, 0.25
"""Seconds: a client has come, who may start a process; one has started a process, and may start another."""

_STEP_SECONDS = 0.01
_STEPS = 100  # then it is looked up anew where this process is: it may have been moved


class Grace:
    """The thread that moves. `own` as for `cgroups.settle`; `clock` gives seconds."""

    def __init__(self, groups: Cgroups, own: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._groups = groups
        self._own = own
        self._clock = clock
        self._until = float("-inf")
        self._turn = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="grace", daemon=True)
        self._thread.start()

    def expect(self, seconds: float) -> None:
        """Expect processes for so long; returns at once."""
        with self._turn:
            self._until = max(self._until, self._clock() + seconds)
            self._turn.notify()

    def close(self) -> None:
        """End the thread."""
        with self._turn:
            self._closed = True
            self._turn.notify()
        self._thread.join()

    def _run(self) -> None:
        while self._is_wanted():
            group = own_group(self._groups, self._own)
            try:
                with (group / "cgroup.procs").open("wb", buffering=0) if group else nullcontext() as file:
                    self._move(file)
            except OSError:  # it may not be moved: then all wait, as they do without us
                self._goes_on()

    def _move(self, file: IO[bytes] | None) -> None:
        for _ in range(_STEPS):
            if file is not None:
                file.write(b"%d" % os.getpid())
            if not self._goes_on():
                return

    def _is_wanted(self) -> bool:
        """Wait until somebody expects something; False at the end."""
        with self._turn:
            self._turn.wait_for(lambda: self._closed or self._until > self._clock())
            return not self._closed

    def _goes_on(self) -> bool:
        """Wait for the next step; tell whether anybody still expects something then."""
        with self._turn:
            return not self._turn.wait_for(lambda: self._closed, _STEP_SECONDS) and self._until > self._clock()
