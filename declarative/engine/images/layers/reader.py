"""A tar stream (POSIX ustar and pax, GNU, old v7) as entries, each with its bytes.

The rule that keeps it simple: one pass, blocks of 512 bytes, nothing remembered from one entry to the next. Whatever the
formats leave open is read as Go's archive/tar reads it, so that a layer means the same here and in dockerd.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from zlib import adler32

from declarative.engine.images.layers.entry import LONGEST_NAME, Entry, Kind
from declarative.engine.images.layers.pax import parse_records, parse_time
from declarative.engine.images.layers.sparse import (
    checked_extents,
    is_sparse_pax,
    old_gnu_extents,
    pax_map,
    read_map,
    real_name,
    real_size,
)
from declarative.errors import Invalid
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from declarative.engine.images.layers.pax import Records
    from declarative.engine.images.layers.source import Source

BLOCK = 512
_LONGEST_SPECIAL = 1 << 20
"""Bytes of one extended header: what Go's reader takes, and more than any honest one."""
_MOST_EXTENDED = 16
"""Extended headers in a row before one entry: a long name, a long link, and a few pax ones are all that exist."""
_XATTR = b"SCHILY.xattr."
_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"S": Kind.FILE,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}
_INT64 = 1 << 63


class Member:
    """An entry and its bytes, to be read before the next one is asked for; what is left unread is passed over."""

    def __init__(self, entry: Entry, source: Source) -> None:
        self.entry = entry
        self._source = source
        self._left = entry.stored
        self._padding = -entry.stored % BLOCK

    def pieces(self, size: int | None = None) -> Iterable[memoryview]:
        """Give the next `size` stored bytes (all that are left, by default) in pieces as they come."""
        size = self._left if size is None else size
        self._left -= size
        whole = self._source.piece(size)
        return (whole,) if whole is not None else self._source.pieces(size)

    def finish(self, *, lenient: bool = False) -> None:
        """Pass over what is left, up to the next header. `lenient`: the padding after the last file may be missing."""
        self._source.skip(self._left)
        if not lenient or not self._source.at_end():
            self._source.skip(self._padding)
        self._left = self._padding = 0


@record
class _Header:
    """One block, as it stands. `kind` is the type flag."""

    kind: bytes
    entry: Entry
    block: bytes


def members(source: Source, *, lenient: bool = False) -> Iterator[Member]:
    """Give the entries of the archive in order, and read the stream to its very end.

    `lenient`: the padding after the last file may be missing, as in what `docker build -f -` sends; Go's reader does not mind.

    Invalid where a header is damaged, a number is out of its range, or the stream ends in the middle of something.
    """
    while (found := _next(source)) is not None:
        yield found
        found.finish(lenient=lenient)
    source.drain()


def _next(source: Source) -> Member | None:
    records: Records = ()
    name = target = None
    for _ in range(_MOST_EXTENDED):
        header = _header(source)
        if header is None:
            return None
        if header.kind not in (b"x", b"g", b"X", b"L", b"K"):
            return _member(source, header, records, name, target)
        content = _special(source, header)
        if header.kind in (b"x", b"X"):
            records = parse_records(content, source.subject)
        elif header.kind == b"L":
            name = content.partition(b"\0")[0]
        elif header.kind == b"K":
            target = content.partition(b"\0")[0]
        # "g" is for the whole archive: Go's reader, so dockerd, lets it have no effect on entries
    raise Invalid(source.subject, f"more than {_MOST_EXTENDED} extended headers in a row", "make the archive again")


def _header(source: Source) -> _Header | None:
    """Read a header; None at the end: a block of zeros, or the stream's end where a header would be."""
    if source.at_end():
        return None
    block = source.take(BLOCK)
    if not any(block):
        return None
    _check_sum(block, source.subject)
    kind = block[156:157]
    name = _text(block[0:100])
    major = minor = 0
    if block[257:263] == b"ustar\0":
        prefix = _text(block[345:500])
        name = prefix + b"/" + name if prefix else name
    if kind in (b"3", b"4"):
        major, minor = _number(block[329:337], source), _number(block[337:345], source)
    size = _number(block[124:136], source)
    entry = Entry(
        name=name,
        kind=_KINDS.get(kind, Kind.FILE),
        mode=_number(block[100:108], source) & 0o7777,
        uid=_number(block[108:116], source),
        gid=_number(block[116:124], source),
        size=size,
        stored=size,
        mtime=_number(block[136:148], source) * 1_000_000_000,
        target=_text(block[157:257]),
        major=major,
        minor=minor,
    )
    return _Header(kind=kind, entry=entry, block=block)


def _check_sum(block: bytes, subject: str) -> None:
    """Compare the sum of the block's bytes, its own field taken as blanks (pax, "ustar Interchange Format")."""
    try:
        expected = int(block[148:156].strip(b"\0 ") or b"0", 8)
    except ValueError:
        raise Invalid(subject, "not a tar archive: a header without a checksum") from None
    rest = block[:148] + b" " * 8 + block[156:]
    # Adler-32 has the sum of the bytes in it, modulo 65521, and is worked out in no time
    if adler32(rest) & 0xFFFF == (1 + expected) % 65521:
        return
    # where it differs, the sum of signed bytes counts too, as some old archivers had it
    if expected != sum(rest) - 256 * sum(byte > 127 for byte in rest):
        raise Invalid(subject, "damaged archive: the checksum of a header is wrong", "fetch it again")


