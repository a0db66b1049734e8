"""Mount points: `-v`, `--mount`, `--volumes-from`, and what dockerd says of wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from declarative.engine.containers import points
from declarative.engine.containers.host import Mount
from declarative.engine.containers.shapes import read
from declarative.errors import Invalid

_BIND = 'invalid mount config for type "bind"'
_VOLUME = 'invalid mount config for type "volume"'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "/src:rel",
            f"invalid volume specification: '/src:rel': {_BIND}: invalid mount path: 'rel' mount path must be absolute",
        ),
        ("/a:/b:ro,xx", "invalid mode: ro,xx"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:c:d", "invalid volume specification: '/a:/b:c:d'"),
        ("/a:/", f"invalid volume specification: '/a:/': {_BIND}: invalid specification: destination can't be '/'"),
        (
            "/a:/x/..",
            f"invalid volume specification: '/a:/x/..': {_BIND}: invalid specification: destination can't be '/'",
        ),
        (
            "x:/b:rslave",
            f"invalid volume specification: 'x:/b:rslave': {_VOLUME}: field BindOptions must not be specified",
        ),
        (
            "/x:/b:nocopy",
            f"invalid volume specification: '/x:/b:nocopy': {_BIND}: field VolumeOptions must not be specified",
        ),
        ("", "invalid volume specification: ''"),
        (":/b", "invalid volume specification: ':/b'"),
    ],
)
def test_binds_that_are_none(text: str, words: str) -> None:
    with pytest.raises(Invalid) as raised:
        points.of_bind(text)
    assert str(raised.value) == words


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            {"Type": "bind", "Source": "rel", "Target": "/x"},
            f"{_BIND}: invalid mount path: 'rel' mount path must be absolute",
        ),
        ({"Type": "bind", "Target": "/x"}, f"{_BIND}: field Source must not be empty"),
        ({"Type": "bind", "Source": "/src", "Target": ""}, f"{_BIND}: field Target must not be empty"),
        (
            {"Type": "what", "Source": "/src", "Target": "/x"},
            'invalid mount config for type "what": mount type unknown',
        ),
        (
            {"Type": "tmpfs", "Source": "/src", "Target": "/x"},
            'invalid mount config for type "tmpfs": field Source must not be specified',
        ),
        (
            {"Type": "volume", "Source": "v", "Target": "/x", "BindOptions": {}},
            'BindOptions must not be specified on mount type "volume"',
        ),
        (
            {"Type": "bind", "Source": "/src", "Target": "/x", "VolumeOptions": {}},
            'VolumeOptions must not be specified on mount type "bind"',
        ),
        (
            {"Type": "bind", "Source": "/src", "Target": "/x", "BindOptions": {"Propagation": "bad"}},
            f"{_BIND}: invalid propagation mode: bad",
        ),
        (
            {"Type": "volume", "Source": "vv", "Target": "/"},
            f"{_VOLUME}: invalid specification: destination can't be '/'",
        ),
        (
            {"Type": "volume", "Source": "vv", "Target": "/x", "VolumeOptions": {"Subpath": "../out"}},
            f"{_VOLUME}: subpath must be a relative path within the volume",
        ),
    ],
)
def test_mounts_that_are_none(document: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as raised:
        points.of_mount(read(Mount, document))
    assert str(raised.value) == words


def test_what_a_bind_says() -> None:
    point = points.of_bind("/src/../from:/to/:ro,rshared")
    assert (point.kind, point.source, point.destination) == ("bind", "/from", "/to")
    assert (point.writable, point.propagation, point.create, point.mode) == (False, "rshared", True, "ro,rshared")


def test_what_a_volume_says() -> None:
    named, bare, anonymous = points.of_bind("name:/to"), points.of_bind("name:/to:nocopy,ro"), points.of_bind("/to")
    assert (named.kind, named.name, named.copy, named.anonymous, named.mode) == ("volume", "name", True, False, "z")
    assert (bare.copy, bare.writable, bare.mode) == (False, False, "nocopy,ro")
    assert (anonymous.anonymous, anonymous.name, anonymous.mode) == (True, "", "")


def test_a_tmpfs_has_its_options_as_text() -> None:
    mount = read(
        Mount, {"Type": "tmpfs", "Target": "/t", "ReadOnly": True, "TmpfsOptions": {"SizeBytes": 1024, "Mode": 0o1770}}
    )
    assert points.of_mount(mount).options == "ro,mode=1770,size=1024"


def test_volumes_from() -> None:
    assert points.read_volumes_from("other") == ("other", False)
    assert points.read_volumes_from("other:ro") == ("other", True)
    with pytest.raises(Invalid, match="invalid mode: zz"):
        points.read_volumes_from("other:zz")
    point = points.from_other(points.of_bind("name:/to"), read_only=True)
    assert (point.name, point.writable, point.copy, point.mode) == ("name", False, False, "")
