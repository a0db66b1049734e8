"""Streams inside a response's body: frames of standard output and error, and lines of JSON. Bytes in, events out.

The rule: decoders are pure and may be fed in pieces cut anywhere; feeding them whole gives the same events.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from declarative.record import record

StreamName = Literal["stdin", "stdout", "stderr"]

_NAMES: tuple[StreamName, ...] = ("stdin", "stdout", "stderr")
_FRAME_HEAD = 8

MAX_LINE = 64 * 1024 * 1024
"""Bytes of one JSON line. Build output escapes control characters sixfold; a whole `docker load` message is a kilobyte."""


class StreamError(ValueError):
    """The bytes are not what the stream promises."""


@record
class Frame:
    """A piece of one of a container's streams."""

    stream: StreamName
    data: bytes


class FrameDecoder:
    """Eight bytes of head (stream number, three zeros, length big-endian), then the data (Engine API, ContainerAttach).

    Data is handed out as it comes: a frame that arrives in pieces gives several `Frame` events, never a wait for its end.
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._stream: StreamName = "stdout"
        self._left = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes. Raises StreamError where a head is not one."""
        frames: list[Frame] = []
        view = memoryview(data)
        while view:
            if self._left:
                piece = view[: self._left]
                frames.append(Frame(stream=self._stream, data=bytes(piece)))
                self._left -= len(piece)
                view = view[len(piece) :]
            else:
                wanted = _FRAME_HEAD - len(self._head)
                self._head += view[:wanted]
                view = view[wanted:]
                if len(self._head) == _FRAME_HEAD:
                    self._begin()
        return frames

    def end(self) -> None:
        """Say that nothing more comes. Raises StreamError in the middle of a frame."""
        if self._left or self._head:
            raise StreamError("the stream ends in the middle of a frame")

    def _begin(self) -> None:
        number = self._head[0]
        if number >= len(_NAMES) or any(self._head[1:4]):
            raise StreamError(f"not a stream frame: {bytes(self._head)!r}")
        self._stream = _NAMES[number]
        self._left = int.from_bytes(self._head[4:], "big")
        self._head.clear()


def encode_frame(stream: StreamName, data: bytes) -> bytes:
    """Write one frame, as a daemon does."""
    return bytes([_NAMES.index(stream), 0, 0, 0]) + len(data).to_bytes(4, "big") + data


class LineDecoder:
    """JSON objects, one after another, ended by line feeds (build, pull, push, load, events).

    Some engines write CR LF, some leave the last line feed out, and old ones put two objects on a line: all are read.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take the next bytes; objects come out when their line is whole. Raises StreamError."""
        self._buffer += data
        end = self._buffer.rfind(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._buffer)
            if self._scanned > MAX_LINE:
                raise StreamError(f"a line of more than {MAX_LINE} bytes")
            return []
        whole = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = len(self._buffer)
        return [document for line in whole.split(b"\n") for document in _objects(line)]

    def end(self) -> list[dict[str, Any]]:
        """Say that nothing more comes; a last line without its line feed comes out now. Raises StreamError."""
        last = bytes(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        return _objects(last)


_DECODER = json.JSONDecoder()


def _objects(line: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    try:
        text = line.decode("utf-8").strip()
        while text:
            document, end = _DECODER.raw_decode(text)
            if not isinstance(document, dict):
                raise StreamError(f"not a JSON object: {text[:60]!r}")
            found.append(document)
            text = text[end:].lstrip()
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise StreamError(f"not a line of JSON: {line[:60]!r}") from error
    return found
