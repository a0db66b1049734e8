"""Steps under way, and the line of those whose next call is due: a bounded number at once, what is begun before what is new.

The rule that keeps it simple: a step holds one of the slots from its first call until it waits or ends; among those with a slot
a bounded number starts containers. Stopping one is waiting: it takes up to the container's grace, and the engine does nothing
meanwhile, so those that stop hold no slot, and have a bound of their own. Used from one thread.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from declarative.apply.moves import Do
from declarative.core.actions import RestartContainer, StartContainer, StopContainer
from declarative.record import field, record

if TYPE_CHECKING:
    from declarative.apply.moves import Move, Script
    from declarative.apply.readiness import Vigil
    from declarative.core.plan import Step


@record(frozen=False)
class Run:
    """A step under way. `move`: what it waits for; `slot`: it counts among those at once.

    `until`: when its pause ends. `look_at`: when the containers that it waits for are looked at next, `interval` seconds after
    the look before where nobody knows better.
    """

    step: Step
    script: Script
    begun: float
    move: Move | None = None
    slot: bool = False
    begun_moves: bool = False
    starting: bool = False  # its call starts a container
    stopping: bool = False  # its call stops one
    diagnosing: bool = False  # the result of its move is the error to be thrown in
    vigil: Vigil | None = None
    said: str = ""
    until: float = 0.0
    look_at: float = 0.0
    interval: float = 0.0


@record(frozen=False)
class Line:
    """Who may make a call: `free` steps more, `starts` containers more may be started, `stops` more stopped.

    `one_by_one`: those that stop hold a slot like all others.
    """

    free: int
    starts: int
    stops: int
    one_by_one: bool = False
    _waiting: deque[Run] = field(default_factory=deque)

    def join(self, run: Run) -> None:
        """Stand at the end, with a step that is new."""
        self._waiting.append(run)

    def push_in(self, run: Run) -> None:
        """Stand at the head, with a step that is under way."""
        self._waiting.appendleft(run)

    def next(self) -> Run | None:
        """Take out the first that may go on, with a slot unless it stops a container; None where nobody may."""
        run = next((run for run in self._waiting if self._may_go_on(run)), None)
        if run is None:
            return None
        self._waiting.remove(run)
        run.starting, run.stopping = starts(run.move), self._stands_aside(run)
        self.starts -= run.starting
        self.stops -= run.stopping
        if run.stopping:
            self.release(run)
        elif not run.slot:
            run.slot = True
            self.free -= 1
        return run

    def _may_go_on(self, run: Run) -> bool:
        if self._stands_aside(run):
            return self.stops > 0
        return (run.slot or self.free > 0) and (self.starts > 0 or not starts(run.move))

    def _stands_aside(self, run: Run) -> bool:
        return stops(run.move) and not self.one_by_one

    def called(self, run: Run) -> None:
        """Note that a call is over."""
        self.starts += run.starting
        self.stops += run.stopping
        run.starting = run.stopping = False

    def release(self, run: Run) -> None:
        """Give the slot back."""
        self.free += run.slot
        run.slot = False

    def leave(self) -> list[Run]:
        """Take out those that have made no call yet."""
        new = [run for run in self._waiting if not run.begun_moves]
        for run in new:
            self._waiting.remove(run)
        return new


def stops(move: Move | None) -> bool:
    """Whether a move stops a container."""
    return isinstance(move, Do) and isinstance(move.action, StopContainer)


def starts(move: Move | None) -> bool:
    """Whether a move starts a container."""
    return isinstance(move, Do) and isinstance(move.action, (StartContainer, RestartContainer))
