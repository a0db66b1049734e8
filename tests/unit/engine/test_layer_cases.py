"""The conformance cases of layers, each as its own test, applied both ways: onto a root, and for overlayfs."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from declarative.engine.images.layers.apply import Whiteouts, apply_layer
from declarative.engine.images.layers.diff import layer_of
from declarative.engine.images.layers.entry import Entry, Kind
from declarative.engine.images.layers.write import archive
from declarative.errors import Invalid
from tests.shared_cases import load_cases
from tests.unit.engine.archives import entry, layer, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = load_cases("layers/tar-layers.json")
WAYS = [pytest.param(way, id=way.value) for way in Whiteouts]


@contextmanager
def mounted(lowers: list[Path], upper: Path, work: Path, target: Path) -> Iterator[Path]:
    """Mount an overlay; `upper` first among the lower ones where there is no `work` folder."""
    for folder in (upper, work, target):
        folder.mkdir(exist_ok=True)
    options = f"lowerdir={':'.join(map(str, lowers))},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(target)], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)


@contextmanager
def applied(layers: list[bytes], folder: Path, way: Whiteouts) -> Iterator[Path]:
    """Apply layers, the lowest first, and give the root that a container would see."""
    if way is Whiteouts.REMOVE:
        root = folder / "root"
        root.mkdir()
        for content in layers:
            apply_layer([content], root, whiteouts=way)
        yield root
        return
    lowers: list[Path] = []
    for place, content in enumerate(layers):
        top = folder / f"layer{place}"
        top.mkdir()
        apply_layer([content], top, tuple(lowers))
        lowers.insert(0, top)
    with mounted(lowers, folder / "upper", folder / "work", folder / "root") as root:
        yield root


def inside(root: Path, path: str, *, last: bool = True) -> Path:
    """Resolve a path as a chroot into `root` would; without `last`, its last part is not followed."""
    at: list[str] = []
    left = [part for part in reversed(path.split("/")) if part]
    while left:
        part = left.pop()
        here = root.joinpath(*at, part)
        if part == "..":
            del at[-1:]
        elif here.is_symlink() and (left or last):
            target = str(here.readlink())
            at = [] if target.startswith("/") else at
            left += [piece for piece in reversed(target.split("/")) if piece not in {"", "."}]
        elif part != ".":
            at.append(part)
    return root.joinpath(*at)


def check(root: Path, checked: dict[str, Any], stem: str) -> None:
    """Check one law of a case."""
    match checked:
        case {"file": path, "content": content}:
            assert inside(root, path.replace("NAME", stem)).read_bytes() == content.encode("latin-1")
        case {"absent": path}:
            assert not os.path.lexists(inside(root, path, last=False))
        case {"same_inode": [one, other]}:
            assert inside(root, one).samefile(inside(root, other))
        case {"different_inode": [one, other]}:
            assert not inside(root, one).samefile(inside(root, other))
        case {"both_symlinks_same_target": [one, other]}:
            assert inside(root, one, last=False).readlink() == inside(root, other, last=False).readlink()
        case {"dirs": paths}:
            assert all(inside(root, path).is_dir() for path in paths)
        case {"symlink": path, "target": target}:
            assert str(inside(root, path, last=False).readlink()) == target
        case {"outside_absent_or_not": _}:
            assert not Path(f"/tmp/breakout-{stem}").exists()  # noqa: S108 - where the case would break out to
        case _:
            raise AssertionError(checked)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES["contained"], ids=lambda case: case["name"])
def test_a_layer_stays_in_its_root(case: dict[str, Any], way: Whiteouts, tmp_path: Path) -> None:
    before = sorted(tmp_path.parent.iterdir())
    layers = [layer(part, tmp_path.name) for part in (case["base"], case["layer"]) if part]
    if case.get("must_fail"):
        with pytest.raises(Invalid), applied(layers, tmp_path, way):
            pass
    else:
        with applied(layers, tmp_path, way) as root:
            for checked in case["checks"]:
                check(root, checked, tmp_path.name)
    assert sorted(tmp_path.parent.iterdir()) == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES["victim"], ids=lambda case: case["name"])
def test_a_layer_leaves_its_neighbours_alone(case: dict[str, Any], way: Whiteouts, tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    (dest / "victim").mkdir(parents=True)
    for neighbour, name in (("victim", "hello"), ("dest-evil", "secret")):
        (tmp_path / neighbour).mkdir()
        (tmp_path / neighbour / name).write_text(f"{name} world")
    failed = False
    try:
        apply_layer([layer(case["layer"])], dest, whiteouts=way)
    except Invalid:
        failed = True
    assert failed or not case.get("must_fail")
    assert sorted(tmp_path.iterdir()) == [dest, tmp_path / "dest-evil", tmp_path / "victim"]
    for neighbour, name in (("victim", "hello"), ("dest-evil", "secret")):
        assert [path.name for path in (tmp_path / neighbour).iterdir()] == [name]
        assert (tmp_path / neighbour / name).read_text() == f"{name} world"
        assert (tmp_path / neighbour / name).stat().st_nlink == 1
    for checked in case.get("checks", []):
        check(dest, checked, "")


def listing(root: Path) -> list[str]:
    """List a tree as the cases do: folders end in a slash."""
    found = (f"{path.relative_to(root)}{'/' if path.is_dir() else ''}" for path in root.rglob("*"))
    return sorted(found)


def change(names: list[str]) -> bytes:
    """Give the layer of a list of names."""
    cases = [{"type": "dir" if name.endswith("/") else "file", "path": name} for name in names]
    return layer(cases)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("steps", range(1, len(CASES["whiteout_sequence"]) + 1))
def test_whiteouts_one_layer_after_the_other(steps: int, way: Whiteouts, tmp_path: Path) -> None:
    sequence = CASES["whiteout_sequence"][:steps]
    with applied([change(step["change"]) for step in sequence], tmp_path, way) as root:
        assert listing(root) == sorted(sequence[-1]["expected"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES["invalid_whiteout_names"])
def test_a_whiteout_of_no_file_is_refused(name: str, way: Whiteouts, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "kept").touch()
    with pytest.raises(Invalid, match="whiteout of no file"):
        apply_layer([change([name])], tmp_path / "root", whiteouts=way)
    assert (tmp_path / "root" / "kept").exists()


@pytest.mark.parametrize("links", CASES["relative_symlinks"], ids=lambda links: links[0]["target"])
def test_symlinks_survive_as_they_are(links: list[dict[str, Any]], tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    apply_layer([layer(links)], top)
    again = read_all(layer_of(top), "layer")
    found = {b"/" + entry.name.lstrip(b"/"): entry.target for entry, _ in again if entry.kind is Kind.SYMLINK}
    assert found == {b"/" + link["path"].lstrip("/").encode(): link["target"].encode() for link in links}


def alter(root: Path, case: dict[str, Any]) -> None:
    """Do one change of a case to a mounted root."""
    if case["type"] == "CreateSocket":
        os.mknod(root / case["args"][0].lstrip("/"), 0o140000 | case["args"][1])
        return
    path = root / case["path"].strip("/")
    match case["type"]:
        case "dir":
            path.mkdir()
            path.chmod(int(case["mode"], 8))
        case "file":
            path.write_bytes(case["content"].encode())
            path.chmod(int(case["mode"], 8))
        case "hardlink":
            path.hardlink_to(root / case["target"].strip("/"))
        case "chmod":
            path.chmod(int(case["mode"], 8))
        case "remove":
            subprocess.run(["rm", "-r", "--", str(path)], check=True)
        case _:
            raise AssertionError(case)


def as_case(found: Entry, content: bytes) -> dict[str, Any]:
    """Give an entry as the cases write it."""
    folder, _, base = found.name.decode().rpartition("/")
    if base.startswith(".wh."):
        return {"type": "whiteout", "path": f"{folder}/{base[4:]}".lstrip("/")}
    case: dict[str, Any] = {"path": found.name.decode()}
    match found.kind:
        case Kind.DIRECTORY:
            return case | {"type": "dir", "mode": f"{found.mode:o}"}
        case Kind.FILE:
            return case | {"type": "file", "mode": f"{found.mode:o}", "content": content.decode()}
        case _:
            return case | {"type": "hardlink", "target": found.target.decode()}


def hard_links_in_order(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the same layer in the order of names.

    The cases of hard links come from containerd, which writes the name that was changed first and the one that was there
    before as a link to it. We write names in order, and the first of them is the file; the tree is the same.
    """
    files = {case["path"]: case for case in cases}
    for case in cases:
        if case["type"] == "hardlink" and case["path"] < case["target"]:
            files[case["path"]] = files[case["target"]] | {"path": case["path"]}
            files[case["target"]] = {"type": "hardlink", "path": case["target"], "target": case["path"]}
    return [files[path] for path in sorted(files)]


