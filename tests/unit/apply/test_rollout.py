"""Replacing a container: names, order, the way back, and what a crash at any call leaves for the next apply."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from declarative.apply.moves import Ask, Wait
from declarative.apply.script import script_of
from declarative.apply.stop import Stop
from declarative.core.planner.refusal import Refused
from declarative.drivers.memory.life import Program
from declarative.errors import Conflict, DeclarativeError, Interrupted
from tests.unit.apply.world import World, container, job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from declarative.apply.moves import Move

ORDERS = ("stop-first", "start-first")


def web(command: str, order: str = "stop-first", more: str = "") -> str:
    text = container("web", command, more)
    return text.replace("monitor: 1ms", f"order: {order}, monitor: 1ms")


@pytest.mark.parametrize("order", ORDERS)
def test_the_new_one_takes_the_name_and_nothing_is_left(world: World, order: str) -> None:
    world.apply(web("sleep 9000", order))
    report = world.apply(web("sleep 9001", order))

    assert report.done
    assert world.names() == ["shop-web-1"]
    assert world.command("shop-web-1") == ("sleep", "9001")
    assert world.apply(web("sleep 9001", order)).outcomes == ()


@pytest.mark.parametrize("order", ORDERS)
def test_the_old_one_comes_back_when_the_new_one_exits(world: World, order: str) -> None:
    world.apply(web("sleep 9000", order))
    report = world.apply(web("sh -c exit\\u00203", order))

    assert report.exit_code == 1
    (error,) = report.errors()
    assert "exited with code 3" in error.problem
    assert "the old container is back" in error.problem
    assert world.names() == ["shop-web-1"]
    assert world.command("shop-web-1") == ("sleep", "9000")
    assert world.driver.inspect("shop-web-1").state == "running"


def test_the_report_keeps_the_last_words_of_the_one_that_was_removed(world: World) -> None:
    world.apply(web("sleep 9000"))
    world.engine.programs["shop-web-1.new"] = Program(exits_after=0.0, exit_code=2, output=("bad option",))
    (error,) = world.apply(web("sleep 9001")).errors()

    assert getattr(error, "output", "") == "bad option"


def test_an_old_one_that_did_not_run_is_not_started_again(world: World) -> None:
    world.apply(web("sleep 9000"))
    world.engine.stop("shop-web-1")
    world.apply(web("sh -c exit\\u00203"))

    assert world.names() == ["shop-web-1"]
    assert world.driver.inspect("shop-web-1").state == "exited"


def test_replicas_are_replaced_one_after_the_other_and_the_first_failure_ends_it(world: World) -> None:
    world.apply(web("sleep 9000", more="replicas: 3"))
    report = world.apply(web("sh -c exit\\u00203", more="replicas: 3"))

    assert [out.state for out in report.outcomes] == ["failed", "skipped", "skipped"]
    assert {world.command(name) for name in world.names()} == {("sleep", "9000")}


def test_a_pause_is_kept_between_replicas(world: World) -> None:
    slow = web("sleep 9000", more="replicas: 2").replace("monitor: 1ms", "delay: 300ms, monitor: 1ms")
    world.apply(slow)
    report = world.apply(slow.replace("9000", "9001"))

    assert report.done
    assert 0.3 <= report.seconds < 5


@pytest.mark.parametrize("order", ORDERS)
def test_an_interrupted_rollout_goes_back(world: World, order: str) -> None:
    world.apply(web("sleep 9000", order))
    stop = Stop()

    def interrupt(call: str) -> None:
        if call.startswith("after StartContainer"):
            stop.request(Interrupted("", "interrupted by Ctrl-C"))

    world.engine.hook = interrupt
    report = world.apply(web("sleep 9001", order).replace("monitor: 1ms", "monitor: 5s"), stop=stop)

    assert report.exit_code == 130
    assert [out.state for out in report.outcomes] == ["interrupted"]
    assert world.names() == ["shop-web-1"]
    assert world.command("shop-web-1") == ("sleep", "9000")


def test_what_cannot_be_undone_is_said(world: World) -> None:
    world.apply(web("sleep 9000"))
    begun = False

    def broken(call: str) -> None:
        nonlocal begun
        begun = begun or call.startswith("after RenameContainer")
        if begun and call.startswith("before"):
            raise Conflict("container shop-web-1", "name is taken")

    world.engine.hook = broken
    (error,) = world.apply(web("sleep 9001")).errors()

    assert "could not be brought back" in error.problem
    world.engine.hook = lambda _: None
    assert world.apply(web("sleep 9001")).done
    assert world.names() == ["shop-web-1"]


# ---- crashes


class Killed(BaseException):
    """The process is gone: nothing after this call reaches the engine."""


def calls_of(world: World, text: str) -> list[str]:
    """Apply, and give every change that was made."""
    seen: list[str] = []
    world.engine.hook = seen.append
    assert world.apply(text).done
    return seen


def killed_at(number: int) -> Callable[[str], None]:
    """Give a hook that kills at the n-th hook call, and forever after."""
    count = 0

    def hook(call: str) -> None:
        nonlocal count
        count += 1
        if count > number:
            raise Killed(call)

    return hook


OLD = web("sleep 9000", "ORDER", more="volumes: [data:/data];depends_on: {db: {condition: healthy}}") + container("db")
NEW = OLD.replace("9000", "9001") + job("migrate", "true", more="depends_on: {db: {condition: healthy}}")
VOLUME = "---\napiVersion: declarative/v1\nkind: Volume\nmetadata: {name: data}\nspec: {}\n"


@pytest.mark.parametrize("order", ORDERS)
def test_a_kill_at_every_call_of_a_replacement_converges(tmp_path: Path, order: str) -> None:
    old, new = (text.replace("ORDER", order) + VOLUME for text in (OLD, NEW))
    dry = World(folder=tmp_path)
    dry.apply(old)
    total = len(calls_of(dry, new))
    assert total > 20

    for number in range(total):
        world = World(folder=tmp_path)
        world.apply(old)
        world.engine.hook = killed_at(number)
        with pytest.raises(Killed):
            world.apply(new)
        world.engine.hook = lambda _: None
        world.engine.locks.clear()  # its holder is dead
        assert served(world), f"killed at {number}: no container serves and none can"
        report = world.apply(new)
        assert report.done, (number, report.errors())
        assert world.names() == dry.names(), number
        assert world.command("shop-web-1") == ("sleep", "9001"), number
        assert world.driver.inspect("shop-web-1").state == "running", number
        assert set(world.engine.volumes) == set(dry.engine.volumes), number
        assert world.apply(new).outcomes == (), number


@pytest.mark.parametrize("order", ORDERS)
def test_a_kill_at_every_call_and_then_yet_another_manifest_converges(tmp_path: Path, order: str) -> None:
    """The worst case: the half-done replacement is not what the next apply wants."""
    first, second, third = (web(f"sleep {number}", order) for number in (9000, 9001, 9002))
    dry = World(folder=tmp_path)
    dry.apply(first)
    total = len(calls_of(dry, second))

    for number in range(total):
        world = World(folder=tmp_path)
        world.apply(first)
        world.engine.hook = killed_at(number)
        with pytest.raises(Killed):
            world.apply(second)
        world.engine.hook = lambda _: None
        world.engine.locks.clear()
        report = world.apply(third)
        assert report.done, (number, report.errors())
        assert world.names() == ["shop-web-1"], number
        assert world.command("shop-web-1") == ("sleep", "9002"), number
        assert world.apply(third).outcomes == (), number


def test_a_killed_replacement_that_is_no_good_lets_the_old_one_come_back(world: World) -> None:
    world.apply(web("sleep 9000"))
    world.engine.hook = killed_after("RenameContainer shop-web-1.new")
    with pytest.raises(Killed):
        world.apply(web("sh -c exit\\u00203"))
    world.engine.hook = lambda _: None
    world.engine.locks.clear()
    assert world.names() == ["shop-web-1", "shop-web-1.old"]
    report = world.apply(web("sh -c exit\\u00203"))

    assert "the old container is back" in str(report.errors()[0])
    assert world.names() == ["shop-web-1"]
    assert world.command("shop-web-1") == ("sleep", "9000")
    assert world.driver.inspect("shop-web-1").state == "running"


def killed_after(call: str) -> Callable[[str], None]:
    """Give a hook that kills after this call."""
    dead = False

    def hook(now: str) -> None:
        nonlocal dead
        dead = dead or now == f"after {call}"
        if dead:
            raise Killed(now)

    return hook


def served(world: World) -> bool:
    """Whether a container with a known good program is there under one of the three names."""
    names = {name for name in world.names() if name.startswith("shop-web-1")}
    return any(world.command(name) in {("sleep", "9000"), ("sleep", "9001")} for name in names)


def test_an_error_of_the_way_back_keeps_its_kind(world: World) -> None:
    world.apply(web("sleep 9000"))

    def taken(call: str) -> None:
        if call.startswith("before StartContainer"):
            raise Conflict("container shop-web-1", "port 80 is already taken", "free it")

    world.engine.hook = taken
    (error,) = world.apply(web("sleep 9001")).errors()

    assert isinstance(error, DeclarativeError)
    assert isinstance(error, Conflict)
    assert "port 80" in error.problem


@pytest.mark.parametrize(("stated", "made", "replaced"), [("", 0.1, 1.0), ("monitor: 3s, ", 3.0, 3.0)])
def test_who_takes_a_place_over_is_watched_longer_unless_the_manifest_says_how_long(
    world: World, stated: str, made: float, replaced: float
) -> None:
    text = container("web").replace("monitor: 1ms, ", stated)
    *_, wait = world.look(text)[0].steps
    world.apply(container("web"))
    changed = container("web", "sleep 9001").replace("monitor: 1ms, ", stated)
    (replace_,) = world.look(changed)[0].steps
    script = script_of(replace_, world.driver, "shop")
    moves: list[Move] = []
    with suppress(StopIteration):
        moves.append(next(script))
        while not isinstance(moves[-1], Wait):
            moves.append(script.send({} if isinstance(moves[-1], Ask) else None))

    assert [item.monitor / 1e9 for item in wait.awaits] == [made]
    assert isinstance(moves[-1], Wait)
    assert [item.monitor / 1e9 for item in moves[-1].awaits] == [replaced]


@pytest.mark.parametrize("suffix", [".new", ".old"])
def test_somebody_elses_container_of_such_a_name_is_not_taken_for_a_leftover(world: World, suffix: str) -> None:
    world.apply(web("sleep 9000"))
    spec = world.engine.containers["shop-web-1"].spec
    world.engine.create(f"shop-web-1{suffix}", spec, {}, None, None)

    with pytest.raises(Refused, match=f"the name 'shop-web-1{suffix}'"):
        world.look(web("sleep 9001"))
    assert world.look(web("sleep 9000"))[0].steps == ()


@pytest.mark.parametrize("suffix", [".new", ".old"])
@pytest.mark.parametrize("moment", ["before CreateContainer shop-db-1", "before CreateContainer shop-web-1.new"])
def test_somebody_elses_container_that_comes_after_the_plan_stays_too(world: World, suffix: str, moment: str) -> None:
    world.apply(web("sleep 9000"))
    spec = world.engine.containers["shop-web-1"].spec

    def come(call: str) -> None:
        if call.startswith(moment) and f"shop-web-1{suffix}" not in world.engine.containers:
            world.engine.create(f"shop-web-1{suffix}", spec, {}, None, None)

    world.engine.hook = come
    (error,) = world.apply(web("sleep 9001", more="depends_on: [db]") + container("db")).errors()
    assert isinstance(error, Conflict)
    assert world.names() == ["shop-db-1", "shop-web-1", f"shop-web-1{suffix}"]
    assert world.command("shop-web-1") == ("sleep", "9000")
    assert world.driver.inspect("shop-web-1").state == "running"


def test_who_was_stopped_for_a_swap_of_ports_runs_again_when_that_fails(world: World) -> None:
    def swap(first: int, second: int, command: str = "sleep 9000") -> str:
        one = container("a", command, f"ports: ['{first}:80']")
        return one + container("b", more=f"ports: ['{second}:80']")

    world.apply(swap(8080, 8081))
    report = world.apply(swap(8081, 8080, "sh -c exit\\u00203"))

    assert report.exit_code == 1
    assert [str(world.engine.box(name).spec.ports[0]) for name in world.names()] == ["8080:80/tcp", "8081:80/tcp"]
    assert [world.driver.inspect(name).state for name in world.names()] == ["running", "running"]
    assert world.look(swap(8080, 8081))[0].in_sync
    assert world.apply(swap(8081, 8080)).done
    assert [str(world.engine.box(name).spec.ports[0]) for name in world.names()] == ["8081:80/tcp", "8080:80/tcp"]


@pytest.mark.parametrize("order", ORDERS)
def test_an_adopted_container_comes_back_too(world: World, order: str) -> None:
    world.apply(container("db"))
    world.engine.create("shop-web-1", world.engine.containers["shop-db-1"].spec, {}, None, None)
    world.engine.start("shop-web-1")
    text = container("db") + web("sh -c exit\\u00203", order)

    report = world.apply(text, adopt=frozenset({"Container/web"}))
    assert report.exit_code == 1
    assert world.names() == ["shop-db-1", "shop-web-1"]
    state = world.driver.inspect("shop-web-1")
    assert (state.owner, state.state, state.spec.command) == (None, "running", ("sleep", "9000"))
