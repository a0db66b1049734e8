"""HTTP/1.1 as an engine speaks it: requests rendered, responses read from any source of bytes.

Own code and not `http.client`: measured with 200 inspect calls on one dockerd, this reader takes 20 ms of processor time
instead of 45, lets four threads finish in 35 ms instead of 62, and imports in a fifth of the time. It keeps bytes that follow
a 101 (http.client loses them in its buffered file), which hijacked streams need.

The rule that keeps it simple: bytes come from one function, and whatever RFC 9112 does not allow is `Garbage`, never guessed at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Framing = Literal["none", "length", "chunked", "close"]

MAX_HEAD = 64 * 1024
"""Bytes of one response head. Engines send half a kilobyte; the archive header may carry a long path."""

MAX_LINE = 1024
"""Bytes of a chunk-size or trailer line."""

RECEIVE = 64 * 1024
"""Bytes asked for at once: one inspect answer fits ten times."""

_HEAD = re.compile(
    rb"HTTP/1\.[01] [1-5][0-9][0-9](?: [^\r\n\0]*)?"  # RFC 9112 section 4: status line
    rb"(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*)*"  # section 5: fields, no folding
)
_PREFIX = b"HTTP/1."
_UNSENDABLE = re.compile(r"[^\x21-\x7e]")


class Garbage(Exception):
    """What came is not an HTTP/1.1 response; the text says where it went wrong."""


class Cut(Exception):
    """The other side closed before the response was whole."""


@record
class Head:
    """A response's first part. Header names are lower case; repeated ones are joined with a comma (RFC 9110 section 5.3)."""

    status: int
    reason: str
    headers: Mapping[str, str]
    framing: Framing
    length: int
    keep_alive: bool


def render_request(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Render a request's head. Raises ValueError for what would break out of its line: that is a caller's mistake."""
    if _UNSENDABLE.search(target):
        msg = f"request target has characters that must be percent-encoded: {target!r}"
        raise ValueError(msg)
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers.items():
        if "\r" in value or "\n" in value or "\0" in value:
            msg = f"header {name} has a line break in its value"
            raise ValueError(msg)
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def render_chunk(data: bytes) -> bytes:
    """Frame one non-empty piece of a chunked body (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def parse_head(raw: bytes, method: str) -> Head:
    """Read a head (without its blank line) that answers a request with `method`. Garbage where it is none."""
    if not _HEAD.fullmatch(raw):
        raise Garbage(f"not an HTTP/1.1 response: {raw[:60]!r}")
    first, *lines = raw.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    status = int(first[9:12])
    framing, length = _framing(method, status, headers)
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    return Head(
        status=status,
        reason=first[13:],
        headers=headers,
        framing=framing,
        length=length,
        keep_alive=first[7] == "1" and "close" not in tokens and framing != "close",
    )


def _framing(method: str, status: int, headers: Mapping[str, str]) -> tuple[Framing, int]:
    """How the body ends: RFC 9112 section 6.3, in its order."""
    if method == "HEAD" or status < 200 or status in {204, 304}:
        return "none", 0
    coding, lengths = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if coding.lower() != "chunked" or lengths is not None:
            raise Garbage(f"transfer-encoding {coding!r} with content-length {lengths!r}")
        return "chunked", 0
    if lengths is None:
        return "close", 0
    different = {text.strip() for text in lengths.split(",")}
    text = different.pop()
    if different or not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise Garbage(f"content-length {lengths!r}")
    return "length", int(text)


class ResponseReader:
    """Reads one response after another from `receive(size)`, which returns at least one byte, or b"" at the end."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._buffer = bytearray()
        self._inside = False

    def head(self, method: str) -> Head:
        """Read the next head that is not an interim one (100, 103); 101 is returned. Raises Cut, Garbage."""
        while True:
            head = parse_head(self._raw_head(), method)
            if head.status >= 200 or head.status == 101:
                return head

    def body(self, head: Head) -> Iterator[bytes]:
        """Yield the body's pieces as they come; exhausted means whole. Raises Cut, Garbage."""
        self._inside = True
        if head.framing == "length":
            yield from self._exactly(head.length)
        elif head.framing == "chunked":
            yield from self._chunks()
        elif head.framing == "close":
            yield from self._until_close()
        self._inside = False

    @property
    def begun(self) -> bool:
        """Whether we are inside a response: part of it has come, and not all of it was handed out."""
        return self._inside or bool(self._buffer)

    def absorb(self) -> None:
        """Receive once and keep it: for a peer that will not read before it is read from. Raises Cut."""
        self._fill()

    def rest(self) -> bytes:
        """Take what was received beyond the last head: the early data of a hijacked stream, or a sign of a confused peer."""
        early = bytes(self._buffer)
        self._buffer.clear()
        return early

    def _fill(self) -> None:
        data = self._receive(RECEIVE)
        if not data:
            raise Cut(
                "it closed the connection in the middle of an answer" if self.begun else "it closed the connection"
            )
        self._buffer += data

    def _raw_head(self) -> bytes:
        buffer = self._buffer
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            # Told at the first wrong byte: a peer that is no HTTP server may never send a blank line.
            if not (buffer.startswith(_PREFIX) or _PREFIX.startswith(buffer)):
                raise Garbage(f"not an HTTP/1.1 response: {bytes(buffer[:60])!r}")
            if len(buffer) > MAX_HEAD:
                break
            self._fill()
        if not 0 <= end <= MAX_HEAD:
            raise Garbage(f"a response head of more than {MAX_HEAD} bytes")
        raw = bytes(buffer[:end])
        del buffer[: end + 4]
        return raw

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer:
                self._fill()
            piece = bytes(self._buffer[:size])
            del self._buffer[: len(piece)]
            size -= len(piece)
            yield piece

    def _until_close(self) -> Iterator[bytes]:
        if early := self.rest():
            yield early
        while data := self._receive(RECEIVE):
            yield data

    def _chunks(self) -> Iterator[bytes]:
        while size := self._chunk_size():
            yield from self._exactly(size)
            if self._line():
                raise Garbage("a chunk is longer than it said")
        while self._line():  # trailers: none that we need
            pass

    def _chunk_size(self) -> int:
        digits = self._line().partition(b";")[0].rstrip(b" \t")
        if not 0 < len(digits) <= 15 or digits.strip(b"0123456789abcdefABCDEF"):
            raise Garbage(f"chunk size {digits[:20]!r}")
        return int(digits, 16)

    def _line(self) -> bytes:
        buffer = self._buffer
        while (end := buffer.find(b"\r\n", 0, MAX_LINE)) < 0:
            if len(buffer) >= MAX_LINE:
                raise Garbage(f"a line of more than {MAX_LINE} bytes between chunks")
            self._fill()
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        return line
