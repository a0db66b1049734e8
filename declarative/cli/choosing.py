"""Which containers a person means: by the manifest's name (all replicas), NAME-INDEX, or the engine's own name.

The rule that keeps it simple: only the stack's own containers can be meant, so that a name is never a stranger's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from declarative.core.state import Actual, ContainerState


def owned_containers(actual: Actual) -> list[ContainerState]:
    """Give the stack's containers and jobs by name and index."""
    own = [
        state
        for state in actual.containers.values()
        if state.owner is not None and state.owner.stack == actual.stack and state.owner.kind in {"Container", "Job"}
    ]
    return sorted(own, key=_rank)


def choose(actual: Actual, names: Sequence[str]) -> list[ContainerState]:
    """Give the containers that `names` mean, each once; without names, all. NotFound names what there is."""
    own = owned_containers(actual)
    if not names:
        return own
    chosen: dict[str, ContainerState] = {}
    for name in names:
        found = [state for state in own if name in names_of(state)]
        if not found:
            raise _not_found(name, own, actual.stack)
        chosen |= {state.name: state for state in found}
    return list(chosen.values())


def names_of(state: ContainerState) -> tuple[str, ...]:
    """Give every name by which a container can be meant."""
    if state.owner is None:
        return (state.name,)
    return (state.owner.name, f"{state.owner.name}-{state.owner.index}", state.name)


def short_name(state: ContainerState) -> str:
    """Give the name as plans write it: web-1."""
    if state.owner is None or not state.owner.index:
        return state.owner.name if state.owner else state.name
    return f"{state.owner.name}-{state.owner.index}"


def _rank(state: ContainerState) -> tuple[str, int, str]:
    return (state.owner.name, state.owner.index, state.name) if state.owner else ("", 0, state.name)


def _not_found(name: str, own: Iterable[ContainerState], stack: str) -> NotFound:
    from declarative.manifest.suggest import did_you_mean

    known = [short_name(state) for state in own]
    every = dict.fromkeys(candidate for state in own for candidate in names_of(state))
    remedy = did_you_mean(name, every) or (f"there are {', '.join(known)}" if known else "apply the stack first")
    return NotFound(name, f"stack {stack} runs no such container", remedy)
