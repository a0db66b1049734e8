"""What an engine can change on a living container: limits, restart policy, networks, name. Everything else replaces it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.actions import ConnectNetwork, DisconnectNetwork, RenameContainer, UpdateContainer
from declarative.core.resources import Resources
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from declarative.core.actions import Action
    from declarative.core.plan import Change
    from declarative.core.resources import ContainerSpec
    from declarative.core.state import ContainerState

_RESOURCES = "spec.resources."
_NETWORKS = "spec.networks."


def is_in_place(change: Change, wanted: ContainerSpec, state: ContainerState, networks: Collection[str]) -> bool:
    """Whether this difference can be changed on the living container. `networks`: those that are there now, and stay."""
    path = change.path
    if path in ("spec.restart", "spec.container_name"):
        return True
    if path.startswith(_RESOURCES):
        # The engine reads 0 as "not said" in an update, so a limit can be set but, save that on pids, not lifted.
        if path == "spec.resources.memory_swap" and wanted.resources.memory:
            return True  # nobody states it: it is twice the memory then
        return change.after is not None or path == "spec.resources.pids"
    if path.startswith(_NETWORKS):
        return _has_networks(wanted) and _has_networks(state.spec) and _keeps_home(wanted, state, networks)
    return False


def _has_networks(spec: ContainerSpec) -> bool:
    """Whether it is on networks of its own: one of the engine's default bridge would stay on that too."""
    return not spec.network_mode


def _keeps_home(wanted: ContainerSpec, state: ContainerState, networks: Collection[str]) -> bool:
    """Whether the network that it was made on stays: once that is removed, dockerd 26 neither starts nor attaches it."""
    return not state.home or state.home in wanted.networks or state.home in networks


def update_actions(
    name: str, changes: tuple[Change, ...], wanted: ContainerSpec, state: ContainerState
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give the actions that make these changes, and what of them the container's label cannot remember."""
    actions: list[Any] = []
    if state.name != name:
        actions.append(RenameContainer(name=state.name, to=name))
    paths = {change.path for change in changes}
    limits = {
        path.removeprefix(_RESOURCES): getattr(wanted.resources, path.removeprefix(_RESOURCES))
        for path in paths
        if path.startswith(_RESOURCES)
    }
    if limits or "spec.restart" in paths:
        restart = (wanted.restart or "no") if "spec.restart" in paths else None
        actions.append(UpdateContainer(name=name, resources=_limits(limits, wanted), restart=restart))
    for path in sorted(paths):
        if path.startswith(_NETWORKS):
            network = path.removeprefix(_NETWORKS)
            if network not in wanted.networks:
                actions.append(DisconnectNetwork(container=name, network=network))
            else:
                actions.append(ConnectNetwork(container=name, network=network, attachment=wanted.networks[network]))
    kept = {change.path: change.after for change in changes if change.path != "spec.container_name"}
    return tuple(actions), kept


def networks_of(actions: Iterable[Action]) -> set[str]:
    """Name the networks that actions attach a container to, or take it off."""
    return {action.network for action in actions if isinstance(action, (ConnectNetwork, DisconnectNetwork))}


def _limits(limits: dict[str, Any], wanted: ContainerSpec) -> Resources:
    if "pids" in limits and limits["pids"] is None:
        limits["pids"] = -1
    memory = wanted.resources.memory
    if memory and limits.keys() & {"memory", "memory_swap"} and wanted.resources.memory_swap is None:
        # Swap is what the engine would have made of this memory at creation; it refuses memory above swap.
        limits |= {"memory": memory, "memory_swap": 2 * memory}
    return replace(Resources(), **limits)
