"""The format of a monitor's log (k8s-file), and its way into what clients of Docker get.

    2026-11-25T15:19:36.388608107+00:00 stdout F a whole line, or the end of one
    2026-11-25T15:19:36.388608107+00:00 stderr P a piece, and the line goes on

The rule that keeps it simple: an entry is one line of the file, its head has always the same length, and blocks of a thousand
entries are handled by list comprehensions: a million lines take a fraction of a second. What is no entry (a power cut in the
middle of a write) is passed over.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from declarative.engine.runtime.streams import STDERR, STDOUT
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD = 45  # bytes before the text
_INSTANT = 29  # of them, those that say when, without the offset
_OFFSET = slice(29, 35)
_KIND = slice(36, 44)
_STREAM, _FLAG = 39, 43  # where stdout and stderr, F and P differ
_WHOLE, _STDERR = ord("F"), ord("e")
_KINDS = frozenset({b"stdout F", b"stderr F", b"stdout P", b"stderr P"})
_SECOND = 1_000_000_000
_UTC = b"+00:00"


@record
class Wanted:
    """What a reader wants: which streams, from when to when (nanoseconds since 1970, both ends in), and how.

    `timestamps`: a time before each line; `details`: what comes after it, with its blank. `framed`: each entry in a frame that
    names its stream, else plain bytes.
    """

    stdout: bool = True
    stderr: bool = True
    since: int | None = None
    until: int | None = None
    timestamps: bool = False
    details: bytes = b""
    framed: bool = True


class Encoder:
    """Turns entries into bytes for a client. Keeps, for each stream, whether the last entry left a line open."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._open = {STDOUT: False, STDERR: False}
        self._plain = wanted.stdout and wanted.stderr and wanted.since is None and wanted.until is None
        self.over = False
        """Whether an entry came that is later than `until`."""

    def encode(self, entries: Sequence[bytes]) -> bytes:
        """Give the bytes for entries, each with its newline."""
        if self._plain and not self._wanted.timestamps and not self._wanted.details:
            kinds = {entry[_KIND] for entry in entries}
            if kinds <= {b"stdout F", b"stderr F"}:
                return _frames(entries) if self._wanted.framed else b"".join([entry[HEAD:] for entry in entries])
        return b"".join([self._one(entry) for entry in self._chosen(entries)])

    def _chosen(self, entries: Sequence[bytes]) -> Sequence[bytes]:
        chosen = [entry for entry in entries if entry[_KIND] in _KINDS]
        wanted = self._wanted
        if not wanted.stdout or not wanted.stderr:
            keep = b"stdout" if wanted.stdout else b"stderr" if wanted.stderr else b""
            chosen = [entry for entry in chosen if entry[36:42] == keep]
        if wanted.since is not None:
            chosen = [entry for entry in chosen if entry[:_INSTANT] >= _written(wanted.since, entry[_OFFSET])]
        if wanted.until is not None:
            within = [entry for entry in chosen if entry[:_INSTANT] <= _written(wanted.until, entry[_OFFSET])]
            self.over = self.over or len(within) < len(chosen)
            return within
        return chosen

    def _one(self, entry: bytes) -> bytes:
        stream = STDERR if entry[_STREAM] == _STDERR else STDOUT
        whole = entry[_FLAG] == _WHOLE
        text = entry[HEAD:] if whole else entry[HEAD:-1]
        if not self._open[stream]:
            text = self._wanted.details + text
            if self._wanted.timestamps:
                text = timestamp(entry) + b" " + text
        self._open[stream] = not whole
        return struct.pack(">BxxxL", stream, len(text)) + text if self._wanted.framed else text


def timestamp(entry: bytes) -> bytes:
    """Give when an entry was written, as Docker prints it: in UTC, with nine digits of the second."""
    if entry[_OFFSET] == _UTC:
        return entry[:_INSTANT] + b"Z"
    return _in_utc(entry[:19], entry[_OFFSET]) + entry[19:_INSTANT] + b"Z"


def is_whole(entry: bytes) -> bool:
    """Tell whether an entry ends a line."""
    return len(entry) > HEAD and entry[_FLAG] == _WHOLE


def _frames(entries: Sequence[bytes]) -> bytes:
    heads, error = _frame_heads(), _STDERR
    return b"".join(
        [
            part
            for entry in entries
            for part in (heads[entry[_STREAM] == error, len(entry)] if len(entry) < 512 else _long(entry), entry[HEAD:])
        ]
    )


@cache
def _frame_heads() -> dict[tuple[bool, int], bytes]:
    """Give the heads of frames for entries of common lengths, made once."""
    return {
        (error, length): struct.pack(">BxxxL", STDERR if error else STDOUT, length - HEAD)
        for error in (False, True)
        for length in range(HEAD, 512)
    }


def _long(entry: bytes) -> bytes:
    return struct.pack(">BxxxL", STDERR if entry[_STREAM] == _STDERR else STDOUT, len(entry) - HEAD)


@lru_cache(maxsize=16)
def _written(instant: int, offset: bytes) -> bytes:
    """Give an instant as an entry with this offset from UTC has it, to be compared as bytes."""
    sign = -1 if offset[:1] == b"-" else 1
    shift = sign * (int(offset[1:3]) * 3600 + int(offset[4:6]) * 60)
    seconds, fraction = divmod(instant, _SECOND)
    moment = datetime.fromtimestamp(max(seconds + shift, 0), UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09}".encode()


@lru_cache(maxsize=64)
def _in_utc(second: bytes, offset: bytes) -> bytes:
    moment = datetime.fromisoformat((second + offset).decode()).astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}".encode()
