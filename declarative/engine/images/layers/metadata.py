"""Owner, xattrs, mode and time of files, set in the one order that works; and what a file has that was made just now.

The rule that keeps it simple: files are told by an open one, or by a name that was made just now in an open folder.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.images.layers.entry import Kind

if TYPE_CHECKING:
    from declarative.engine.images.layers.entry import Entry

_SPECIAL = 0o7000
_DEFAULT_ACL = b"system.posix_acl_default"


class Fresh:
    """Makes files in folders that were made by us, and sets only what the kernel did not give them already.

    A new file has our owner, and its mode less the umask, unless a folder hands down its group or has a default ACL. Half of
    the calls for a small file are saved; on a disk with a journal each of them counts.
    """

    def __init__(self, *, certain: bool) -> None:
        """Begin; not `certain`: the folders were there before, so everything is set."""
        self._certain = certain and os.geteuid() == 0 and os.getegid() == 0
        self._umask = _umask() if self._certain else 0

    def doubt(self) -> None:
        """Hear that a folder hands something down."""
        self._certain = False

    def folder(self, entry: Entry) -> None:
        """Look whether a folder hands something down."""
        if entry.mode & 0o2000 or any(name == _DEFAULT_ACL for name, _ in entry.xattrs):
            self._certain = False

    def mode(self, entry: Entry) -> int:
        """Give the mode to make a file with."""
        return entry.mode & 0o777 if self._certain else 0o600

    def finish(self, fd: int, entry: Entry) -> None:
        """Set what the file does not have yet."""
        if self._certain and not (entry.uid or entry.gid or entry.xattrs or entry.mode & (_SPECIAL | self._umask)):
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        else:
            set_metadata(fd, entry)


def set_metadata(fd: int, entry: Entry) -> None:
    """Set owner, xattrs, mode, time, in this order: a new owner costs capabilities and set-id bits."""
    os.fchown(fd, entry.uid, entry.gid)
    for name, value in entry.xattrs:
        _set_xattr(fd, name, value)
    os.fchmod(fd, entry.mode)
    os.utime(fd, ns=(entry.mtime, entry.mtime))


def set_metadata_at(fd: int, name: bytes, entry: Entry) -> None:
    """As `set_metadata`, for what cannot be opened. The name was made just now, so it is what the entry says."""
    os.chown(name, entry.uid, entry.gid, dir_fd=fd, follow_symlinks=False)
    for xattr, value in entry.xattrs:
        _set_xattr(b"/proc/self/fd/%d/%s" % (fd, name), xattr, value)
    if entry.kind is not Kind.SYMLINK:
        os.chmod(name, entry.mode, dir_fd=fd)
    os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=fd, follow_symlinks=False)


def _set_xattr(file: int | bytes, name: bytes, value: bytes) -> None:
    """Set an xattr. overlayfs' own are passed over: in a layer they would redirect it. So is what cannot be kept here."""
    if name.startswith((b"trusted.overlay.", b"user.overlay.")):
        return
    try:
        if isinstance(file, int):
            os.setxattr(file, name, value)
        else:
            os.setxattr(file, name, value, follow_symlinks=False)
    except OSError as error:
        user_on_special = error.errno == errno.EPERM and name.startswith(b"user.")  # xattr(7): files and folders only
        if error.errno != errno.ENOTSUP and not user_on_special:
            raise


def _umask() -> int:
    """Read the process's umask, which only setting it would tell otherwise; all bits where the kernel does not say."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o777
