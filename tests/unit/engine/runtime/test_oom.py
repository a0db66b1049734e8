"""Containers that lose a process for want of memory: the file that a monitor makes is seen at once, and once."""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING

import pytest

from declarative.engine.runtime import kernel
from declarative.engine.runtime.oom import OomWatch
from tests.engines import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_that_is_made_or_was_there_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    watch = OomWatch(told.append)
    for name in ("one", "two", "old"):
        (tmp_path / name).mkdir()
    (tmp_path / "old/oom").touch()
    for name in ("one", "two", "old"):
        watch.add(name, tmp_path / name)
    assert told == ["old"]
    (tmp_path / "two/exit").touch()
    (tmp_path / "two/oom").touch()
    wait_until(lambda: told == ["old", "two"], "the one that starves", 10)
    shutil.rmtree(tmp_path / "two")
    (tmp_path / "two").mkdir()  # its next run
    watch.add("two", tmp_path / "two")
    (tmp_path / "two/oom").touch()
    wait_until(lambda: told == ["old", "two", "two"], "it again", 10)
    watch.close()
    (tmp_path / "one/oom").touch()
    assert told == ["old", "two", "two"]


def test_a_machine_without_watches_is_no_reason_not_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(kernel, "inotify", none)
    watch = OomWatch(lambda _: None)
    with pytest.raises(OSError, match="Too many open files"):
        watch.add("one", tmp_path)
    watch.close()
