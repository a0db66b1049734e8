"""Where the files of a COPY or ADD go in the image, and making them there.

The rule that keeps it simple: what goes where is worked out as entries of an archive, and the code that applies layers makes
the files. What stands in the way, and what happens then, follows BuildKit: folders merge, files are replaced, a file never
takes the place of a folder, nor a folder that of a file.
"""

from __future__ import annotations

import os
import posixpath
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.build.archives import archive_members
from declarative.engine.build.files import join
from declarative.engine.images.layers.apply import clean, place_members, shown
from declarative.engine.images.layers.entry import Entry, Kind
from declarative.engine.images.layers.reader import Member
from declarative.engine.images.layers.tree import Tree
from declarative.errors import Invalid
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from declarative.engine.build.choosing import Taking
    from declarative.engine.build.files import File, Files

_CHUNK = 1 << 20
_MOST_LINKS = 40


@record
class Delivery:
    """How files are to be made. `destination` is absolute, with a slash at its end where it is to be a folder.

    `owner`: user and group for everything; None keeps those of the source. `mode`: permission bits for everything. `unpack`:
    archives are unpacked. `now`: the time of folders that are made on the way, in nanoseconds since 1970.
    """

    destination: str
    owner: tuple[int, int] | None = None
    mode: int | None = None
    unpack: bool = False
    now: int = 0


def destination(working_dir: str, written: str) -> str:
    """Give the absolute path that a destination means; it keeps the slash that says "a folder"."""
    folder = not written or written.endswith(("/", "/.")) or written == "."
    path = "/" + posixpath.normpath(posixpath.join(working_dir or "/", written)).lstrip("/")
    return path + "/" if folder and path != "/" else path


def place(
    upper: Path,
    lowers: tuple[Path, ...],
    sources: Iterable[tuple[Files, Taking]],
    how: Delivery,
    *,
    folder: bool = False,
) -> None:
    """Make the files in the layer `upper` over `lowers`, the uppermost first. Invalid where something is in the way.

    With `folder`, the destination is made even if nothing goes there.
    """
    tree = Tree(upper, lowers, overlay=True)
    try:
        placing = _Placing(tree, how)
        if folder:
            place_members(placing.folder(), tree, "copy")
        for files, taking in sources:
            found = archive_members(files, taking.file) if placing.unpacks(taking) else None
            if found is None:
                place_members(placing.members(files, taking), tree, "copy")
            else:
                place_members(placing.folder(), tree, "copy")
                _unpack(tree, placing.base(), found, how)
                placing.forget_links()
    finally:
        tree.close()


def _unpack(tree: Tree, base: bytes, found: Iterable[Member], how: Delivery) -> None:
    """Apply an archive to a folder as if that were the root: its links lead nowhere else, as in Docker."""
    folder = tree.folder(base, time=how.now)
    if folder is None:
        raise Invalid("", f"cannot copy to non-directory: /{os.fsdecode(base)}")
    lowers = tuple(_opened(fd) for fd in folder.lowers)
    inner = Tree(_opened(folder.fd), lowers, overlay=True)
    try:
        place_members(_unpacked(found, how), inner, "archive")
    finally:
        inner.close()


def _opened(fd: int) -> Path:
    """Give the path of an open folder, which nobody moves meanwhile."""
    return Path(f"/proc/self/fd/{fd}").readlink()


def _unpacked(found: Iterable[Member], how: Delivery) -> Iterator[Member]:
    for member in found:
        name, climbs = clean(member.entry.name)
        if climbs:
            raise Invalid(f"archive: {shown(member.entry.name)}", "leads out of it", "do not use this archive")
        if name:  # what it says of the place that it was made in is not for the place it goes to
            member.entry = _owned(member.entry, how)
            yield member


def _owned(entry: Entry, how: Delivery) -> Entry:
    if how.owner is not None:
        entry = replace(entry, uid=how.owner[0], gid=how.owner[1])
    if how.mode is not None and entry.kind is not Kind.SYMLINK:
        entry = replace(entry, mode=how.mode)
    return entry


class _Copied(Member):
    """An entry whose bytes come out of an open file, or from another archive."""

    def __init__(self, entry: Entry, files: Files | None = None, file: File | None = None) -> None:
        self.entry = entry
        self._files = files
        self._file = file

    def pieces(self, size: int | None = None) -> Iterator[memoryview]:
        """Give the file's bytes: all of them, as nothing copied has holes."""
        del size
        if self._files is None or self._file is None or not self._file.size:
            return
        fd, at = self._files.open(self._file)
        try:
            end = at + self._file.size
            while at < end and (piece := os.pread(fd, min(_CHUNK, end - at), at)):
                yield memoryview(piece)
                at += len(piece)
        finally:
            os.close(fd)


