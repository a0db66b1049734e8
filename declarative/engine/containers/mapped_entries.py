"""Entries of archives of a running container in a user namespace: the ids inside in the archive, the machine's in its files.

The rule that keeps it simple: pure. Who reads or writes such a root sees the machine's ids, on files, in the capabilities of
files (which say whose root may have them) and in access lists.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from declarative.errors import Failed
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from declarative.engine.images.layers.entry import Entry
    from declarative.engine.runtime.sandbox import IdMap, IdMaps

_OVERFLOW = 65534  # /proc/sys/kernel/overflowuid: what the kernel shows for an id that a namespace has not
_CAPABILITY = b"security.capability"
_REVISION_2, _REVISION_3, _REVISION_MASK = 0x02000000, 0x03000000, 0xFF000000  # linux/capability.h
_LENGTH_2 = 20  # bytes; revision 3 has the root's id behind them
_LISTS = (b"system.posix_acl_access", b"system.posix_acl_default")
_USER, _GROUP = 0x02, 0x08  # linux/posix_acl.h: the entries of an access list that have an id


def seen_inside(maps: IdMaps, entry: Entry) -> Entry:
    """Give an entry as the container sees it; an id that it has not is nobody's, as the kernel shows it."""

    def uid(number: int) -> int:
        return _first(maps.uids, number, inwards=True, otherwise=_OVERFLOW)

    def gid(number: int) -> int:
        return _first(maps.gids, number, inwards=True, otherwise=_OVERFLOW)

    xattrs = tuple((name, _xattr(name, value, uid, gid, 0)) for name, value in entry.xattrs)
    return replace(entry, uid=uid(entry.uid), gid=gid(entry.gid), xattrs=xattrs)


def seen_outside(maps: IdMaps, entry: Entry) -> Entry:
    """Give an entry as the machine sees it. Failed, in Docker's words, for an id that the container has not."""

    def uid(number: int) -> int:
        return _outside(maps.uids, number)

    def gid(number: int) -> int:
        return _outside(maps.gids, number)

    xattrs = tuple((name, _xattr(name, value, uid, gid, uid(0))) for name, value in entry.xattrs)
    return replace(entry, uid=uid(entry.uid), gid=gid(entry.gid), xattrs=xattrs)


def outside(maps: IdMaps, uid: int, gid: int) -> tuple[int, int]:
    """Give the machine's (uid, gid) of a container's. Failed for one that it has not."""
    return _outside(maps.uids, uid), _outside(maps.gids, gid)


def _outside(entries: Sequence[IdMap], number: int) -> int:
    found = _first(entries, number, inwards=False, otherwise=-1)
    if found < 0:
        raise Failed("", f"Container ID {number} cannot be mapped to a host ID")
    return found


def _first(entries: Sequence[IdMap], number: int, *, inwards: bool, otherwise: int) -> int:
    for one in entries:
        here, there = (one.outside, one.inside) if inwards else (one.inside, one.outside)
        if 0 <= number - here < one.size:
            return there + number - here
    return otherwise


def _xattr(name: bytes, value: bytes, uid: Callable[[int], int], gid: Callable[[int], int], root: int) -> bytes:
    if name == _CAPABILITY:
        return _capability(value, root)
    return b"".join(_list(value, uid, gid)) if name in _LISTS and len(value) % 8 == 4 else value


def _capability(value: bytes, root: int) -> bytes:
    """Give capabilities for the root `root`; 0 in the form that says no root, which is any's that the file belongs to."""
    if len(value) < _LENGTH_2:
        return value
    (magic,) = struct.unpack_from("<I", value)
    if magic & _REVISION_MASK not in {_REVISION_2, _REVISION_3}:
        return value
    flags, sets = magic & ~_REVISION_MASK, value[4:_LENGTH_2]
    if root == 0:
        return struct.pack("<I", _REVISION_2 | flags) + sets
    return struct.pack("<I", _REVISION_3 | flags) + sets + struct.pack("<I", root)


def _list(value: bytes, uid: Callable[[int], int], gid: Callable[[int], int]) -> Iterator[bytes]:
    yield value[:4]  # the version
    for tag, permissions, number in struct.iter_unpack("<HHI", value[4:]):
        given = uid(number) if tag == _USER else gid(number) if tag == _GROUP else number
        yield struct.pack("<HHI", tag, permissions, given)
