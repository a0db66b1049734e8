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
_NO_TARGET = bytes(100)
_NAMES = bytes(64)
_NO_DEVICE = b"0000000\x000000000\0"
_REST = bytes(167)
# The header of pax records is the same for all but in its size, and in its sum.
_PAX_START = b"PaxHeaders.0/entry".ljust(100, b"\0") + b"0000644\x000000000\x000000000\0"
_PAX_MIDDLE = b"00000000000\0"
_PAX_END = b"x" + _NO_TARGET + b"ustar\x0000" + _NAMES + _NO_DEVICE + _REST
_PAX_SUM = sum(_PAX_START) + sum(_PAX_MIDDLE) + 8 * 32 + sum(_PAX_END)
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
    size = len(content)
    start = _PAX_START + b"%011o\0" % size + _PAX_MIDDLE
    return start + b"%06o\0 " % (_PAX_SUM + sum(b"%011o" % size)) + _PAX_END + content + padding(size)


def _block(entry: Entry, name: bytes, stored: int, flag: bytes) -> bytes:
    mode = b"%07o\0" % entry.mode
    sizes = b"%s%s%s%s" % (
        _octal(entry.uid, 7),
        _octal(entry.gid, 7),
        _octal(stored, 11),
        _octal(entry.mtime // _SECOND, 11),
    )
    start = name[:100].ljust(100, b"\0") + mode + sizes
    target = entry.target[:100].ljust(100, b"\0") if entry.target else _NO_TARGET
    end = b"%s%sustar\x0000%s" % (flag, target, _NAMES)
    devices = b"%07o\0%07o\0" % (entry.major, entry.minor) if entry.major or entry.minor else _NO_DEVICE
    total = sum(start) + 8 * 32 + sum(end) + sum(devices)
    return b"".join((start, b"%06o\0 " % total, end, devices, _REST))


def _octal(value: int, digits: int) -> bytes:
    """Give a number, or zero where it does not fit: then a pax record has it."""
    return b"%0*o\0" % (digits, value if 0 <= value < 8**digits else 0)
