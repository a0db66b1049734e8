"""Removing a container: its folder set aside in one step, then its references and its record, then the bytes.

The rule that keeps it simple: a container without its folder is gone, whatever else is left of it; the next start of the engine
finishes what was interrupted.
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from declarative.engine.containers import starting
from declarative.engine.containers.life import Call, Move, Status, allowed, move
from declarative.errors import Conflict, DeclarativeError, Failed, NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts

GONE = ".gone-"


def remove_for_person(
    parts: Parts, container: Container, name: str, *, force: bool = False, volumes: bool = False
) -> None:
    """Remove a container, which must not run unless `force`. `volumes`: those that nobody named go with it. Conflict."""
    while not _removed(parts, container, name, force=force, volumes=volumes):
        from declarative.engine.containers import stopping

        with contextlib.suppress(Conflict):  # it has just ended by itself
            stopping.kill(parts, container, name)


def _removed(parts: Parts, container: Container, name: str, *, force: bool, volumes: bool) -> bool:
    """Remove a container; False where it is to be killed first, which cannot be done under its lock."""
    with container.lock:  # whoever starts it has that: it may have come up meanwhile
        if container.removed:
            if force:
                return True  # by --rm, as it ended
            raise NotFound("", f"No such container: {name}")
        if force and container.state.is_active:
            return False
        status = container.state.status
        allowed(Call.REMOVE, status, id=container.id, name=name, label=f"/{container.name}")
        remove(parts, container, volumes=volumes)
    return True


def remove(parts: Parts, container: Container, *, volumes: bool, released: bool = False) -> None:
    """Remove a container that does not run; the caller holds its lock. Failed: it is `dead` then, to be removed again.

    `released`: nothing of it runs or is mounted, which the caller has seen to.
    """
    container.become(status=move(container.state.status, Move.REMOVE))
    try:
        if not released:
            starting.release(parts, container)
        _set_aside(parts, container)
        forget(parts, container, volumes=volumes)
    except (DeclarativeError, OSError) as error:
        container.become(status=move(Status.REMOVING, Move.FAIL), error=str(error))
        parts.records.put_state(container)
        raise Failed("", f"unable to remove container {container.id}: {error}") from error
    container.vanish()
    parts.tell(container, "destroy")


def _set_aside(parts: Parts, container: Container) -> None:
    folder = parts.folder(container)
    gone = folder.with_name(f"{GONE}{container.id}")
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return
    parts.schedule.in_turn(lambda: shutil.rmtree(gone, ignore_errors=True))


def forget(parts: Parts, container: Container, *, volumes: bool) -> None:
    """Give up a container's references and its record."""
    parts.volumes.release(container.id)
    parts.images.release(container.id)
    parts.records.remove(container)
    parts.index.remove(container)
    if volumes:
        _remove_volumes(parts, container)


def _remove_volumes(parts: Parts, container: Container) -> None:
    for point in container.points:
        if point.anonymous and point.name:
            try:
                parts.volumes.remove(point.name, force=True)
            except Conflict:
                continue  # another container has it too (--volumes-from)
            except DeclarativeError as error:
                parts.log.warning("a volume cannot be removed", volume=point.name, reason=error)


def sweep(containers: Path) -> None:
    """Remove what interrupted removals have set aside."""
    for folder in containers.glob(f"{GONE}*"):
        shutil.rmtree(folder, ignore_errors=True)
