"""`apply`: snapshot → plan → execute → record. The one road by which an engine is changed.

The rule that keeps it simple: what is executed was planned under the lock, from what was seen under the lock. A stack that is
in sync takes no lock and writes nothing, unless a killed apply left its lock, or there is something to be noted in the history.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from declarative.apply.events import Note, Outcome, Planned, silent
from declarative.apply.report import Report
from declarative.apply.scope import scope_of
from declarative.apply.stop import Stop
from declarative.core.actions import RestartContainer, StartContainer
from declarative.core.plan import Plan, Policy
from declarative.core.planner import plan
from declarative.core.planner.refusal import Refused
from declarative.errors import DeclarativeError
from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from declarative.apply.events import Tell
    from declarative.core.actions import WriteRevision
    from declarative.core.resources import Desired
    from declarative.core.state import Actual
    from declarative.drivers.port import Driver, Lease

T = TypeVar("T")

ROUNDS = 4
"""Plans made in one apply at most: the second knows what the first one built; more would mean that we do not converge."""

STOPS = 100
"""Containers that are being stopped at once: each may take its whole grace, ten seconds where its program heeds no signal, and
costs nobody anything meanwhile."""

STARTS_PER_PROCESSOR = 4
"""Containers that are started at once for each processor of the engine's machine. A start keeps one busy, with a wait here and
there; many more of them only wait for each other's kernel locks, spinning. Of 50 on two processors, 8 at once took 8.2 s, 4 at
once 8.8 s; 50 at once 8.2 s, with a twentieth more of the processors' time."""


@record
class ApplyOptions:
    """How to apply. `files` gives the rendered manifests for the history (None: keep none). `lock_timeout` in seconds.

    `salt` gives fresh hex for sealing secrets. `holder` says who we are, for who finds the lock held.
    """

    policy: Policy = field(default_factory=Policy)
    parallelism: int = 8
    lock_timeout: float = 0.0
    holder: Callable[[], Mapping[str, str]] = dict
    salt: Callable[[], str] = str
    files: Callable[[], Mapping[str, str]] | None = None
    tell: Tell = silent
    stop: Stop = field(default_factory=Stop)
    check: Callable[[Plan, Actual], None] | None = None  # may refuse the plan that was made under the lock

    def insist(self, call: Callable[[], T]) -> T:
        """Make a call, again where it got no proper answer."""
        from declarative.apply.retry import attempt

        return attempt(call, tell=self.tell, stop=self.stop)


def look(desired: Desired, driver: Driver, policy: Policy) -> tuple[Plan, Actual]:
    """Look and plan; changes nothing. Raises Refused with every reason not to go on."""
    actual = driver.snapshot(scope_of(desired))
    return plan(desired, actual, policy), actual


def apply(desired: Desired, driver: Driver, options: ApplyOptions) -> Report:
    """Make the engine hold `desired`. Raises where nothing could be begun; what happens to steps is in the report."""
    begun = time.monotonic()
    first = _first_look(desired, driver, options)
    if first is not None:
        return Report(stack=first.stack, engine=first.engine, notes=first.notes, seconds=time.monotonic() - begun)
    options.stop.check()
    holder = options.holder()  # the same in every attempt: by its nonce we know the lock as ours
    with options.insist(lambda: driver.lock(desired.stack, timeout=options.lock_timeout, holder=holder)) as lease:
        return _Apply(desired=desired, driver=driver, options=options, lease=lease, begun=begun).run()


def _first_look(desired: Desired, driver: Driver, options: ApplyOptions) -> Plan | None:
    """Look without the lock; give the plan where nothing is to be done. Refused as of `look`, unless it may be of the moment.

    While another apply is at work, the engine is between two states, and what is listed first is not there when it is inspected:
    a container of ours was taken for a stranger's. What counts then is seen under the lock.
    """
    actual = driver.snapshot(scope_of(desired))
    try:
        first = plan(desired, actual, options.policy)
        if options.check is not None:
            options.check(first, actual)
    except Refused:
        if not actual.leftovers:
            raise
        return None
    noted = not _unrecorded(first, actual, options) and not _unacknowledged(first, options)
    return first if first.in_sync and not actual.leftovers and noted else None


