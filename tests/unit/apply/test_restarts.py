"""Restarts that no step mends: who is told of them, until when, and which are our own.

The rule that keeps it simple: entries are dated by the second, so every test moves the engine's clock on between two acts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from declarative.apply.stop import Stop
from declarative.errors import Interrupted
from tests.unit.apply.world import HEAD, container

if TYPE_CHECKING:
    from declarative.core.plan import Finding
    from tests.unit.apply.world import World

WEB = container("web", more="restart: always")
VOLUME = f"---\n{HEAD}kind: Volume\nmetadata: {{name: old}}\n"


def later(world: World, seconds: int) -> None:
    """Let the engine's clock be that much ahead."""
    world.engine.clock = lambda: time.monotonic() + seconds


def restart(world: World, name: str) -> None:
    """Stop and start a container as its engine does when it is upgraded."""
    world.engine.stop(name)
    world.engine.start(name)


def found(world: World, text: str) -> tuple[Finding, ...]:
    plan, _ = world.look(text)
    return plan.findings


@pytest.fixture
def written(world: World) -> list[str]:
    """Note every entry that is written to the history, and every lock that is taken."""
    calls: list[str] = []

    def note(call: str) -> None:
        if call.startswith("before WriteRevision"):
            calls.append(call)

    world.engine.hook = note
    return calls


def test_a_whole_apply_takes_note_of_a_restart_and_drift_is_quiet_then(world: World, written: list[str]) -> None:
    world.apply(WEB)
    later(world, 100)
    restart(world, "shop-web-1")
    (finding,) = found(world, WEB)
    assert finding.cause.startswith("restarted by hand or with the engine at ")
    written.clear()
    report = world.apply(WEB)

    assert (report.outcomes, report.changed, report.exit_code, report.revision) == ((), False, 0, 0)
    assert report.notes == (f"Container/shop-web-1: {finding.cause}; taken note of, and no drift from now on",)
    assert len(written) == 1
    assert found(world, WEB) == ()
    assert [(revision.number, revision.summary) for revision in world.driver.revisions("shop")] == [(1, "2 created")]


def test_targets_are_told_of_their_own_alone(world: World) -> None:
    text = container("web") + container("db", more="volumes: ['old:/data']") + VOLUME
    world.apply(text)
    later(world, 100)
    restart(world, "shop-db-1")
    now = container("web") + container("db")
    web, _ = world.look(now, targets=frozenset({"Container/web"}))
    db, _ = world.look(text, targets=frozenset({"Container/db"}))

    assert (web.drifted, web.findings, web.notes) == (False, (), ())
    assert [finding.name for finding in db.findings] == ["shop-db-1"]
    assert len(world.look(now)[0].notes) == 1


def test_an_apply_with_really_nothing_to_do_writes_nothing(world: World, written: list[str]) -> None:
    world.apply(WEB)
    later(world, 100)
    restart(world, "shop-web-1")
    world.apply(WEB)
    written.clear()

    assert world.apply(WEB).notes == ()
    assert written == []


def test_an_apply_of_targets_takes_note_of_nothing(world: World, written: list[str]) -> None:
    world.apply(WEB)
    later(world, 100)
    restart(world, "shop-web-1")
    written.clear()
    world.apply(WEB, targets=frozenset({"Container/web"}))

    assert written == []
    assert len(found(world, WEB)) == 1


@pytest.mark.parametrize("more", ["restart: always", "restart: unless-stopped"])
def test_what_a_failed_apply_started_was_not_restarted_by_hand(world: World, more: str) -> None:
    world.apply(WEB)
    later(world, 100)
    world.engine.stop("shop-web-1")
    assert not world.apply(container("web", more=more) + container("db", "false", "depends_on: [web]")).done

    assert found(world, WEB) == ()
    assert [revision.number for revision in world.driver.revisions("shop")] == [1]


def test_what_was_started_before_an_interruption_was_not_restarted_by_hand(world: World) -> None:
    text = WEB + container("db", more="depends_on: [web]")
    world.apply(text)
    later(world, 100)
    world.engine.stop("shop-web-1")
    world.engine.stop("shop-db-1")
    stop = Stop()

    def interrupt(call: str) -> None:
        if call.startswith("after StartContainer"):
            stop.request(Interrupted("", "by hand"))

    world.engine.hook = interrupt
    assert not world.apply(text, stop=stop).done
    world.engine.hook = lambda _: None

    assert found(world, text) == ()


def test_a_failed_apply_that_started_nothing_leaves_the_restart_told(world: World) -> None:
    world.apply(WEB)
    later(world, 100)
    restart(world, "shop-web-1")
    assert not world.apply(WEB + container("db", "false")).done

    assert len(found(world, WEB)) == 1


def test_an_apply_that_failed_after_a_removal_leaves_dates_and_what_was_restarted_by_hand(world: World) -> None:
    world.apply(WEB + container("old"))
    (before,) = world.driver.revisions("shop")
    later(world, 10)
    restart(world, "shop-web-1")
    later(world, 20)
    report = world.apply(WEB + container("bad", "false"))
    assert ("remove", "done") in {(outcome.step.verb, outcome.state) for outcome in report.outcomes}

    (after,) = world.driver.revisions("shop")
    assert "Container/shop-old-1" not in after.objects
    assert (after.applied_at, after.noted_at) == (before.applied_at, before.noted_at)
    assert [finding.name for finding in found(world, WEB)] == ["shop-web-1"]


def test_taking_note_of_a_restart_does_not_change_when_something_was_applied(world: World) -> None:
    world.apply(WEB)
    (before,) = world.driver.revisions("shop")
    later(world, 10)
    restart(world, "shop-web-1")
    later(world, 20)
    world.apply(WEB)

    (after,) = world.driver.revisions("shop")
    assert after.applied_at == before.applied_at
    assert after.noted_at > before.noted_at
    assert found(world, WEB) == ()
