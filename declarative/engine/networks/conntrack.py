"""Flows that the kernel remembers: forgotten where a UDP port has come to lead elsewhere.

Rules are asked for the first packet of a flow alone. TCP begins anew by itself; a UDP client that keeps asking would for ever be
led to where the port led when it began. The rule that keeps it simple: all flows to that port of this machine are forgotten;
those that still mean something begin again with their next packet. See linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import TYPE_CHECKING

from declarative.engine.networks import netlink
from declarative.engine.networks.netlink import Message, Netlink, NetlinkError, attribute, attributes, byte, number

if TYPE_CHECKING:
    from collections.abc import Collection

_NETFILTER = 12
_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_HEAD = struct.Struct("=BBH")  # nfgenmsg: family, version, resource
_ORIGINAL, _FILTER = 1, 25
_PROTOCOL_PART = 2  # of a tuple
_NUMBER, _TO_PORT = 1, 3  # of its protocol
_FILTER_ORIGINAL = 1
_BY_NUMBER, _BY_TO_PORT = 1 << 3, 1 << 5


def forget_udp(ports: Collection[int]) -> None:
    """Let the kernel forget UDP flows to these ports, in the namespace of the calling thread. OSError."""
    if not ports:
        return
    with Netlink(_NETFILTER) as kernel:
        for family in (socket.AF_INET, socket.AF_INET6):
            for port in ports:
                for flow in _flows(kernel, family, port):
                    body = _HEAD.pack(family, 0, 0) + attribute(_ORIGINAL | netlink.NESTED, flow)
                    with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
                        kernel.run(Message(kind=_DELETE, body=body))


def _flows(kernel: Netlink, family: int, port: int) -> list[bytes]:
    """Give the original tuples of UDP flows to a port; the kernel sorts them out from 5.8 on, before that it gives all."""
    wanted = byte(_NUMBER, socket.IPPROTO_UDP) + attribute(_TO_PORT, struct.pack("!H", port))
    body = _HEAD.pack(family, 0, 0)
    body += attribute(_ORIGINAL | netlink.NESTED, attribute(_PROTOCOL_PART | netlink.NESTED, wanted))
    body += attribute(_FILTER | netlink.NESTED, number(_FILTER_ORIGINAL, _BY_NUMBER | _BY_TO_PORT))
    try:
        answers = kernel.ask(Message(kind=_GET, flags=netlink.DUMP, body=body))
    except NetlinkError as error:
        if error.errno in {errno.EOPNOTSUPP, errno.EINVAL}:
            answers = kernel.ask(Message(kind=_GET, flags=netlink.DUMP, body=_HEAD.pack(family, 0, 0)))
        else:
            raise
    tuples = [attributes(answer, _HEAD.size).get(_ORIGINAL, b"") for answer in answers]
    return [flow for flow in tuples if _leads_to(flow, port)]


def _leads_to(flow: bytes, port: int) -> bool:
    parts = attributes(attributes(flow, 0).get(_PROTOCOL_PART, b""), 0)
    return parts.get(_NUMBER) == bytes([socket.IPPROTO_UDP]) and parts.get(_TO_PORT) == struct.pack("!H", port)
