"""Layers applied and packed again on a real file system: everything survives; what is hostile is refused."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from declarative.engine.images.layers.apply import Whiteouts, apply_layer
from declarative.engine.images.layers.diff import layer_of
from declarative.engine.images.layers.entry import Entry, Kind
from declarative.engine.images.layers.gauge import Limits
from declarative.engine.images.layers.write import archive
from declarative.errors import Failed, Invalid
from declarative.oci.digest import Digest
from tests.unit.engine.archives import TIME, layer, read_all

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def file(name: bytes, content: bytes = b"", **fields: Any) -> tuple[Entry, bytes]:
    made: dict[str, Any] = {"name": name, "size": len(content), "stored": len(content), "mtime": TIME} | fields
    return Entry(**made), content


def folder(name: bytes, **fields: Any) -> tuple[Entry, bytes]:
    return file(name + b"/", kind=Kind.DIRECTORY, mode=0o755, **fields)


def packed(*made: tuple[Entry, bytes]) -> bytes:
    return b"".join(archive(made))


def test_everything_survives_a_round_trip(tmp_path: Path) -> None:
    made = packed(
        file(b"big", b"x" * 3_000_000, mtime=TIME + 123456789),
        file(b"block", kind=Kind.BLOCK, major=259, minor=300_000, mode=0o660),
        file(b"character", kind=Kind.CHARACTER, major=1, minor=3, mode=0o666),
        folder(b"empty", mtime=1),
        file(b"fifo", kind=Kind.FIFO, mode=0o600, uid=5),
        file(b".wh.gone"),
        folder(b"opaque"),
        file(b"opaque/.wh..wh..opq"),
        file(b"opaque/" + b"n" * 250, b"long"),
        file(
            b"ping",
            b"elf",
            mode=0o4755,
            uid=0,
            gid=44,
            xattrs=((b"security.capability", CAPABILITY), (b"user.a", b"b")),
        ),
        file(b"ping2", kind=Kind.HARDLINK, target=b"ping", mode=0o4755, gid=44),
        file(b"sparse", b"y" * 8192, size=10_000_000, extents=((4_096_000, 8192),)),
        file(b"sticky", kind=Kind.SYMLINK, target=b"t" * 200, mode=0o777, uid=7, gid=1 << 25, mtime=-5_000_000_000),
    )
    applied = apply_layer([gzip.compress(made)], tmp_path)
    assert applied.diff_id == Digest.of_bytes(made)
    assert (applied.size, applied.entries) == (len(made), 13)
    assert stat.S_ISCHR((tmp_path / "gone").lstat().st_mode)
    assert (tmp_path / "gone").lstat().st_rdev == 0
    assert os.getxattr(tmp_path / "opaque", "trusted.overlay.opaque") == b"y"
    assert (tmp_path / "ping").stat().st_mode & 0o7777 == 0o4755
    assert (tmp_path / "sparse").stat().st_blocks * 512 < 100_000
    again = b"".join(layer_of(tmp_path))
    assert again == without_marks(made)


def without_marks(made: bytes) -> bytes:
    """Give the layer as `layer_of` writes it: marks of whiteouts have no time."""
    from declarative.record import replace

    entries = read_all([made], "layer")
    plain = [
        (replace(entry, mtime=0, mode=0o644) if b".wh." in entry.name else entry, content) for entry, content in entries
    ]
    return packed(*plain)


trees = st.recursive(
    st.one_of(st.binary(max_size=40), st.sampled_from(["gone", "link", "fifo"])),
    lambda below: st.dictionaries(st.sampled_from(["a", "b", "cc", "d" * 120, "é", " x"]), below, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


def entries_of(tree: object, path: bytes, mode: int) -> list[tuple[Entry, bytes]]:
    """Give the entries of a made-up tree in the order of names."""
    if not isinstance(tree, dict):
        if isinstance(tree, bytes):
            return [file(path, tree, mode=mode, uid=mode)]
        above, _, name = path.rpartition(b"/")
        gone = (above + b"/" if above else b"") + b".wh." + name
        made = {
            "gone": file(gone, mtime=0),
            "link": file(path, kind=Kind.SYMLINK, target=b"../b", mode=0o777),
            "fifo": file(path, kind=Kind.FIFO, mode=mode),
        }
        return [made[str(tree)]]
    found = [folder(path)] if path else []
    for name in sorted(tree, key=os.fsencode):
        found += entries_of(tree[name], (path + b"/" if path else b"") + os.fsencode(name), mode)
    return found


@settings(max_examples=40, deadline=None)
@given(trees, st.integers(0, 0o7777))
def test_any_tree_survives_a_round_trip(tree: object, mode: int) -> None:
    made = packed(*entries_of(tree, b"", mode))
    with tempfile.TemporaryDirectory() as top:
        apply_layer([made], Path(top))
        assert b"".join(layer_of(Path(top))) == made


ESCAPES = {
    "name above": [{"type": "file", "path": "a/../../x"}],
    "hard link to a folder": [{"type": "dir", "path": "d"}, {"type": "hardlink", "path": "l", "target": "d"}],
    "hard link to nothing": [{"type": "hardlink", "path": "l", "target": "/etc/passwd"}],
    "loop of links": [
        {"type": "symlink", "path": "a", "target": "b"},
        {"type": "symlink", "path": "b", "target": "a"},
        {"type": "file", "path": "a/x"},
    ],
    "file as a folder": [{"type": "file", "path": "a"}, {"type": "file", "path": "a/b"}],
    "file in place of the root": [{"type": "file", "path": "./"[:1]}],
    "endless name": [{"type": "file", "path": "n" * 300}],
    "empty link": [{"type": "symlink", "path": "a", "target": ""}],
}


@pytest.mark.parametrize("shape", ESCAPES)
@pytest.mark.parametrize("way", Whiteouts)
def test_an_escape_is_refused(shape: str, way: Whiteouts, tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    with pytest.raises(Invalid):
        apply_layer([layer(ESCAPES[shape])], top, whiteouts=way)
    assert list(tmp_path.iterdir()) == [top]


def test_no_path_grows_beyond_what_can_be_removed(tmp_path: Path) -> None:
    cases = [{"type": "dir", "path": "/".join(["d" * 200] * 15)}]
    cases += [{"type": "symlink", "path": "s", "target": cases[0]["path"]}]
    cases += [{"type": "dir", "path": "s/" + "/".join(["e" * 200] * 15)}]
    with pytest.raises(Invalid, match="longer than"):
        apply_layer([layer(cases)], tmp_path)


@pytest.mark.parametrize("way", Whiteouts)
def test_whiteouts_touch_nothing_outside(way: Whiteouts, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "kept").touch()
    (tmp_path / "top").mkdir()
    cases = [{"type": "symlink", "path": "l", "target": str(tmp_path / "victim")}]
    cases += [{"type": "file", "path": path} for path in ("l/.wh.kept", "l/.wh..wh..opq", ".wh..wh..opq", ".wh.l")]
    apply_layer([layer(cases)], tmp_path / "top", whiteouts=way)
    assert (tmp_path / "victim" / "kept").exists()


def test_names_that_change_their_meaning(tmp_path: Path) -> None:
    """A folder becomes a link, a file, a folder again: each entry goes where the name leads at that moment."""
    made = packed(
        file(b"a/x", b"1"),
        file(b"a", kind=Kind.SYMLINK, target=b"b"),
        file(b"a/x", b"2"),
        file(b"a", b"file"),
        folder(b"a"),
        file(b"a/x", b"3"),
        file(b"a/x", b"4"),
    )
    apply_layer([made], tmp_path)
    assert (tmp_path / "a" / "x").read_bytes() == b"4"
    assert (tmp_path / "b" / "x").read_bytes() == b"2"


def test_a_file_over_a_link_or_folder_of_a_layer_below(tmp_path: Path) -> None:
    lower, top = tmp_path / "lower", tmp_path / "top"
    lower.mkdir()
    top.mkdir()
    apply_layer(
        [packed(folder(b"real"), file(b"link", kind=Kind.SYMLINK, target=b"real"), file(b"d/x", b"below"))], lower
    )
    made = packed(file(b"link/one"), folder(b"link"), file(b"link/two"), file(b"d/y"), file(b"d", b"file"))
    apply_layer([made], top, (lower,))
    found = sorted(str(path.relative_to(top)) for path in top.rglob("*"))
    assert found == ["d", "link", "link/two", "real", "real/one"]
    assert sorted(path.name for path in lower.iterdir()) == ["d", "link", "real"]


def test_a_hard_link_to_a_layer_below_is_copied_up(tmp_path: Path) -> None:
    lower, top = tmp_path / "lower", tmp_path / "top"
    lower.mkdir()
    top.mkdir()
    apply_layer([packed(folder(b"d", uid=9), file(b"d/x", b"below", mode=0o4711, uid=3))], lower)
    apply_layer([packed(file(b"y", kind=Kind.HARDLINK, target=b"d/x"))], top, (lower,))
    assert (top / "y").read_bytes() == b"below"
    assert (top / "y").stat().st_mode & 0o7777 == 0o4711
    assert (top / "y").samefile(top / "d" / "x")
    assert (top / "d").stat().st_uid == 9
    assert (lower / "d" / "x").stat().st_nlink == 1


def test_limits(tmp_path: Path) -> None:
    bomb = gzip.compress(packed(file(b"bomb", bytes(50_000_000))))
    with pytest.raises(Invalid, match="unpacks to more than 1000000 bytes"):
        apply_layer([bomb], tmp_path, limits=Limits(size=1_000_000))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1_000_000
    many = packed(*(file(b"f%d" % place) for place in range(50)))
    with pytest.raises(Invalid, match="more than 49 entries"):
        apply_layer([many], tmp_path, limits=Limits(entries=49))


def test_devices_can_be_forbidden(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="block device is not allowed"):
        apply_layer([packed(file(b"sda", kind=Kind.BLOCK, major=8))], tmp_path, devices=False)
    assert list(tmp_path.iterdir()) == []


def test_the_marks_of_overlayfs_are_not_taken_from_an_archive(tmp_path: Path) -> None:
    apply_layer([packed(folder(b"d", xattrs=((b"trusted.overlay.redirect", b"/etc"),)))], tmp_path)
    assert os.listxattr(tmp_path / "d") == []


def test_a_full_disk(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        with pytest.raises(Failed, match="disk full"):
            apply_layer([packed(file(b"big", os.urandom(2_000_000)))], tmp_path)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_name_that_a_layer_cannot_have_is_said(tmp_path: Path) -> None:
    (tmp_path / ".wh.x").touch()
    with pytest.raises(Invalid, match="would be a whiteout"):
        b"".join(layer_of(tmp_path))


def test_open_files_stay_few(tmp_path: Path) -> None:
    lowers = []
    for place in range(20):
        lower = tmp_path / f"lower{place}"
        lower.mkdir()
        apply_layer([packed(*(folder(b"d%d" % number) for number in range(100)))], lower)
        lowers.append(lower)
    top = tmp_path / "top"
    top.mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    apply_layer([packed(*(file(b"d%d/x" % number) for number in range(100)))], top, tuple(lowers))
    assert len(list(top.glob("*/x"))) == 100
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
