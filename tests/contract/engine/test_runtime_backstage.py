"""The backstage: programs that see the machine's files without one mount, while nobody else loses it.

The rule that keeps it simple: what a program sees is read from its own table of mounts.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from declarative.engine.runtime import kernel
from declarative.engine.runtime.hybrid import Backstage
from declarative.engine.runtime.rootfs import mount_points

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def mounts(scratch: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Mount a file system with one file on each of three folders: to be hidden, needed, and neither."""
    folders = (scratch / "hidden", scratch / "needed", scratch / "other")
    for folder in folders:
        folder.mkdir()
        kernel.mount("none", folder, "tmpfs", 0)
        (folder / "file").write_text(folder.name)
    yield folders
    for folder in folders:
        kernel.umount(folder)


@pytest.fixture
def backstage(mounts: tuple[Path, Path, Path]) -> Iterator[Backstage]:
    hidden, needed, _ = mounts
    made = Backstage(hidden, (needed / "program",))
    yield made
    made.close()


def _say(backstage: Backstage, *argv: str) -> str:
    with backstage.start(argv, stdout=subprocess.PIPE) as done:
        said: str = done.communicate()[0].decode()
    assert done.returncode == 0, said
    return said


def test_what_is_hidden_is_an_empty_folder_that_nobody_writes_into(
    backstage: Backstage, mounts: tuple[Path, Path, Path]
) -> None:
    hidden = mounts[0]
    assert _say(backstage, "ls", "-A", str(hidden)) == ""
    with backstage.start(["touch", str(hidden / "x")], stderr=subprocess.PIPE) as done:
        assert b"Read-only file system" in done.communicate()[1]

    assert [path.name for path in hidden.iterdir()] == ["file"]


def test_only_what_programs_need_is_still_mounted(backstage: Backstage, mounts: tuple[Path, Path, Path]) -> None:
    _, needed, other = mounts
    points = [line.split()[4] for line in _say(backstage, "cat", "/proc/self/mountinfo").splitlines()]
    assert _say(backstage, "cat", str(needed / "file")) == "needed"
    assert str(other) not in points, "lest it keeps a file system that others unmount"
    assert {"/", "/proc", str(needed)} <= set(points)

    assert {*mounts} <= {*mount_points()}, "here all are as before"


def test_without_a_mount_to_hide_there_is_none(tmp_path: Path) -> None:
    before = mount_points()
    with pytest.raises(OSError, match="Invalid argument"):
        Backstage(tmp_path, ())

    assert mount_points() == before


def test_what_was_started_outlives_it(mounts: tuple[Path, Path, Path]) -> None:
    made = Backstage(mounts[0], ())
    with made.start(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as done:
        made.close()
        assert done.communicate(b"on")[0] == b"on"
    with pytest.raises(RuntimeError):
        made.start(["true"])
