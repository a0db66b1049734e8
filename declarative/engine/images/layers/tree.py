"""The folders a layer is applied to: its own, merged over those of the layers below, as overlayfs merges them.

The rule that keeps it simple: a name is walked one directory at a time, each opened relative to its parent and without
following links; symlinks are resolved here, inside the root. So no archive can make the kernel leave the layer's folder.
Nobody else writes to the folder meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from declarative.engine.images.layers.entry import LONGEST_NAME
from declarative.errors import Invalid

if TYPE_CHECKING:
    from pathlib import Path

OPAQUE = "trusted.overlay.opaque"
_MOST_LINKS = 40
"""As many symlinks in one name as Linux follows (path_resolution(7))."""
_MOST_OPEN = 400
"""Open folders kept between entries. The next file is mostly in the same folder; open files are limited to 1024."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """A directory as it is seen merged. `fd` is open in the layer's own folder, or -1 where it is not there (yet)."""

    __slots__ = ("fd", "lowers", "name", "parent", "path")

    def __init__(self, path: bytes, parent: Folder | None, name: bytes, fd: int, lowers: list[int]) -> None:
        self.path = path
        self.parent = parent
        self.name = name
        self.fd = fd
        self.lowers = lowers

    def child_path(self, name: bytes) -> bytes:
        """Give the path of a file in this folder, from the root, without symlinks."""
        return self.path + b"/" + name if self.path else name

    def close(self) -> None:
        """Let go of it; it is not to be used any more."""
        for fd in [self.fd, *self.lowers]:
            if fd >= 0:
                os.close(fd)
        self.fd, self.lowers = -1, []


class Tree:
    """A layer's own folder `top` over `lowers`, the uppermost first. With `overlay`, device 0:0 is a whiteout."""

    def __init__(
        self, top: Path | int, lowers: tuple[Path, ...], *, overlay: bool, owner: tuple[int, int] = (0, 0)
    ) -> None:
        """`top`: a folder, or a descriptor of an open one. `owner`: (uid, gid) of folders that nobody has described."""
        self.overlay = overlay
        self._owner = owner
        self.implicit: list[tuple[bytes, int]] = []
        """Folders that were made because something is in them, with the time to give them in the end (nanoseconds)."""
        self.root = Folder(b"", None, b"", _open_top(top), [os.open(path, _DIRECTORY) for path in lowers])
        self.hands_down = False
        """Whether a folder was made that hands its group or an ACL down to what is made in it."""
        self._folders: dict[bytes, Folder] = {}
        self._walked: dict[bytes, Folder] = {}
        self._links: set[bytes] = set()
        self._kept = 0

    def close(self) -> None:
        """Let go of all folders."""
        self.forget()
        self.root.close()

    def trim(self) -> None:
        """Close folders, if there are many: to be called where none is in use."""
        if self._kept > _MOST_OPEN:
            self.forget()

    def forget(self) -> None:
        """Close the folders that were kept open: a name may mean something else from now on."""
        self._walked.clear()
        self._links.clear()
        self._kept = 0
        while self._folders:
            self._folders.popitem()[1].close()

    def changes(self, folder: Folder, name: bytes) -> None:
        """Hear that another file takes, or frees, this name: forget what was walked through it, but not `folder`."""
        path = folder.child_path(name)
        if path not in self._folders and path not in self._links:
            return
        kept = set()
        at: Folder | None = folder
        while at is not None:
            kept.add(at.path)
            at = at.parent
        self._walked.clear()
        for gone in [known for known in self._folders if known not in kept]:
            self._folders.pop(gone).close()

    def folder(self, name: bytes, *, time: int | None = None) -> Folder | None:
        """Find the folder `name`, through symlinks, inside the root. With `time`, make what is missing of it.

        None where it is missing. Invalid for a loop of links, or a file in the way.
        """
        known = self._walked.get(name)
        if known is None:
            known = self._walk(name, time)
            if known is None:
                return None
            self._walked[name] = known
        if time is not None and known.fd < 0:
            self._make(known, time)
        return known

    def lookup(self, folder: Folder, name: bytes) -> tuple[int, os.stat_result] | None:
        """Find a file, itself and not what it links to: the open folder that has it, and what it is; None: not there."""
        for fd in (folder.fd, *folder.lowers):
            if fd >= 0 and (status := stat_in(fd, name)) is not None:
                return None if self.is_whiteout(status) else (fd, status)
        return None

    def is_whiteout(self, status: os.stat_result) -> bool:
        """Tell a whiteout as overlayfs has it (kernel, overlayfs.rst, "whiteouts and opaque directories")."""
        return self.overlay and stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

    def remove(self, folder: Folder, name: bytes) -> None:
        """Remove a file, or a whole folder, out of the layer's own folder, if it is there."""
        self.changes(folder, name)
        status = stat_in(folder.fd, name)
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            remove_tree(folder.fd, name)
        else:
            os.unlink(name, dir_fd=folder.fd)

    def _walk(self, name: bytes, time: int | None) -> Folder | None:
        at = self.root
        left = name.split(b"/")[::-1]
        missing: list[bytes] = []
        links = 0
        while left:
            part = left.pop()
            if part in {b"", b"."}:
                continue
            if part == b"..":
                if missing:
                    missing.pop()
                else:
                    at = at.parent or at
                continue
            found = None if missing else self._step(at, part)
            if isinstance(found, Folder):
                at = found
            elif found is None:
                missing.append(part)
            else:
                links += 1
                if links > _MOST_LINKS:
                    raise Invalid(_shown(name), "too many levels of symlinks", "do not use this archive")
                left += found.split(b"/")[::-1]
                at = self.root if found.startswith(b"/") else at
        if missing and time is None:
            return None
        for part in missing:
            at = self._new(at, part, time or 0)
        return at

    def _new(self, at: Folder, part: bytes, time: int) -> Folder:
        folder = Folder(_child(at, part), at, part, -1, [])
        self._make(folder, time)
        return self._keep(folder)

    def _keep(self, folder: Folder) -> Folder:
        self._folders[folder.path] = folder
        self._kept += 1 + len(folder.lowers)
        return folder

    def _step(self, at: Folder, part: bytes) -> Folder | bytes | None:
        """Go one level down: the folder there, or the target of the symlink there, or None."""
        path = _child(at, part)
        if (known := self._folders.get(path)) is not None:
            return known
        found = self.lookup(at, part)
        if found is None:
            return None
        if stat.S_ISLNK(found[1].st_mode):
            self._links.add(path)
            return os.readlink(part, dir_fd=found[0])
        if not stat.S_ISDIR(found[1].st_mode):
            raise Invalid(_shown(path), "a file is in the place of a folder", "do not use this archive")
        return self._keep(self._open(at, part, path))

    def _open(self, at: Folder, part: bytes, path: bytes) -> Folder:
        """Open a folder in every layer that has a part in it."""
        folder = Folder(path, at, part, -1, [])
        for place, fd in enumerate((at.fd, *at.lowers)):
            if fd < 0 or (status := stat_in(fd, part)) is None:
                continue
            if not stat.S_ISDIR(status.st_mode):
                break
            opened = os.open(part, _DIRECTORY, dir_fd=fd)
            if place:
                folder.lowers.append(opened)
            else:
                folder.fd = opened
            if self.overlay and is_opaque(opened):
                break
        return folder

    def _make(self, folder: Folder, time: int) -> None:
        """Make a folder in the layer: as it is below, or as the owner's own where it is new."""
        if folder.fd >= 0 or folder.parent is None:
            return
        self._make(folder.parent, time)
        hidden = stat_in(folder.parent.fd, folder.name) is not None
        if hidden:  # by a whiteout, since a folder is what was found here
            os.unlink(folder.name, dir_fd=folder.parent.fd)
        os.mkdir(folder.name, 0o700, dir_fd=folder.parent.fd)
        folder.fd = os.open(folder.name, _DIRECTORY, dir_fd=folder.parent.fd)
        if hidden:
            os.setxattr(folder.fd, OPAQUE, b"y")
        if folder.lowers:
            status = os.fstat(folder.lowers[0])
            copy_metadata(folder.lowers[0], folder.fd)
            self.hands_down = self.hands_down or hands_down(folder.fd)
            self.implicit.append((folder.path, status.st_mtime_ns))
        else:
            os.fchown(folder.fd, *self._owner)
            os.fchmod(folder.fd, 0o755)
            self.implicit.append((folder.path, time))


