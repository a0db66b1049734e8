"""Shows an apply while it runs: one line per finished step, or live lines on a terminal.

The rule that keeps it simple: `Lines` is the whole truth and works everywhere; the live form (rich, loaded on a terminal only)
shows the same steps and prints the same lines when they end.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from declarative.apply.events import (
    Note,
    Outcome,
    Retrying,
    StepEnded,
    StepProgress,
    StepWaits,
    Stopping,
)
from declarative.cli.screen import unstyled

if TYPE_CHECKING:
    from declarative.apply.events import Event
    from declarative.cli.screen import Screen

_MARKS = {"done": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("-", "dim"), "interrupted": ("✗", "yellow")}


def ended_line(outcome: Outcome, screen: Screen) -> str:
    """Give the line of a step that is over: `create Container/web-1 (missing) 0.4s`."""
    step = outcome.step
    head = f"{step.verb} {step.label}"
    if outcome.state == "done":
        return f"{head} ({step.cause}) {outcome.seconds:.1f}s"
    if outcome.state == "skipped":
        why = f"skipped, because step {outcome.because} failed" if outcome.because else "not begun"
    else:
        why = outcome.error.problem if outcome.state == "interrupted" and outcome.error else outcome.state
    return screen.paint(f"{head}: {why}", _MARKS[outcome.state][1])


class Lines:
    """One line per finished step. With -v a line for every output of a builder, too."""

    def __init__(self, screen: Screen, *, verbose: bool = False) -> None:
        self._screen = screen
        self._verbose = verbose
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return

    def __call__(self, event: Event) -> None:
        """Show one event."""
        text = self._text(event)
        if text:
            with self._lock:
                self._screen.line(text)

    def _text(self, event: Event) -> str:  # noqa: PLR0911 - one answer per event
        match event:
            case StepEnded(outcome=outcome):
                return ended_line(outcome, self._screen)
            case Retrying(error=error, seconds=seconds):
                return self._screen.paint(f"{error}; again in {seconds:.1f}s", "yellow")
            case Stopping(error=error):
                return self._screen.paint(
                    f"{error.problem}: no new steps start, running ones end or are undone", "yellow"
                )
            case Note(text=text):
                return f"note: {text}"
            case StepProgress(step=step, progress=progress) if self._verbose and progress.text:
                return f"  {step.label}: {unstyled(progress.text).rstrip()}"
            case StepWaits(step=step, text=text) if self._verbose:
                return f"  {step.label}: {text}"
            case _:
                return ""
