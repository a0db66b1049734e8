"""A folder that overlayfs wrote, back into a layer: whiteouts and opaque folders by name, hard links once.

The rule that keeps it simple: folders are walked in the order of their names' bytes and everything unstable is left out, so
the same folder gives the same bytes.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from declarative.engine.images.layers.entry import KINDS, Entry, Kind, files_size
from declarative.engine.images.layers.tree import is_opaque
from declarative.engine.images.layers.write import END, header, padding
from declarative.errors import Failed, Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK = 1 << 20
_SMALL = 64 << 10
"""Bytes of a file that is read at once."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def layer_of(
    upper: Path, subject: str = "layer", tally: Callable[[int], None] | None = None, *, strict: bool = True
) -> Iterator[bytes]:
    """Give the layer (a tar stream, not compressed) of what is in `upper`, an upper folder of overlayfs.

    Sockets are left out. `tally` is told the size of each file. Invalid for a name that a layer cannot have (not `strict`: it is
    written all the same, to compare folders), Failed where a file changes under our hands.
    """
    walk = _Walk(subject, tally or (lambda _: None), strict=strict)
    fd = os.open(upper, _DIRECTORY)
    try:
        yield from walk.folder(fd, b"")
    finally:
        os.close(fd)
    yield END


class _Walk:
    """One walk over one folder; remembers where it met the files that have several names."""

    def __init__(self, subject: str, tally: Callable[[int], None], *, strict: bool) -> None:
        self._subject = subject
        self._tally = tally
        self._strict = strict
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
        if self._strict and name.startswith(b".wh."):
            problem = "a name that begins with .wh. cannot be in a layer: it would be a whiteout"
            raise Invalid(f"{self._subject}: {os.fsdecode(path)}", problem, "rename it")
        if stat.S_ISDIR(status.st_mode):
            yield header(_entry(fd, name, path, status))
            below = os.open(name, _DIRECTORY, dir_fd=fd)
            try:
                yield from self.folder(below, path)
            finally:
                os.close(below)
            return
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                yield header(_link(path, first, status))
                return
        if stat.S_ISREG(status.st_mode):
            self._tally(status.st_size)
            yield from self._content(fd, name, path, status)
        else:
            entry = _entry(fd, name, path, status)
            self._tally(files_size(entry))
            yield header(entry)

    def _content(self, folder: int, name: bytes, path: bytes, status: os.stat_result) -> Iterator[bytes]:
        size = status.st_size
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            extents = _extents(fd, size) if status.st_blocks * 512 < size else None
            stored = sum(length for _, length in extents) if extents is not None else size
            entry = Entry(
                name=path,
                mode=stat.S_IMODE(status.st_mode),
                uid=status.st_uid,
                gid=status.st_gid,
                size=size,
                stored=stored,
                mtime=status.st_mtime_ns,
                xattrs=_xattrs(fd),
                extents=extents,
            )
            if extents is None and 0 < size <= _SMALL and len(data := os.read(fd, size)) == size:
                yield b"".join(
                    (header(entry), data, padding(size))
                )  # most files are small: one piece is enough for them
                return
            yield header(entry)
            for offset, length in ((0, size),) if extents is None else extents:
                yield from self._bytes(fd, offset, length, path)
            yield padding(stored)
        finally:
            os.close(fd)

    def _bytes(self, fd: int, offset: int, length: int, path: bytes) -> Iterator[bytes]:
        while length:
            data = os.pread(fd, min(length, _CHUNK), offset)
            if not data:
                raise Failed(f"{self._subject}: {os.fsdecode(path)}", "became shorter while it was read", "try again")
            yield data
            offset += len(data)
            length -= len(data)


def _entry(fd: int, name: bytes, path: bytes, status: os.stat_result) -> Entry:
    """Describe a file that has no bytes of its own."""
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    device = kind in {Kind.CHARACTER, Kind.BLOCK}
    return Entry(
        name=path + b"/" if kind is Kind.DIRECTORY else path,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=status.st_mtime_ns,
        target=os.fsencode(os.readlink(name, dir_fd=fd)) if kind is Kind.SYMLINK else b"",
        major=os.major(status.st_rdev) if device else 0,
        minor=os.minor(status.st_rdev) if device else 0,
        xattrs=_xattrs(b"/proc/self/fd/%d/%s" % (fd, name)),
    )


def _link(path: bytes, first: bytes, status: os.stat_result) -> Entry:
    return Entry(
        name=path,
        kind=Kind.HARDLINK,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=status.st_mtime_ns,
        target=first,
    )


def _xattrs(file: int | bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Give the xattrs of an open file, or of one by its name, itself; those of overlayfs are its own business."""
    follow = isinstance(file, int)
    names = [name for name in os.listxattr(file, follow_symlinks=follow) if not name.startswith("trusted.overlay.")]
    if not names:
        return ()
    found = sorted((os.fsencode(name), name) for name in names)
    return tuple((key, os.getxattr(file, name, follow_symlinks=follow)) for key, name in found)


def _extents(fd: int, size: int) -> tuple[tuple[int, int], ...] | None:
    """Give where the data of a file is, or None where it has no holes."""
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


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name
