"""Archives among the sources of ADD: which files are one, and what is in them.

The rule that keeps it simple: an archive is what begins like one once it is unpacked; names and endings say nothing, as in
Docker.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from declarative.engine.build.files import read
from declarative.engine.images.layers.compression import detect, unpacked
from declarative.engine.images.layers.reader import members
from declarative.engine.images.layers.source import Source
from declarative.errors import DeclarativeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.engine.build.files import File, Files
    from declarative.engine.images.layers.reader import Member

_BLOCK = 512


def archive_members(files: Files, file: File) -> Iterator[Member] | None:
    """Give the entries of an archive, or None where the file is none."""
    if not is_archive(files, file):
        return None
    subject = f"archive {file.name.decode(errors='replace')}"
    return members(Source(unpacked(read(files, file), subject), subject), lenient=True)


def is_archive(files: Files, file: File) -> bool:
    """Tell whether a file is a tar archive, compressed or not: its first block is a header whose sum is right."""
    with closing(read(files, file)) as pieces:
        return begins_like_one(pieces)


def begins_like_one(pieces: Iterator[bytes]) -> bool:
    """Tell whether a stream begins as an archive does; what is read of it is lost."""
    try:
        start = next(pieces, b"")
        if not detect(start[:6]) and start[257:262] != b"ustar" and len(start) < _BLOCK:
            return False
        block = Source(unpacked(_again(start, pieces), "archive"), "archive").take(_BLOCK)
        return _is_header(block)
    except DeclarativeError:
        return False


def _again(start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from rest


def _is_header(block: bytes) -> bool:
    try:
        expected = int(block[148:156].strip(b"\0 ") or b"x", 8)
    except ValueError:
        return False
    return expected == sum(block) - sum(block[148:156]) + 256