class _Placing:
    """One COPY or ADD on its way into a tree."""

    def __init__(self, tree: Tree, how: Delivery) -> None:
        self._tree = tree
        self._how = how
        self._links: dict[tuple[int, int], bytes] = {}
        """Where files of several names were made first."""
        self._linked: dict[bytes, tuple[int, int]] = {}
        """The same the other way round."""
        self._folders: set[bytes] = {b""}
        """Folders that are certainly there."""

    def unpacks(self, taking: Taking) -> bool:
        """Tell whether a source may be an archive to unpack."""
        return self._how.unpack and not taking.whole and taking.file.kind is Kind.FILE

    def forget_links(self) -> None:
        """Copy files of several names anew from here on: something else may be where they were made."""
        self._links.clear()
        self._linked.clear()

    def base(self) -> bytes:
        """Give the destination, links followed."""
        return self._real(clean(os.fsencode(self._how.destination))[0])

    def folder(self) -> Iterator[Member]:
        """Give what makes the destination a folder."""
        return self._folder(self.base())

    def members(self, files: Files, taking: Taking) -> Iterator[Member]:
        """Give what is to be made for a source, in order."""
        if taking.file.kind is Kind.DIRECTORY:
            return self._directory(files, taking, self.base())
        return self._file(files, taking, self.base(), into=self._how.destination.endswith("/"))

    def _directory(self, files: Files, taking: Taking, base: bytes) -> Iterator[Member]:
        if taking.below or not taking.parents:
            yield from self._folder(base)
        for relative, file in taking.below:
            yield from self._one(files, file, join(base, relative))

    def _file(self, files: Files, taking: Taking, base: bytes, *, into: bool) -> Iterator[Member]:
        if into:
            yield from self._folder(base)
        if into or self._is_folder(base):
            base = join(base, taking.name)
        yield from self._folder(base.rpartition(b"/")[0])
        yield from self._one(files, taking.file, base)

    def _one(self, files: Files, file: File, path: bytes) -> Iterator[Member]:
        self._check_way(file, path)
        first = self._links.get(file.inode) if file.inode is not None else None
        if path in self._linked:  # what comes now takes its place: its other names cannot be had from here any more
            del self._links[self._linked.pop(path)]
        entry = _owned(
            Entry(
                name=path,
                kind=file.kind,
                mode=file.mode,
                uid=file.uid,
                gid=file.gid,
                size=file.size,
                stored=file.size,
                mtime=file.mtime,
                target=file.target,
                major=file.major,
                minor=file.minor,
                xattrs=file.xattrs,
            ),
            self._how,
        )
        if first is not None and first != path:
            yield _Copied(replace(entry, kind=Kind.HARDLINK, target=first, size=0, stored=0))
            return
        if file.inode is not None:
            self._links[file.inode] = path
            self._linked[path] = file.inode
        yield _Copied(entry, files, file)
        if file.kind is Kind.DIRECTORY:
            self._folders.add(path)

    def _check_way(self, file: File, path: bytes) -> None:
        there = self._status(path)
        if there is None:
            return
        folder = stat.S_ISDIR(there.st_mode)
        if file.kind is Kind.DIRECTORY and not folder:
            raise Invalid("", f"cannot copy to non-directory: /{os.fsdecode(path)}")
        if file.kind is not Kind.DIRECTORY and folder:
            raise Invalid("", f"cannot replace to directory /{os.fsdecode(path)} with file")

    def _folder(self, path: bytes) -> Iterator[Member]:
        """Make a folder, and those above it, where they are missing; a file in the place of one is Invalid."""
        if path in self._folders:
            return
        if not self._is_folder(path):
            if self._status(path) is not None:
                raise Invalid("", f"cannot copy to non-directory: /{os.fsdecode(path)}")
            yield from self._folder(path.rpartition(b"/")[0])
            uid, gid = self._how.owner or (0, 0)
            mode = 0o755 if self._how.mode is None else self._how.mode
            yield _Copied(Entry(name=path, kind=Kind.DIRECTORY, mode=mode, uid=uid, gid=gid, mtime=self._how.now))
        self._folders.add(path)

    def _is_folder(self, path: bytes) -> bool:
        """Tell whether there is a folder, or a link to one."""
        if path in self._folders:
            return True
        try:
            return self._tree.folder(path) is not None
        except Invalid:  # a file stands in the place of a folder on the way
            return False

    def _status(self, path: bytes) -> os.stat_result | None:
        above, _, name = path.rpartition(b"/")
        if not name:
            return os.fstat(self._tree.root.fd)
        folder = self._tree.folder(above)
        found = self._tree.lookup(folder, name) if folder is not None else None
        return None if found is None else found[1]

    def _real(self, path: bytes) -> bytes:
        """Follow every link of a path inside the root, also where it leads to nothing yet."""
        at = b""
        left = path.split(b"/")[::-1]
        links = 0
        while left:
            part = left.pop()
            if part == b"..":
                at = at.rpartition(b"/")[0]
            elif part not in (b"", b"."):
                target = self._link(at, part)
                if target is None:
                    at = join(at, part)
                    continue
                links += 1
                if links > _MOST_LINKS:
                    raise Invalid("", f"too many levels of symlinks: /{os.fsdecode(path)}")
                at = b"" if target.startswith(b"/") else at
                left += target.split(b"/")[::-1]
        return at

    def _link(self, above: bytes, name: bytes) -> bytes | None:
        """Give what a symlink says; None where there is none."""
        folder = self._tree.folder(above) if self._is_folder(above) else None
        found = self._tree.lookup(folder, name) if folder is not None else None
        if found is None or not stat.S_ISLNK(found[1].st_mode):
            return None
        return os.readlink(name, dir_fd=found[0])
