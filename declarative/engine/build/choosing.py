"""Which files a COPY or ADD takes, and under which names: wildcards, `--exclude`, `--parents`.

The rule that keeps it simple: pure but for looking at the tree it takes from. The result is a list of takings, each a file or
a folder with what is in it; where they go is for `placing`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from declarative.engine.build.files import File, find, join
from declarative.engine.images.layers.entry import Kind
from declarative.errors import NotFound
from declarative.oci.dockerfile.patterns import Matched, PatternSet
from declarative.oci.matching import compile_pattern
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from declarative.engine.build.files import Files

_WILD = re.compile(r"[*?\[\\]")
_HERE = "/./"


@record
class Taking:
    """One source found.

    `name`: what it is called where it goes, if that is a folder. `below`: what is taken out of a folder, each with its path
    from that folder, a folder before what is in it. `parents`: `below` goes into the destination itself. `whole`: it is not
    unpacked, even if it is an archive.
    """

    file: File
    name: bytes
    below: tuple[tuple[bytes, File], ...] = ()
    parents: bool = False
    whole: bool = False


@record
class Choice:
    """What to take: `sources` as written, variables expanded."""

    sources: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    parents: bool = False


def choose(files: Files, choice: Choice) -> tuple[Taking, ...]:
    """Find all sources, in the order written. NotFound for one that names nothing, unless it has wildcards."""
    exclude = PatternSet(choice.exclude) if choice.exclude else None
    found: list[Taking] = []
    for source in choice.sources:
        found += _with_parents(files, source, exclude) if choice.parents else _plain(files, source, exclude)
    return tuple(found)


def missing(source: str) -> NotFound:
    """Say that a source is not there, in Docker's words."""
    return NotFound("", f"stat {source.lstrip('/') or '/'}: file does not exist")


def _plain(files: Files, source: str, exclude: PatternSet | None) -> Iterator[Taking]:
    path = os.fsencode(source).strip(b"/")
    if not _WILD.search(source):
        file = find(files, path)
        if file is None:
            raise missing(source)
        yield _taking(files, file, _last(path), exclude)
        return
    for matched in _expand(files, source.strip("/")):
        file = find(files, matched)
        if file is None:
            raise missing(os.fsdecode(matched))
        name = _last(matched)
        if file.kind is not Kind.DIRECTORY and exclude is not None and exclude.matches(os.fsdecode(name)):
            continue
        yield _taking(files, file, name, exclude)


def _last(path: bytes) -> bytes:
    return path.rstrip(b"/").rpartition(b"/")[2]


def _taking(files: Files, file: File, name: bytes, exclude: PatternSet | None) -> Taking:
    if file.kind is not Kind.DIRECTORY:
        return Taking(file=file, name=name)
    return Taking(file=file, name=name, below=tuple(_below(files, file.path, b"", exclude, ())))


def _below(
    files: Files, folder: bytes, path: bytes, exclude: PatternSet | None, parent: Matched
) -> Iterator[tuple[bytes, File]]:
    """Give what is in a folder and not excluded; a folder that is excluded is there if something in it is not."""
    for name in files.names(folder):
        file = files.lookup(join(folder, name))
        if file is None:
            continue
        here = join(path, name)
        out, matched = (False, parent) if exclude is None else exclude.matches_below(os.fsdecode(here), parent)
        inside: list[tuple[bytes, File]] = []
        if file.kind is Kind.DIRECTORY:
            may = exclude is not None and exclude.may_match_below(os.fsdecode(here), negative=True)
            if not out or may:
                inside = list(_below(files, file.path, here, exclude, matched))
        if not out or inside:
            yield here, file
            yield from inside


def _expand(files: Files, pattern: str) -> Iterator[bytes]:
    """Give the paths that a pattern matches, in order; each of its parts matches within one name, as filepath.Match does.

    Folders before the first wildcard may be links; those that a wildcard would have to go through are not followed.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    first = next((at for at, part in enumerate(parts) if _WILD.search(part)), len(parts))
    fixed = os.fsencode("/".join(parts[:first]))
    folder = find(files, fixed)
    if folder is not None and folder.kind is Kind.DIRECTORY:
        yield from _match(files, folder.path, parts[first:])


def _match(files: Files, folder: bytes, parts: Sequence[str]) -> Iterator[bytes]:
    matches = compile_pattern(parts[0]).fullmatch
    for name in files.names(folder):
        if not matches(os.fsdecode(name)):
            continue
        path = join(folder, name)
        if len(parts) == 1:
            yield path
        elif (file := files.lookup(path)) is not None and file.kind is Kind.DIRECTORY:
            yield from _match(files, path, parts[1:])


def _with_parents(files: Files, source: str, exclude: PatternSet | None) -> Iterator[Taking]:
    """Take what a source matches with the folders above it, from `/./` on where it has that."""
    before, pivot, after = source.partition(_HERE)
    root, pattern = (before, after) if pivot else ("", source)
    pattern = "/".join(part for part in pattern.split("/") if part not in ("", "."))
    if not pattern:
        raise missing(root or "/")
    folders = list(_expand(files, root.strip("/"))) if _WILD.search(root) else [os.fsencode(root).strip(b"/")]
    taken = False
    for folder in folders:
        file = find(files, folder)
        if file is None or file.kind is not Kind.DIRECTORY:
            continue
        below = tuple(_included(files, file.path, b"", PatternSet((pattern,)), exclude, ((), ())))
        taken = taken or bool(below)
        yield Taking(file=file, name=b"", below=below, parents=True)
    if not taken and not _WILD.search(source):
        raise missing(source)


def _included(
    files: Files,
    folder: bytes,
    path: bytes,
    include: PatternSet,
    exclude: PatternSet | None,
    parents: tuple[Matched, Matched],
) -> Iterator[tuple[bytes, File]]:
    for name in files.names(folder):
        file = files.lookup(join(folder, name))
        if file is None:
            continue
        here = join(path, name)
        text = os.fsdecode(here)
        wanted, matched = include.matches_below(text, parents[0])
        out, left = (False, parents[1]) if exclude is None else exclude.matches_below(text, parents[1])
        inside: list[tuple[bytes, File]] = []
        if file.kind is Kind.DIRECTORY and (wanted or include.may_match_below(text, negative=False)):
            inside = list(_included(files, file.path, here, include, exclude, (matched, left)))
        if (wanted and not out) or inside:
            yield here, file
            yield from inside
