"""Archives for tests of layers, from the entries of the conformance cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.engine.images.layers.entry import Entry, Kind
from declarative.engine.images.layers.reader import members
from declarative.engine.images.layers.source import Source
from declarative.engine.images.layers.write import archive

if TYPE_CHECKING:
    from collections.abc import Iterable

_KINDS = {"file": Kind.FILE, "dir": Kind.DIRECTORY, "symlink": Kind.SYMLINK, "hardlink": Kind.HARDLINK}
TIME = 1_700_000_000_000_000_000


def entry(case: dict[str, Any], stem: str = "") -> tuple[Entry, bytes]:
    """Give the entry of a case, names as they are, but `NAME` as `stem`."""
    content = case.get("content", "").encode("latin-1")
    made = Entry(
        name=case["path"].replace("NAME", stem).encode(),
        kind=_KINDS[case["type"]],
        mode=int(case.get("mode") or "755", 8),
        size=len(content),
        stored=len(content),
        target=case.get("target", "").encode(),
        mtime=TIME,
    )
    return made, content


def layer(cases: Iterable[dict[str, Any]], stem: str = "") -> bytes:
    """Give the archive of these cases."""
    return b"".join(archive(entry(case, stem) for case in cases))


def read_all(chunks: Iterable[bytes], subject: str) -> list[tuple[Entry, bytes]]:
    """Read a small archive: its entries, each with its stored bytes."""
    return [(member.entry, b"".join(member.pieces())) for member in members(Source(chunks, subject))]
