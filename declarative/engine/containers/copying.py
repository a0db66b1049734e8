"""Files into and out of a container (`docker cp`, `docker export`), running or not, its volumes included.

Whoever runs in a container may put links anywhere, also while we look. The rule that keeps it simple: paths are resolved by the
kernel below the container's root (`open_in_root`), once; what follows goes through the folder that was opened.
"""

from __future__ import annotations

import os
import posixpath
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.containers.mapped_entries import seen_outside
from declarative.engine.containers.opening import opened_layers, opened_root
from declarative.engine.containers.tarring import tar_of, tar_of_folder
from declarative.engine.images.layers.apply import place_members
from declarative.engine.images.layers.compression import unpacked
from declarative.engine.images.layers.entry import Kind
from declarative.engine.images.layers.reader import Member, members
from declarative.engine.images.layers.source import Source
from declarative.engine.images.layers.tree import Tree, stat_in
from declarative.engine.runtime.idmaps import root_of
from declarative.engine.runtime.rooted import open_in_root
from declarative.engine.runtime.rootfs import act_as
from declarative.engine.runtime.users import resolve_user
from declarative.errors import Denied, Failed, Invalid, NotFound
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts
    from declarative.engine.runtime.sandbox import IdMaps, User

_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_GO_DIR, _GO_SYMLINK = 1 << 31, 1 << 27
_GO_KINDS = {stat.S_IFIFO: 1 << 25, stat.S_IFSOCK: 1 << 24, stat.S_IFBLK: 1 << 26, stat.S_IFCHR: (1 << 26) | (1 << 21)}


@record
class PathStat:
    """What is at a path: `mode` as Go's os.FileMode, `mtime` in nanoseconds since 1970, `target` of a link, made absolute."""

    name: str
    size: int
    mode: int
    mtime: int
    target: str = ""


def path_stat(parts: Parts, container: Container, name: str, path: str) -> PathStat:
    """Tell what is at a path, a link itself and not where it leads. NotFound, in Docker's words."""
    with opened_root(parts, container) as (root, _), _parent(root, path, name) as (folder, base):
        return _stat(root, folder, base, path, name)


def read_archive(parts: Parts, container: Container, name: str, path: str) -> tuple[PathStat, Iterator[bytes]]:
    """Give what is at a path, and an archive of it. NotFound, in Docker's words."""
    steps = _reading(parts, container, name, path)
    found = next(steps)
    assert isinstance(found, PathStat)  # noqa: S101 - the first step gives it
    return found, steps  # type: ignore[return-value]


def _reading(parts: Parts, container: Container, name: str, path: str) -> Iterator[PathStat | bytes]:
    with opened_root(parts, container) as (root, maps), _parent(root, path, name) as (folder, base):
        yield _stat(root, folder, base, path, name)
        parts.tell(container, "archive-path")
        devices = _own_devices(root, container) | {os.fstat(folder).st_dev}
        yield from tar_of(folder, base, _base_name(path), devices, maps)


def _own_devices(root: int, container: Container) -> frozenset[int]:
    """Give the devices of the container's root, volumes and tmpfs: what else is mounted in it is the kernel's."""
    found = {os.stat(".", dir_fd=root).st_dev}
    for place in (*(point.destination for point in container.points), *(container.host.tmpfs or ())):
        try:
            descriptor = open_in_root(root, place, os.O_PATH)
        except OSError:
            continue
        found.add(os.fstat(descriptor).st_dev)
        os.close(descriptor)
    return frozenset(found)


def _clean(path: str) -> str:
    """Give a path in the container without detours; two slashes at its beginning are one (normpath keeps them)."""
    return posixpath.normpath("/" + path.lstrip("/"))


def _base_name(path: str) -> str:
    """Give the name that a path's file has in an archive: `.` for what is in a folder (`dir/.`), "" for the root (its is `/`)."""
    if path.endswith("/.") or path == ".":
        return "."
    return posixpath.basename(_clean(path))


