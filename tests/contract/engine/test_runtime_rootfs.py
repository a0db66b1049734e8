"""Root file systems: many layers, long paths, older kernels, ids of user namespaces; copy on write as overlayfs does it."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from declarative.engine.runtime import idmaps, kernel, rootfs
from declarative.engine.runtime.sandbox import IdMap
from declarative.errors import Failed, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.engine.runtimes import Machine


@pytest.fixture
def folder(scratch: Path) -> Iterator[Path]:
    """Give a folder below which nothing may be mounted at the end."""
    yield scratch
    assert rootfs.mounts_below(scratch) == ()


@pytest.fixture(params=["by parts", "by options"])
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Use the kernel's new mount API, or do as if there were none."""
    if request.param == "by options":

        def refuse(_kind: str) -> int:
            raise OSError(errno.ENOSYS, "no such call")

        monkeypatch.setattr(kernel, "fsopen", refuse)
    return str(request.param)


def _layers(folder: Path, count: int, name: str = "layer") -> list[Path]:
    """Make layers, uppermost first, each with a file of its own and one that all have."""
    made = []
    for number in range(count):
        layer = folder / f"{name}{number}"
        layer.mkdir(parents=True)
        (layer / f"own{number}").write_text(str(number))
        (layer / "all").write_text(str(number))
        made.append(layer)
    return made


def _mount(folder: Path, lowers: list[Path], *, volatile: bool = False) -> Path:
    for part in ("upper", "work", "merged"):
        (folder / part).mkdir(parents=True)
    rootfs.mount_overlay(lowers, folder / "upper", folder / "work", folder / "merged", volatile=volatile)
    return folder / "merged"


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("count", [0, 1, 2, 128, 300, 500])
def test_any_number_of_layers(folder: Path, count: int) -> None:
    merged = _mount(folder / "c", _layers(folder, count))
    assert sorted(path.name for path in merged.iterdir()) == sorted(
        [f"own{n}" for n in range(count)] + (["all"] if count else [])
    )
    if count:
        assert (merged / "all").read_text() == "0"
        assert (merged / f"own{count - 1}").read_text() == str(count - 1)
    (merged / "new").write_text("new")
    assert (folder / "c/upper/new").read_text() == "new"
    rootfs.unmount(merged)
    assert sorted(path.name for path in (folder / "c").iterdir()) == ["merged", "upper", "work"]


@pytest.mark.usefixtures("api")
def test_long_and_awkward_paths(folder: Path) -> None:
    awkward = folder / "a,b:c\\d e"
    layers = _layers(awkward / ("x" * 200) / ("y" * 200), 3)
    merged = _mount(awkward / ("z" * 200) / "c", layers)
    assert (merged / "own2").read_text() == "2"
    assert rootfs.mounts_below(folder) == (merged,)
    assert rootfs.is_mounted(merged)
    rootfs.unmount(merged)
    assert not rootfs.is_mounted(merged)


def test_copy_on_write_leaves_layers_alone(folder: Path) -> None:
    layers = _layers(folder, 2)
    merged = _mount(folder / "c", layers)
    (merged / "own1").write_text("changed")
    (merged / "own0").unlink()
    assert (layers[1] / "own1").read_text() == "1"
    assert (layers[0] / "own0").read_text() == "0"
    assert (folder / "c/upper/own1").read_text() == "changed"
    assert (folder / "c/upper/own0").is_char_device(), "a whiteout"
    rootfs.unmount(merged)


def test_a_volatile_mount_can_be_mounted_again(folder: Path) -> None:
    """The kernel refuses one that was not unmounted, as after a power cut: here that does not matter."""
    merged = _mount(folder / "c", _layers(folder, 1), volatile=True)
    (merged / "kept").write_text("kept")
    rootfs.unmount(merged)
    rootfs.mount_overlay([folder / "layer0"], folder / "c/upper", folder / "c/work", merged, volatile=True)
    assert (merged / "kept").read_text() == "kept"
    rootfs.unmount(merged)
    rootfs.mount_overlay([folder / "layer0"], folder / "c/upper", folder / "c/work", merged)
    rootfs.unmount(merged)


def test_unmounting_does_not_wait_and_may_be_repeated(folder: Path) -> None:
    merged = _mount(folder / "c", _layers(folder, 1))
    rootfs.mount_tmpfs(merged, size=1 << 20)
    with (merged / "open").open("w") as file:
        rootfs.unmount(merged)
        assert not rootfs.is_mounted(merged)
        file.write("still works")
    rootfs.unmount(merged)
    rootfs.unmount(folder / "not/there")


def test_refusals(folder: Path) -> None:
    with pytest.raises(Unsupported, match="501 layers"):
        _mount(folder / "a", [folder / "x"] * 501)
    with pytest.raises(Failed, match="No such file"):
        _mount(folder / "b", [folder / "nowhere"])


@pytest.mark.usefixtures("api")
def test_many_mounts_at_once(folder: Path) -> None:
    layers = _layers(folder, 5)
    problems: list[BaseException] = []

    def mount(number: int) -> None:
        try:
            merged = _mount(folder / f"c{number}", layers)
            assert (merged / "own4").exists()
            rootfs.unmount(merged)
        except BaseException as error:  # noqa: BLE001 - told below
            problems.append(error)

    before = Path.cwd()
    threads = [threading.Thread(target=mount, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert Path.cwd() == before, "a mount changed the working folder of others"


_MAPS = (IdMap(inside=0, outside=300_000, size=65536),)


def test_ids_of_a_user_namespace(box: Machine) -> None:
    """The image's files belong to the container's own users, and what it writes has the image's ids on the disk."""
    home = box.folder / "roots/mapped"
    for part in ("upper", "work", "merged"):
        (home / part).mkdir(parents=True)
    for parent in (box.folder, box.folder / "roots", home):
        parent.chmod(0o711)
    layer = box.folder / "layer"
    layer.mkdir()
    (layer / "of1000").write_text("given")
    os.chown(layer / "of1000", 1000, 1000)
    rootfs.mount_overlay(
        [layer, box.image], home / "upper", home / "work", home / "merged", uid_maps=_MAPS, gid_maps=_MAPS
    )
    assert sorted(path.name for path in home.iterdir()) == ["merged", "upper", "work"]
    from declarative.engine.runtime.sandbox import Sandbox
    from tests.contract.engine.runtimes import ENVIRONMENT

    script = (
        "stat -c %u /of1000 /bin/busybox; echo more >> /of1000; touch /new; chown 7:7 /new; stat -c %u:%g /new; id -u"
    )
    made = Sandbox(
        id="mapped",
        args=("sh", "-c", script),
        rootfs=home / "merged",
        env=ENVIRONMENT,
        cgroup_parent=box.group,
        uid_maps=_MAPS,
        gid_maps=_MAPS,
    )
    assert box.run(made) == (0, "1000\n0\n7:7\n0\n")
    assert [(home / "upper" / name).stat().st_uid for name in ("of1000", "new")] == [1000, 7]
    assert (layer / "of1000").read_text() == "given"


def test_no_mapped_mount_is_left_after_a_failure(folder: Path) -> None:
    (folder / "real").mkdir()
    with pytest.raises(Failed), idmaps.mapped([folder / "real", folder / "nowhere"], _MAPS, _MAPS, folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["real"]
