"""A folder that overlayfs wrote, back into a layer: whiteouts and opaque folders by name, hard links once.

The rule that keeps it simple: folders are walked in the order of their names' bytes and everything unstable is left out, so
the same folder gives the same bytes.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from declarative.engine.images.layers.entry import Entry, Kind, files_size
from declarative.engine.images.layers.tree import is_opaque
from declarative.engine.images.layers.write import END, header, padding
from declarative.errors import Failed, Invalid
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}


def layer_of(upper: Path, subject: str = "layer", tally: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Give the layer (a tar stream, not compressed) of what is in `upper`, an upper folder of overlayfs.

    Sockets are left out. `tally` is told the size of each file. Invalid for a name that a layer cannot have, Failed where a
    file changes under our hands.
    """
    walk = _Walk(subject, tally or (lambda _: None))
    fd = os.open(upper, _DIRECTORY)
    try:
        yield from walk.folder(fd, b"")
    finally:
        os.close(fd)
    yield END


class _Walk:
    """One walk over one folder; remembers where it met the files that have several names."""

    def __init__(self, subject: str, tally: Callable[[int], None]) -> None:
        self._subject = subject
        self._tally = tally
        self._links: dict[tuple[int, int], bytes] = {}

    def folder(self, fd: int, path: bytes) -> Iterator[bytes]:
        """Write what is in an open folder."""
        opaque = is_opaque(fd)
        if opaque:
            yield header(Entry(name=_join(path, b".wh..wh..opq")))
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                if not opaque:  # which hides that file too
                    yield header(Entry(name=_join(path, b".wh." + name)))
            elif not stat.S_ISSOCK(status.st_mode):
                yield from self._file(fd, name, _join(path, name), status)

    def _file(self, fd: int, name: bytes, path: bytes, status: os.stat_result) -> Iterator[bytes]:
        if name.startswith(b".wh."):
            problem = "a name that begins with .wh. cannot be in a layer: it would be a whiteout"
            raise Invalid(f"{self._subject}: {os.fsdecode(path)}", problem, "rename it")
        entry = _entry(fd, name, path, status)
        if stat.S_ISDIR(status.st_mode):
            yield header(entry)
            below = os.open(name, _DIRECTORY, dir_fd=fd)
            try:
                yield from self.folder(below, path)
            finally:
                os.close(below)
            return
        first = self._links.get((status.st_dev, status.st_ino))
        if first is not None:
            yield header(_with(entry, kind=Kind.HARDLINK, target=first, xattrs=()))
            return
        if status.st_nlink > 1:
            self._links[status.st_dev, status.st_ino] = path
        self._tally(files_size(entry))
        if entry.kind is Kind.FILE:
            yield from self._content(fd, name, entry)
        else:
            yield header(entry)

    def _content(self, folder: int, name: bytes, entry: Entry) -> Iterator[bytes]:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            extents = _extents(fd, entry.size)
            stored = sum(length for _, length in extents) if extents is not None else entry.size
            yield header(_with(entry, extents=extents, stored=stored))
            for offset, length in ((0, entry.size),) if extents is None else extents:
                yield from self._bytes(fd, offset, length, entry)
            yield padding(stored)
        finally:
            os.close(fd)

    def _bytes(self, fd: int, offset: int, length: int, entry: Entry) -> Iterator[bytes]:
        while length:
            data = os.pread(fd, min(length, _CHUNK), offset)
            if not data:
                raise Failed(
                    f"{self._subject}: {os.fsdecode(entry.name)}", "became shorter while it was read", "try again"
                )
            yield data
            offset += len(data)
            length -= len(data)


def _entry(fd: int, name: bytes, path: bytes, status: os.stat_result) -> Entry:
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    device = kind in {Kind.CHARACTER, Kind.BLOCK}
    size = status.st_size if kind is Kind.FILE else 0
    return Entry(
        name=path + b"/" if kind is Kind.DIRECTORY else path,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=size,
        stored=size,
        mtime=status.st_mtime_ns,
        target=os.fsencode(os.readlink(name, dir_fd=fd)) if kind is Kind.SYMLINK else b"",
        major=os.major(status.st_rdev) if device else 0,
        minor=os.minor(status.st_rdev) if device else 0,
        xattrs=_xattrs(fd, name),
    )


def _xattrs(fd: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Give the xattrs of a file, itself; those of overlayfs are its own business."""
    file = b"/proc/self/fd/%d/%s" % (fd, name)
    names = [found for found in os.listxattr(file, follow_symlinks=False) if not found.startswith("trusted.overlay.")]
    return tuple(
        (os.fsencode(found), os.getxattr(file, found, follow_symlinks=False))
        for found in sorted(names, key=os.fsencode)
    )


def _extents(fd: int, size: int) -> tuple[tuple[int, int], ...] | None:
    """Give where the data of a file is, or None where it has no holes."""
    if os.fstat(fd).st_blocks * 512 >= size:
        return None
    found = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: a hole up to the end
            break
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        found.append((start, at - start))
    return None if found == [(0, size)] else tuple(found)


def _with(entry: Entry, **changes: object) -> Entry:
    if changes.get("kind") is Kind.HARDLINK:
        changes |= {"size": 0, "stored": 0}
    return replace(entry, **changes)


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name
