"""The files of a build context, in the order and with the exceptions that Docker's own clients have.

The rule that keeps it simple: one walk serves the content key, the tar and the checks, so they cannot disagree. Links are never
followed; a name is a `str` as the file system codec makes it (bytes that are no UTF-8 survive as surrogates) and sorts by bytes.
Folders sort before what follows their name, as in a depth-first walk: `foo`, `foo/a`, `foo-bar`.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from declarative.errors import Denied, Failed, Invalid, NotFound, reason_of
from declarative.oci.dockerfile.patterns import Matched, PatternSet
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Kind: TypeAlias = Literal["file", "dir", "symlink", "fifo", "char", "block"]
_KINDS: dict[int, Kind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}


@record
class Entry:
    """One thing in the context. `path` is relative with `/`; `mode` the permission bits (0o7777); `size` in bytes.

    `target` is what a symlink says. `source` is where to read a file's content. `device` is (major, minor) of a device.
    `mtime` in whole seconds: it goes into the tar, never into the key.
    """

    path: str
    kind: Kind
    mode: int
    size: int
    source: str
    target: str = ""
    mtime: int = 0
    device: tuple[int, int] = (0, 0)


@record
class Filter:
    """Which entries count. `include` None or empty means everything; a folder is there if anything in it is."""

    exclude: PatternSet
    include: PatternSet | None = None


def context_root(path: str, place: str = "") -> str:
    """Check that a context is a folder that can be read. Raises NotFound, Invalid or Denied, with `place` in the manifest."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError as error:
        raise NotFound(f"build context {path!r}", "is not there", "create it, or mend build.context", place) from error
    except OSError as error:
        raise Denied(
            f"build context {path!r}", f"cannot be read: {error.strerror}", "mend its permissions", place
        ) from error
    if not stat.S_ISDIR(mode):
        raise Invalid(f"build context {path!r}", "is not a folder", "name the folder that holds the files", place)
    return path


def walk(root: str, exclude: Sequence[str] = (), include: Sequence[str] = ()) -> Iterator[Entry]:
    """Yield the entries of the context at `root`, without `root` itself. Sockets are left out, as Docker leaves them.

    `exclude` and `include` are pattern lines. Raises Invalid for a bad pattern, Denied for what cannot be read and is not
    excluded, Failed if a file goes while we look.
    """
    chosen = Filter(exclude=PatternSet(exclude), include=PatternSet(include) if include else None)
    yield from _Walk(root, chosen).entries("", (), ())


class _Walk:
    """One walk over `root`; folders that were skipped wait in `pending` until something below them is sent."""

    def __init__(self, root: str, chosen: Filter) -> None:
        self.root = root
        self.chosen = chosen
        self.pending: list[Entry] = []

    def entries(self, folder: str, excluded: Matched, included: Matched) -> Iterator[Entry]:
        for found in _listing(f"{self.root}/{folder}" if folder else self.root):
            path = f"{folder}/{found.name}" if folder else found.name
            out, excluded_here = self.chosen.exclude.matches_below(path, excluded)
            included_here: Matched = ()
            if self.chosen.include is not None:
                taken, included_here = self.chosen.include.matches_below(path, included)
                out = out or not taken
            is_folder = found.is_dir(follow_symlinks=False)
            if out and not (is_folder and self._worth_entering(path)):
                continue
            if is_folder:
                yield from self._folder(path, found, excluded_here, included_here, skipped=out)
            elif (entry := _entry(path, found)) is not None:
                yield from self._release()
                yield entry

    def _folder(
        self, path: str, found: os.DirEntry[str], excluded: Matched, included: Matched, *, skipped: bool
    ) -> Iterator[Entry]:
        entry = _entry(path, found)
        if entry is None:
            return
        if not skipped:
            yield from self._release()
            yield entry
            yield from self.entries(path, excluded, included)
            return
        self.pending.append(entry)
        yield from self.entries(path, excluded, included)
        if self.pending and self.pending[-1] is entry:
            self.pending.pop()

    def _release(self) -> Iterator[Entry]:
        yield from self.pending
        self.pending.clear()

    def _worth_entering(self, path: str) -> bool:
        """Tell whether a folder that is left out itself may hold what is not: an exception, or an included name."""
        if self.chosen.exclude.may_match_below(path, negative=True):
            return True
        return self.chosen.include is not None and self.chosen.include.may_match_below(path, negative=False)


def _listing(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise unreadable(folder, error) from error


def _entry(path: str, found: os.DirEntry[str]) -> Entry | None:
    try:
        status = found.stat(follow_symlinks=False)
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        target = os.readlink(found.path) if kind == "symlink" else ""  # noqa: PTH115 - a Path per link costs more than the call
    except OSError as error:
        raise unreadable(found.path, error) from error
    if kind is None:
        return None
    device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in ("char", "block") else (0, 0)
    return Entry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        size=status.st_size if kind == "file" else 0,
        source=found.path,
        target=target,
        mtime=int(status.st_mtime),
        device=device,
    )


def unreadable(path: str, error: OSError) -> Denied | Failed:
    """Turn what the system says about a file of the context into an error with a way out."""
    subject = f"build context file {os.fsencode(path).decode('utf-8', 'backslashreplace')!r}"
    if isinstance(error, FileNotFoundError):
        return Failed(subject, "went away while the context was read", "run again once nothing writes to the context")
    remedy = "mend its permissions, or list it in .dockerignore"
    return Denied(subject, f"cannot be read: {reason_of(error)}", remedy)
