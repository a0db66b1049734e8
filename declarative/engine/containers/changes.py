"""What a container changed on its image (`docker diff`): read off the upper folder that overlayfs wrote.

The rule that keeps it simple: the upper folder has everything that changed, and the lower ones are only asked whether a path was
there. Nothing is mounted; no link is followed.
"""

from __future__ import annotations

import os
import stat
from enum import IntEnum
from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


class ChangeKind(IntEnum):
    """Docker's numbers."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


@record(kw_only=False)
class Change:
    """One path that is not as in the image."""

    path: str
    kind: ChangeKind


def changes(upper: Path, lowers: Sequence[Path]) -> tuple[Change, ...]:
    """Give what is changed, sorted by path. `lowers`: the image's folders, the uppermost first."""
    found: dict[str, ChangeKind] = {}
    for path, kind in _walk(upper, lowers, ""):
        found[path] = kind
        parent = path.rpartition("/")[0]
        if kind is not ChangeKind.MODIFIED and parent:
            found.setdefault(parent, ChangeKind.MODIFIED)
    return tuple(Change(path, kind) for path, kind in sorted(found.items()))


def _walk(upper: Path, lowers: Sequence[Path], folder: str) -> Iterator[tuple[str, ChangeKind]]:
    below = () if _is_opaque(f"{upper}{folder}") else lowers
    here = set()
    with os.scandir(f"{upper}{folder}/") as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            here.add(entry.name)
            path = f"{folder}/{entry.name}"
            status = entry.stat(follow_symlinks=False)
            old = _lookup(lowers, path)
            if _is_whiteout(status):
                if old is not None:
                    yield path, ChangeKind.DELETED
                continue
            if old is None:
                yield path, ChangeKind.ADDED
            elif not (stat.S_ISDIR(status.st_mode) and stat.S_ISDIR(old.st_mode) and _same_folder(status, old)):
                yield path, ChangeKind.MODIFIED
            if stat.S_ISDIR(status.st_mode):
                replaced = old is None or not stat.S_ISDIR(old.st_mode)
                yield from _walk(upper, () if replaced else lowers, path)
    if below != lowers:  # what an opaque folder hides is deleted, where nothing took its name
        yield from ((f"{folder}/{name}", ChangeKind.DELETED) for name in sorted(_names(lowers, folder) - here))


def _lookup(lowers: Sequence[Path], path: str) -> os.stat_result | None:
    """Find what the merged lower folders have at a path; None for nothing, or where a whiteout or a file hides it."""
    for lower in lowers:
        try:
            status = os.lstat(f"{lower}{path}")
        except NotADirectoryError:
            return None
        except FileNotFoundError:
            if _hides(lower, path):
                return None
            continue
        return None if _is_whiteout(status) else status
    return None


def _hides(lower: Path, path: str) -> bool:
    """Tell whether a layer that has not got the path hides what is below: a folder of it is opaque or whited out there."""
    parts = path.split("/")[1:-1]
    for count in range(1, len(parts) + 1):
        at = f"{lower}/{'/'.join(parts[:count])}"
        try:
            status = os.lstat(at)
        except OSError:
            return False
        if not stat.S_ISDIR(status.st_mode) or _is_opaque(at):
            return True
    return False


def _names(lowers: Sequence[Path], folder: str) -> set[str]:
    names: set[str] = set()
    for lower in lowers:
        try:
            names.update(entry.name for entry in os.scandir(f"{lower}{folder}/"))
        except OSError:
            continue
    return {name for name in names if _lookup(lowers, f"{folder}/{name}") is not None}


def _same_folder(now: os.stat_result, before: os.stat_result) -> bool:
    """Tell whether a folder is only here because something in it is; its size says nothing on most file systems."""
    return (
        now.st_mode == before.st_mode
        and now.st_uid == before.st_uid
        and now.st_gid == before.st_gid
        and now.st_mtime_ns == before.st_mtime_ns
    )


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(path: str) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False


def size_of(folder: Path) -> int:
    """Give the bytes of the files below a folder, each counted once however many names it has."""
    total, seen = 0, set()
    stack = [str(folder)]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        stack.append(entry.path)
                    elif status.st_nlink == 1 or (status.st_dev, status.st_ino) not in seen:
                        seen.add((status.st_dev, status.st_ino))
                        total += status.st_size
        except OSError:
            continue  # it went while we looked
    return total