def _open_top(top: Path | int) -> int:
    return os.open(".", _DIRECTORY, dir_fd=top) if isinstance(top, int) else os.open(top, _DIRECTORY)


def stat_in(fd: int, name: bytes) -> os.stat_result | None:
    """Look at a file in an open folder, never at what it links to; None where it is not there."""
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_opaque(fd: int) -> bool:
    """Tell whether an open folder hides what is below it."""
    try:
        return os.getxattr(fd, OPAQUE) == b"y"
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.ENOTSUP, errno.EPERM}:
            return False
        raise


def hands_down(fd: int) -> bool:
    """Tell whether files that are made in an open folder get its group, or an ACL."""
    return bool(os.fstat(fd).st_mode & stat.S_ISGID) or "system.posix_acl_default" in os.listxattr(fd)


def copy_metadata(source: int, target: int) -> None:
    """Give an open file the owner, xattrs, mode and times of another."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    for name in os.listxattr(source):
        if not name.startswith("trusted.overlay."):
            with suppress(FileNotFoundError):
                os.setxattr(target, name, os.getxattr(source, name))
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))


def remove_tree(fd: int, name: bytes) -> None:
    """Remove the folder `name` in an open folder with all that is in it, however deep; no link is followed."""
    opened = [(name, os.open(name, _DIRECTORY, dir_fd=fd))]
    try:
        while opened:
            here = opened[-1][1]
            below = _empty(here)
            if below is not None:
                opened.append((below, os.open(below, _DIRECTORY, dir_fd=here)))
                continue
            done, here = opened.pop()
            os.close(here)
            os.rmdir(done, dir_fd=opened[-1][1] if opened else fd)
    finally:
        for _, left in opened:
            os.close(left)


def _empty(fd: int) -> bytes | None:
    """Remove the files of an open folder; give the name of a folder in it that has to be emptied first."""
    for found in os.listdir(fd):
        name = os.fsencode(found)
        try:
            os.unlink(name, dir_fd=fd)
        except IsADirectoryError:
            try:
                os.rmdir(name, dir_fd=fd)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                return name
    return None


def _child(folder: Folder, name: bytes) -> bytes:
    path = folder.child_path(name)
    if len(path) > LONGEST_NAME:
        raise Invalid(_shown(path), f"a path longer than {LONGEST_NAME} bytes", "do not use this archive")
    return path


def _shown(path: bytes) -> str:
    return path[:80].decode(errors="backslashreplace")
