"""A build's context: the client's archive, kept as the contents of its files end to end, and an index over them.

The rule that keeps it simple: nothing of it is unpacked. A COPY takes bytes from the one file they are in, and what every file
holds was hashed on its way in, so that a build with nothing to do touches no file at all. The file has no name: a crash leaves
nothing behind. Files of a context belong to root, as Docker's clients send them.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from declarative.engine.build.files import File, find, join, read, walk
from declarative.engine.images.disk import saying
from declarative.engine.images.layers.apply import clean, shown
from declarative.engine.images.layers.compression import unpacked
from declarative.engine.images.layers.entry import Kind
from declarative.engine.images.layers.reader import members
from declarative.engine.images.layers.source import Source
from declarative.errors import Invalid
from declarative.oci.dockerfile.patterns import Matched, PatternSet, read_ignore_file
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Self

    from declarative.engine.build.files import Files
    from declarative.engine.images.layers.entry import Entry
    from declarative.engine.images.layers.reader import Member

IGNORE_FILE = b".dockerignore"
MOST_ENTRIES = 2_000_000
"""Entries of one context; a checkout of the largest repositories has a tenth."""
MOST_BYTES = 256 << 30
"""Bytes of one context, unpacked: what one layer may have, too."""
TEXT_MAX = 16 << 20
"""Bytes of a Dockerfile or a `.dockerignore`."""
_BUFFER = 1 << 20
_EMPTY = hashlib.sha256().digest()


class Context:
    """The files of a build's context. `store` is an open file for their contents, its own to close."""

    def __init__(self, store: int) -> None:
        self._fd = store
        self._files: dict[bytes, File] = {b"": File(path=b"", kind=Kind.DIRECTORY)}
        self._digests: dict[bytes, bytes] = {}
        self._names: dict[bytes, list[bytes]] | None = None

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Begin an empty one, whose file is made in `folder`. Failed where the disk is full."""
        with saying("build context"):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            return cls(os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))

    def close(self) -> None:
        """Let go of the contents."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def take(self, chunks: Iterable[bytes], subject: str = "build context") -> None:
        """Take in an archive, in any compression. Invalid where it is damaged or names what is outside of it."""
        with saying(subject), open(self._fd, "wb", buffering=_BUFFER, closefd=False) as out:
            at = 0
            for count, member in enumerate(members(Source(unpacked(chunks, subject), subject), lenient=True)):
                if count >= MOST_ENTRIES:
                    raise Invalid(subject, f"has more than {MOST_ENTRIES} entries", "write a .dockerignore")
                path = self._place(member.entry, subject)
                if path is None:
                    continue
                if at + member.entry.size > MOST_BYTES:
                    raise Invalid(subject, f"unpacks to more than {MOST_BYTES} bytes", "write a .dockerignore")
                if member.entry.kind is Kind.FILE and member.entry.size:
                    hasher = hashlib.sha256()
                    for piece in _content(member):
                        out.write(piece)
                        hasher.update(piece)
                    self._digests[path] = hasher.digest()
                self._add(path, member.entry, at, count, subject)
                at += member.entry.size if member.entry.kind is Kind.FILE else 0
        self._names = None

    def add(self, path: bytes, content: bytes, mode: int = 0o644) -> None:
        """Put one more file in."""
        self.add_pieces(path, (content,), mode, 0)

    def add_pieces(self, path: bytes, pieces: Iterable[bytes], mode: int, mtime: int) -> None:
        """Put one more file in, as its bytes come. `mtime` in nanoseconds since 1970."""
        start = at = os.lseek(self._fd, 0, os.SEEK_END)
        hasher = hashlib.sha256()
        with saying("build context"):
            for piece in pieces:
                hasher.update(piece)
                rest = memoryview(piece)
                while rest:
                    written = os.pwrite(self._fd, rest, at)
                    rest = rest[written:]
                    at += written
        self._files[path] = File(path=path, kind=Kind.FILE, mode=mode, size=at - start, mtime=mtime, start=start)
        self._digests[path] = hasher.digest()
        self._names = None

    def take_files(self, files: Files) -> None:
        """Take in all files of another tree; they become root's."""
        root = files.lookup(b"")
        for file in walk(files, root) if root is not None else ():
            if file.kind is Kind.FILE:
                self.add_pieces(file.path, read(files, file), file.mode, file.mtime)
            elif file.kind in (Kind.DIRECTORY, Kind.SYMLINK, Kind.FIFO):
                self._files[file.path] = replace(file, uid=0, gid=0, inode=None)
        self._names = None

    def content(self, path: bytes) -> bytes | None:
        """Give the content of one small file, through links; None where there is no such file. Invalid for a large one."""
        file = find(self, path)
        if file is None or file.kind is not Kind.FILE:
            return None
        if file.size > TEXT_MAX:
            raise Invalid(os.fsdecode(path), f"has more than {TEXT_MAX} bytes", "see whether it is the right file")
        return os.pread(self._fd, file.size, file.start)

    def obey_ignore_file(self) -> None:
        """Leave out what `.dockerignore` says, which the client may have done already. Invalid for a bad pattern in it."""
        content = self.content(IGNORE_FILE)
        patterns = PatternSet(read_ignore_file(content)) if content else None
        if patterns:
            kept = self._kept(patterns)
            self._files = {path: file for path, file in self._files.items() if path in kept or not path}
            self._names = None

    def lookup(self, path: bytes) -> File | None:
        """Give the file at a path."""
        return self._files.get(path)

    def names(self, folder: bytes) -> list[bytes]:
        """Give the names in a folder, in order."""
        if self._names is None:
            self._names = {}
            for path in self._files:
                above, _, name = path.rpartition(b"/")
                if path:
                    self._names.setdefault(above, []).append(name)
        found = self._names.get(folder, [])
        found.sort()
        return found

    def digest(self, file: File) -> bytes:
        """Give the SHA-256 of a file's content: known since it came in."""
        return self._digests.get(file.path, _EMPTY)

    def open(self, file: File) -> tuple[int, int]:
        """Open the one file that holds all contents, and say where this one begins."""
        return os.dup(self._fd), max(file.start, 0)

    def _place(self, entry: Entry, subject: str) -> bytes | None:
        """Give the path that an entry gets; None for the root itself, and for what no build can use."""
        path, climbs = clean(entry.name)
        if climbs:
            raise Invalid(f"{subject}: {shown(entry.name)}", "leads out of the context", "make the archive again")
        if not path or entry.kind in (Kind.CHARACTER, Kind.BLOCK):
            return None
        above, _, name = path.rpartition(b"/")
        return join(self._folder(above, entry, subject), name) if above else path

    def _folder(self, path: bytes, entry: Entry, subject: str) -> bytes:
        """Find the folder of an entry, through links that came before it; make it where it is missing."""
        known = self._files.get(path)
        if known is not None and known.kind is Kind.DIRECTORY:
            return path
        at = b""
        for part in path.split(b"/"):
            below = join(at, part)
            there = self._files.setdefault(below, File(path=below, kind=Kind.DIRECTORY, mtime=entry.mtime))
            found = find(self, below) if there.kind is Kind.SYMLINK else there
            if found is None or found.kind is not Kind.DIRECTORY:
                raise Invalid(f"{subject}: {shown(entry.name)}", "lies below a file", "make the archive again")
            at = found.path
        return at

    def _add(self, path: bytes, entry: Entry, start: int, count: int, subject: str) -> None:
        before = self._files.get(path)
        if before is not None and before.kind is Kind.DIRECTORY and entry.kind is not Kind.DIRECTORY:
            below = path + b"/"
            self._files = {known: file for known, file in self._files.items() if not known.startswith(below)}
        if entry.kind is Kind.HARDLINK:
            target, _ = clean(entry.target)
            linked = find(self, target, follow=False)
            if linked is None or linked.kind is Kind.DIRECTORY:
                raise Invalid(f"{subject}: {shown(entry.name)}", "is a hard link to nothing", "make the archive again")
            linked = self._files[linked.path] = replace(linked, inode=linked.inode or (0, count))
            self._files[path] = replace(linked, path=path)
            self._digests[path] = self.digest(linked)
            return
        if not entry.size:
            self._digests.pop(path, None)
        self._files[path] = File(
            path=path,
            kind=entry.kind,
            mode=entry.mode,
            size=entry.size,
            mtime=entry.mtime,
            target=entry.target,
            xattrs=entry.xattrs,
            start=start if entry.kind is Kind.FILE else -1,
        )

    def _kept(self, patterns: PatternSet) -> set[bytes]:
        """Give the paths that no pattern leaves out, with the folders that they are in."""
        kept: set[bytes] = set()
        folders: list[tuple[bytes, Matched]] = [(b"", ())]
        while folders:
            folder, parent = folders.pop()
            for name in self.names(folder):
                path = join(folder, name)
                text = os.fsdecode(path)
                out, matched = patterns.matches_below(text, parent)
                if self._files[path].kind is Kind.DIRECTORY and (
                    not out or patterns.may_match_below(text, negative=True)
                ):
                    folders.append((path, matched))
                while not out and path and path not in kept:
                    kept.add(path)
                    path = path.rpartition(b"/")[0]
        return kept


def _content(member: Member) -> Iterable[memoryview | bytes]:
    """Give the bytes of a file, holes filled."""
    if member.entry.extents is None:
        yield from member.pieces()
        return
    at = 0
    for offset, length in (*member.entry.extents, (member.entry.size, 0)):
        while at < offset:
            gap = min(offset - at, _BUFFER)
            yield bytes(gap)
            at += gap
        yield from member.pieces(length)
        at += length
