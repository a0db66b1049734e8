"""Every scene's plan, whole, as a person reads it. `GOLDEN=write` writes the files anew: look at the difference.

Ids of images stand there as ID: they are digests of what the tests happen to build.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from declarative.core.plan_text import plan_text
from declarative.core.planner.refusal import Refused
from declarative.drivers.memory.life import usual_program
from declarative.record import replace
from tests.property.law_worlds import ALLOWED, World
from tests.property.manifest_strategies import SECRETS
from tests.unit.planner import container_scenes, handover_scenes, object_scenes

if TYPE_CHECKING:
    from tests.unit.planner.scenes import Scene

_CASES = Path(__file__).parents[2] / "cases" / "reconcile"
_SCENES = (*container_scenes.SCENES, *handover_scenes.SCENES, *object_scenes.SCENES)


@pytest.mark.parametrize("scene", _SCENES, ids=lambda scene: scene.name)
def test_the_plan_reads(scene: Scene, tmp_path: Path) -> None:
    text = _told(scene, tmp_path)
    golden = _CASES / f"{scene.name}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text()
    assert not any(secret in text for secret in SECRETS.values())


@pytest.mark.parametrize("scene", _SCENES, ids=lambda scene: scene.name)
def test_what_is_planned_can_be_applied_and_leaves_nothing_to_do(scene: Scene, tmp_path: Path) -> None:
    world = _world(scene, tmp_path)
    if scene.policy.destroy or not scene.policy.prune:
        return
    for box in world.engine.containers.values():
        box.program = usual_program(box.spec)  # what ailed it is over
    try:
        report = world.apply(scene.now, scene.policy)
    except Refused:
        return
    assert report.done, [str(outcome.error) for outcome in report.failures]
    plan, _ = world.look(scene.now, replace(scene.policy, unknown_ok=True))
    assert plan.in_sync, plan_text(plan)


def test_there_is_one_file_for_each_scene() -> None:
    names = [scene.name for scene in _SCENES]
    assert sorted(names) == sorted(set(names))
    assert {path.stem for path in _CASES.glob("*.txt")} == set(names)


def _world(scene: Scene, folder: Path) -> World:
    world = World(folder=folder)
    for text in scene.applied:
        report = world.apply(text, ALLOWED)
        assert report.done, [str(outcome.error) for outcome in report.failures]
    scene.since(world.engine)
    return world


def _told(scene: Scene, folder: Path) -> str:
    try:
        text = plan_text(_world(scene, folder).look(scene.now, scene.policy)[0])
    except Refused as refused:
        text = f"refused, exit {refused.exit_code}\n{refused}\n"
    return re.sub(r"sha256:[0-9a-f]{64}|\b[0-9a-f]{12}\b", "ID", text)
