"""A container's root, opened for the engine's own work in it: as its processes see it, or mounted for as long as it is used.

The rule that keeps it simple: who has the root of a container that does not run has its lock, too, so that nobody starts it.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.containers import mounting, points
from declarative.engine.containers.processes import open_root
from declarative.engine.containers.user_namespaces import of_process
from declarative.engine.images.layers.tree import Tree
from declarative.engine.runtime import kernel
from declarative.engine.runtime.rooted import open_in_root
from declarative.engine.runtime.sandbox import IdMaps
from declarative.errors import Conflict, Failed, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts

_END_SECONDS = 30.0
"""How long the end of a container may take: its monitor may wait for a slow disk."""


@contextmanager
def opened_root(parts: Parts, container: Container) -> Iterator[tuple[int, IdMaps]]:
    """Give the container's root as its processes see it, as an open folder; mounted for as long as it is used, if need be.

    And the maps that it is seen through: of a container that runs in a user namespace; else none. NotFound where it is gone.
    """
    with _opened(parts, container, partial(open_root, container), partial(_mounted_root, parts, container)) as found:
        yield found


@contextmanager
def opened_layers(parts: Parts, container: Container) -> Iterator[tuple[int, IdMaps]]:
    """As `opened_root`, without what is mounted in it: volumes, and what the runtime brings."""
    open_it = partial(_mounted_layers, parts, container)
    with _opened(parts, container, open_it, open_it) as found:  # of one that runs they are mounted for the machine, too
        yield found


@contextmanager
def _opened(
    parts: Parts, container: Container, live: Callable[[], int], still: Callable[[], int]
) -> Iterator[tuple[int, IdMaps]]:
    """Open a root with `live` where the container is up, else with `still`, which mounts it."""
    fd, held, maps = _open(container, live, still)
    try:
        yield fd, maps
    finally:
        os.close(fd)
        if held:
            try:
                mounting.unmount(parts, container)
                parts.volumes.unmount(container.id)
            finally:
                container.lock.release()


def _open(container: Container, live: Callable[[], int], still: Callable[[], int]) -> tuple[int, bool, IdMaps]:
    """Open the root. Tell whether it is mounted for us and the lock ours, so that nobody starts or removes it; and the maps."""
    while True:
        with container.lock:
            if container.removed:
                raise NotFound("", f"No such container: {container.id}")
            pid = container.state.pid
            if not container.state.is_up:
                fd = still()
                container.lock.acquire()
                return fd, True, IdMaps()
            with contextlib.suppress(Conflict):  # its process has ended, and its end is still to be dealt with
                fd = live()
                return fd, False, _maps_of(fd, pid)
        if not container.wait_until(partial(_is_over, container, pid), _END_SECONDS):
            raise Failed("", f"container {container.id} has ended, and its monitor has not")


def _is_over(container: Container, pid: int) -> bool:
    return container.removed or container.state.pid != pid


def _maps_of(root: int, pid: int) -> IdMaps:
    """Give the maps of the process whose root was just opened. Conflict where it has ended since; then the root is closed."""
    try:
        return of_process(pid)
    except Failed as error:
        os.close(root)
        raise Conflict("", error.problem) from None


def _mounted_layers(parts: Parts, container: Container) -> int:
    return os.open(mounting.mount_root(parts, container), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _mounted_root(parts: Parts, container: Container) -> int:
    """Mount a stopped container's root, and its volumes and binds in it, where they have a place."""
    root = mounting.mount_root(parts, container)
    try:
        fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for point in sorted(container.points, key=lambda point: point.destination.count("/")):
            source = _source(parts, container, point)
            if source is not None:
                _make_place(fd, source, point)
                _bind(fd, source, point)
    except BaseException:
        mounting.unmount(parts, container)
        raise
    return fd


def _source(parts: Parts, container: Container, point: points.Point) -> Path | None:
    if point.kind == points.BIND:
        return Path(point.source) if Path(point.source).exists() else None
    if point.kind == points.VOLUME:
        attributes = {"destination": point.destination, "read/write": str(point.writable).lower(), "propagation": ""}
        return parts.volumes.mount(point.name, container.id, attributes)
    return None


def _make_place(root: int, source: Path, point: points.Point) -> None:
    """Make the place of a mount that the image has not, as the runtime does at the start."""
    with _place(root, point) as place:
        if place is not None:
            return
    folder, name = posixpath.split(point.destination)
    tree = Tree(root, (), overlay=False)
    try:
        made = tree.folder(
            os.fsencode((folder if not source.is_dir() else point.destination).strip("/")), time=time.time_ns()
        )
        if made is not None and not source.is_dir():
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=made.fd))
    finally:
        tree.close()


def _bind(root: int, source: Path, point: points.Point) -> None:
    """Bind a source into the root, where the place is there and is of the same kind."""
    with _place(root, point) as place:
        if place is None or stat.S_ISDIR(os.fstat(place).st_mode) != source.is_dir():
            return
        kernel.mount(source, f"/proc/self/fd/{place}", "", kernel.MS_BIND)
    if not point.writable:
        with _place(root, point) as place:  # what is there now: the mount
            kernel.mount("", f"/proc/self/fd/{place}", "", kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY)


@contextmanager
def _place(root: int, point: points.Point) -> Iterator[int | None]:
    """Give what is at a mount point's place, opened; None for nothing."""
    try:
        place = open_in_root(root, point.destination, os.O_PATH)
    except OSError:
        yield None
        return
    try:
        yield place
    finally:
        os.close(place)
