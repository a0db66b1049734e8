"""Taking up after an earlier daemon, or after the machine was down.

Three witnesses are heard: the records, the runtime (which processes there are, which have ended, with which code) and the disk.
The rule that keeps it simple: what has a record and a folder is a container, everything else is a remnant and goes; a container
that the runtime has is what the runtime says, one that it has not does not run.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from declarative.engine.containers import (
    backoff,
    ending,
    joining,
    mounting,
    probing,
    removing,
    starting,
    user_namespaces,
)
from declarative.engine.containers.container import Health
from declarative.engine.containers.health import plan_of
from declarative.engine.containers.life import Move, Status, move
from declarative.engine.containers.parts import ROOTFS, UPPER
from declarative.engine.runtime import rootfs
from declarative.engine.runtime.bundle import Exit
from declarative.errors import DeclarativeError, Failed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts
    from declarative.engine.paths import Paths
    from declarative.engine.runtime.runtime import State as Found

GONE = 255
"""The exit code of a container that was lost with its machine: nobody saw its end (Docker's)."""


def insist_on_records(paths: Paths) -> None:
    """Refuse to begin anew beside containers of old, before anything is opened: all would be remnants, which go. Failed."""
    if paths.database.exists() and paths.database.stat().st_size:
        return
    folders = paths.containers.iterdir() if paths.containers.exists() else iter(())
    lost = sum(not folder.name.startswith(".") for folder in folders)
    if lost:
        those = f"{lost} container{'s are' if lost > 1 else ' is'} below {paths.containers}"
        raise Failed(
            str(paths.database),
            f"missing or empty, and {those} that nothing else knows",
            f"bring the file back, or move {paths.containers} away to go on without them",
        )


def restore(parts: Parts) -> None:
    """Find out what became of every container, and go on with each. To be called once, before anything else is asked."""
    found = {state.id: state for state in parts.runtime.adopt()}
    mounting.sweep(parts)
    _sweep(parts, found)
    containers = parts.index.all()
    up = {
        container.id: found[container.id].pid
        for container in containers
        if container.id in found and found[container.id].status in {"running", "paused"}
    }
    parts.networks.restore(up)
    parts.volumes.restore(running=up, known=[container.id for container in containers])
    for container in containers:
        try:
            with container.lock:
                _take_up(parts, container)
        except (DeclarativeError, OSError) as error:
            parts.log.fault("a container cannot be taken up", error, container=container.id)


def _sweep(parts: Parts, found: Mapping[str, Found]) -> None:
    """Remove remnants: of containers that were not finished being made, or being removed."""
    top = parts.settings.paths.containers
    for id_ in found:
        if parts.index.find(id_) is None:
            parts.runtime.delete(id_)
    for folder in top.iterdir():
        if folder.name.startswith(".") or parts.index.find(folder.name) is None:
            for point in rootfs.mounts_below(folder):
                rootfs.unmount(point)
            parts.images.release(folder.name.removeprefix(removing.GONE))  # its folder was made before that reference
            shutil.rmtree(folder, ignore_errors=True)
    for container in parts.index.all():
        if not (parts.folder(container) / UPPER).exists() or container.state.status is Status.REMOVING:
            parts.runtime.delete(container.id)
            removing.forget(parts, container, volumes=container.host.auto_remove)
            shutil.rmtree(parts.folder(container), ignore_errors=True)


def _take_up(parts: Parts, container: Container) -> None:
    found = parts.runtime.state(container.id)  # as it is now: it may have ended, and a worker may have dealt with that
    if found.status in {"running", "paused"}:
        _runs(parts, container, found)
    elif container.state.is_up:
        _has_ended(parts, container, found)
    elif found.ran and found.exit is not None and found.exit.at > container.state.finished:
        _ran_unseen(parts, container, found.exit)
    else:
        starting.release(parts, container)  # a start that was interrupted, or an end
        _does_not_run(parts, container)


def _runs(parts: Parts, container: Container, found: Found) -> None:
    """Go on with a container that ran all the time; its record may be from before its start."""
    before = container.state
    health = before.health or (Health() if plan_of(container.config) else None)
    container.become(
        status=Status.PAUSED if found.status == "paused" else Status.RUNNING,
        pid=found.pid,
        started=before.started if before.is_up else parts.clock(),
        exit_code=0,
        error="",
        health=health,
    )
    mounting.mount_root(parts, container, user_namespaces.of_process(found.pid))
    parts.records.put_state(container)
    starting.rotate(parts, container)
    if health is not None:
        probing.plan_next(parts, container)
    if not container.broken:
        _reconcile_networks(parts, container)


def _ran_unseen(parts: Parts, container: Container, exit: Exit) -> None:  # noqa: A002 - the word of this place
    """Take note of a run that the daemon began, and did not live to record: begun once more, a job would be done twice."""
    container.become(status=move(container.state.status, Move.START), started=exit.at, error="", stopped=False)
    ending.finish(parts, container, exit)


def _reconcile_networks(parts: Parts, container: Container) -> None:
    """Make a running container's endpoints those that its record names: a change of them may have been interrupted."""
    found = {endpoint.network_name for endpoint in parts.networks.container(container.id).endpoints}
    for name in found - container.networks.keys():
        parts.networks.disconnect(container.id, name)
    for name in container.networks.keys() - found:
        joining.connect(parts, container, name, container.networks[name])
    if found != container.networks.keys():
        joining.write_hosts(parts, container)
        joining.write_resolv(parts, container)


def _has_ended(parts: Parts, container: Container, found: Found) -> None:
    """Deal with an end that nobody was there to see."""
    if found.exit is not None:
        ending.finish(parts, container, found.exit)
        return
    state = container.state
    ending.finish(parts, container, Exit(id=container.id, code=GONE, at=parts.clock()), boot=True)
    if container.removed:
        return
    if backoff.at_boot(container.host.restart_policy, was_up=True, stopped=state.stopped):
        _start_soon(parts, container)


def _does_not_run(parts: Parts, container: Container) -> None:
    state = container.state
    if rootfs.is_mounted(parts.folder(container) / ROOTFS):
        mounting.unmount(parts, container)
    if state.status is Status.RESTARTING or (
        state.status is Status.EXITED
        and backoff.at_boot(container.host.restart_policy, was_up=False, stopped=state.stopped)
    ):
        _start_soon(parts, container)


def _start_soon(parts: Parts, container: Container) -> None:
    container.become(status=Status.RESTARTING, stopped=False)
    parts.records.put_state(container)
    ending.plan_restart(parts, container, 0)
