"""Log events for machines: one JSON object a line on standard error (`--log-format json`), through structlog.

Events are short constant phrases with keys. structlog takes 60 ms and more to import, so it is loaded by the first event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.apply.events import Note, Planned, Retrying, StepEnded, StepStarted, StepWaits, Stopping
from declarative.cli.progress import Lines

if TYPE_CHECKING:
    from declarative.apply.events import Event
    from declarative.cli.screen import Screen


class LogLines(Lines):
    """Writes every event but progress as a log line."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        import structlog

        self._log = structlog.wrap_logger(
            _Writer(screen),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(ensure_ascii=screen.ascii_json),
            ],
        )

    def __call__(self, event: Event) -> None:
        """Write one event."""
        phrase, keys = _words(event)
        if phrase:
            with self._lock:
                self._log.info(phrase, **keys)


def _words(event: Event) -> tuple[str, dict[str, Any]]:  # noqa: PLR0911 - one answer per event
    match event:
        case Planned(plan=plan, round=number):
            return "planned", {"stack": plan.stack, "round": number, "summary": plan.summary()}
        case StepStarted(step=step):
            return "step started", {"step": step.id, "action": step.verb, "resource": step.label, "cause": step.cause}
        case StepEnded(outcome=outcome):
            keys: dict[str, Any] = {
                "step": outcome.step.id,
                "action": outcome.step.verb,
                "resource": outcome.step.label,
            }
            keys |= {"state": outcome.state, "seconds": round(outcome.seconds, 3)}
            return "step ended", keys | ({"error": str(outcome.error)} if outcome.error else {})
        case StepWaits(step=step, text=text):
            return "step waits", {"step": step.id, "resource": step.label, "for": text}
        case Retrying(error=error, seconds=seconds):
            return "retrying", {"error": str(error), "seconds": round(seconds, 3)}
        case Stopping(error=error):
            return "stopping", {"reason": error.problem}
        case Note(text=text):
            return "note", {"text": text}
        case _:
            return "", {}


class _Writer:
    """The end of the pipeline: a screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def info(self, text: str) -> None:
        """Write one line."""
        self._screen.write(text + "\n")
