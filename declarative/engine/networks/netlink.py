"""rtnetlink, written by hand: requests packed into one message each, many of them sent at once, answers read.

The rule that keeps it simple: a request is bytes, made by a function of `links`; here is only the packing, the sending, and what
came back. The library that does all of netlink takes longer to import than a container takes to start, and a round trip for each
request; see rtnetlink(7) and linux/rtnetlink.h for the layouts.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Self

from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")
_ERROR, _DONE = 2, 3
REQUEST, MULTI, ACK, DUMP = 0x1, 0x2, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400
NESTED = 0x8000
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_TEXT_OF_ERROR = 1  # NLMSGERR_ATTR_MSG
_ACK_TLVS, _CAPPED = 0x200, 0x100
_READ = 1 << 16


class NetlinkError(OSError):
    """The kernel refused a request. `index`: which one of those sent."""

    def __init__(self, code: int, text: str, index: int) -> None:
        super().__init__(code, f"{os.strerror(code)}: {text}" if text else os.strerror(code))
        self.index = index


@record
class Message:
    """One request: its type, flags beside REQUEST, and its body without the netlink header."""

    kind: int
    flags: int = 0
    body: bytes


def attribute(kind: int, payload: bytes) -> bytes:
    """Pack one attribute, padded to four bytes."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def text(kind: int, value: str) -> bytes:
    """Pack a text that ends in a zero."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """Pack 32 bits."""
    return attribute(kind, struct.pack("=I", value & 0xFFFFFFFF))


def byte(kind: int, value: int) -> bytes:
    """Pack eight bits."""
    return attribute(kind, bytes([value]))


def attributes(body: bytes, offset: int) -> dict[int, bytes]:
    """Read the attributes from `offset` on, by their kind; of a kind that comes twice the last."""
    found = {}
    while offset + 4 <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = body[offset + 4 : offset + length]
        offset += length + 3 & ~3
    return found


class Netlink:
    """A socket to the kernel, in the network namespace of the thread that makes it. For one thread at a time."""

    def __init__(self, protocol: int = 0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
            self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def run(self, *messages: Message) -> None:
        """Have the kernel do these in order, sent at once. NetlinkError for the first refused; the others are done too."""
        first = self._send(ACK, *messages)
        refused: NetlinkError | None = None
        waiting = len(messages)
        while waiting:
            for kind, flags, sequence, body in self._receive():
                if kind != _ERROR or not first <= sequence < first + len(messages):
                    continue
                waiting -= 1
                code = -struct.unpack_from("=i", body)[0]
                if code and (refused is None or sequence - first < refused.index):
                    refused = NetlinkError(code, _reason(body, flags), sequence - first)
        if refused is not None:
            raise refused

    def ask(self, message: Message) -> list[bytes]:
        """Give the bodies that the kernel answers with: of a dump all, else one. NetlinkError where it refuses."""
        sequence = self._send(0, message)
        found: list[bytes] = []
        while True:
            for kind, flags, of, body in self._receive():
                if of != sequence:
                    continue
                if kind == _ERROR and (code := -struct.unpack_from("=i", body)[0]):
                    raise NetlinkError(code, _reason(body, flags), 0)
                if kind in {_DONE, _ERROR}:
                    return found
                found.append(body)
                if not flags & MULTI:
                    return found

    def _send(self, flags: int, *messages: Message) -> int:
        first = self._sequence + 1
        packed = bytearray()
        for message in messages:
            self._sequence += 1
            length = _HEADER.size + len(message.body)
            packed += _HEADER.pack(length, message.kind, REQUEST | flags | message.flags, self._sequence, 0)
            packed += message.body + bytes(-length % 4)
        self._socket.send(packed)
        return first

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(_READ)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
            if length < _HEADER.size:
                return
            yield kind, flags, sequence, data[offset + _HEADER.size : offset + length]
            offset += length + 3 & ~3


def _reason(body: bytes, flags: int) -> str:
    """Give the kernel's own words about an error, "" where it says nothing (linux/netlink.h, NLMSGERR_ATTR_MSG)."""
    if not flags & _ACK_TLVS:
        return ""
    length = struct.unpack_from("=I", body, 4)[0]
    offset = 20 if flags & _CAPPED else 4 + (length + 3 & ~3)
    return attributes(body, offset).get(_TEXT_OF_ERROR, b"").rstrip(b"\0").decode(errors="replace")
