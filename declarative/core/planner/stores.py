"""Networks and volumes: create what is missing, recreate a network that differs, never lose a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core import canonical
from declarative.core.actions import (
    ConnectNetwork,
    CreateNetwork,
    CreateVolume,
    DisconnectNetwork,
    RemoveNetwork,
    RemoveVolume,
)
from declarative.core.diff import combined, differences
from declarative.core.plan import Step
from declarative.core.planner.names import bind
from declarative.core.planner.succession import may_go
from declarative.core.state import SUFFIX_OLD, Owner
from declarative.errors import Conflict, NotFound
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from declarative.core.actions import Action
    from declarative.core.plan import Change
    from declarative.core.planner.draft import Draft
    from declarative.core.resources import Attachment, Container, Job, Network, Volume
    from declarative.core.state import Canonical, NetworkState, VolumeState

# What engines choose for a network or volume where nobody stated it.
_CHOSEN_NETWORK = ("spec.subnet", "spec.gateway", "spec.ip_range")
_DEFAULT_DRIVERS = {"Network": "bridge", "Volume": "local"}


def plan_networks(draft: Draft) -> None:
    """Plan every Network."""
    remade: dict[str, set[str]] = {}
    for network in draft.desired.networks.values():
        name = network.engine_name(draft.desired.stack)
        state = draft.actual.networks.get(name)
        if network.spec.external:
            _check_external(draft, "Network", network.name, name, network.places.at("spec"), there=state is not None)
            continue
        draft.claim(f"Network/{network.name}", f"Network/{name}")
        flat = canonical.network(network.spec)
        create = CreateNetwork(name=name, spec=network.spec, owner=_owner(draft, "Network", network.name), applied=flat)
        if state is None:
            _add_create(draft, "Network", network.name, name, create, network.places.at(""))
        elif not _is_own(state.owner, create.owner):
            draft.refuse(_foreign("Network", network, name, draft), draft.origin_of_loss(f"Network/{name}"))
        else:
            _plan_network(draft, network, state, create, remade)


def _plan_network(
    draft: Draft, network: Network, state: NetworkState, create: CreateNetwork, remade: dict[str, set[str]]
) -> None:
    """Make a network anew where it differs. `remade`: those before it that are, each with the containers that need it.

    Those that share a container take turns: dockerd 26 attaches none while the network it was made on is not there.
    """
    flat = create.applied
    applied = state.applied or {}
    actual = _observed(canonical.network(state.spec), flat, applied, "Network")
    changes = differences(_plain(flat, "Network"), actual, _last(actual, applied, "Network"), network.places)
    if not changes:
        return
    strangers = [name for name in state.attached if not _is_ours(draft, name)]
    if strangers:
        problem = f"must be recreated ({_paths(changes)}), but other containers are on it: {', '.join(strangers)}"
        remedy = "disconnect them, or give the network another name"
        conflict = Conflict(f"Network/{network.name}", problem, remedy, network.places.at("spec"))
        draft.refuse(conflict, combined(changes))
        return
    attached = _attached(draft, create.name)
    leaving = [f"gone:{name}" for name, on in attached.items() if on is None and not name.endswith(SUFFIX_OLD)]
    staying = {name for name, on in attached.items() if on is not None}
    in_need = staying | {name for name, container in draft.actual.containers.items() if container.home == create.name}
    in_turn = [f"network:{other}" for other, names in remade.items() if names & in_need]
    if not (leaving and draft.policy.delete_volumes):  # who goes may wait for other networks then (see `recreate`)
        remade[create.name] = in_need
    let_go: tuple[Action, ...] = (
        *(DisconnectNetwork(container=name, network=create.name) for name in attached),
        RemoveNetwork(name=create.name),
    )
    draft.add(
        Step(
            id=0,
            verb="replace",
            kind="Network",
            name=network.name,
            cause=f"{_paths(changes)} changed",
            origin=combined(changes),
            changes=changes,
            source=network.places.at("spec"),
            actions=(*let_go, create, *_connections(create.name, attached)),
            back=(
                *let_go,
                replace(create, spec=state.spec, applied=applied),
                *_connections(
                    create.name, {name: draft.actual.containers[name].spec.networks[create.name] for name in attached}
                ),
            ),
            touches=(f"Network/{create.name}",),
        ),
        resource=f"Network/{network.name}",
        provides=(f"network:{create.name}", *(f"reattached:{name}" for name in attached if name in staying)),
        after=(*leaving, *in_turn),
    )


def _connections(network: str, attached: Mapping[str, Attachment | None]) -> Iterator[ConnectNetwork]:
    for name, attachment in attached.items():
        if attachment is not None:
            yield ConnectNetwork(container=name, network=network, attachment=attachment)


def _attached(draft: Draft, network: str) -> dict[str, Attachment | None]:
    """Name our containers on a network that is recreated, each with how it hangs on the new one; None: not at all.

    Only who is wanted there is attached again; who is removed or taken off may be so at the same time.
    """
    containers = draft.actual.containers
    there = {state.owner for state in containers.values()}
    names: dict[str, Owner] = {}
    wanted: dict[Owner, Attachment | None] = {}
    for resource, owners in _replicas(draft):
        attachment = bind(resource, draft.desired, "").networks.get(network)
        wanted |= dict.fromkeys(owners.values(), attachment)
        names |= {name: owner for name, owner in owners.items() if owner not in there}
    found: dict[str, Attachment | None] = {}
    for name, state in containers.items():
        if network in state.spec.networks and _is_ours(draft, name):
            kept = name.removesuffix(SUFFIX_OLD)
            owner = state.owner if state.owner in wanted else names.get(kept)  # whose place is taken has an heir
            if owner is None or (name != kept and kept in containers):
                found[name] = None if may_go(draft, state) else state.spec.networks[network]
            else:
                found[name] = wanted[owner]
    return found


def _replicas(draft: Draft) -> Iterator[tuple[Container | Job, dict[str, Owner]]]:
    """Give every Container and Job with the names of its containers, each with its owner."""
    stack = draft.desired.stack
    for container in draft.desired.containers.values():
        yield (
            container,
            {
                container.engine_name(stack, index): Owner(
                    stack=stack, kind="Container", name=container.name, index=index
                )
                for index in range(1, container.replicas + 1)
            },
        )
    for job in draft.desired.jobs.values():
        yield job, {job.engine_name(stack): Owner(stack=stack, kind="Job", name=job.name, index=1)}


def plan_volumes(draft: Draft) -> set[str]:
    """Plan every Volume. Gives the engine names of those that are recreated: who uses them must let go first."""
    recreated = set()
    for volume in draft.desired.volumes.values():
        name = volume.engine_name(draft.desired.stack)
        state = draft.actual.volumes.get(name)
        if volume.spec.external:
            _check_external(draft, "Volume", volume.name, name, volume.places.at("spec"), there=state is not None)
            continue
        draft.claim(f"Volume/{volume.name}", f"Volume/{name}")
        flat = canonical.volume(volume.spec)
        create = CreateVolume(name=name, spec=volume.spec, owner=_owner(draft, "Volume", volume.name), applied=flat)
        if state is None:
            _add_create(draft, "Volume", volume.name, name, create, volume.places.at(""))
        elif not _is_own(state.owner, create.owner):
            draft.refuse(_foreign("Volume", volume, name, draft), draft.origin_of_loss(f"Volume/{name}"))
        elif _plan_volume(draft, volume, state, create, flat):
            recreated.add(name)
    return recreated


def removed_volumes(draft: Draft) -> set[str]:
    """Name the volumes that the last apply left, and that are made anew, empty: somebody removed them."""
    stack = draft.desired.stack
    names = {volume.engine_name(stack) for volume in draft.desired.volumes.values() if not volume.spec.external}
    return {name for name in names - draft.actual.volumes.keys() if draft.remembered(f"Volume/{name}")}


def _plan_volume(draft: Draft, volume: Volume, state: VolumeState, create: CreateVolume, flat: Canonical) -> bool:
    applied = state.applied or {}
    actual = _observed(canonical.volume(state.spec), flat, applied, "Volume")
    changes = differences(_plain(flat, "Volume"), actual, _last(actual, applied, "Volume"), volume.places)
    if not changes:
        return False
    if not draft.policy.delete_volumes:
        problem = f"{_paths(changes)} cannot be changed without losing the volume's data"
        remedy = "put it back, declare a second volume and copy, or accept the loss with --delete-volumes"
        conflict = Conflict(f"Volume/{volume.name}", problem, remedy, volume.places.at("spec"))
        draft.refuse(conflict, combined(changes))
        return False
    draft.add(
        Step(
            id=0,
            verb="replace",
            kind="Volume",
            name=volume.name,
            cause=f"{_paths(changes)} changed; its data is deleted",
            origin=combined(changes),
            changes=changes,
            source=volume.places.at("spec"),
            actions=(RemoveVolume(name=create.name), create),
            touches=(f"Volume/{create.name}",),
        ),
        resource=f"Volume/{volume.name}",
        provides=(f"volume:{create.name}",),
        needs=(f"released:{create.name}",),
    )
    return True


def _observed(flat: dict[str, Any], desired: Canonical, applied: Canonical, kind: str) -> dict[str, Any]:
    """Leave out what the engine chose and nobody stated."""
    kept = {path: value for path, value in flat.items() if path in desired or path in applied or not _is_chosen(path)}
    return _plain(kept, kind)


def _last(actual: Canonical, applied: Canonical, kind: str) -> dict[str, Any]:
    """Give what was applied last, with what the engine chose where that said nothing: it is no drift."""
    return {path: value for path, value in actual.items() if _is_chosen(path)} | _plain(applied, kind)


def _is_chosen(path: str) -> bool:
    return path in _CHOSEN_NETWORK or path.startswith("spec.options.")


def _plain(flat: Canonical, kind: str) -> dict[str, Any]:
    return {path: value for path, value in flat.items() if (path, value) != ("spec.driver", _DEFAULT_DRIVERS[kind])}


def _paths(changes: tuple[Change, ...]) -> str:
    return ", ".join(change.path.removeprefix("spec.") for change in changes)


def _add_create(
    draft: Draft, kind: str, name: str, engine_name: str, action: CreateNetwork | CreateVolume, source: str
) -> None:
    draft.add(
        Step(
            id=0,
            verb="create",
            kind="Network" if kind == "Network" else "Volume",
            name=name,
            cause="missing",
            origin=draft.origin_of_loss(f"{kind}/{engine_name}"),
            source=source,
            actions=(action,),
            touches=(f"{kind}/{engine_name}",),
        ),
        resource=f"{kind}/{name}",
        provides=(f"{kind.lower()}:{engine_name}",),
        after=(f"released:{engine_name}",) if kind == "Volume" else (),
    )


def _check_external(draft: Draft, kind: str, name: str, engine_name: str, source: str, *, there: bool) -> None:
    if not there and (draft.policy.looks or not draft.policy.destroy):
        problem = f"is external, and the engine has no {kind.lower()} {engine_name!r}"
        remedy = f"create it (docker {kind.lower()} create {engine_name}), or leave `external` out"
        draft.problems.append(NotFound(f"{kind}/{name}", problem, remedy, source))


def _is_own(owner: Owner | None, wanted: Owner) -> bool:
    """Whether it is of this stack. Its resource may have had another name: labels of networks and volumes cannot change."""
    return owner is not None and (owner.stack, owner.kind) == (wanted.stack, wanted.kind)


def _foreign(kind: str, resource: Network | Volume, engine_name: str, draft: Draft) -> Conflict:
    pool = draft.actual.networks if kind == "Network" else draft.actual.volumes
    owner = pool[engine_name].owner
    whose = f"belongs to stack {owner.stack!r}" if owner else "is not ours"
    remedy = "set `external: true` to use it as it is, or give it another `name`"
    problem = f"the {kind.lower()} {engine_name!r} exists and {whose}"
    return Conflict(f"{kind}/{resource.name}", problem, remedy, resource.places.at(""))


def _is_ours(draft: Draft, container: str) -> bool:
    state = draft.actual.containers.get(container)
    return state is not None and state.owner is not None and state.owner.stack == draft.desired.stack


def _owner(draft: Draft, kind: str, name: str) -> Owner:
    return Owner(stack=draft.desired.stack, kind=kind, name=name)
