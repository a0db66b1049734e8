"""Giving back what a container let go of for others (see `core.planner.handover`), where that was for nothing in the end.

The rule that keeps it simple: it is done when all steps have ended. Only then it is known what became of the container's own
step and of those that it made room for, and nobody else is at work on them. It raises nothing: what failed first is what counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.actions import ConnectNetwork, RenameContainer, StartContainer
from declarative.core.state import LIVING, SUFFIX_OLD
from declarative.errors import DeclarativeError
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from declarative.apply.events import Outcome
    from declarative.core.actions import Action
    from declarative.core.plan import Step, Undo
    from declarative.drivers.port import Observed

    Look = Callable[[Sequence[str]], Mapping[str, Observed]]


def to_take_back(step: Step, outcomes: Mapping[int, Outcome]) -> tuple[Undo, ...]:
    """Give what of a step is to be taken back. One that failed may have been done all the same, or by half."""
    if outcomes[step.id].state == "skipped":
        return ()
    return tuple(undo for undo in step.undo if all(outcomes[own].state != "done" for own in undo.own))


def take_back(undo: Undo, outcomes: Mapping[int, Outcome], *, look: Look, do: Callable[[Action], None]) -> str:
    """Give the container back what it let go of, unless it is somebody else's by now; says what came of it, "" if nothing."""
    container, lacking, again, able = _words(undo.action)
    own = [outcomes[at] for at in undo.own]
    takers = {at: outcomes[at].step for at in undo.takers if outcomes[at].state == "done"}
    old, names = container + SUFFIX_OLD, (container, *(outcome.step.name for outcome in own))
    try:
        if isinstance(undo.action, RenameContainer):
            return _take_name_back(undo.action, look=look, do=do)
        seen = look((*names, old, *(step.name for step in takers.values())))
        for at, step in takers.items():
            if step.name in seen and seen[step.name].state in LIVING:
                went = f"{undo.takers[at]} went to {step.label}"
                return f"Container/{container} {lacking}: {went}; apply again, or `declarative rollout undo`"
        if old in seen and any(outcome.state != "skipped" for outcome in own):
            return f"Container/{container} is kept as {old}, and {lacking}; apply again to go on"
        # its own step may have got as far as to give it another name
        name = next((name for name in names if name in seen), container)
        do(
            replace(undo.action, container=name)
            if isinstance(undo.action, ConnectNetwork)
            else StartContainer(name=name)
        )
    except DeclarativeError as error:
        return f"Container/{container} {lacking}, and could not be {able}: {error}; apply again to go on"
    return f"Container/{container} {again}: what it made room for was not done"


def _take_name_back(action: RenameContainer, *, look: Look, do: Callable[[Action], None]) -> str:
    """Give a container its name back; "" where its own step got as far as to give it the next one."""
    seen = look((action.name, action.to))
    if action.name not in seen:
        return ""
    if action.to in seen:
        return (
            f"Container/{action.name} has not got the name {action.to} back: another one has it; apply again to go on"
        )
    do(action)
    return f"Container/{action.name} is {action.to} again: what it made room for was not done"


def _words(action: StartContainer | ConnectNetwork | RenameContainer) -> tuple[str, str, str, str]:
    if isinstance(action, ConnectNetwork):
        network = action.network
        return action.container, f"stays off the network {network}", f"is on {network} again", "attached again"
    if isinstance(action, RenameContainer):
        return action.name, f"is not called {action.to}", f"is {action.to} again", "renamed"
    return action.name, "stays stopped", "runs again", "started again"
