"""The kernel is kept ready for moves as long as processes are expected, and no longer."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from declarative.engine.runtime.cgroups import Cgroups
from declarative.engine.runtime.grace import Grace
from tests.engines import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Clock:
    """Time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def group(tmp_path: Path) -> Path:
    folder = tmp_path / "service"
    folder.mkdir()
    return folder


@pytest.fixture
def grace(tmp_path: Path, group: Path, clock: Clock) -> Iterator[Grace]:
    del group
    made = Grace(Cgroups(second=tmp_path), "0::/service\n", clock)
    yield made
    made.close()


def moves(group: Path) -> int:
    """Count the moves; each writes this process's number."""
    file = group / "cgroup.procs"
    text = file.read_text() if file.exists() else ""
    number = str(os.getpid())
    assert text.replace(number, "") == ""
    return len(text) // len(number)


def rests(group: Path) -> bool:
    before = moves(group)
    time.sleep(0.05)
    return moves(group) == before


def test_nobody_expects_anything(grace: Grace, group: Path) -> None:
    assert grace is not None
    assert rests(group)
    assert moves(group) == 0


def test_it_moves_again_and_again_while_somebody_expects(grace: Grace, group: Path, clock: Clock) -> None:
    grace.expect(1.0)
    wait_until(lambda: moves(group) > 3, "four moves", 10)
    clock.now = 1.5
    wait_until(lambda: rests(group), "the end of the moves", 10)


def test_the_longest_expectation_counts(grace: Grace, group: Path, clock: Clock) -> None:
    grace.expect(1.0)
    grace.expect(0.1)
    clock.now = 0.5
    wait_until(lambda: not rests(group), "moves", 10)


def test_a_group_that_takes_nobody_harms_nothing(tmp_path: Path, clock: Clock) -> None:
    made = Grace(Cgroups(second=tmp_path), "0::/nowhere\n", clock)
    made.expect(1.0)
    time.sleep(0.05)
    (tmp_path / "nowhere").mkdir()
    wait_until(lambda: moves(tmp_path / "nowhere") > 0, "a move once it can be", 10)
    made.close()


def test_closing_ends_it_at_once(tmp_path: Path, group: Path, clock: Clock) -> None:
    made = Grace(Cgroups(second=tmp_path), "0::/service\n", clock)
    made.expect(1000.0)
    wait_until(lambda: moves(group) > 0, "a move", 10)
    made.close()
    assert rests(group)
