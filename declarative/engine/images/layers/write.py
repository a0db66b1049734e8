"""Entries as a tar stream: ustar headers, and pax records for what does not fit (POSIX, pax).

The rule that keeps it simple: the same entries give the same bytes, on every machine and in every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.images.layers.entry import Entry, Kind
from declarative.engine.images.layers.pax import format_records, format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BLOCK = 512
_FLAGS = {
    Kind.FILE: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHARACTER: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
_SECOND = 1_000_000_000
END = bytes(2 * _BLOCK)
"""What ends an archive."""


def header(entry: Entry) -> bytes:
    """Give the header blocks of an entry; its stored bytes follow, then `padding`. Folders are named with a `/`."""
    records: list[tuple[bytes, bytes]] = []
    name = entry.name
    stored = entry.stored
    sparse = b""
    if entry.extents is not None:
        records += [
            (b"GNU.sparse.major", b"1"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", name),
            (b"GNU.sparse.realsize", b"%d" % entry.size),
        ]
        sparse = sparse_map(entry.extents)
        stored += len(sparse)
        name = b"GNUSparseFile.0/" + name.rpartition(b"/")[2]
    if len(name) > 100:
        records.append((b"path", name))
    if len(entry.target) > 100:
        records.append((b"linkpath", entry.target))
    records += [(key, b"%d" % value) for key, value, limit in _numbers(entry, stored) if value >= limit]
    if entry.mtime % _SECOND or not 0 <= entry.mtime < 8**11 * _SECOND:
        records.append((b"mtime", format_time(entry.mtime)))
    records += [(b"SCHILY.xattr." + key, value) for key, value in entry.xattrs]
    return _pax(records) + _block(entry, name, stored, _FLAGS[entry.kind]) + sparse


def padding(size: int) -> bytes:
    """Give the zeros after `size` bytes, up to a whole block."""
    return bytes(-size % _BLOCK)


def archive(entries: Iterable[tuple[Entry, bytes]]) -> Iterator[bytes]:
    """Write an archive of small files that are in memory."""
    for entry, content in entries:
        yield header(entry)
        yield content + padding(len(content))
    yield END


def sparse_map(extents: tuple[tuple[int, int], ...]) -> bytes:
    """Give the map of GNU's sparse format 1.0, padded to whole blocks."""
    numbers = [len(extents), *(number for extent in extents for number in extent)]
    text = b"".join(b"%d\n" % number for number in numbers)
    return text + padding(len(text))


def _numbers(entry: Entry, stored: int) -> tuple[tuple[bytes, int, int], ...]:
    return (b"gid", entry.gid, 8**7), (b"size", stored, 8**11), (b"uid", entry.uid, 8**7)


def _pax(records: list[tuple[bytes, bytes]]) -> bytes:
    if not records:
        return b""
    content = format_records(tuple(sorted(records)))
    fields = Entry(name=b"PaxHeaders.0/entry", mode=0o644)
    return _block(fields, fields.name, len(content), b"x") + content + padding(len(content))


def _block(entry: Entry, name: bytes, stored: int, flag: bytes) -> bytes:
    seconds = entry.mtime // _SECOND
    block = b"".join(
        (
            name[:100].ljust(100, b"\0"),
            b"%07o\0" % entry.mode,
            _octal(entry.uid, 7),
            _octal(entry.gid, 7),
            _octal(stored, 11),
            _octal(seconds, 11),
            b" " * 8,
            flag,
            entry.target[:100].ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),
            b"%07o\0" % entry.major,
            b"%07o\0" % entry.minor,
            bytes(167),
        )
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _octal(value: int, digits: int) -> bytes:
    """Give a number, or zero where it does not fit: then a pax record has it."""
    return b"%0*o\0" % (digits, value if 0 <= value < 8**digits else 0)