@record(frozen=False)
class _Apply:
    """One apply under its lock."""

    desired: Desired
    driver: Driver
    options: ApplyOptions
    lease: Lease
    begun: float
    outcomes: list[Outcome] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    updates: dict[str, Mapping[str, object]] = field(default_factory=dict)
    remade: set[str] = field(default_factory=set)
    prepared: WriteRevision | None = None  # an entry of the history that lacks its name only

    def run(self) -> Report:
        """Plan and execute until nothing is left to do, then record."""
        options = self.options
        policy = options.policy
        for number in range(1, ROUNDS + 1):
            current, actual = options.insist(partial(look, self.desired, self.driver, policy))
            policy = replace(policy, unknown_ok=True)  # a target that left the manifests is gone when we look again
            self.notes |= dict.fromkeys(current.notes)
            if number == 1 and options.check is not None:
                options.check(current, actual)
            if current.in_sync:
                if number == 1 and not _unrecorded(current, actual, options):
                    self._acknowledge(current, actual)
                    return self._report(current)  # taking the lock was all: it sweeps what a killed apply left
                break
            options.stop.guarded = True
            if options.stop.requested:
                self._renew_history(actual)
                return self._report(current)
            options.tell(Planned(plan=current, round=number))
            actual = self._forget_what_is_done_again(current, actual)
            last = not current.deferred and not _needs_look(current, options.policy)
            if not self._execute(current, actual, last=last):
                self._give_up_entry()
                self._renew_history(actual)
                return self._report(current)
            self._remember(current)
            if last:
                return self._report(current, self._record(current, actual), complete=True)
        else:
            if current.deferred:
                options.tell(Note(text=f"not everything could be settled in {ROUNDS} rounds: apply once more"))
        return self._report(current, self._record(current, actual), complete=True)

    def _execute(self, current: Plan, actual: Actual, *, last: bool) -> bool:
        from declarative.apply.calls import Calls
        from declarative.apply.executor import DEFAULT_PARALLELISM, Executor
        from declarative.apply.masking import Mask, secrets_of

        calls = Calls(
            driver=self.driver,
            lease=self.lease,
            stack=current.stack,
            tell=self.options.tell,
            stop=self.options.stop,
            mask=Mask(secrets_of(self.desired)),
        )
        executor = Executor(
            plan=current,
            calls=calls,
            tell=self.options.tell,
            stop=self.options.stop,
            parallelism=self.options.parallelism,
            starts=STARTS_PER_PROCESSOR * actual.engine.processors or DEFAULT_PARALLELISM,
            stops=STOPS,
            settled=(lambda: self._prepare_entry(current, actual)) if last else None,
        )
        outcomes = executor.run()
        self.outcomes += outcomes
        self.notes |= dict.fromkeys(executor.notes)
        return all(outcome.state == "done" for outcome in outcomes)

    def _remember(self, current: Plan) -> None:
        """Collect what was changed in place; a container that was made anew has none."""
        self.updates, self.remade = self._remembered(current)

    def _remembered(self, current: Plan) -> tuple[dict[str, Mapping[str, object]], set[str]]:
        updates, remade = dict(self.updates), set(self.remade)
        for step in current.steps:
            if step.kind == "Container" and step.verb in ("create", "replace", "remove"):
                updates.pop(step.name, None)
                remade.add(step.name)
        for name, paths in current.updates.items():
            updates[name] = {**updates.get(name, {}), **paths}
        return updates, remade

    def _forget_what_is_done_again(self, current: Plan, actual: Actual) -> Actual:
        """Take the jobs out of the last entry that are run though they are done: killed half way, nobody would know."""
        from declarative.apply.history import renew, without

        revision = actual.revision
        done = revision.objects if revision is not None else {}
        runs = {f"Job/{step.name}" for step in current.steps if step.kind == "Job" and step.verb == "run"}
        again = {name for name in runs if done.get(name) and done[name] == current.objects.get(name)}
        if revision is None or not again or self.options.files is None:
            return actual
        left, salt = without(revision, again), self.options.salt()
        self.options.insist(lambda: renew(self.driver, self.desired.stack, left, salt, noted=False))
        return replace(actual, revision=left)

    def _prepare_entry(self, current: Plan, actual: Actual) -> None:
        """Bring the history's entry into the engine while the last containers are made: it is named when all is done."""
        done = tuple(Outcome(step=step, state="done") for step in current.steps)
        updates, remade = self._remembered(current)
        with suppress(DeclarativeError):  # then it is written at the end, as a whole
            action = self._entry(current, actual, (*self.outcomes, *done), updates, remade)
            if action is not None:
                self.driver.prepare(action)
                self.prepared = action

    def _give_up_entry(self) -> None:
        if self.prepared is not None and not self.options.stop.abandon:
            with suppress(DeclarativeError):  # whoever takes the lock next removes it
                self.driver.give_up(self.prepared)

    def _entry(
        self,
        current: Plan,
        actual: Actual,
        outcomes: tuple[Outcome, ...],
        updates: Mapping[str, Mapping[str, object]],
        remade: set[str],
    ) -> WriteRevision | None:
        from declarative.apply.history import Entry, writing
        from declarative.apply.report import summary

        if self.options.files is None or self.options.stop.abandon:
            return None
        entry = Entry(
            files=self.options.files(),
            updates=updates,
            remade=frozenset(remade),
            summary=summary(outcomes),
            salt=self.options.salt(),
            targets=self.options.policy.targets,
        )
        return writing(current, actual, entry)

    def _record(self, current: Plan, actual: Actual) -> int:
        from declarative.apply.history import record_entry

        written = self.prepared
        if written is None:
            written = self._entry(current, actual, tuple(self.outcomes), self.updates, self.remade)
        if written is None or self.options.stop.abandon:
            return 0
        action = written
        self.lease.check()
        return self.options.insist(lambda: record_entry(self.driver, action))

    def _acknowledge(self, current: Plan, actual: Actual) -> None:
        """Take note in the last entry of what drifted where no step mends it: it is told now, and no news any more."""
        from declarative.apply.history import renew

        revision = actual.revision
        if revision is None or not _unacknowledged(current, self.options):
            return
        salt = self.options.salt()
        self.options.insist(lambda: renew(self.driver, self.desired.stack, revision, salt, noted=True))
        found = [f"{finding.kind}/{finding.name}: {finding.cause}" for finding in current.findings]
        self.notes |= dict.fromkeys(f"{text}; taken note of, and no drift from now on" for text in found)

    def _renew_history(self, actual: Actual) -> None:
        """Write the last entry anew, or what we did looks as if others had: started what was there before, removed objects."""
        from declarative.apply.history import renew, without

        revision = actual.revision
        if revision is None or self.options.stop.abandon:
            return
        left = without(revision, {name for outcome in self.outcomes for name in _removed(outcome)})
        started = any(_started_again(outcome) for outcome in self.outcomes)
        if left.objects != revision.objects or started:
            with suppress(DeclarativeError):
                renew(self.driver, self.desired.stack, left, self.options.salt(), noted=started)

    def _report(self, current: Plan, revision: int = 0, *, complete: bool = False) -> Report:
        return Report(
            stack=current.stack,
            engine=current.engine,
            outcomes=tuple(self.outcomes),
            stopped=None if complete else self.options.stop.error,
            revision=revision,
            notes=tuple(self.notes),
            seconds=time.monotonic() - self.begun,
        )


