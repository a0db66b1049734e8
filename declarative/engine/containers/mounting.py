"""A container's file systems: its root over the image's layers, its volumes with their first content, what is bound into it.

The rule that keeps it simple: everything that is mounted below a container's folder is unmounted by `unmount`, in whatever
state it was left. What goes into a volume on its first use is read below the image's root only.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.containers import points
from declarative.engine.containers.parts import ROOTFS, SHM, UPPER, WORK
from declarative.engine.containers.tarring import tar_of_folder
from declarative.engine.images.layers.apply import place_members
from declarative.engine.images.layers.reader import members
from declarative.engine.images.layers.source import Source
from declarative.engine.images.layers.tree import Tree
from declarative.engine.runtime import mounts, rootfs
from declarative.engine.runtime.idmaps import shown
from declarative.engine.runtime.rooted import open_in_root
from declarative.errors import Failed, Invalid, NotFound, Unsupported, reason_of
from declarative.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts
    from declarative.engine.containers.points import Point
    from declarative.engine.runtime.sandbox import IdMaps, Mount

_LAYER_FOLDERS = ("dev/pts", "dev/shm", "etc", "proc", "sys")
_LAYER_FILES = ("dev/console", "etc/hosts", "etc/hostname", "etc/resolv.conf", ".dockerenv")


def make_init_layer(folder: Path) -> Path:
    """Make the lowest layer of every container: places for what is mounted in each, so that its own layer has none of them."""
    for name in _LAYER_FOLDERS:
        (folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    for name in _LAYER_FILES:
        (folder / name).touch(mode=0o755 if name.startswith("dev") else 0o644)
    mtab = folder / "etc/mtab"
    if not mtab.is_symlink():
        mtab.symlink_to("/proc/mounts")
    return folder


def make_folder(parts: Parts, container: Container) -> None:
    """Make a new container's folder."""
    folder = parts.folder(container)
    folder.mkdir(mode=0o710, parents=True)
    for name in (UPPER, WORK, ROOTFS):
        (folder / name).mkdir(mode=0o755 if name != WORK else 0o700)


def image_layers(parts: Parts, container: Container) -> tuple[Path, ...]:
    """Give the folders of the container's image, the uppermost first."""
    if not container.image_id:
        return ()
    return parts.images.layers_of(container.id, Digest.parse(container.image_id))


def mount_root(parts: Parts, container: Container, maps: IdMaps | None = None) -> Path:
    """Mount the container's root, if it is not; give where. `maps`: of its user namespace, where it has one and is to run."""
    folder = parts.folder(container)
    target = folder / ROOTFS
    if not rootfs.is_mounted(target):
        rootfs.mount_overlay(
            (*image_layers(parts, container), parts.init_layer),
            folder / UPPER,
            folder / WORK,
            target,
            volatile=container.host.auto_remove,
            uid_maps=maps.uids if maps else (),
            gid_maps=maps.gids if maps else (),
            place=mapping_place(parts) if maps else None,
        )
    return target


def try_maps(parts: Parts) -> None:
    """Mount an empty root with mapped ids, so that it is known from the start whether that can be done. Unsupported, Failed."""
    maps = parts.settings.maps
    with tempfile.TemporaryDirectory(prefix=".try-", dir=parts.settings.paths.containers) as name:
        for part in (UPPER, WORK, ROOTFS):
            (Path(name) / part).mkdir()
        upper, work, target = (Path(name) / part for part in (UPPER, WORK, ROOTFS))
        place = mapping_place(parts)
        rootfs.mount_overlay(
            (parts.init_layer,), upper, work, target, uid_maps=maps.uids, gid_maps=maps.gids, place=place
        )
        rootfs.unmount(target)


def mapping_place(parts: Parts) -> Path:
    """Give the folder for mounts that show folders with mapped ids for a moment."""
    place = parts.settings.paths.mapped
    place.mkdir(mode=0o711, exist_ok=True)
    return place


@contextmanager
def showing(
    parts: Parts, container: Container, maps: IdMaps, root: Path
) -> Iterator[tuple[Path, Callable[[Path], Path]]]:
    """Give the mounted root where the container's root can reach it, and what gives where a volume is seen with its ids.

    Until the end, by when the container has its own mounts of them. Without maps both are where they are.
    """
    if not maps:
        yield root, lambda path: path
        return
    folder = mapping_place(parts) / container.id
    _clear(folder)
    folder.mkdir(mode=0o711)
    with shown(maps.uids, maps.gids, folder) as places:
        yield places.reach(root, ROOTFS), places.show  # runc goes there for each exec: the folder stays


def sweep(parts: Parts) -> None:
    """Unmount what a daemon that was killed while it started a container showed with mapped ids."""
    place = parts.settings.paths.mapped
    if not place.exists():
        return
    for point in rootfs.mounts_below(place.resolve()):
        rootfs.unmount(point)
    for folder in place.iterdir():
        if parts.index.find(folder.name) is None:
            _clear(folder)


def _clear(folder: Path) -> None:
    """Remove a folder of mount points, each of them by itself: what is mounted there is never removed."""
    if not folder.exists():
        return
    for point in folder.iterdir():
        rootfs.unmount(point)
        point.rmdir() if point.is_dir() else point.unlink()
    folder.rmdir()


def unmount(parts: Parts, container: Container) -> None:
    """Unmount all that is mounted below the container's folder."""
    folder = parts.folder(container)
    rootfs.unmount(folder / ROOTFS)
    if (folder / SHM).exists():
        rootfs.unmount(folder / SHM)
    _clear(parts.settings.paths.mapped / container.id)


