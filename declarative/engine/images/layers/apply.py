"""A layer into a folder: for overlayfs over the layers below (whiteouts kept), or straight onto a root (whiteouts obeyed).

The rule that keeps it simple: entries are done in order, each inside the folder that `Tree` finds for it; what an entry
cannot say safely makes the whole layer Invalid. After an error the folder is the caller's to remove.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from declarative.engine.images.disk import disk_error
from declarative.engine.images.layers.ahead import ahead
from declarative.engine.images.layers.compression import unpacked
from declarative.engine.images.layers.entry import Entry, Kind
from declarative.engine.images.layers.gauge import Applied, Gauge, Limits
from declarative.engine.images.layers.metadata import Fresh, set_metadata, set_metadata_at
from declarative.engine.images.layers.reader import Member, members
from declarative.engine.images.layers.source import Source
from declarative.engine.images.layers.tree import OPAQUE, Folder, Tree, copy_metadata, stat_in
from declarative.errors import Invalid
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_WHITEOUT = b".wh."
_META = b".wh..wh."
_OPAQUE = b".wh..wh..opq"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_REFUSE = "do not use this archive"


class Whiteouts(Enum):
    """What a whiteout does: stays, in overlayfs' form, or removes what is in the folder."""

    OVERLAY = "overlay"
    REMOVE = "remove"


def apply_layer(
    chunks: Iterable[bytes],
    top: Path,
    lowers: tuple[Path, ...] = (),
    *,
    whiteouts: Whiteouts = Whiteouts.OVERLAY,
    limits: Limits | None = None,
    devices: bool = True,
    subject: str = "layer",
) -> Applied:
    """Apply a layer, in any compression, to the folder `top`; `lowers` are the layers below it, the uppermost first.

    Invalid for an archive that is damaged, hostile or over a limit; Failed where the disk is full. Without `devices`,
    device nodes are refused. The caller compares `diff_id` and, after an error, removes the folder.
    """
    gauge = Gauge(limits or Limits(), subject)
    tree = Tree(top, lowers, overlay=whiteouts is Whiteouts.OVERLAY)
    try:
        applier = _Applier(tree, gauge, subject, devices=devices, fresh=tree.overlay)
        with ahead(gauge.measured(unpacked(chunks, subject))) as stream:
            for member in members(Source(stream, subject)):
                applier.apply(member)
        applier.finish()
    finally:
        tree.close()
    implicit = tuple(path for path, _ in tree.implicit)
    return replace(gauge.applied(), alone=not applier.hides_root, rooted=applier.rooted, implicit=implicit)


def place_members(found: Iterable[Member], tree: Tree, subject: str, limits: Limits | None = None) -> None:
    """Make the files of these members in a tree. Whiteouts mean nothing here: `.wh.name` is a name like any other.

    Errors as of `apply_layer`. `found` may look at the tree between two members, but keep no folder of it.
    """
    applier = _Applier(tree, Gauge(limits or Limits(), subject), subject, devices=True, literal=True)
    for member in found:
        applier.apply(member)
    applier.finish()


def measure_layer(chunks: Iterable[bytes], *, limits: Limits | None = None, subject: str = "layer") -> Applied:
    """Read a layer as `apply_layer` does, and do nothing with it."""
    gauge = Gauge(limits or Limits(), subject)
    for member in members(Source(gauge.measured(unpacked(chunks, subject)), subject)):
        gauge.entry(member.entry)
    return gauge.applied()


