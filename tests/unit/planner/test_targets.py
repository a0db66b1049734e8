"""What a run with targets leaves as it was. That it plans no more than it should is among the scenes.

The rule that keeps it simple: the engine in memory is looked at after a targeted apply, and once more after one of everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.plan import Policy
from tests.property.law_worlds import World
from tests.unit.planner.scenes import doc, run

if TYPE_CHECKING:
    from pathlib import Path

_ON_WEB = Policy(targets=frozenset({"Container/web"}))


def test_what_left_the_manifests_stays_on_a_network_that_a_target_has_made_anew(tmp_path: Path) -> None:
    world = World(folder=tmp_path)
    web = run("web", "networks: [back]")
    world.converge(doc("Network", "back") + web + run("olddb", "networks: [back]"))
    now = doc("Network", "back", "internal: true") + web

    assert world.apply(now, _ON_WEB).done
    assert set(world.engine.box("law-olddb-1").spec.networks) == {"law_back"}
    world.converge(now)
    assert "law-olddb-1" not in world.engine.containers


def test_what_is_wrong_elsewhere_is_told_when_everything_is_applied(tmp_path: Path) -> None:
    world = World(folder=tmp_path)
    world.converge(run("web") + "".join(run(f"c{number}") for number in range(7)))
    now = run("web", "labels: {a: b}")

    assert world.apply(now, _ON_WEB).done
    assert len(world.engine.containers) == 8
    world.converge(now)
    assert sorted(world.engine.containers) == ["law-web-1"]


def test_a_change_in_place_that_was_left_alone_is_no_drift_later(tmp_path: Path) -> None:
    world = World(folder=tmp_path)
    world.converge(run("web") + run("db", "restart: 'no'"))
    now = run("web", "labels: {a: b}") + run("db", "restart: always")

    assert world.apply(now, _ON_WEB).done
    plan, _ = world.look(now)
    assert [(step.verb, step.name, step.origin) for step in plan.steps] == [("update", "law-db-1", "change")]
