"""Changes of nftables by others, told as they happen: a firewall started, stopped or written anew.

The rule that keeps it simple: whose change it was is all that is read of it; what follows from it is looked up by who is told.
See linux/netfilter/nf_tables.h, NFT_MSG_NEWGEN, which ends every transaction.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

from declarative.engine.networks.netlink import attributes

if TYPE_CHECKING:
    from collections.abc import Callable

_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP = 12, 270, 1, 7
_NEW_GENERATION = 10 << 8 | 15
_PROCESS = 2  # NFTA_GEN_PROC_PID
_QUIET_MILLISECONDS = 200  # a firewall writes its rules in many transactions
_LONGEST_SECONDS = 2.0
_BUFFER = 1 << 20


class Watch:
    """Calls `changed` a moment after somebody else changed nftables, in the namespace of the thread that makes it."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP)
        self._socket.setblocking(False)
        self._ours, self._other = socket.socketpair()
        threading.Thread(target=self._run, name="nftables watch", daemon=True).start()

    def close(self) -> None:
        """Watch no longer."""
        self._other.close()

    def _run(self) -> None:
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        waiting.register(self._ours, select.POLLIN)
        told = 0.0  # since when something is to be told
        while True:
            ready = [descriptor for descriptor, _ in waiting.poll(_QUIET_MILLISECONDS if told else None)]
            if self._ours.fileno() in ready:  # its other end was closed
                self._socket.close()
                self._ours.close()
                return
            if ready and self._foreign() and not told:
                told = time.monotonic()
            if told and (not ready or time.monotonic() > told + _LONGEST_SECONDS):
                told = 0.0
                self._changed()

    def _foreign(self) -> bool:
        """Read what there is; whether it was another process's change."""
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return False
        except OSError as error:
            return error.errno == errno.ENOBUFS  # more than the buffer holds: so it was not us
        return any(pid != os.getpid() for pid in _writers(data))


def _writers(data: bytes) -> list[int]:
    """Give the processes whose transactions end in these messages."""
    found, offset = [], 0
    while offset + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        if length < 16:
            break
        if kind == _NEW_GENERATION:
            process = attributes(data[offset : offset + length], 20).get(_PROCESS)
            if process is not None:
                found.append(int.from_bytes(process, "big"))
        offset += length + 3 & ~3
    return found
