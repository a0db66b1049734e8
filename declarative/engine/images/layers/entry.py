"""What a tar archive says of one file, in a form that both the reader and the writer of layers speak.

The rule that keeps it simple: names are bytes exactly as the archive has them; whoever acts on one cleans it first.
"""

from __future__ import annotations

import stat
from enum import Enum

from declarative.record import field, record

LONGEST_NAME = 4095
"""Bytes. Linux takes no path longer (PATH_MAX less its NUL), so neither is a name or a link target."""


class Kind(Enum):
    """What an entry makes."""

    FILE = "file"
    HARDLINK = "hard link"
    SYMLINK = "symlink"
    CHARACTER = "character device"
    BLOCK = "block device"
    DIRECTORY = "directory"
    FIFO = "fifo"


KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}
"""Kinds by the type that stat(2) gives a file. A socket has none: no archive can hold it."""


@record
class Entry:
    """One file of an archive. `size` is the file's, `stored` what the archive holds of it, both in bytes.

    `extents` (offset, length) say where the stored bytes belong, in order; None: the file has no holes. `mtime` in
    nanoseconds since 1970. `mode` is the twelve permission bits.
    """

    name: bytes
    kind: Kind = Kind.FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    stored: int = 0
    mtime: int = 0
    target: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    extents: tuple[tuple[int, int], ...] | None = field(default=None)


def files_size(entry: Entry) -> int:
    """Give what an entry adds to the size of a layer's files, in bytes: a symlink is as long as its target."""
    if entry.kind is Kind.FILE:
        return entry.size
    return len(entry.target) if entry.kind is Kind.SYMLINK else 0
