"""Killed before any step, and the power cut at that moment: the store opens, whatever has a name is whole, a retry succeeds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.engine.fake_registry import fake_registry
from tests.unit.engine.killed_images import NEW, WORK

ROOT = Path(__file__).parents[3]
STRIDE = {"load": 13, "pull": 17, "fsck": 11, "prune": 5, "remove": 5, "build": 5, "import": 5}
"""Every so many steps is enough in each run: `-m slow` does them all."""


def kills(work: str, every: int, folder: Path) -> int:
    with fake_registry() as registry:
        registry.image("1", NEW, {"d": "new"})
        argv = [
            sys.executable,
            "-m",
            "tests.unit.engine.killed_images",
            str(folder),
            work,
            str(every),
            registry.server.address,
        ]
        ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-5000:]
    return int(ended.stdout)


@pytest.mark.parametrize("work", WORK)
def test_killed_now_and_then(work: str, tmp_path: Path) -> None:
    assert kills(work, STRIDE[work], tmp_path) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("work", WORK)
def test_killed_before_every_step(work: str, tmp_path: Path) -> None:
    assert kills(work, 1, tmp_path) >= 40
