"""What an apply did: every step with its outcome, and what is to be said about the whole."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from declarative.errors import Failed, LockHeld
from declarative.record import record

if TYPE_CHECKING:
    from declarative.apply.events import Outcome
    from declarative.core.plan import Step
    from declarative.errors import DeclarativeError

_PAST = {
    "build": "built",
    "pull": "pulled",
    "load": "loaded",
    "import": "imported",
    "tag": "tagged",
    "untag": "untagged",
    "push": "pushed",
    "create": "created",
    "update": "updated",
    "replace": "replaced",
    "start": "started",
    "stop": "stopped",
    "remove": "removed",
    "run": "run",
}


@record
class Report:
    """The end of an apply. `revision`: the number under which it went into the history, 0 where it did not."""

    stack: str
    engine: str = ""
    outcomes: tuple[Outcome, ...] = ()
    stopped: DeclarativeError | None = None
    revision: int = 0
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return any(outcome.state != "skipped" and outcome.step.verb != "wait" for outcome in self.outcomes)

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The steps that failed of themselves."""
        return tuple(outcome for outcome in self.outcomes if outcome.state == "failed")

    @property
    def unfinished(self) -> tuple[Step, ...]:
        """The steps that were not done."""
        return tuple(outcome.step for outcome in self.outcomes if outcome.state != "done")

    @property
    def done(self) -> bool:
        """Whether everything that was planned was done."""
        return self.stopped is None and all(outcome.state == "done" for outcome in self.outcomes)

    @property
    def exit_code(self) -> int:
        """0 done, 1 failed, 4 the lock was lost, 130 interrupted."""
        if isinstance(self.stopped, LockHeld):
            return self.stopped.exit_code
        if self.failures:
            return 1
        return self.stopped.exit_code if self.stopped is not None else 0

    def errors(self) -> tuple[DeclarativeError, ...]:
        """Every error, in the order of the steps; a stop comes last."""
        found = [out.error for out in self.outcomes if out.state == "failed" and out.error is not None]
        return (*found, *([self.stopped] if self.stopped is not None else []))


def summary(outcomes: tuple[Outcome, ...]) -> str:
    """Say what was done, as "2 created, 1 replaced"."""
    done = Counter(outcome.step.verb for outcome in outcomes if outcome.state == "done")
    return ", ".join(f"{count} {_PAST[verb]}" for verb, count in done.items() if verb in _PAST)


def report_document(report: Report) -> dict[str, Any]:
    """Give the JSON form, whose shape `schemas/report.schema.json` publishes."""
    return {
        "stack": report.stack,
        "engine": report.engine,
        "result": "interrupted" if report.stopped and not report.failures else "done" if report.done else "failed",
        "changed": report.changed,
        "revision": report.revision,
        "seconds": round(report.seconds, 3),
        "summary": dict(Counter(outcome.step.verb for outcome in report.outcomes if outcome.state == "done")),
        "steps": [_step(outcome) for outcome in report.outcomes],
        "notes": list(report.notes),
        "errors": [_error(error) for error in report.errors()],
    }


def _step(outcome: Outcome) -> dict[str, Any]:
    step = outcome.step
    document: dict[str, Any] = {
        "id": step.id,
        "action": step.verb,
        "kind": step.kind,
        "name": step.name,
        "cause": step.cause,
        "origin": step.origin,
        "state": outcome.state,
        "seconds": round(outcome.seconds, 3),
    }
    if outcome.error is not None:
        document["error"] = _error(outcome.error)
    if outcome.because:
        document["because"] = outcome.because
    return document


def _error(error: DeclarativeError) -> dict[str, str]:
    fields = {"subject": error.subject, "problem": error.problem, "remedy": error.remedy, "place": error.place}
    return fields | ({"output": error.output} if isinstance(error, Failed) and error.output else {})
