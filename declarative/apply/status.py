"""`status`: what a stack runs, per resource. With manifests, also what is missing; without, all that the stack owns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.core.resources import Desired, Network, Volume
    from declarative.core.state import Actual, ContainerState, NetworkState, Owner, VolumeState


THERE = "there"


@record
class Row:
    """One container as it is. `state` is a word for people: "running", "healthy", "exited (3)", "missing", "not ours"."""

    kind: str
    resource: str
    name: str
    state: str
    ready: bool
    image: str = ""
    ports: tuple[str, ...] = ()
    restarts: int = 0
    since: str = ""  # RFC 3339


@record
class Status:
    """What a stack has. `others`: "Network/shop_back", "Volume/shop_data" → "there", "missing", or whose it is."""

    stack: str
    engine: str
    revision: int
    applied_at: str
    rows: tuple[Row, ...]
    others: dict[str, str]
    unfinished: bool = False  # an apply is under way, or was killed

    @property
    def ready(self) -> bool:
        """Whether everything that should be there is there and well."""
        return all(row.ready for row in self.rows) and all(state == THERE for state in self.others.values())


def status_of(actual: Actual, desired: Desired | None) -> Status:
    """Say what is there; `desired` None: nobody said what should be."""
    rows = {row.name: row for row in _wanted(desired, actual)} if desired is not None else {}
    for kind in ("Container", "Job"):
        for name, owner in actual.owned(kind):
            rows.setdefault(name, _row(kind, owner.name, name, actual.containers[name]))
    return Status(
        stack=actual.stack,
        engine=actual.engine.name,
        revision=actual.revision.number if actual.revision else 0,
        applied_at=actual.revision.applied_at if actual.revision else "",
        rows=tuple(sorted(rows.values(), key=lambda row: (row.kind, row.resource, len(row.name), row.name))),
        others=dict(_others(desired, actual)),
        unfinished=bool(actual.leftovers),
    )


def _wanted(desired: Desired, actual: Actual) -> Iterator[Row]:
    for container in desired.containers.values():
        for index in range(1, container.replicas + 1):
            name = container.engine_name(desired.stack, index)
            yield _wanted_row("Container", container.name, name, actual)
    for job in desired.jobs.values():
        name = job.engine_name(desired.stack)
        state = actual.containers.get(name)
        done = actual.revision is not None and actual.revision.objects.get(f"Job/{name}")
        if state is None and done:
            yield Row(kind="Job", resource=job.name, name=name, state="done, container removed", ready=True)
        else:
            yield _wanted_row("Job", job.name, name, actual)


def _wanted_row(kind: str, resource: str, name: str, actual: Actual) -> Row:
    state = actual.containers.get(name)
    if state is None:
        return Row(kind=kind, resource=resource, name=name, state="missing", ready=False)
    row = _row(kind, resource, name, state)
    whose = _whose(state.owner, kind, resource, actual)
    return replace(row, state=f"{whose}: {row.state}", ready=False) if whose else row


def _whose(owner: Owner | None, kind: str, resource: str, actual: Actual) -> str:
    """Say whose an object is that has the name of one of ours; "" where it is ours."""
    if owner is None:
        return "not ours"
    if owner.stack != actual.stack:
        return f"of stack {owner.stack!r}"
    return "" if (owner.kind, owner.name) == (kind, resource) else f"of {owner.kind}/{owner.name}"


def _row(kind: str, resource: str, name: str, state: ContainerState) -> Row:
    return Row(
        kind=kind,
        resource=resource,
        name=name,
        state=_words(state),
        ready=_is_well(kind, state),
        image=state.spec.image.reference,
        ports=tuple(str(port) for port in state.spec.ports if port.published),
        restarts=state.restarts,
        since=state.started if state.state == "running" else state.finished or state.created,
    )


def _words(state: ContainerState) -> str:
    if state.state == "running":
        return state.health or "running"
    if state.state in ("exited", "dead"):
        return f"{state.state} ({state.exit_code}{', out of memory' if state.oom_killed else ''})"
    return state.state


def _is_well(kind: str, state: ContainerState) -> bool:
    if kind == "Job":
        return state.state == "exited" and state.exit_code == 0
    return state.state == "running" and state.health in ("", "healthy")


def _others(desired: Desired | None, actual: Actual) -> Iterator[tuple[str, str]]:
    wanted: dict[str, str] = {}
    if desired is not None:
        for network in desired.networks.values():
            name = network.engine_name(desired.stack)
            wanted[f"Network/{name}"] = _presence("Network", network, actual.networks.get(name), actual)
        for volume in desired.volumes.values():
            name = volume.engine_name(desired.stack)
            wanted[f"Volume/{name}"] = _presence("Volume", volume, actual.volumes.get(name), actual)
    for kind in ("Network", "Volume"):
        for name, _ in actual.owned(kind):
            wanted.setdefault(f"{kind}/{name}", THERE)
    yield from sorted(wanted.items())


def _presence(kind: str, resource: Network | Volume, state: NetworkState | VolumeState | None, actual: Actual) -> str:
    if state is None:
        return "missing"
    name = state.owner.name if state.owner is not None else resource.name  # it may have been declared under another one
    return THERE if resource.spec.external else _whose(state.owner, kind, name, actual) or THERE


def status_document(status: Status) -> dict[str, Any]:
    """Give the JSON form, whose shape `schemas/status.schema.json` publishes."""
    return {
        "stack": status.stack,
        "engine": status.engine,
        "ready": status.ready,
        "unfinished": status.unfinished,
        "revision": status.revision,
        "applied_at": status.applied_at,
        "containers": [
            {
                "kind": row.kind,
                "resource": row.resource,
                "name": row.name,
                "state": row.state,
                "ready": row.ready,
                "image": row.image,
                "ports": list(row.ports),
                "restarts": row.restarts,
                "since": row.since,
            }
            for row in status.rows
        ],
        "others": [{"name": name, "present": state == THERE, "state": state} for name, state in status.others.items()],
    }
