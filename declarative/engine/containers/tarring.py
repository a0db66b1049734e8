"""A folder of a container's as a tar stream, read below a root that the container may change meanwhile.

The rule that keeps it simple: everything is opened by a single name in a folder that is open already, never through a link.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from declarative.engine.containers.mapped_entries import seen_inside
from declarative.engine.images.layers.entry import KINDS, Entry, Kind
from declarative.engine.images.layers.write import END, header, padding

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from declarative.engine.runtime.sandbox import IdMaps

_CHUNK = 1 << 18
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DEPTH_MAX = 2000
"""Folders in folders; each one is open while what is in it is read, and a process may have so many files open."""


def tar_of(
    parent: int, name: str, as_name: str, devices: Container[int], maps: IdMaps | None = None
) -> Iterator[bytes]:
    """Give an archive of `name` in the open folder `parent`, called `as_name` in it. OSError where it is not there.

    Folders on other than these devices are given empty: the kernel's own file systems, say. `maps`: what is read is seen
    through them; the archive has the ids inside.
    """
    walk = _Walk(devices, maps)
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    yield from walk.file(parent, os.fsencode(name), os.fsencode(as_name), status, 0)
    yield END


def tar_of_folder(fd: int, maps: IdMaps | None = None) -> Iterator[bytes]:
    """Give an archive of what is in an open folder, itself left out (`docker export`). `maps` as of `tar_of`."""
    yield from _Walk({os.fstat(fd).st_dev}, maps).folder(fd, b"", 0)
    yield END


class _Walk:
    def __init__(self, devices: Container[int], maps: IdMaps | None) -> None:
        self._devices = devices
        self._maps = maps or None
        self._links: dict[tuple[int, int], bytes] = {}

    def folder(self, fd: int, path: bytes, depth: int) -> Iterator[bytes]:
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # it went while we looked
            yield from self.file(fd, name, path + name, status, depth)

    def file(self, parent: int, name: bytes, path: bytes, status: os.stat_result, depth: int) -> Iterator[bytes]:
        kind = KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return  # a socket
        if kind is Kind.DIRECTORY:
            yield from self._directory(parent, name, path, status, depth)
            return
        first = self._links.get((status.st_dev, status.st_ino))
        if first is not None:
            yield self._header(_entry(status, path, Kind.HARDLINK, target=first))
            return
        if status.st_nlink > 1:
            self._links[status.st_dev, status.st_ino] = path
        if kind is Kind.FILE:
            yield from self._content(parent, name, path)
            return
        target = os.fsencode(os.readlink(name, dir_fd=parent)) if kind is Kind.SYMLINK else b""
        yield self._header(_entry(status, path, kind, target=target))

    def _header(self, entry: Entry) -> bytes:
        return header(entry if self._maps is None else seen_inside(self._maps, entry))

    def _directory(self, parent: int, name: bytes, path: bytes, status: os.stat_result, depth: int) -> Iterator[bytes]:
        path = path.rstrip(b"/") + b"/"
        try:
            fd = os.open(name, _FOLDER, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            yield self._header(_entry(status, path, Kind.DIRECTORY, xattrs=_xattrs(fd)))
            if depth < _DEPTH_MAX and os.fstat(fd).st_dev in self._devices:
                yield from self.folder(fd, path, depth + 1)
        finally:
            os.close(fd)

    def _content(self, parent: int, name: bytes, path: bytes) -> Iterator[bytes]:
        """Give a regular file: exactly as many bytes as it had when it was opened, whatever is written to it meanwhile."""
        try:
            fd = os.open(name, _FILE, dir_fd=parent)
        except OSError:
            return
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return
            left = status.st_size
            yield self._header(_entry(status, path, Kind.FILE, size=left, xattrs=_xattrs(fd)))
            while left:
                data = os.read(fd, min(left, _CHUNK))
                if not data:  # it became shorter
                    yield from _zeros(left)
                    break
                yield data
                left -= len(data)
            yield padding(status.st_size)
        finally:
            os.close(fd)


def _zeros(left: int) -> Iterator[bytes]:
    while left:
        size = min(left, _CHUNK)
        yield bytes(size)
        left -= size


def _entry(
    status: os.stat_result,
    path: bytes,
    kind: Kind,
    *,
    size: int = 0,
    target: bytes = b"",
    xattrs: tuple[tuple[bytes, bytes], ...] = (),
) -> Entry:
    device = kind in {Kind.CHARACTER, Kind.BLOCK}
    return Entry(
        name=path,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=size,
        stored=size,
        mtime=status.st_mtime_ns,
        target=target,
        major=os.major(status.st_rdev) if device else 0,
        minor=os.minor(status.st_rdev) if device else 0,
        xattrs=xattrs,
    )


def _xattrs(fd: int) -> tuple[tuple[bytes, bytes], ...]:
    try:
        names = [name for name in os.listxattr(fd) if not name.startswith("trusted.overlay.")]
        return tuple((os.fsencode(name), os.getxattr(fd, name)) for name in sorted(names))
    except OSError:
        return ()  # a file system without them
