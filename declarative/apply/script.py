"""Turns a step of a plan into a script: its actions in order, then its rollout, then its awaits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.apply.moves import Do, Pause, Wait
from declarative.apply.rollout import OUTPUT_LINES, Replacement, removal
from declarative.apply.trouble import reworded
from declarative.core.actions import BuildImage, ImportImage, LoadImage, PullImage, PushImage, RemoveContainer
from declarative.errors import DeclarativeError, Interrupted

if TYPE_CHECKING:
    from declarative.apply.moves import Script
    from declarative.core.actions import Action
    from declarative.core.plan import Step
    from declarative.drivers.port import Driver

_LONG = (BuildImage, ImportImage, LoadImage, PullImage, PushImage)


def is_long(action: Action) -> bool:
    """Whether an action may take minutes, and leaves nothing half done when its connection is cut."""
    return isinstance(action, _LONG)


def script_of(step: Step, driver: Driver, stack: str, *, pause: float = 0.0) -> Script:
    """Write down what `step` does, after `pause` seconds. Short actions run to their end even when a stop is asked for."""
    if pause:
        yield Pause(seconds=pause)
    try:
        for action in step.actions:
            if isinstance(action, RemoveContainer):
                yield from removal(action)
            else:
                yield Do(action=action, cut=is_long(action))
    except DeclarativeError as error:
        yield from _put_back(step, error)
    if step.rollout is not None:
        replacement = Replacement(
            rollout=step.rollout,
            look=lambda names: driver.observe(stack, names),
            output=lambda name: driver.last_output(name, OUTPUT_LINES),
        )
        yield from replacement.script()
    if step.awaits:
        try:
            yield Wait(awaits=step.awaits)
        except Interrupted as error:
            if step.verb != "run":
                raise
            # Half a migration is worse than a late one: a job is never cut.
            problem = f"{error.problem}; the job still runs, and the next apply waits for it"
            raise reworded(error, problem=problem) from error


def _put_back(step: Step, error: DeclarativeError) -> Script:
    """Put back what was there before, as far as it goes, and raise `error` with what became of it."""
    second: DeclarativeError | None = None
    for action in step.back:
        try:
            yield Do(action=action)
        except DeclarativeError as other:
            second = second or other
    if second is not None:
        problem = f"{error.problem}; and what was there before could not be put back: {second}"
        raise reworded(error, problem=problem, remedy="mend the cause, then apply again to go on") from error
    raise reworded(error, problem=f"{error.problem}; the old one is back") if step.back else error