def fill_volumes(parts: Parts, container: Container) -> None:
    """Give empty volumes what the image has at their place, owners and all: once, when the container is made."""
    wanted = [
        point
        for point in container.points
        if point.kind == points.VOLUME and point.copy and parts.volumes.is_empty(point.name)
    ]
    if not wanted or not container.image_id:
        return
    root = mount_root(parts, container)
    try:
        for point in wanted:
            _fill(root, point, parts.volumes.path(point.name))
    finally:
        unmount(parts, container)


def _fill(root: Path, point: Point, volume: Path) -> None:
    try:
        source = open_in_root(root, point.destination, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise Invalid("", f"cannot mount volume over existing file, file exists {root}{point.destination}") from None
    try:
        tree = Tree(volume, (), overlay=False)
        try:
            place_members(members(Source(tar_of_folder(source), point.destination)), tree, f"volume {point.name}")
        finally:
            tree.close()
        status = os.fstat(source)
        os.chown(volume, status.st_uid, status.st_gid)
        volume.chmod(stat.S_IMODE(status.st_mode))
    finally:
        os.close(source)


def check_sources(container: Container) -> None:
    """Check that what is bound and not made is there. Invalid, in Docker's words."""
    for point in container.points:
        if point.kind == points.BIND and not point.create and not Path(point.source).exists():
            raise Invalid("", f'invalid mount config for type "bind": bind source path does not exist: {point.source}')


def mounts_of(
    parts: Parts, container: Container, owner: tuple[int, int], show: Callable[[Path], Path]
) -> tuple[Mount, ...]:
    """Mount the container's volumes, make the sources that binds may lack, and give what is to be mounted in the container.

    `owner`: the machine's (uid, gid) of the container's root. `show` gives where a volume is seen with the container's ids; a
    folder of the machine's that is bound is as it is, so that who is root inside is nobody there.
    """
    found = [_mount(parts, container, point, owner, show) for point in container.points]
    taken = {mount.target for mount in found}
    found += [
        mounts.tmpfs(target, options) for target, options in (container.host.tmpfs or {}).items() if target not in taken
    ]
    return tuple(found)


def _mount(
    parts: Parts, container: Container, point: Point, owner: tuple[int, int], show: Callable[[Path], Path]
) -> Mount:
    if point.kind == points.TMPFS:
        return mounts.tmpfs(point.destination, point.options)
    if point.kind == points.VOLUME:
        attributes = {
            "destination": point.destination,
            "read/write": "true" if point.writable else "false",
            "propagation": point.propagation,
        }
        path = parts.volumes.mount(point.name, container.id, attributes)
        seen = _seen(parts, point, _below(path, point), show)
        return mounts.bind(seen, point.destination, read_only=not point.writable)
    _make_source(point, owner)
    _check_propagation(point)
    return mounts.bind(
        point.source,
        point.destination,
        read_only=not point.writable,
        propagation=point.propagation or "rprivate",
        recursive=point.recursive,
    )


def _seen(parts: Parts, point: Point, path: Path, show: Callable[[Path], Path]) -> Path:
    """Give where a volume is seen with the container's ids; on a file system that cannot do that, NFS say, as it is."""
    volume = parts.volumes.get(point.name)
    try:
        seen = show(path)
    except Unsupported:
        if not volume.options:
            raise
        return path
    if seen != path:  # what the container's root makes is root's on the disk: setuid programs are for nobody else there
        volume.path.parent.chmod(0o700)
    return seen


def _below(volume: Path, point: Point) -> Path:
    """Give the part of a volume that is mounted: what `subpath` is in it, never outside."""
    if not point.subpath:
        return volume
    try:
        descriptor = open_in_root(volume, point.subpath, os.O_PATH)
    except OSError as error:
        raise NotFound("", f"cannot access path {volume / point.subpath}: {error.strerror}") from None
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    finally:
        os.close(descriptor)


def _make_source(point: Point, owner: tuple[int, int]) -> None:
    source = Path(point.source)
    if source.exists():
        return
    if not point.create:
        raise Invalid("", f'invalid mount config for type "bind": bind source path does not exist: {source}')
    try:
        source.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.chown(source, *owner)
    except OSError as error:
        reason = f"mkdir {error.filename}: {reason_of(error)}"
        raise Failed("", f"error while creating mount source path '{source}': {reason}") from error


def _check_propagation(point: Point) -> None:
    """Refuse to share what the machine does not share itself, in Docker's words."""
    wanted = point.propagation.removeprefix("r")
    if wanted not in {"shared", "slave"}:
        return
    target, flags = _mount_of(Path(point.source).resolve())
    if not any(flag.startswith("shared:") for flag in flags):
        if wanted == "slave" and any(flag.startswith("master:") for flag in flags):
            return
        what = "a shared or slave mount" if wanted == "slave" else "a shared mount"
        raise Failed("", f"path {point.source} is mounted on {target} but it is not {what}")


def _mount_of(path: Path) -> tuple[str, tuple[str, ...]]:
    """Give the mount point that a path is on, and its optional fields (proc(5), mountinfo)."""
    best = "/"
    flags: tuple[str, ...] = ()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left = line.partition(" - ")[0].split()
        if path.is_relative_to(left[4]) and len(left[4]) >= len(best):
            best, flags = left[4], tuple(left[6:])
    return best, flags


def share_memory(parts: Parts, container: Container, owner: tuple[int, int]) -> Path:
    """Mount the /dev/shm that other containers may join (`--ipc shareable`), if it is not; give where. `owner`: (uid, gid)."""
    target = parts.folder(container) / SHM
    target.mkdir(mode=0o755, exist_ok=True)
    if not rootfs.is_mounted(target):
        rootfs.mount_tmpfs(target, size=container.host.shm_size)
        os.chown(target, *owner)
    return target
