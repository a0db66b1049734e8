"""What an apply tells while it runs: small facts, for whoever shows them.

The rule that keeps it simple: events carry what happened, never how it looks. `Tell` is called from the thread that walks the
plan, save for `StepProgress`, which comes from the thread that does the action.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from declarative.record import record

if TYPE_CHECKING:
    from declarative.core.plan import Plan, Step
    from declarative.drivers.port import Progress
    from declarative.errors import DeclarativeError

State = Literal["done", "failed", "skipped", "interrupted"]


@record
class Outcome:
    """How a step ended. `because`: the id of the failed step for which this one was skipped, 0 for an interruption."""

    step: Step
    state: State
    seconds: float = 0.0
    error: DeclarativeError | None = None
    because: int = 0


@record
class Planned:
    """A plan is about to be executed; `round` counts from 1."""

    plan: Plan
    round: int = 1


@record
class StepStarted:
    """A step's first action is under way."""

    step: Step


@record
class StepProgress:
    """A word from a running action."""

    step: Step
    progress: Progress


@record
class StepWaits:
    """A step waits for containers; `text` says for what."""

    step: Step
    text: str


@record
class StepEnded:
    """A step is over."""

    outcome: Outcome


@record
class Retrying:
    """The other side gave no proper answer; the call is made again after `seconds`."""

    error: DeclarativeError
    seconds: float


@record
class Stopping:
    """A stop was asked for: no new steps start."""

    error: DeclarativeError


@record
class Note:
    """Something to know."""

    text: str


Event = Planned | StepStarted | StepProgress | StepWaits | StepEnded | Retrying | Stopping | Note
Tell = Callable[[Event], None]


def silent(event: Event) -> None:
    """Tell nobody."""
    del event
