"""The calls of one run: what its threads ask of the driver, again where it gave no answer, while the lock is ours.

The rule that keeps it simple: it knows neither order nor outcomes. What has to stop the run is told to `stop`, and what a call
raised goes to whoever walks the plan.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from declarative.apply.events import StepProgress
from declarative.apply.masking import Mask
from declarative.apply.moves import Ask, Do
from declarative.apply.retry import attempt
from declarative.apply.script import is_long
from declarative.core.actions import RestartContainer, StartContainer
from declarative.errors import DeclarativeError, LockHeld, Unavailable
from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from declarative.apply.events import Tell
    from declarative.apply.moves import Move
    from declarative.apply.stop import Stop
    from declarative.core.actions import Action
    from declarative.core.plan import Step
    from declarative.drivers.port import Driver, Lease, Observed, Progress

CHECK_SECONDS = 1.0


@record(frozen=False)
class Calls:
    """Makes the calls for one stack. Safe to use from several threads.

    `mask`: the secrets that no text of the engine may show. `clock`: seconds, from any beginning. `fresh`: the containers that
    were started here, and the clock's time at which the engine said that they run.
    """

    driver: Driver
    lease: Lease
    stack: str
    tell: Tell
    stop: Stop
    mask: Mask = field(default_factory=Mask)
    clock: Callable[[], float] = time.monotonic
    fresh: dict[str, float] = field(default_factory=dict)
    _checked: float = float("-inf")

    def make(self, step: Step, move: Move | None) -> Any:
        """Make a move of a step and give its result; raises what the last attempt raised. Where the engine is gone, all stops."""
        try:
            return attempt(lambda: self._make(step, move), tell=self.tell, stop=self.stop)
        except Unavailable:
            self._stop_if_gone(step)
            raise

    def do(self, action: Action) -> None:
        """Execute an action that belongs to no step. Where the lock is lost, nothing is executed, and all stops."""
        try:
            self._check_lease()
        except LockHeld as error:
            self.stop.request(error, abandon=True)
            raise
        attempt(lambda: self.driver.execute(action, lambda _: None), tell=self.tell, stop=self.stop)

    def observe(self, names: Sequence[str]) -> Mapping[str, Observed]:
        """Look at containers; those that are not there are left out."""
        return attempt(lambda: self.driver.observe(self.stack, names), tell=self.tell, stop=self.stop)

    def _make(self, step: Step, move: Move | None) -> Any:
        if isinstance(move, Ask):
            return move.question()
        if isinstance(move, Do):
            self._check_lease()
            self.driver.execute(move.action, self._progress(step, long=is_long(move.action)))
            if isinstance(move.action, (StartContainer, RestartContainer)):
                self.fresh[move.action.name] = self.clock()
        return None

    def _stop_if_gone(self, step: Step) -> None:
        """Where it is the engine that does not answer, and not a registry behind it, nothing else will work either."""
        try:
            self.driver.observe(self.stack, [step.name])
        except Unavailable as error:
            problem = "the engine does not answer any more"
            remedy = "see whether it runs, then apply again to go on"
            self.stop.request(Unavailable(error.subject, problem, remedy))
        except DeclarativeError:
            return

    def _check_lease(self) -> None:
        """Make sure that the lock is still ours; it is a call, so once a second will do: a lock is lost after a minute."""
        now = self.clock()
        if now >= self._checked + CHECK_SECONDS:
            self._checked = now  # before the call: other threads need not make it too
            self.lease.check()

    def _progress(self, step: Step, *, long: bool) -> Callable[[Progress], None]:
        def progress(word: Progress) -> None:
            if long:
                self.stop.check()  # raised through the driver, which cuts the connection
            self.tell(StepProgress(step=step, progress=replace(word, text=self.mask.text(word.text))))

        return progress
