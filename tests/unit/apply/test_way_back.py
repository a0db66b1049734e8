"""Containers that let go of a port or an address for others: what they get back where that was for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from declarative.apply.stop import Stop
from declarative.errors import Conflict, Interrupted, LockHeld
from tests.unit.apply.world import HEAD, World, container

if TYPE_CHECKING:
    from declarative.apply.report import Report

_FAILS = "sh -c exit\\u00203"
_NET = f"---\n{HEAD}kind: Network\nmetadata: {{name: back}}\nspec: {{subnet: 10.77.0.0/24}}\n"


def on(name: str, port: int, command: str = "sleep 9000", more: str = "") -> str:
    return container(name, command, f"ports: ['{port}:80'];{more}")


def at(name: str, number: int, more: str = "") -> str:
    return container(name, more=f"networks: {{back: {{ipv4_address: 10.77.0.{number}}}}};{more}")


def states(world: World) -> dict[str, str]:
    return {name: world.driver.inspect(name).state for name in world.names()}


def steps(report: Report) -> list[tuple[str, str, str]]:
    return [(outcome.step.verb, outcome.step.name, outcome.state) for outcome in report.outcomes]


def test_nobody_is_stopped_before_what_its_taker_waits_for(world: World) -> None:
    needs = "depends_on: {db: {condition: healthy}}"
    world.apply(container("db") + on("a", 81) + on("b", 82))
    report = world.apply(container("db", _FAILS) + on("a", 82, more=needs) + on("b", 81, more=needs))

    assert report.exit_code == 1
    assert ("stop", "shop-b-1", "skipped") in steps(report)
    assert states(world) == {"shop-a-1": "running", "shop-b-1": "running", "shop-db-1": "running"}
    assert report.notes == ()


@pytest.mark.parametrize("abandon", [False, True])
def test_who_was_stopped_runs_again_where_its_taker_is_skipped(world: World, *, abandon: bool) -> None:
    stop = Stop()

    def interrupt(call: str) -> None:
        if call == "after StopContainer shop-b-1":
            error = LockHeld("lock", "is lost") if abandon else Interrupted("", "interrupted by Ctrl-C")
            stop.request(error, abandon=abandon)

    world.apply(on("a", 81) + on("b", 82))
    world.engine.hook = interrupt
    report = world.apply(on("a", 82) + on("b", 81), stop=stop)

    assert [outcome.state for outcome in report.outcomes][1:] == ["skipped", "skipped"]
    assert states(world) == {"shop-a-1": "running", "shop-b-1": "exited" if abandon else "running"}
    assert report.notes == (() if abandon else ("Container/shop-b-1 runs again: what it made room for was not done",))
    assert world.look(on("a", 81) + on("b", 82))[0].in_sync is not abandon


def test_who_was_stopped_for_one_that_is_new_and_fails_runs_again(world: World) -> None:
    world.apply(on("a", 80))
    after = "depends_on: {front: {condition: healthy}}"
    report = world.apply(on("front", 80, _FAILS) + on("a", 81, more=after))

    assert report.exit_code == 1
    assert ("stop", "shop-a-1", "done") in steps(report)
    assert states(world) == {"shop-a-1": "running", "shop-front-1": "exited"}
    assert world.apply(on("front", 80) + on("a", 81, more=after)).done


def test_who_was_taken_off_a_network_is_attached_again(world: World) -> None:
    world.apply(_NET + at("a", 5) + at("b", 6))
    before = {name: world.engine.box(name).spec.networks for name in world.names()}

    def refuse(call: str) -> None:
        if call == "before ConnectNetwork shop-a-1":
            raise Conflict("container shop-a-1", "no")

    world.engine.hook = refuse
    report = world.apply(_NET + at("a", 6) + at("b", 5))

    assert report.exit_code == 1
    assert steps(report)[0] == ("update", "shop-b-1", "done")
    assert {name: world.engine.box(name).spec.networks for name in world.names()} == before
    assert report.notes == ("Container/shop-b-1 is on shop_back again: what it made room for was not done",)
    world.engine.hook = lambda _: None
    assert world.apply(_NET + at("a", 6) + at("b", 5)).done


def test_with_two_takers_it_runs_again_once_and_only_where_both_have_failed(world: World) -> None:
    both = "ports: ['81:80', '82:80']"
    old = on("a", 91) + on("b", 92) + container("h", more=both)
    last = container("h", more="ports: ['91:80', '92:80']")
    world.apply(old)
    calls: list[str] = []
    world.engine.hook = calls.append
    report = world.apply(on("a", 81, _FAILS) + on("b", 82, _FAILS) + last)

    assert [error.problem.rpartition("; ")[2] for error in report.errors()] == ["the old container is back"] * 2
    assert set(states(world).values()) == {"running"}
    assert calls.count("after StartContainer shop-h-1") == 1
    assert world.look(old)[0].in_sync

    report = world.apply(on("a", 81) + on("b", 82, _FAILS) + last)
    (error,) = report.errors()
    assert error.problem.endswith("the old container is back")
    assert states(world) == {"shop-a-1": "running", "shop-b-1": "running", "shop-h-1": "exited"}
    (note,) = report.notes
    went = "port 81/tcp went to Container/shop-a-1"
    assert note == f"Container/shop-h-1 stays stopped: {went}; apply again, or `declarative rollout undo`"
    assert world.apply(on("a", 81) + on("b", 82) + last).done


def test_who_stays_stopped_is_not_said_to_be_back(world: World) -> None:
    world.apply(on("a", 81) + on("b", 82))
    report = world.apply(on("a", 82) + on("b", 81, _FAILS))

    (error,) = report.errors()
    assert error.problem.endswith("the old container is kept, stopped as it was")
    assert states(world) == {"shop-a-1": "running", "shop-b-1": "exited"}
    (note,) = report.notes
    went = "port 82/tcp went to Container/shop-a-1"
    assert note == f"Container/shop-b-1 stays stopped: {went}; apply again, or `declarative rollout undo`"


def test_who_cannot_be_started_again_is_told_of_beside_the_first_error(world: World) -> None:
    world.apply(on("a", 81) + on("b", 82))

    def refuse(call: str) -> None:
        if call == "before StartContainer shop-b-1":
            raise Conflict("container shop-b-1", "the disk is full")

    world.engine.hook = refuse
    report = world.apply(on("a", 82, _FAILS) + on("b", 81))

    (error,) = report.errors()
    assert error.problem.endswith("exited with code 3; the old container is back")
    (note,) = report.notes
    assert note.startswith("Container/shop-b-1 stays stopped, and could not be started again: ")
    assert "the disk is full" in note


def test_who_takes_the_name_of_one_that_left_and_fails_gives_it_back(world: World) -> None:
    assert world.apply(container("old", more="container_name: web")).done
    bad = container("new", "false", more="container_name: web")
    report = world.apply(bad)

    (failure,) = report.failures
    assert "the old container is back" in str(failure.error)
    owner = world.engine.containers["web"].owner
    assert world.names() == ["web"]
    assert owner is not None
    assert owner.name == "old"
    assert world.apply(container("new", more="container_name: web")).done
    assert world.names() == ["web"]
    plan, _ = world.look(container("new", more="container_name: web"))
    assert plan.in_sync
    assert not plan.drifted


def test_where_two_swap_names_and_one_fails_the_other_is_told_and_the_next_apply_goes_on(world: World) -> None:
    def named(one: str, other: str, command: str = "sleep 9000") -> str:
        return container("a", command, f"container_name: {one}") + container("b", more=f"container_name: {other}")

    world.apply(named("one", "two"))
    a, b = world.engine.containers["one"].id, world.engine.containers["two"].id
    report = world.apply(named("two", "one", "false"))

    assert steps(report) == [("update", "two", "done"), ("replace", "two", "failed"), ("update", "one", "skipped")]
    (note,) = report.notes
    assert note.startswith("Container/two.aside has not got the name two back: another one has it")
    assert world.engine.containers["two"].id == a
    assert world.apply(named("two", "one")).done
    assert (world.engine.containers["two"].id, world.engine.containers["one"].id) == (a, b)


def test_where_two_swap_names_and_nothing_came_of_it_both_have_theirs(world: World) -> None:
    world.apply(container("a", more="container_name: one") + container("b", more="container_name: two"))
    stop = Stop()
    world.engine.hook = lambda event: (
        stop.request(Interrupted("", "enough")) if event == "after RenameContainer two" else None
    )
    swapped = container("a", more="container_name: two") + container("b", more="container_name: one")
    report = world.apply(swapped, stop=stop)
    world.engine.hook = lambda _: None

    assert report.notes == ("Container/two.aside is two again: what it made room for was not done",)
    assert world.names() == ["one", "two"]
    assert world.apply(swapped).done


def test_a_resource_that_is_renamed_and_fails_leaves_the_old_one_running(world: World) -> None:
    world.apply(on("old", 80))
    report = world.apply(on("new", 80, _FAILS))

    assert steps(report) == [
        ("stop", "shop-old-1", "done"),
        ("create", "shop-new-1", "done"),
        ("wait", "new", "failed"),
        ("remove", "shop-old-1", "skipped"),
    ]
    assert report.notes == ("Container/shop-old-1 runs again: what it made room for was not done",)
    assert states(world) == {"shop-old-1": "running", "shop-new-1": "exited"}
    assert world.apply(on("new", 80)).done
    assert states(world) == {"shop-new-1": "running"}
