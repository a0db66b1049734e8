"""What changed on an image, read off folders as overlayfs writes them; sizes; appointments."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from declarative.engine.containers.changes import ChangeKind, changes, size_of
from declarative.engine.containers.schedule import Schedule

if TYPE_CHECKING:
    from pathlib import Path

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts are devices")
A, C, D = ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED


def found(upper: Path, *lowers: Path) -> dict[str, ChangeKind]:
    return {change.path: change.kind for change in changes(upper, lowers)}


def white_out(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, 0)


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    top = tmp_path / "lower"
    for name in ("etc/a", "etc/b", "usr/lib/c"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    return top


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    made = tmp_path / "upper"
    made.mkdir()
    return made


def copy_up(lower: Path, upper: Path, name: str) -> None:
    (upper / name).mkdir()
    status = (lower / name).stat()
    os.utime(upper / name, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_nothing(upper: Path, lower: Path) -> None:
    assert found(upper, lower) == {}


def test_added_and_changed(upper: Path, lower: Path) -> None:
    copy_up(lower, upper, "etc")
    (upper / "etc/a").write_text("other")
    (upper / "etc/new").write_text("new")
    (upper / "dir/deep").mkdir(parents=True)
    assert found(upper, lower) == {"/etc": C, "/etc/a": C, "/etc/new": A, "/dir": A, "/dir/deep": A}


def test_a_folder_that_is_only_on_the_way_is_not_changed(upper: Path, lower: Path) -> None:
    (upper / "usr").mkdir()
    (upper / "usr/lib").mkdir()
    (upper / "usr/lib/c").write_text("other")
    for name in ("usr/lib", "usr"):
        status = (lower / name).stat()
        os.utime(upper / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert found(upper, lower) == {"/usr/lib/c": C}


@needs_root
def test_deleted(upper: Path, lower: Path) -> None:
    copy_up(lower, upper, "etc")
    white_out(upper / "etc/a")
    white_out(upper / "etc/never")
    white_out(upper / "usr")
    assert found(upper, lower) == {"/etc": C, "/etc/a": D, "/usr": D}


@needs_root
def test_an_opaque_folder_hides_what_was_in_it(upper: Path, lower: Path) -> None:
    (upper / "etc").mkdir()
    os.setxattr(upper / "etc", "trusted.overlay.opaque", b"y")
    (upper / "etc/b").write_text("new")
    assert found(upper, lower) == {"/etc": C, "/etc/a": D, "/etc/b": C}


@needs_root
def test_several_layers(upper: Path, lower: Path, tmp_path: Path) -> None:
    middle = tmp_path / "middle"
    (middle / "etc").mkdir(parents=True)
    white_out(middle / "etc/a")
    (upper / "etc").mkdir()
    (upper / "etc/a").write_text("again")
    assert found(upper, middle, lower)["/etc/a"] is A


def test_sizes_count_a_file_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/c").write_bytes(b"x" * 10)
    assert size_of(tmp_path) == 1010


def test_appointments_are_kept_in_order_and_may_be_called_off() -> None:
    done: list[int] = []
    over = threading.Event()
    schedule = Schedule(lambda error: pytest.fail(str(error)), workers=1)

    def last() -> None:
        done.append(3)
        over.set()

    schedule.after(0.15, last)
    schedule.after(0.10, lambda: done.append(2)).call_off()
    schedule.after(0.05, lambda: done.append(1))
    assert over.wait(10)
    schedule.close()
    assert done == [1, 3]


def test_work_that_fails_is_told_and_the_next_is_done() -> None:
    errors: list[BaseException] = []
    over = threading.Event()

    def fail() -> None:
        raise ValueError

    schedule = Schedule(errors.append, workers=1)
    schedule.soon(fail)
    schedule.soon(over.set)
    assert over.wait(10)
    schedule.close()
    assert [type(error) for error in errors] == [ValueError]
