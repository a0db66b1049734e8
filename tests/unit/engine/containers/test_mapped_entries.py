"""Entries of archives through the maps of a user namespace, both ways."""

from __future__ import annotations

import struct

import pytest

from declarative.engine.containers.mapped_entries import outside, seen_inside, seen_outside
from declarative.engine.images.layers.entry import Entry, Kind
from declarative.engine.runtime.sandbox import IdMap, IdMaps
from declarative.errors import Failed

_MAPS = IdMaps(
    uids=(IdMap(inside=0, outside=1000, size=10), IdMap(inside=10, outside=5000, size=10)),
    gids=(IdMap(inside=0, outside=2000, size=20),),
)
_CAPABILITY = b"security.capability"
_SETS = bytes(range(16))
_REVISION_2 = struct.pack("<I", 0x02000001) + _SETS
_REVISION_3 = struct.pack("<I", 0x03000001) + _SETS + struct.pack("<I", 1000)


def _entry(uid: int, gid: int, *xattrs: tuple[bytes, bytes]) -> Entry:
    return Entry(name=b"f", kind=Kind.FILE, mode=0o644, uid=uid, gid=gid, size=0, stored=0, mtime=0, xattrs=xattrs)


def _list(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize(("inside", "out"), [((0, 0), (1000, 2000)), ((9, 19), (1009, 2019)), ((10, 5), (5000, 2005))])
def test_owners_there_and_back(inside: tuple[int, int], out: tuple[int, int]) -> None:
    assert seen_outside(_MAPS, _entry(*inside)) == _entry(*out)
    assert seen_inside(_MAPS, _entry(*out)) == _entry(*inside)
    assert outside(_MAPS, *inside) == out


def test_strangers_are_nobody_inside_and_refused_outside() -> None:
    assert seen_inside(_MAPS, _entry(0, 1999)) == _entry(65534, 65534)
    for uid, gid in ((20, 0), (0, 20), (-1, 0)):
        with pytest.raises(Failed, match="cannot be mapped to a host ID"):
            seen_outside(_MAPS, _entry(uid, gid))


def test_capabilities_of_files_name_their_root_outside_alone() -> None:
    within, without = _entry(0, 0, (_CAPABILITY, _REVISION_2)), _entry(1000, 2000, (_CAPABILITY, _REVISION_3))
    assert seen_outside(_MAPS, within) == without
    assert seen_inside(_MAPS, without) == within
    broken = (_CAPABILITY, b"\0\1")
    assert seen_outside(_MAPS, _entry(0, 0, broken)).xattrs == (broken,)


def test_access_lists_have_ids_too() -> None:
    name = b"system.posix_acl_access"
    within = _list((1, 6, 0xFFFFFFFF), (2, 4, 9), (4, 4, 0xFFFFFFFF), (8, 4, 3), (16, 4, 0xFFFFFFFF))
    without = _list((1, 6, 0xFFFFFFFF), (2, 4, 1009), (4, 4, 0xFFFFFFFF), (8, 4, 2003), (16, 4, 0xFFFFFFFF))
    assert seen_outside(_MAPS, _entry(0, 0, (name, within))).xattrs == ((name, without),)
    assert seen_inside(_MAPS, _entry(1000, 2000, (name, without))).xattrs == ((name, within),)
    other = (b"user.thing", within)
    assert seen_outside(_MAPS, _entry(0, 0, other)).xattrs == (other,)
