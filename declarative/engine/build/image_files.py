"""An image's files without mounting them: its layers' folders, merged as overlayfs would.

The rule that keeps it simple: read only, one user at a time, closed at the end. What hides what is `Tree`'s knowledge.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from declarative.engine.build.files import File, join
from declarative.engine.images.layers.entry import KINDS, Kind
from declarative.engine.images.layers.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

_CHUNK = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class ImageFiles:
    """The files of layers' folders, the uppermost first; none for an image without layers."""

    def __init__(self, lowers: tuple[Path, ...]) -> None:
        self._tree = Tree(lowers[0], lowers[1:], overlay=True) if lowers else None
        self._digests: dict[bytes, bytes] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folders."""
        if self._tree is not None:
            self._tree.close()

    def lookup(self, path: bytes) -> File | None:
        """Give the file at a path."""
        if self._tree is None:
            return None if path else File(path=b"", kind=Kind.DIRECTORY)
        self._tree.trim()
        if not path:
            return _file(b"", os.fstat(self._tree.root.fd), b"", ())
        above, _, name = path.rpartition(b"/")
        folder = self._tree.folder(above)
        found = self._tree.lookup(folder, name) if folder is not None else None
        if found is None:
            return None
        fd, status = found
        if stat.S_IFMT(status.st_mode) not in KINDS:
            return None  # a socket, which no layer has
        target = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(status.st_mode) else b""
        return _file(path, status, target, _xattrs(fd, name))

    def names(self, folder: bytes) -> list[bytes]:
        """Give the names in a folder, in order."""
        if self._tree is None:
            return []
        self._tree.trim()
        found = self._tree.folder(folder)
        if found is None:
            return []
        seen: dict[bytes, bool] = {}
        for fd in (found.fd, *found.lowers):
            for text in os.listdir(fd) if fd >= 0 else ():  # noqa: PTH208 - an open folder
                name = os.fsencode(text)
                if name not in seen:
                    seen[name] = not self._tree.is_whiteout(os.stat(name, dir_fd=fd, follow_symlinks=False))
        return sorted(name for name, there in seen.items() if there)

    def digest(self, file: File) -> bytes:
        """Give the SHA-256 of a file's content."""
        known = self._digests.get(file.path)
        if known is None:
            fd, _ = self.open(file)
            try:
                hasher = hashlib.sha256()
                while piece := os.read(fd, _CHUNK):
                    hasher.update(piece)
            finally:
                os.close(fd)
            known = self._digests[file.path] = hasher.digest()
        return known

    def open(self, file: File) -> tuple[int, int]:
        """Open a file."""
        above, _, name = file.path.rpartition(b"/")
        folder = self._tree.folder(above) if self._tree is not None else None
        found = self._tree.lookup(folder, name) if self._tree is not None and folder is not None else None
        if found is None:
            raise FileNotFoundError(2, os.strerror(2), join(above, name))
        return os.open(name, _OPEN, dir_fd=found[0]), 0


def _file(path: bytes, status: os.stat_result, target: bytes, xattrs: tuple[tuple[bytes, bytes], ...]) -> File:
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    device = kind in (Kind.CHARACTER, Kind.BLOCK)
    return File(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind is Kind.FILE else 0,
        mtime=status.st_mtime_ns,
        target=target,
        major=os.major(status.st_rdev) if device else 0,
        minor=os.minor(status.st_rdev) if device else 0,
        xattrs=xattrs,
        inode=(status.st_dev, status.st_ino) if status.st_nlink > 1 and kind is not Kind.DIRECTORY else None,
    )


def _xattrs(fd: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Give the xattrs of a file, itself; those of overlayfs are its own business."""
    file = b"/proc/self/fd/%d/%s" % (fd, name)
    names = [found for found in os.listxattr(file, follow_symlinks=False) if not found.startswith("trusted.overlay.")]
    return tuple((os.fsencode(found), os.getxattr(file, found, follow_symlinks=False)) for found in sorted(names))
