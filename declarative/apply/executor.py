"""Walks a plan: every step as soon as what it needs is done, at most `parallelism` at once, waits beside that.

It decides nothing that the plan has not decided. One thread (the caller's) owns all state and resumes the steps' scripts;
worker threads make the calls and send the results to its inbox. So there are no locks here. Waiting costs no thread: one
observation in one call serves all steps that are due for a look.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from declarative.apply.events import Outcome, StepEnded, StepStarted, StepWaits, Stopping
from declarative.apply.last_look import LastLook
from declarative.apply.line import Line, Run
from declarative.apply.moves import Ask, Do, Pause, Wait
from declarative.apply.readiness import Never, NotYet, Vigil
from declarative.apply.script import is_long, script_of
from declarative.apply.trouble import about, diagnosis
from declarative.apply.way_back import take_back, to_take_back
from declarative.apply.workers import Workers
from declarative.core.actions import CreateContainer
from declarative.errors import DeclarativeError, LockHeld
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from declarative.apply.calls import Calls
    from declarative.apply.events import State, Tell
    from declarative.apply.stop import Stop
    from declarative.core.plan import Plan, Step
    from declarative.drivers.port import Observed

DEFAULT_PARALLELISM = 8
FIRST_LOOK = 0.05  # seconds between two observations: at first, and at most
LAST_LOOK = 0.5
_HEARTBEAT = 0.5  # seconds waited at once: a signal that comes just before a wait is heard only when that ends
_WAKE: Any = (None, None, None)  # a message that only says: look around


@record(frozen=False)
class Executor:
    """Executes one plan. `run` may be called once.

    At most `parallelism` steps have calls under way, of which `starts` are starting a container; beside them, `stops` more wait
    for a container that they stop, unless `parallelism` is 1: then there is one call at a time.
    `settled` is called once, in a thread, as soon as all that is left makes what is new, or waits for something.
    """

    plan: Plan
    calls: Calls
    tell: Tell
    stop: Stop
    parallelism: int = DEFAULT_PARALLELISM
    starts: int = DEFAULT_PARALLELISM
    stops: int = DEFAULT_PARALLELISM
    settled: Callable[[], None] | None = None
    notes: list[str] = field(default_factory=list)
    _settling: threading.Thread | None = None
    _left: list[Step] = field(default_factory=list)  # not begun yet
    _outcomes: dict[int, Outcome] = field(default_factory=dict)
    _runs: list[Run] = field(default_factory=list)
    _line: Line = field(default_factory=lambda: Line(free=0, starts=0, stops=0))
    _inbox: SimpleQueue[tuple[Run | None, Any, BaseException | None]] = field(default_factory=SimpleQueue)
    _ended_at: dict[int, float] = field(default_factory=dict)
    _moved: bool = True  # a step has ended since steps were last looked at
    _looking: bool = False
    _stopped: bool = False
    _crash: BaseException | None = None
    _last_look: LastLook = field(default_factory=LastLook)

    def run(self) -> tuple[Outcome, ...]:
        """Execute; gives the outcome of every step, in the plan's order. Never raises for what an action raised.

        `notes` then say what became of containers that had let go of something for steps that were not done.
        """
        one_by_one = self.parallelism == 1
        self._left = list(self.plan.steps)
        self._line = Line(free=self.parallelism, starts=self.starts, stops=self.stops, one_by_one=one_by_one)
        workers, watcher = Workers(self.parallelism + self.stops, self._inbox), Workers(1, self._inbox)
        self.stop.on_request(lambda: self._inbox.put(_WAKE))
        try:
            while len(self._outcomes) < len(self.plan.steps):
                self._heed_stop()
                self._start_steps()
                self._begin_moves(workers)
                self._look(watcher)
                self._tell_settled()
                if len(self._outcomes) < len(self.plan.steps):
                    self._take(workers)
            self._take_back()
            self._look_once_more()
        finally:
            workers.close()
            watcher.close()
            if self._settling is not None:
                self._settling.join()
        if self._crash is not None:
            raise self._crash
        return tuple(self._outcomes[step.id] for step in self.plan.steps)

    # ---- which steps run

    def _start_steps(self) -> None:
        if not self._moved:
            return
        self._moved = False
        left, self._left = self._left, []
        for step in left:
            states = [self._outcomes.get(need) for need in step.needs]
            broken = next((out for out in states if out is not None and out.state != "done"), None)
            if broken is not None:
                self._end(step, "skipped", because=broken.step.id if broken.state != "skipped" else broken.because)
            elif all(states):
                self._start(step)
            else:
                self._left.append(step)

    def _start(self, step: Step) -> None:
        run = Run(
            step=step,
            script=script_of(step, self.calls.driver, self.plan.stack, pause=self._delay(step)),
            begun=self.calls.clock(),
        )
        self._runs.append(run)
        self._resume(run, started=True)

    def _delay(self, step: Step) -> float:
        """Give what is left of `update.delay` after the replacement of the replica before."""
        if step.rollout is None or not step.rollout.update.delay:
            return 0.0
        last = max((self._ended_at[need] for need in step.needs if self._is_sibling(need, step)), default=None)
        return 0.0 if last is None else max(0.0, last + step.rollout.update.delay / 1e9 - self.calls.clock())

    def _is_sibling(self, need: int, step: Step) -> bool:
        before = self._outcomes[need].step.rollout
        one, other = (before.create if before else None), (step.rollout.create if step.rollout else None)
        if not isinstance(one, CreateContainer) or not isinstance(other, CreateContainer):
            return False
        return one.owner.name == other.owner.name

    # ---- scripts

    def _resume(
        self, run: Run, value: Any = None, error: BaseException | None = None, *, started: bool = False
    ) -> None:
        """Go on with a script until it wants something that takes time, or ends."""
        run.vigil = None
        try:
            while True:
                run.move = run.script.throw(error) if error is not None else run.script.send(value)
                value, error = None, None
                if not (isinstance(run.move, Do) and run.move.cut and self.stop.requested):
                    break
                error = self.stop.error
        except StopIteration:
            self._finish(run, "done")
        except DeclarativeError as failure:
            state: State = "interrupted" if self._is_stop(run, failure) else "failed"
            self._finish(run, state, self._worded(run.step, failure))
        except Exception as failure:  # noqa: BLE001 - a fault of ours: the others end in good order, then it is raised
            self._crashed(failure)
            self._finish(run, "failed")
        else:
            self._place(run, started=started)

    def _is_stop(self, run: Run, failure: DeclarativeError) -> bool:
        """Whether a step ended because of the stop. A builder in our terminal hears Ctrl-C too, and fails of itself."""
        if not self.stop.requested:
            return False
        cut = isinstance(run.move, Do) and is_long(run.move.action)
        return cut or type(failure) is type(self.stop.error)

    def _place(self, run: Run, *, started: bool) -> None:
        match run.move:
            case Do() | Ask():
                if started and isinstance(run.move, Do):
                    self._line.join(run)
                else:
                    self._line.push_in(run)
            case Wait(awaits=awaits):
                self._line.release(run)
                now = self.calls.clock()
                run.vigil = Vigil(awaits=awaits, begun=now, fresh=self.calls.fresh)
                run.interval, run.look_at = FIRST_LOOK, min(run.vigil.first_look, now + LAST_LOOK)
                if started:
                    run.begun_moves = True
                    self.tell(StepStarted(step=run.step))
                if self.stop.requested:
                    self._resume(run, error=self.stop.error)
            case Pause(seconds=seconds):
                self._line.release(run)
                run.until = self.calls.clock() + seconds
                if self.stop.requested:
                    self._resume(run, error=self.stop.error)

    def _finish(self, run: Run, state: State, error: DeclarativeError | None = None) -> None:
        self._line.release(run)
        self._runs.remove(run)
        self._end(run.step, state, seconds=self.calls.clock() - run.begun, error=error)

    def _end(
        self, step: Step, state: State, *, seconds: float = 0.0, error: DeclarativeError | None = None, because: int = 0
    ) -> None:
        outcome = Outcome(step=step, state=state, seconds=seconds, error=error, because=because)
        self._outcomes[step.id] = outcome
        self._ended_at[step.id] = self.calls.clock()
        self._moved = True
        self.tell(StepEnded(outcome=outcome))

    def _worded(self, step: Step, error: DeclarativeError) -> DeclarativeError:
        return self.calls.mask.error(about(step, error))

    # ---- calls

    def _begin_moves(self, workers: Workers) -> None:
        while (run := self._line.next()) is not None:
            if not run.begun_moves:
                run.begun_moves = True
                self.tell(StepStarted(step=run.step))
            self._submit(workers, run)

    def _submit(self, workers: Workers, run: Run) -> None:
        move = run.move
        workers.submit(run, lambda: self.calls.make(run.step, move))

    def _take(self, workers: Workers) -> None:
        """Wait for the next result, observation or timer, and act on it."""
        try:
            message = self._inbox.get(timeout=self._patience())
        except Empty:
            message = _WAKE
        now = self.calls.clock()
        for run in [run for run in self._runs if isinstance(run.move, Pause) and run.until <= now]:
            self._resume(run)
        if message is _WAKE:
            return
        owner, value, error = message
        if owner is None:
            self._looking = False
            self._observed(value, error, workers)
            return
        workers.ended()
        self._line.called(owner)
        self._returned(owner, value, error)

    def _returned(self, run: Run, value: Any, error: BaseException | None) -> None:
        """Go on with a step whose call is over."""
        if isinstance(error, LockHeld):
            self.stop.request(error, abandon=True)
        if error is not None and not isinstance(error, DeclarativeError):
            self._crashed(error)
            self._finish(run, "failed")
        elif self.stop.abandon:
            run.script.close()
            self._finish(run, "interrupted", self._worded(run.step, error) if error else None)
        elif run.diagnosing:
            run.diagnosing = False
            self._resume(run, error=value or error)
        else:
            self._resume(run, value, error)

    def _patience(self) -> float:
        times = [run.until for run in self._runs if isinstance(run.move, Pause)]
        if not self._looking:
            times += [run.look_at for run in self._runs if run.vigil is not None]
        next_one = min(times, default=float("inf"))
        return max(0.0, min(next_one - self.calls.clock(), _HEARTBEAT))

    # ---- observation

    def _look(self, watcher: Workers) -> None:
        """Observe the containers of every step whose time has come, in one call."""
        now = self.calls.clock()
        due = [run.vigil for run in self._runs if run.vigil is not None and run.look_at <= now]
        names = sorted({name for vigil in due for name in vigil.names})
        if self._looking or not names:
            return
        self._looking = True
        watcher.submit(None, lambda: (names, self.calls.observe(names)))

    def _observed(
        self, found: tuple[list[str], Mapping[str, Observed]], error: BaseException | None, workers: Workers
    ) -> None:
        now = self.calls.clock()
        if error is not None:
            for run in [run for run in self._runs if run.vigil is not None]:
                self._resume(run, error=error)
            return
        names, seen = found
        watched = [run for run in self._runs if run.vigil is not None and set(run.vigil.names) <= set(names)]
        for run in watched:
            self._judge(run, seen, now, workers)

    def _judge(self, run: Run, seen: Mapping[str, Observed], now: float, workers: Workers) -> None:
        answer = run.vigil.see(seen, now) if run.vigil is not None else None
        if isinstance(answer, NotYet):
            if answer.why != run.said:
                run.said = answer.why
                self.tell(StepWaits(step=run.step, text=answer.why))
            run.look_at = now + run.interval if answer.due is None else min(answer.due, now + LAST_LOOK)
            run.interval = min(LAST_LOOK, run.interval * 1.5)
        elif isinstance(answer, Never):
            run.vigil = None
            run.diagnosing = True
            run.move = Ask(question=diagnosis(self.calls.driver, run.step, answer))
            self._submit(workers, run)
        else:
            if run.vigil is not None:
                self._last_look.keep(run, run.vigil, now)
            self._resume(run)

    def _take_back(self) -> None:
        """Give back what was let go of for nothing; not where the lock is lost: then it is not ours to touch."""
        for undo in reversed([undo for step in self.plan.steps for undo in to_take_back(step, self._outcomes)]):
            if not self.stop.abandon:
                said = take_back(undo, self._outcomes, look=self.calls.observe, do=self.calls.do)
                self.notes += [self.calls.mask.text(said)] if said else []

    def _look_once_more(self) -> None:
        """Fail the steps that got ready before others did and have not stayed so."""
        if any(outcome.state != "done" for outcome in self._outcomes.values()):
            return
        with suppress(DeclarativeError):  # of an engine that is gone we hear soon enough: the lock has to be given back
            for run, answer in self._last_look.lost(self.calls.observe, self.calls.clock):
                error = diagnosis(self.calls.driver, run.step, answer)()
                seconds = self.calls.clock() - run.begun
                self._end(run.step, "failed", seconds=seconds, error=self._worded(run.step, error))

    def _tell_settled(self) -> None:
        if self.settled is None or self._settling is not None or not self._runs:
            return
        under_way = (run.step for run in self._runs if run.vigil is None)
        # what is new has no earlier run, so that its start is never taken for a restart after the entry of the history
        new = all(step.verb in ("create", "wait") for step in (*under_way, *self._left))
        if new and all(out.state == "done" for out in self._outcomes.values()):
            self._settling = threading.Thread(target=self.settled, name="settled", daemon=True)
            self._settling.start()

    # ---- stopping

    def _heed_stop(self) -> None:
        if not self.stop.requested or self._stopped:
            return
        self._stopped = True
        error = self.stop.error
        if error is not None:
            self.tell(Stopping(error=error))
        for run in self._line.leave():
            self._cancel(run)
        for run in [run for run in self._runs if run.vigil is not None or isinstance(run.move, Pause)]:
            self._cancel(run)
        left, self._left = self._left, []
        for step in left:
            self._end(step, "skipped")

    def _cancel(self, run: Run) -> None:
        """Throw the reason in, so that the step is undone; or, where the lock is lost, leave everything as it is."""
        if self.stop.abandon:
            run.script.close()
            self._finish(run, "interrupted")
        else:
            self._resume(run, error=self.stop.error)

    def _crashed(self, error: BaseException) -> None:
        from declarative.errors import Interrupted

        self._crash = self._crash or error
        self.stop.request(Interrupted("", "stopped by a fault of declarative itself"))