def _stat(root: int, folder: int, base: str, path: str, name: str) -> PathStat:
    try:
        status = os.stat(base, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        raise _missing(path, name) from None
    target = ""
    if stat.S_ISLNK(status.st_mode):
        target = _link_target(root, folder, base, path)
    return PathStat(
        name=_base_name(path) or "/",
        size=status.st_size,
        mode=_go_mode(status.st_mode),
        mtime=status.st_mtime_ns,
        target=target,
    )


def _link_target(root: int, folder: int, base: str, path: str) -> str:
    """Give where a link leads, as a path in the container; its text made absolute where it leads nowhere."""
    text = os.readlink(base, dir_fd=folder)
    absolute = posixpath.normpath(posixpath.join("/", posixpath.dirname(_clean(path)), text))
    try:
        fd = open_in_root(root, absolute, os.O_PATH)
    except OSError:
        return absolute
    try:
        found = str(Path(f"/proc/self/fd/{fd}").readlink())
        top = str(Path(f"/proc/self/fd/{root}").readlink()).rstrip("/")
    finally:
        os.close(fd)
    return found.removeprefix(top) or "/" if found.startswith(f"{top}/") or found == top else absolute


def _go_mode(mode: int) -> int:
    """Give a mode as Go's os.FileMode has it."""
    found = stat.S_IMODE(mode) & 0o777
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFDIR:
        found |= _GO_DIR
    elif kind == stat.S_IFLNK:
        found |= _GO_SYMLINK
    found |= _GO_KINDS.get(kind, 0)
    found |= (1 << 23) if mode & stat.S_ISUID else 0
    found |= (1 << 22) if mode & stat.S_ISGID else 0
    return found | ((1 << 20) if mode & stat.S_ISVTX else 0)


@contextmanager
def _parent(root: int, path: str, name: str) -> Iterator[tuple[int, str]]:
    """Give the open folder that a path's last name is in, and that name; "." in the folder itself for `dir/.` and `/`.

    A path that ends in a slash or in `/.` means what a link leads to.
    """
    follow = path.endswith(("/", "/."))
    clean = _clean(path)
    folder_path, base = posixpath.split(clean)
    try:
        if clean == "/" or follow:
            fd = open_in_root(root, clean, _FOLDER)
            base = "."
        else:
            fd = open_in_root(root, folder_path, _FOLDER)
    except OSError:
        raise _missing(path, name) from None
    try:
        yield fd, base
    finally:
        os.close(fd)


def _missing(path: str, name: str) -> NotFound:
    return NotFound("", f"Could not find the file {path} in container {name}")


def write_archive(
    parts: Parts,
    container: Container,
    name: str,
    path: str,
    chunks: Iterable[bytes],
    *,
    keep_kinds: bool = False,
    as_user: bool = False,
) -> None:
    """Unpack an archive into a folder of the container. Denied where that is read-only or not its own; NotFound, Failed, Invalid.

    `keep_kinds`: no folder takes a file's place, nor the other way round. `as_user`: everything becomes the container user's.
    """
    if container.host.readonly_rootfs and not container.state.is_up and not _in_writable(container, path):
        raise Denied("", "container rootfs is marked read-only")
    with opened_root(parts, container) as (root, maps):
        try:
            folder = open_in_root(root, path, _FOLDER)
        except NotADirectoryError:
            raise Failed("", "extraction point is not a directory") from None
        except OSError:
            raise _missing(path, name) from None
        try:
            if os.fstat(folder).st_dev not in _own_devices(root, container):
                raise Denied("", f"{path} is on a file system that is not the container's own")
            if os.fstatvfs(folder).f_flag & os.ST_RDONLY:
                what = "container rootfs" if container.host.readonly_rootfs else "mounted volume"
                raise Denied("", f"{what} is marked read-only")
            owner = resolve_user(root, container.config.user) if as_user and container.config.user else None
            if maps:  # a file system with mapped ids takes nothing of the machine's root
                act_as(
                    root_of(maps.uids, maps.gids),
                    lambda: _unpack(folder, owner, maps, chunks, keep_kinds=keep_kinds),
                )
            else:
                _unpack(folder, owner, maps, chunks, keep_kinds=keep_kinds)
        finally:
            os.close(folder)
    parts.tell(container, "extract-to-dir")


def _unpack(folder: int, owner: User | None, maps: IdMaps, chunks: Iterable[bytes], *, keep_kinds: bool) -> None:
    subject = "archive"
    tree = Tree(folder, (), overlay=False, owner=root_of(maps.uids, maps.gids) if maps else (0, 0))

    def prepared() -> Iterator[Member]:
        for member in members(Source(unpacked(chunks, subject), subject)):
            if keep_kinds:
                _check_kind(folder, member)
            if owner is not None:
                member.entry = replace(member.entry, uid=owner.uid, gid=owner.gid)
            if maps:
                member.entry = seen_outside(maps, member.entry)
            yield member

    try:
        place_members(prepared(), tree, subject)
    finally:
        tree.close()


def _check_kind(folder: int, member: Member) -> None:
    """Refuse to put a folder in a file's place, or a file in a folder's, in Docker's words."""
    name = posixpath.normpath(os.fsdecode(member.entry.name)).lstrip("/")
    try:
        place = open_in_root(folder, posixpath.dirname(name) or ".", _FOLDER)
    except OSError:
        return
    try:
        status = stat_in(place, os.fsencode(posixpath.basename(name)))
    finally:
        os.close(place)
    if status is None or name == ".":
        return
    was_folder, becomes_folder = stat.S_ISDIR(status.st_mode), member.entry.kind is Kind.DIRECTORY
    if was_folder and not becomes_folder:
        raise Invalid("", f'cannot overwrite directory "/{name}" with non-directory "/{name}"')
    if becomes_folder and not was_folder and not stat.S_ISLNK(status.st_mode):
        raise Invalid("", f'cannot overwrite non-directory "/{name}" with directory "/{name}"')


def _in_writable(container: Container, path: str) -> bool:
    clean = _clean(path)
    return any(
        point.writable and (clean == point.destination or clean.startswith(f"{point.destination}/"))
        for point in container.points
    )


def export(parts: Parts, container: Container) -> Iterator[bytes]:
    """Give the container's root as an archive, without its volumes. NotFound, before the first byte."""
    chunks = _exported(parts, container)
    next(chunks)
    return chunks


def _exported(parts: Parts, container: Container) -> Iterator[bytes]:
    with opened_layers(parts, container) as (root, maps):
        parts.tell(container, "export")
        yield b""
        yield from tar_of_folder(root, maps)