@pytest.mark.parametrize("case", CASES["diff"], ids=lambda case: case["name"])
def test_what_changed_becomes_a_layer(case: dict[str, Any], tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    lower.mkdir()
    apply_layer([layer(case["lower"])], lower)
    with mounted([lower], tmp_path / "upper", tmp_path / "work", tmp_path / "root") as root:
        for changed in case["change"]:
            alter(root, changed)
    made = [as_case(*found) for found in read_all(layer_of(tmp_path / "upper"), "layer")]
    assert made == hard_links_in_order(case["layer_entries"])


@pytest.mark.parametrize("case", CASES["device_numbers"], ids=lambda case: case["name"])
def test_a_device_number_out_of_range_is_refused(case: dict[str, Any], tmp_path: Path) -> None:
    made = Entry(name=b"device", kind=Kind.CHARACTER)
    block = bytearray(b"".join(archive([(made, b"")])))
    for at, number in ((329, case["devmajor"]), (337, case["devminor"])):
        value = bytearray(number.to_bytes(8, "big", signed=True))
        value[0] |= 0x80  # base 256, as GNU tar writes what octal cannot
        block[at : at + 8] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    with pytest.raises(Invalid, match="out of range"):
        apply_layer([bytes(block)], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES["lower_symlink"])
def test_a_folder_that_is_a_symlink_below(case: dict[str, Any], way: Whiteouts, tmp_path: Path) -> None:
    with applied([layer(part) for part in case["layers"]], tmp_path, way) as root:
        for checked in case["checks"]:
            check(root, checked, "")


def test_the_helpers_speak_of_the_same_entry() -> None:
    assert entry({"type": "file", "path": "a", "content": "b"})[0].size == 1