def _number(text: bytes, source: Source) -> int:
    """Read an octal number, or GNU's base 256, which has the top bit set; negative where the two top bits are."""
    number = _parse_number(text)
    if number is None:
        raise Invalid(source.subject, f"a header has {text!r} for a number", "make the archive again")
    return number


@lru_cache(4096)
def _parse_number(text: bytes) -> int | None:
    """Read a number; most headers of an archive have the same owner, mode and time, so it is known already."""
    if text[0] & 0x80:
        value = int.from_bytes(text, "big") & ((1 << (8 * len(text) - 1)) - 1)
        return value - (1 << (8 * len(text) - 1)) if text[0] & 0x40 else value
    stripped = text.strip(b"\0 ").partition(b"\0")[0]
    return None if stripped.strip(b"01234567") else int(stripped or b"0", 8)


def _text(data: bytes) -> bytes:
    return data.partition(b"\0")[0]


def _special(source: Source, header: _Header) -> bytes:
    size = header.entry.size
    if not 0 <= size <= _LONGEST_SPECIAL:
        raise Invalid(source.subject, f"an extended header of {size} bytes", "make the archive again")
    content = source.take(size)
    source.skip(-size % BLOCK)
    return content


def _member(source: Source, header: _Header, records: Records, name: bytes | None, target: bytes | None) -> Member:
    entry = header.entry
    if name is not None or target is not None:
        entry = replace(
            entry, name=entry.name if name is None else name, target=entry.target if target is None else target
        )
    if records:
        entry = _with_records(entry, records, source)
    if entry.kind is Kind.FILE and header.kind != b"S" and entry.name.endswith(b"/"):
        entry = replace(entry, kind=Kind.DIRECTORY)  # as before ustar, and as Go reads it
    if entry.kind is not Kind.FILE and header.kind != b"S":
        entry = replace(entry, size=0, stored=0)  # the size of a link or a folder has no bytes behind it (pax, "size")
    entry = _with_extents(source, header, records, entry)
    _check(entry, source)
    return Member(entry, source)


def _with_extents(source: Source, header: _Header, records: Records, entry: Entry) -> Entry:
    """Read the map of a sparse file, in the four ways that GNU tar has written it."""
    if header.kind == b"S":
        extents, size = old_gnu_extents(header.block, source, _number)
        entry = replace(entry, extents=extents, size=size)
    elif records and is_sparse_pax(records) and entry.kind is Kind.FILE:
        extents_of = dict(records)
        entry = replace(entry, name=real_name(extents_of, entry.name), size=real_size(extents_of, source.subject))
        if extents_of.get(b"GNU.sparse.major") == b"1":
            found, used = read_map(source, entry.stored)
            entry = replace(entry, extents=found, stored=entry.stored - used)
        else:
            entry = replace(entry, extents=pax_map(records, source.subject))
    if entry.extents is not None:
        checked_extents(entry, source.subject)
    return entry


def _with_records(entry: Entry, records: Records, source: Source) -> Entry:
    """Let pax records overrule the header (pax, "pax Extended Header"); an empty value leaves the header's."""
    changes: dict[str, object] = {}
    xattrs: dict[bytes, bytes] = {}
    for key, value in records:
        if key.startswith(_XATTR):
            xattrs[key[len(_XATTR) :]] = value
        elif not value:
            continue
        elif key == b"path":
            changes["name"] = value
        elif key == b"linkpath":
            changes["target"] = value
        elif key == b"mtime":
            changes["mtime"] = parse_time(value, source.subject)
        elif key in (b"uid", b"gid", b"size"):
            if not value.isdigit() or len(value) > 20:
                raise Invalid(source.subject, f"a pax header has {value[:40]!r} for {key.decode()}")
            changes[key.decode()] = int(value)
    if "size" in changes:
        changes["stored"] = changes["size"]
    return replace(entry, **changes, xattrs=tuple(sorted(xattrs.items())))


def _check(entry: Entry, source: Source) -> None:
    if b"\0" in entry.name or b"\0" in entry.target:
        raise Invalid(source.subject, f"entry {_shown(entry)}: a NUL in its name", "do not use this archive")
    if len(entry.name) > LONGEST_NAME or len(entry.target) > LONGEST_NAME:
        raise Invalid(source.subject, f"entry {_shown(entry)}…: a name longer than {LONGEST_NAME} bytes")
    if not (0 <= entry.size < _INT64 and 0 <= entry.stored < _INT64):
        raise Invalid(source.subject, f"entry {_shown(entry)}: a size of {entry.size} bytes", "do not use this archive")
    # (uid_t) -1 means "leave as it is" to chown, so it is nobody's id
    if not (0 <= entry.uid < 0xFFFFFFFF and 0 <= entry.gid < 0xFFFFFFFF):
        raise Invalid(source.subject, f"entry {_shown(entry)}: owner {entry.uid}:{entry.gid} is out of range")
    if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):  # the ranges of Linux's dev_t
        raise Invalid(source.subject, f"entry {_shown(entry)}: device {entry.major}:{entry.minor} is out of range")


def _shown(entry: Entry) -> str:
    return entry.name[:80].decode(errors="backslashreplace")
