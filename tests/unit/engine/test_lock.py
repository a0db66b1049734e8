"""The lock on a data root: one holder, who is named, and none after its end."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from declarative.dockerapi.places import LOCK_NAME
from declarative.engine.lock import RootLock
from declarative.errors import Conflict

if TYPE_CHECKING:
    from pathlib import Path


def test_a_second_holder_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with RootLock(tmp_path) as lock:
        with pytest.raises(Conflict, match="another daemon, which is starting or ending, serves this data root"):
            RootLock(tmp_path)
        lock.tell(["unix:///s", "tcp://127.0.0.1:1"])
        with pytest.raises(Conflict, match=rf"process id {os.getpid()} \(at unix:///s, tcp://127.0.0.1:1\)"):
            RootLock(tmp_path)
    RootLock(tmp_path).release()


def test_who_only_looks_keeps_nobody_from_starting(tmp_path: Path) -> None:
    RootLock(tmp_path).release()
    looks = os.open(tmp_path / LOCK_NAME, os.O_RDONLY)
    fcntl.flock(looks, fcntl.LOCK_SH)
    threading.Timer(0.2, os.close, (looks,)).start()
    RootLock(tmp_path).release()


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    text = f"""
import os, pathlib
from declarative.engine.lock import RootLock
lock = RootLock(pathlib.Path({str(tmp_path)!r}))
lock.tell(["unix:///s"])
os.kill(os.getpid(), 9)
"""
    ended = subprocess.run([sys.executable, "-c", text], check=False)
    assert ended.returncode == -9

    RootLock(tmp_path).release()