class _Applier:
    """One layer on its way into one tree."""

    def __init__(
        self, tree: Tree, gauge: Gauge, subject: str, *, devices: bool, literal: bool = False, fresh: bool = False
    ) -> None:
        self._tree = tree
        self._gauge = gauge
        self._subject = subject
        self._devices = devices
        self._literal = literal
        self._fresh = Fresh(certain=fresh and not os.fstat(tree.root.fd).st_mode & stat.S_ISGID)
        self.rooted = False
        """Whether an entry said what the root folder is like."""
        self.hides_root = False
        """Whether all of the root below was hidden, which is done name by name."""
        self._times: dict[bytes, int] = {}
        self._made: set[bytes] = set()

    def apply(self, member: Member) -> None:
        """Do one entry."""
        entry = member.entry
        self._gauge.entry(entry)
        self._tree.trim()
        try:
            self._apply(member)
        except OSError as error:
            subject = f"{self._subject}: {shown(entry.name)}"
            raise disk_error(subject, error) or Invalid(
                subject, f"cannot be made: {error.strerror}", _REFUSE
            ) from error

    def finish(self) -> None:
        """Give the folders their times, now that nothing is put into them any more."""
        for path, time in [*self._tree.implicit, *self._times.items()]:
            self._tree.trim()
            with suppress(Invalid):  # a later entry put something else in its place
                folder = self._tree.folder(path)
                if folder is not None and folder.path == path and folder.fd >= 0:
                    os.utime(folder.fd, ns=(time, time))

    def _apply(self, member: Member) -> None:
        entry = member.entry
        path, climbs = clean(entry.name)
        if not path and entry.kind is Kind.SYMLINK:
            return  # a link in the place of the root: there is nothing that it could be made of
        if climbs or (not path and entry.kind is not Kind.DIRECTORY):
            raise Invalid(f"{self._subject}: {shown(entry.name)}", "leads out of the layer", _REFUSE)
        if not path:
            set_metadata(self._tree.root.fd, entry)
            self._fresh.folder(entry)
            self.rooted = True
            self._times[b""] = entry.mtime
            return
        parent, _, base = path.rpartition(b"/")
        if base.startswith(_WHITEOUT) and not self._literal:
            self._whiteout(parent, base, entry)
            return
        folder = self._parent(parent, entry)
        if not self._tree.overlay:
            self._note(folder.child_path(base))
        self._make(member, folder, base)

    def _parent(self, name: bytes, entry: Entry) -> Folder:
        folder = self._tree.folder(name, time=entry.mtime)
        if folder is None:
            raise Invalid(f"{self._subject}: {shown(entry.name)}", "its folder cannot be made", _REFUSE)
        return folder

    def _make(self, member: Member, folder: Folder, base: bytes) -> None:
        entry = member.entry
        if entry.kind is not Kind.DIRECTORY:
            self._tree.changes(folder, base)
        match entry.kind:
            case Kind.DIRECTORY:
                self._directory(entry, folder, base)
            case Kind.FILE:
                self._file(member, folder, base)
            case Kind.HARDLINK:
                self._hard_link(entry, folder, base)
            case Kind.SYMLINK:
                self._free(folder, base)
                os.symlink(entry.target, base, dir_fd=folder.fd)
                set_metadata_at(folder.fd, base, entry)
            case Kind.CHARACTER | Kind.BLOCK | Kind.FIFO:
                self._node(entry, folder, base)

    def _directory(self, entry: Entry, folder: Folder, base: bytes) -> None:
        status = stat_in(folder.fd, base)
        if status is None or not stat.S_ISDIR(status.st_mode):
            if status is not None:
                self._free(folder, base)
            self._tree.changes(folder, base)
            os.mkdir(base, 0o700, dir_fd=folder.fd)
        fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.fd)
        try:
            if status is not None and not stat.S_ISDIR(status.st_mode) and self._tree.overlay:
                os.setxattr(fd, OPAQUE, b"y")  # what was here hid the folder below; so does this one
            set_metadata(fd, entry)
        finally:
            os.close(fd)
        self._fresh.folder(entry)
        self._times[folder.child_path(base)] = entry.mtime

    def _file(self, member: Member, folder: Folder, base: bytes) -> None:
        entry = member.entry
        if self._tree.hands_down:
            self._fresh.doubt()
        mode = self._fresh.mode(entry)
        try:
            fd = os.open(base, _NEW_FILE, mode, dir_fd=folder.fd)
        except FileExistsError:
            self._free(folder, base)
            fd = os.open(base, _NEW_FILE, mode, dir_fd=folder.fd)
        try:
            if entry.extents is None:
                for piece in member.pieces():
                    _write(fd, piece)
            else:
                os.ftruncate(fd, entry.size)
                for offset, length in entry.extents:
                    os.lseek(fd, offset, os.SEEK_SET)
                    for piece in member.pieces(length):
                        _write(fd, piece)
            self._fresh.finish(fd, entry)
        finally:
            os.close(fd)

    def _hard_link(self, entry: Entry, folder: Folder, base: bytes) -> None:
        """Link to a file of the root, itself and not what it links to; one of a layer below is copied up first."""
        target, _ = clean(entry.target)  # ".." above the root stays at the root, as in a chroot
        parent, _, name = target.rpartition(b"/")
        there = self._tree.folder(parent) if name else None
        found = self._tree.lookup(there, name) if there is not None else None
        if there is None or found is None or stat.S_ISDIR(found[1].st_mode):
            problem = f"is a hard link to {shown(entry.target)}, which is no file of this image"
            raise Invalid(f"{self._subject}: {shown(entry.name)}", problem, _REFUSE)
        if (there.path, name) == (folder.path, base):
            return
        if found[0] != there.fd:
            there = self._parent(there.path, entry)
            self._copy_up(found[0], there, name)
        source = os.dup(there.fd)  # making room may close the folder
        try:
            self._free(folder, base)
            os.link(name, base, src_dir_fd=source, dst_dir_fd=folder.fd, follow_symlinks=False)
        finally:
            os.close(source)

    def _copy_up(self, lower: int, folder: Folder, name: bytes) -> None:
        status = os.stat(name, dir_fd=lower, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=lower), name, dir_fd=folder.fd)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=folder.fd, follow_symlinks=False)
            os.utime(name, ns=(status.st_mtime_ns,) * 2, dir_fd=folder.fd, follow_symlinks=False)
            return
        if not stat.S_ISREG(status.st_mode):
            raise Invalid(f"{self._subject}: {shown(name)}", "a hard link to a device of a layer below", _REFUSE)
        self._gauge.copied(status.st_size)
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=lower)
        try:
            target = os.open(name, _NEW_FILE, 0o600, dir_fd=folder.fd)
            try:
                while os.sendfile(target, source, None, 1 << 30):
                    pass
                copy_metadata(source, target)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _node(self, entry: Entry, folder: Folder, base: bytes) -> None:
        if entry.kind is not Kind.FIFO and not self._devices:
            raise Invalid(f"{self._subject}: {shown(entry.name)}", f"a {entry.kind.value} is not allowed here", _REFUSE)
        self._free(folder, base)
        kinds = {Kind.FIFO: stat.S_IFIFO, Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK}
        os.mknod(base, kinds[entry.kind] | 0o600, os.makedev(entry.major, entry.minor), dir_fd=folder.fd)
        set_metadata_at(folder.fd, base, entry)

    def _free(self, folder: Folder, base: bytes) -> None:
        """Make room for another file of that name; what it was before, or below, is no folder to walk any more."""
        self._tree.remove(folder, base)
        self._times.pop(folder.child_path(base), None)

    def _note(self, path: bytes) -> None:
        while path and path not in self._made:
            self._made.add(path)
            path = path.rpartition(b"/")[0]

    def _whiteout(self, parent: bytes, base: bytes, entry: Entry) -> None:
        """Hide or remove a file, or all of a folder, of the layers below (image-spec, layer.md, "Whiteouts")."""
        if base.startswith(_META) and base != _OPAQUE:
            return  # aufs' own notes, which old images still have
        name = base[len(_WHITEOUT) :]
        if base != _OPAQUE and name in {b"", b".", b".."}:
            raise Invalid(f"{self._subject}: {shown(entry.name)}", "a whiteout of no file", _REFUSE)
        if self._tree.overlay:
            self._hide(self._parent(parent, entry), name, opaque=base == _OPAQUE)
            return
        folder = self._tree.folder(parent)
        if folder is not None:
            for found in os.listdir(folder.fd) if base == _OPAQUE else [os.fsdecode(name)]:  # noqa: PTH208 - an open folder
                self._drop(folder.path, os.fsencode(found))

    def _hide(self, folder: Folder, name: bytes, *, opaque: bool) -> None:
        if opaque:
            os.setxattr(folder.fd, OPAQUE, b"y")
            self.hides_root = self.hides_root or folder is self._tree.root
            for found in self._below_root() if folder is self._tree.root else ():
                self._hide_one(folder, found)
        else:
            self._hide_one(folder, name)
        self._tree.forget()

    def _below_root(self) -> set[bytes]:
        """Give the names in the roots of the layers below: overlayfs does not heed an opaque root."""
        return {os.fsencode(found) for fd in self._tree.root.lowers for found in os.listdir(fd)}  # noqa: PTH208 - an open folder

    def _hide_one(self, folder: Folder, name: bytes) -> None:
        status = stat_in(folder.fd, name)
        if status is None:
            os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(0, 0), dir_fd=folder.fd)
        elif stat.S_ISDIR(status.st_mode):  # made by this layer: a whiteout is for those below alone
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.fd)
            os.setxattr(fd, OPAQUE, b"y")
            os.close(fd)

    def _drop(self, path: bytes, name: bytes) -> None:
        """Remove what was there before this layer; what the layer itself made stays."""
        folder = self._tree.folder(path)
        if folder is None or (status := stat_in(folder.fd, name)) is None:
            return
        child = folder.child_path(name)
        if child not in self._made:
            self._tree.remove(folder, name)
        elif stat.S_ISDIR(status.st_mode) and (below := self._tree.folder(child)) is not None:
            for found in os.listdir(below.fd):  # noqa: PTH208 - an open folder
                self._drop(child, os.fsencode(found))


def clean(name: bytes) -> tuple[bytes, bool]:
    """Give a name without `.`, `..` and empty parts, relative to the root, and whether it climbs above the root."""
    if b"/." not in name and b"//" not in name and not name.startswith(b"."):
        return name.strip(b"/"), False
    parts: list[bytes] = []
    climbs = False
    for part in name.split(b"/"):
        if part == b"..":
            climbs = climbs or not parts
            del parts[-1:]
        elif part not in {b"", b"."}:
            parts.append(part)
    return b"/".join(parts), climbs


def shown(name: bytes) -> str:
    """Give a name for an error: printable, and not too long."""
    text = name[:120].decode(errors="backslashreplace")
    return text if text.isprintable() else ascii(text)


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
