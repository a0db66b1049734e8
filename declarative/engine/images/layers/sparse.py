"""Maps of sparse files, in the four ways GNU tar has written them (GNU tar manual, "Storing Sparse Files").

The rule that keeps it simple: each way ends in the same thing, (offset, length) extents, and one function checks them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.engine.images.layers.entry import Entry
    from declarative.engine.images.layers.pax import Records
    from declarative.engine.images.layers.source import Source

    Extents = tuple[tuple[int, int], ...]

_BLOCK = 512
_MOST_EXTENTS = 1 << 20
"""A map of a million extents is one of a file of more than four gigabytes with every other page a hole."""
_REMEDY = "make the archive again"


def is_sparse_pax(records: Records) -> bool:
    """Tell whether pax records speak of a sparse file."""
    keys = {key for key, _ in records}
    return b"GNU.sparse.map" in keys or b"GNU.sparse.numblocks" in keys or b"GNU.sparse.major" in keys


def real_name(records: dict[bytes, bytes], name: bytes) -> bytes:
    """Give the file's own name: since format 0.1 the header has a made-up one, for other programs."""
    return records.get(b"GNU.sparse.name") or name


def real_size(records: dict[bytes, bytes], subject: str) -> int:
    """Give the size of the file with its holes, in bytes."""
    return _decimal(records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size") or b"", subject)


def pax_map(records: Records, subject: str) -> Extents:
    """Give the map of formats 0.0 (one record for each number) and 0.1 (all in one record). Invalid."""
    joined = dict(records).get(b"GNU.sparse.map")
    if joined is not None:
        numbers = [_decimal(part, subject) for part in joined.split(b",")] if joined else []
    else:
        keys = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
        found = [(key, value) for key, value in records if key in keys]
        if any(key != keys[place % 2] for place, (key, _) in enumerate(found)):
            raise Invalid(subject, "a damaged map of a sparse file", _REMEDY)
        numbers = [_decimal(value, subject) for _, value in found]
    return _pairs(numbers, subject)


def read_map(source: Source, stored: int) -> tuple[Extents, int]:
    """Read the map of format 1.0 from the head of the file's bytes; give it, and how many bytes it took. Invalid."""
    lines: list[bytes] = []
    rest = b""
    used = 0
    while not lines or len(lines) < 2 * _count(lines[0], source.subject) + 1:
        if used + _BLOCK > stored + (-stored % _BLOCK):
            raise Invalid(source.subject, "the map of a sparse file ends in the middle", _REMEDY)
        *whole, rest = (rest + source.take(_BLOCK)).split(b"\n")
        if len(rest) > _BLOCK:
            raise Invalid(source.subject, "a damaged map of a sparse file", _REMEDY)
        used += _BLOCK
        lines += whole
    count = _count(lines[0], source.subject)
    numbers = [_decimal(line, source.subject) for line in lines[1 : 2 * count + 1]]
    return _pairs(numbers, source.subject), used


def old_gnu_extents(block: bytes, source: Source, number: Callable[[bytes, Source], int]) -> tuple[Extents, int]:
    """Read the map of a header of type S and the blocks that continue it; give it with the real size in bytes. Invalid."""
    numbers: list[int] = []
    size = number(block[483:495], source)
    table, more = block[386:482], block[482]
    while True:
        for at in range(0, len(table), 24):
            if table[at]:
                numbers += [number(table[at : at + 12], source), number(table[at + 12 : at + 24], source)]
        if not more:
            return _pairs(numbers, source.subject), size
        if len(numbers) > 2 * _MOST_EXTENTS:
            raise Invalid(source.subject, "a sparse file of too many parts", _REMEDY)
        block = source.take(_BLOCK)
        table, more = block[:504], block[504]


def checked_extents(entry: Entry, subject: str) -> None:
    """Refuse a map that goes back, overlaps, leaves the file, or does not fit the stored bytes. Invalid."""
    end = total = 0
    for offset, length in entry.extents or ():
        if offset < end or length < 0:
            raise Invalid(subject, "the parts of a sparse file overlap", _REMEDY)
        end = offset + length
        total += length
    if end > entry.size or total != entry.stored:
        raise Invalid(subject, "the map of a sparse file does not fit its size", _REMEDY)


def _count(line: bytes, subject: str) -> int:
    count = _decimal(line, subject)
    if count > _MOST_EXTENTS:
        raise Invalid(subject, "a sparse file of too many parts", _REMEDY)
    return count


def _pairs(numbers: list[int], subject: str) -> Extents:
    if len(numbers) % 2 or len(numbers) > 2 * _MOST_EXTENTS:
        raise Invalid(subject, "a damaged map of a sparse file", _REMEDY)
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _decimal(text: bytes, subject: str) -> int:
    if not text.isdigit() or len(text) > 20:
        raise Invalid(subject, f"the map of a sparse file has {text[:40]!r} for a number", _REMEDY)
    return int(text)
