"""Container names that go from one resource to another: of a resource renamed under its container_name, a Job made a Container.

The rule that keeps it simple: a name is a thing that is held, as a host port is: who has it lets go before another takes it
(see `handover`). Only a Container that takes the name of one that leaves does better: it replaces it, and the old one comes back
where the new one does not get ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from declarative.core.planner.draft import Draft
    from declarative.core.resources import Desired
    from declarative.core.state import ContainerState, Owner


def may_go(draft: Draft, state: ContainerState) -> bool:
    """Whether this run removes a container that is no longer wanted."""
    owner, policy = state.owner, draft.policy
    targeted = not policy.targets or (owner is not None and f"{owner.kind}/{owner.name}" in policy.targets)
    return policy.prune and targeted


def leaves_name(draft: Draft, state: ContainerState) -> bool:
    """Whether a container of ours gives its name up: it is removed, or gets another one."""
    owner = state.owner
    if owner is None or owner.stack != draft.desired.stack:
        return False
    name = wanted_name(draft.desired, owner)
    return may_go(draft, state) if name is None else name != state.name


def has_left(draft: Draft, state: ContainerState | None, kind: str = "Container") -> bool:
    """Whether a container of ours of this kind is removed, since nothing asks for it any more."""
    owner = state.owner if state is not None else None
    if state is None or owner is None or (owner.stack, owner.kind) != (draft.desired.stack, kind):
        return False
    return wanted_name(draft.desired, owner) is None and may_go(draft, state)


def wanted_name(desired: Desired, owner: Owner) -> str | None:
    """Give the name that a container of this owner shall have; None where there shall be none."""
    if owner.kind == "Job":
        job = desired.jobs.get(owner.name)
        return job.engine_name(desired.stack) if job is not None else None
    container = desired.containers.get(owner.name)
    if container is None or not 1 <= owner.index <= container.replicas:
        return None
    return container.engine_name(desired.stack, owner.index)


def described(owner: Owner, stack: str) -> str:
    """Name whoever has an object, as seen from a stack."""
    return f"{owner.kind}/{owner.name}" if owner.stack == stack else f"stack {owner.stack!r}"