def _needs_look(current: Plan, policy: Policy) -> bool:
    """Whether what the stack holds now can only be known by looking: ids of new images; what targets left out."""
    return bool(policy.targets) or any(
        name.startswith(("Image/", "Tag/", "Version/", "Job/")) and not content
        for name, content in current.objects.items()
    )


def _started_again(outcome: Outcome) -> bool:
    """Whether a step started a container that there was already: an old one that came back, or one that was or had stopped."""
    step = outcome.step
    if outcome.state == "skipped" or (step.rollout is not None and outcome.state == "done"):
        return False
    starts = any(isinstance(action, (StartContainer, RestartContainer)) for action in step.actions)
    return bool(step.rollout or step.undo) or (starts and step.verb in ("start", "update"))


def _removed(outcome: Outcome) -> tuple[str, ...]:
    """Name the objects that a step has removed."""
    return outcome.step.touches if outcome.step.verb == "remove" and outcome.state == "done" else ()


def _unacknowledged(current: Plan, options: ApplyOptions) -> bool:
    """Whether there is drift that no step mends, which a whole apply takes note of."""
    return bool(current.findings) and options.files is not None and not options.policy.targets


def _unrecorded(current: Plan, actual: Actual, options: ApplyOptions) -> bool:
    """Whether what is there has no entry: the last apply was cut before it, or it was of targets, and all the rest is there."""
    if options.files is None or options.policy.targets or not current.objects:
        return False
    last = actual.revision
    return last is None or bool(last.targets) or dict(last.objects) != dict(current.objects)
