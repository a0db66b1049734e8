"""Compressed streams, told apart by their first bytes, unpacked piece by piece.

The rule that keeps it simple: every format is one decompressor per member with a bound on what one step may give, so that
a bomb costs time until the caller's limit, never memory.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Protocol

from declarative.errors import Invalid, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_STEP = 1 << 20
"""The most bytes that one step unpacks to."""
_XZ_MEMORY = 256 << 20
"""`xz -9` needs 65 MiB to unpack; four times that is no honest archive."""
_ZSTD_WINDOW = 27
"""Windows up to 128 MiB, what the zstd program itself accepts without being asked for more."""
_LONGEST_MAGIC = 6


class _Member(Protocol):
    """One compressed member, fed until it ends."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def steps(self, data: bytes) -> Iterator[bytes]: ...


class _Inflater(Protocol):
    """What zlib's and isal's objects have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Deflate:
    """A gzip member; isal unpacks twice as fast as zlib, where it is installed."""

    def __init__(self) -> None:
        self._object: _Inflater
        try:
            from isal import isal_zlib

            self._object = isal_zlib.decompressobj(wbits=31)
        except ImportError:
            self._object = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return bool(self._object.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._object.unused_data)

    def steps(self, data: bytes) -> Iterator[bytes]:
        while not self._object.eof:
            made = self._object.decompress(data, _STEP)
            yield made
            data = self._object.unconsumed_tail
            if not data and len(made) < _STEP:
                return


class _Buffering(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Buffered:
    """A member whose decompressor keeps what it has not unpacked yet: bzip2, xz, zstd."""

    def __init__(self, decompressor: _Buffering) -> None:
        self._object = decompressor

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def steps(self, data: bytes) -> Iterator[bytes]:
        yield self._object.decompress(data, _STEP)
        while not self._object.eof and not self._object.needs_input:
            yield self._object.decompress(b"", _STEP)


def _zstd() -> _Member:
    try:
        from backports.zstd import DecompressionParameter, ZstdDecompressor
    except ImportError:
        raise Unsupported("zstd", "cannot be unpacked here", "install the package backports.zstd") from None
    return _Buffered(ZstdDecompressor(options={DecompressionParameter.window_log_max: _ZSTD_WINDOW}))


_FORMATS: tuple[tuple[str, bytes, Callable[[], _Member]], ...] = (
    ("gzip", b"\x1f\x8b", _Deflate),
    ("zstd", b"\x28\xb5\x2f\xfd", _zstd),
    ("xz", b"\xfd7zXZ\0", lambda: _Buffered(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY))),
    ("bzip2", b"BZh", lambda: _Buffered(bz2.BZ2Decompressor())),
)


def detect(start: bytes) -> str:
    """Name the compression of a stream with these first bytes (six are enough): gzip, zstd, xz, bzip2, or "" for none."""
    return next((name for name, magic, _ in _FORMATS if start.startswith(magic)), "")


def unpacked(chunks: Iterable[bytes], subject: str) -> Iterator[bytes]:
    """Give the stream unpacked, or as it is where it is not compressed. Invalid where it is damaged or cut."""
    pieces = iter(chunks)
    start = b""
    while len(start) < _LONGEST_MAGIC and (piece := next(pieces, None)) is not None:
        start += piece
    name = detect(start)
    if not name:
        yield start
        yield from pieces
        return
    make = next(make for known, _, make in _FORMATS if known == name)
    try:
        yield from _members(start, pieces, make, subject)
    except Exception as error:
        if not _is_damage(error):
            raise
        raise Invalid(subject, f"damaged {name} data: {error}", "fetch it again") from error


def _is_damage(error: Exception) -> bool:
    """Tell damaged data from trouble of the stream itself. bz2 raises OSError for damage, without a number."""
    if isinstance(error, OSError):
        return error.errno is None
    return isinstance(error, (zlib.error, lzma.LZMAError, EOFError)) or type(error).__name__ in {
        "ZstdError",
        "IsalError",
    }


def _members(data: bytes, pieces: Iterator[bytes], make: Callable[[], _Member], subject: str) -> Iterator[bytes]:
    """Unpack one member after the other: all four formats say that members add up."""
    member = make()
    while True:
        yield from member.steps(data)
        while member.eof:
            data = member.unused_data.lstrip(b"\0")  # padding to a block, as tapes had it
            while not data and (piece := next(pieces, None)) is not None:
                data = piece.lstrip(b"\0")
            if not data:
                return
            member = make()
            yield from member.steps(data)
        following = next(pieces, None)
        if following is None:
            raise Invalid(subject, "ends in the middle of its compressed data", "fetch it again")
        data = following
