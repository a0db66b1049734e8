"""What COPY and ADD take from: a tree of files that can be looked at and read, a context's or an image's.

The rule that keeps it simple: names are bytes from the tree's root, without a leading slash; a lookup never follows a link, and
`find` follows them inside the tree, as in a chroot.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol

from declarative.engine.images.layers.entry import Kind
from declarative.errors import Invalid
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_MOST_LINKS = 40
"""Symlinks followed on one path, as in Linux."""
_CHUNK = 1 << 20


@record
class File:
    """One file of a tree. `mode` is the twelve permission bits, `mtime` in nanoseconds, `size` in bytes.

    `start` is where a context has its content, -1 for files of an image. `inode` tells files of several names from others.
    """

    path: bytes
    kind: Kind
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    target: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    start: int = -1
    inode: tuple[int, int] | None = None

    @property
    def name(self) -> bytes:
        """The last part of its path; b"" for the root."""
        return self.path.rpartition(b"/")[2]


class Files(Protocol):
    """A tree of files."""

    def lookup(self, path: bytes) -> File | None:
        """Give the file at a path in which no folder is a symlink; b"" is the root."""

    def names(self, folder: bytes) -> list[bytes]:
        """Give the names in a folder, in order."""

    def digest(self, file: File) -> bytes:
        """Give the SHA-256 of a regular file's content."""

    def open(self, file: File) -> tuple[int, int]:
        """Open a regular file: a descriptor, the caller's to close, and where in it the content begins."""


def find(files: Files, path: bytes, *, follow: bool = True) -> File | None:
    """Find a file by a path, through symlinks, without leaving the root. With `follow`, the last part may be one, too.

    None where it is missing. Invalid for a loop of links.
    """
    at = b""
    left = [part for part in path.split(b"/") if part][::-1]
    links = 0
    while left:
        part = left.pop()
        if part == b".":
            continue
        if part == b"..":
            at = at.rpartition(b"/")[0]
            continue
        here = files.lookup(join(at, part))
        if here is None:
            return None
        if here.kind is Kind.SYMLINK and (left or follow):
            links += 1
            if links > _MOST_LINKS:
                raise Invalid(os.fsdecode(path), os.strerror(errno.ELOOP).lower(), "mend the links")
            at = b"" if here.target.startswith(b"/") else at
            left += [piece for piece in here.target.split(b"/") if piece][::-1]
            continue
        if left and here.kind is not Kind.DIRECTORY:
            return None
        at = here.path
    return files.lookup(at)


def walk(files: Files, folder: File) -> Iterator[File]:
    """Give everything below a folder: a folder before what is in it, names in order, links not followed."""
    left = [folder.path]
    while left:
        path = left.pop()
        file = files.lookup(path)
        if file is None:
            continue
        if path != folder.path:
            yield file
        if file.kind is Kind.DIRECTORY:
            left += [join(path, name) for name in reversed(files.names(path))]


def read(files: Files, file: File) -> Generator[bytes]:
    """Give the content of a regular file in pieces."""
    fd, at = files.open(file)
    try:
        end = at + file.size
        while at < end and (piece := os.pread(fd, min(_CHUNK, end - at), at)):
            yield piece
            at += len(piece)
    finally:
        os.close(fd)


def join(folder: bytes, name: bytes) -> bytes:
    """Put a name below a folder."""
    return folder + b"/" + name if folder else name
