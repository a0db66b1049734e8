"""A volume that somebody removed: the jobs that had filled it run again, and be it that the apply is killed at any call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.apply.test_rollout import VOLUME, Killed, calls_of
from tests.unit.apply.world import World, container, job

if TYPE_CHECKING:
    from pathlib import Path

FILLED = VOLUME + job("seed", "true", more="volumes: [data:/data]")
MIGRATED = (
    VOLUME
    + container("db", more="volumes: [data:/data]")
    + job("seed", "true", more="depends_on: {db: {condition: healthy}}")
)
RUN = "after StartContainer shop-seed-1"


def emptied(folder: Path, text: str) -> World:
    """Give a world in which this was applied, and then lost its volume and who was on it."""
    world = World(folder=folder)
    assert world.apply(text).done
    for name in [name for name, box in world.engine.containers.items() if box.spec.volumes]:
        world.engine.remove(name, volumes=False)
    world.engine.volumes.clear()
    return world


@pytest.mark.parametrize("text", [FILLED, MIGRATED], ids=["filled", "migrated"])
def test_a_job_whose_data_was_lost_runs_again_however_often_the_apply_is_killed(tmp_path: Path, text: str) -> None:
    total = len(calls_of(emptied(tmp_path, text), text))
    assert total > 8

    for number in range(total):
        world = emptied(tmp_path, text)
        calls: list[str] = []

        def hook(call: str, *, calls: list[str] = calls, number: int = number) -> None:
            calls.append(call)
            if len(calls) > number:
                raise Killed(call)

        world.engine.hook = hook
        with pytest.raises(Killed):
            world.apply(text)
        world.engine.locks.clear()  # its holder is dead
        world.engine.hook = calls.append
        assert world.apply(text).done, number
        assert calls.count(RUN) >= 1, number
        assert world.apply(text).outcomes == (), number
        assert world.driver.inspect("shop-seed-1").state == "exited", number


def test_what_was_lost_is_told_as_drift(tmp_path: Path) -> None:
    plan, _ = emptied(tmp_path, MIGRATED).look(MIGRATED)
    (step,) = [step for step in plan.steps if step.verb == "run"]

    assert step.origin == "drift"
    assert step.cause == "what it did is lost with volume shop_data"


def test_a_job_is_not_run_twice_where_its_work_may_be_on_the_host(tmp_path: Path) -> None:
    text = MIGRATED.replace("[data:/data]", "[data:/cache, /srv:/data]")

    assert not [step for step in emptied(tmp_path, text).look(text)[0].steps if step.kind == "Job"]


def test_a_job_runs_once_where_its_record_alone_was_removed(tmp_path: Path) -> None:
    world = World(folder=tmp_path)
    world.apply(MIGRATED)
    world.engine.remove("shop-seed-1", volumes=False)

    assert world.look(MIGRATED)[0].in_sync
