"""A build context as the tar stream that the classic build API takes.

The rule that keeps it simple: the same tree gives the same bytes. Owner is root, as Docker's client sends it; modes and times are
the files' own; order is the walk's. GNU tar headers (which Go reads natively) because they carry names as raw bytes; headers of
our own because `tarfile` costs three times as much for many small files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.errors import Failed
from declarative.manifest.context.dockerignore import NAME, sent
from declarative.manifest.context.walk import Entry, unreadable, walk
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

INJECTED = ".dockerfile.declarative"
"""Name in the tar of a Dockerfile that is inline or lies outside the context."""

_BLOCK = 512
_CHUNK = 1 << 18
_NAME = 100  # bytes of a name that fit in a header; longer ones go before it as a record of their own
_OCTAL = 8**11  # the first size that eleven octal digits cannot hold
_TYPES = {"file": b"0", "symlink": b"2", "char": b"3", "block": b"4", "dir": b"5", "fifo": b"6"}


@record
class ClassicContext:
    """What to send to `POST /build`: the stream, and the Dockerfile's name in it (the parameter `dockerfile`)."""

    dockerfile: str
    chunks: Iterator[bytes]


def classic_context(root: str, lines: Sequence[str], dockerfile: str, inline: bytes | None = None) -> ClassicContext:
    """Stream the context at `root` under the patterns `lines`, with the Dockerfile at path `dockerfile` or as `inline`.

    Chunks are made as they are asked for; reading errors (Denied, Failed) come out of the iterator.
    """
    inside = "" if inline is not None else relative_to_context(root, dockerfile)
    if inside:
        return ClassicContext(dockerfile=inside, chunks=tar_stream(walk(root, sent(lines, inside))))
    text = inline if inline is not None else _read(dockerfile)
    ignore = Path(root, NAME)
    # The daemon hides from COPY what .dockerignore names; so the injected file is named there, as Docker's client does it.
    patterns = (_read(str(ignore)) if ignore.is_file() else NAME.encode()) + f"\n{INJECTED}\n".encode()
    injected = {NAME: patterns, INJECTED: text}
    return ClassicContext(dockerfile=INJECTED, chunks=tar_stream(walk(root, sent(lines, "")), injected))


def relative_to_context(root: str, dockerfile: str) -> str:
    """Give the Dockerfile's path inside the context with `/`, or "" if it lies outside (links resolved)."""
    inside = os.path.relpath(os.path.realpath(dockerfile), os.path.realpath(root))
    return "" if inside == ".." or inside.startswith("../") else inside


def tar_stream(entries: Iterable[Entry], injected: Mapping[str, bytes] | None = None) -> Iterator[bytes]:
    """Stream `entries`, then `injected` files (name → content), which take the place of entries of the same name."""
    injected = injected or {}
    pending = bytearray()
    for entry in entries:
        if entry.path in injected:
            continue
        pending += header(entry)
        if entry.kind == "file":
            for block in _content(entry):
                pending += block
                if len(pending) >= _CHUNK:
                    yield bytes(pending)
                    pending.clear()
            pending += _padding(entry.size)
    for name, content in sorted(injected.items()):
        pending += header(Entry(path=name, kind="file", mode=0o644, size=len(content), source=""))
        pending += content + _padding(len(content))
    yield bytes(pending) + bytes(2 * _BLOCK)


def header(entry: Entry) -> bytes:
    """Make the header block of one entry, with the long-name records that it needs before it."""
    name = os.fsencode(entry.path) + (b"/" if entry.kind == "dir" else b"")
    target = os.fsencode(entry.target)
    long = b"".join(_long(kind, text) for kind, text in ((b"K", target), (b"L", name)) if len(text) > _NAME)
    return long + _block(name, entry.mode, entry.size, entry.mtime, _TYPES[entry.kind], target, entry.device)


def _long(kind: bytes, text: bytes) -> bytes:
    body = text + b"\0"
    return _block(b"././@LongLink", 0, len(body), 0, kind, b"", (0, 0)) + body + _padding(len(body))


def _block(name: bytes, mode: int, size: int, mtime: int, kind: bytes, target: bytes, device: tuple[int, int]) -> bytes:
    head = b"".join(
        [
            name[:_NAME].ljust(_NAME, b"\0"),
            b"%07o\0" % mode,
            b"%07o\0" * 2 % (0, 0),  # owner and group: root
            _number(size),
            _number(max(0, mtime)),
            b" " * 8,  # the checksum counts as blanks
            kind,
            target[:_NAME].ljust(_NAME, b"\0"),
            b"ustar  \0",
            bytes(64),  # names of owner and group
            b"%07o\0" * 2 % device,
        ]
    ).ljust(_BLOCK, b"\0")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def _number(value: int) -> bytes:
    """Write a size or a time: octal, or GNU's base 256 from 8 GiB up."""
    return b"%011o\0" % value if value < _OCTAL else b"\x80" + value.to_bytes(11, "big")


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _content(entry: Entry) -> Iterator[bytes]:
    """Read exactly the size that the header promised; a file that changes meanwhile would shift everything after it."""
    left = entry.size
    try:
        file = os.open(entry.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            while left and (block := os.read(file, min(left, _CHUNK))):
                left -= len(block)
                yield block
            grown = not left and os.read(file, 1)
        finally:
            os.close(file)
    except OSError as error:
        raise unreadable(entry.source, error) from error
    if left or grown:
        remedy = "run again once nothing writes to the context, or list it in .dockerignore"
        raise Failed(f"build context file {entry.path!r}", "changed its size while it was sent", remedy)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
