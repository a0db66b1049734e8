"""How a plan is walked: order, parallelism, failures and what follows from them, stops."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from declarative.apply import calls, retry
from declarative.apply.events import Outcome, StepEnded, StepStarted, Stopping
from declarative.apply.run import apply
from declarative.apply.stop import Stop
from declarative.core.actions import CreateContainer, StartContainer, StopContainer
from declarative.drivers.memory import MemoryDriver
from declarative.drivers.memory.life import Program
from declarative.errors import Failed, Interrupted, LockHeld, Unavailable
from declarative.record import replace
from tests.unit.apply.world import QUICK, container, job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from declarative.apply.report import Report
    from declarative.core.actions import Action
    from declarative.drivers.port import Observed, Progress
    from tests.unit.apply.world import World


def outcomes(report: Report) -> dict[str, str]:
    return {f"{out.step.verb} {out.step.name}": out.state for out in report.outcomes}


def failed(report: Report) -> Outcome:
    (found,) = report.failures
    return found


def test_everything_is_done_and_the_second_apply_does_nothing(world: World) -> None:
    text = container("web", more="replicas: 3") + container("db")
    report = world.apply(text)

    assert report.done
    assert report.exit_code == 0
    assert world.names() == ["shop-db-1", "shop-web-1", "shop-web-2", "shop-web-3"]
    assert world.apply(text).outcomes == ()


def test_a_step_starts_only_after_all_it_needs_has_ended(world: World) -> None:
    text = container("web", more="depends_on: {db: {condition: healthy}}") + container("db") + job("seed", "true")
    world.apply(text)
    ended: set[int] = set()
    for event in world.events:
        if isinstance(event, StepStarted):
            assert set(event.step.needs) <= ended, event.step
        if isinstance(event, StepEnded):
            ended.add(event.outcome.step.id)


def test_at_most_parallelism_actions_run_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()
    execute = MemoryDriver.execute

    def slow(self: MemoryDriver, action: Action, progress: Callable[[Progress], None]) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        execute(self, action, progress)
        with lock:
            running -= 1

    monkeypatch.setattr(MemoryDriver, "execute", slow)

    assert world.apply(container("web", more="replicas: 12"), parallelism=3).done
    assert most == 3


@pytest.mark.parametrize(("processors", "at_once"), [(1, 4), (2, 8), (64, 12), (0, 8)])
def test_the_engine_s_processors_bound_how_many_containers_start_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, processors: int, at_once: int
) -> None:
    world.engine.processors = processors
    expected: dict[type, int] = {StartContainer: at_once, CreateContainer: 12}
    running: Counter[type] = Counter()
    most: Counter[type] = Counter()
    more = threading.Condition()
    execute = MemoryDriver.execute

    def slow(self: MemoryDriver, action: Action, progress: Callable[[Progress], None]) -> None:
        kind = type(action)
        with more:
            running[kind] += 1
            most[kind] = max(most[kind], running[kind])
            more.notify_all()
            more.wait_for(lambda: most[kind] >= expected.get(kind, 0), 10)  # a busy machine takes its time
        time.sleep(0.05)  # for one too many to come
        execute(self, action, progress)
        with more:
            running[kind] -= 1

    monkeypatch.setattr(MemoryDriver, "execute", slow)

    assert world.apply(container("web", more="replicas: 24"), parallelism=12).done
    assert {kind: most[kind] for kind in expected} == expected


def test_what_is_removed_is_stopped_first_and_nobody_waits_for_that(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply(container("web", more="replicas: 12"))
    made: list[tuple[str, str]] = []
    together = threading.Barrier(11)  # all eleven stop at the same time, though two steps at most may be busy
    execute = MemoryDriver.execute

    def watched(self: MemoryDriver, action: Action, progress: Callable[[Progress], None]) -> None:
        made.append((type(action).__name__, getattr(action, "name", "")))
        if isinstance(action, StopContainer):
            together.wait(10)
        execute(self, action, progress)

    monkeypatch.setattr(MemoryDriver, "execute", watched)

    assert world.apply(container("web"), parallelism=2, allow_deletes=11).done
    assert world.names() == ["shop-web-1"]
    for number in range(2, 13):
        name = f"shop-web-{number}"
        assert [verb for verb, whose in made if whose == name] == ["StopContainer", "RemoveContainer"]


def test_a_dependant_of_a_failed_step_never_runs_and_names_it(world: World) -> None:
    world.engine.programs["shop-db-1"] = Program(exits_after=0.0, exit_code=7, output=("no disk",))
    report = world.apply(
        container("web", more="depends_on: {db: {condition: healthy}}") + container("db") + container("other")
    )

    assert report.exit_code == 1
    assert outcomes(report)["create shop-web-1"] == "skipped"
    assert outcomes(report)["create shop-other-1"] == "done"
    skipped = next(out for out in report.outcomes if out.step.name == "shop-web-1")
    assert skipped.because == failed(report).step.id
    assert world.names() == ["shop-db-1", "shop-other-1"]


def test_an_exit_says_its_code_and_its_last_words(world: World) -> None:
    world.engine.programs["shop-db-1"] = Program(exits_after=0.0, exit_code=7, output=("no disk",))
    error = failed(world.apply(container("db"))).error

    assert isinstance(error, Failed)
    assert "exited with code 7" in error.problem
    assert error.output == "no disk"
    assert error.place


def test_a_health_check_that_fails_is_a_failure_at_once(world: World) -> None:
    world.engine.programs["shop-db-1"] = Program(healthy_after=None, unhealthy_after=0.05)
    begun = time.monotonic()
    report = world.apply(container("db", more="healthcheck: {test: [CMD, ok]}"))

    assert "health check fails" in failed(report).error.problem  # type: ignore[union-attr]
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (Program(exits_after=0.6, exit_code=3, output=("no licence",)), "it exited with code 3"),
        (Program(unhealthy_after=0.6), "its health check fails"),
    ],
)
def test_what_got_ready_and_failed_before_the_apply_ended_is_no_success(
    world: World, program: Program, why: str
) -> None:
    world.engine.programs["shop-db-1"] = program
    world.engine.programs["shop-web-1"] = Program(healthy_after=1.2)
    checked = "healthcheck: {test: [CMD, ok]}"
    report = world.apply(container("db", more=checked) + container("web", more=checked) + container("other"))

    assert {name: state for name, state in outcomes(report).items() if state != "done"} == {"wait db": "failed"}
    assert f"it was ready, but did not stay so: {why}" in failed(report).error.problem  # type: ignore[union-attr]
    assert report.exit_code == 1
    assert report.revision == 0  # nothing to go back to


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
def test_a_replica_that_fails_while_the_next_ones_are_replaced_is_no_success(world: World, order: str) -> None:
    def web(seconds: str) -> str:
        update = f"update: {{order: {order}, monitor: 1ms, delay: 500ms}}"
        return container("web", f"sleep {seconds}", more=f"replicas: 3; {update}").replace(QUICK, "")

    world.apply(web("9000"))
    report = world.apply(web("0.6"))

    assert outcomes(report)["replace shop-web-1"] == "failed"
    assert "it was ready, but did not stay so: it exited" in failed(report).error.problem  # type: ignore[union-attr]
    assert report.exit_code == 1


def test_what_ended_as_it_should_and_what_was_renamed_is_no_failure_at_the_last_look(world: World) -> None:
    world.apply(container("web", "sleep 9000"))
    world.engine.programs["shop-seed-1"] = Program(exits_after=0.0)
    world.engine.programs["shop-db-1"] = Program(healthy_after=0.4)
    report = world.apply(
        container("web", "sleep 9001", more="update: {order: start-first, monitor: 1ms}").replace(QUICK, "")
        + job("seed", "true")
        + container("db", more="healthcheck: {test: [CMD, ok]}")
    )

    assert report.done


def test_a_deadline_names_what_is_not_ready(world: World) -> None:
    world.engine.programs["shop-db-1"] = Program(healthy_after=None)
    text = container("db", more="healthcheck: {test: [CMD, ok]}").replace("deadline: 5s", "deadline: 200ms")
    error = failed(world.apply(text)).error

    assert error is not None
    assert "not ready after 0.2 s" in error.problem
    assert "shop-db-1" in error.problem


def test_a_failed_job_stops_what_needs_it(world: World) -> None:
    report = world.apply(job("seed", "false") + container("web", more="depends_on: {seed: {condition: completed}}"))

    assert "exited with code 1" in failed(report).error.problem  # type: ignore[union-attr]
    assert world.names() == ["shop-seed-1"]


def test_no_proper_answer_is_tried_again(world: World) -> None:
    tries = 0

    def flaky(call: str) -> None:
        nonlocal tries
        if call.startswith("before") and call.endswith("shop-web-1"):
            tries += 1
            if tries < 3:
                raise Unavailable("engine", "connection reset")

    world.engine.hook = flaky
    assert world.apply(container("web")).done
    assert tries >= 3


def test_failures_on_their_merits_are_not_tried_again(world: World) -> None:
    tries = 0

    def broken(call: str) -> None:
        nonlocal tries
        if call.startswith("before") and call.endswith("shop-web-1"):
            tries += 1
            raise Failed("container shop-web-1", "no such program")

    world.engine.hook = broken
    report = world.apply(container("web"))

    assert tries == 1
    assert failed(report).error.problem == "no such program"  # type: ignore[union-attr]


def test_an_engine_that_is_gone_ends_everything(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(call: str) -> None:
        if call.endswith("shop-a-1"):
            raise Unavailable("memory", "connection refused")

    def silent(self: MemoryDriver, stack: str, names: Sequence[str]) -> Mapping[str, Observed]:
        del self, stack, names
        raise Unavailable("memory", "connection refused")

    world.engine.hook = gone
    monkeypatch.setattr(MemoryDriver, "observe", silent)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    report = world.apply("".join(container(name) for name in "abcdefgh"), parallelism=1)

    assert report.exit_code == 1
    assert "does not answer any more" in str(report.errors()[-1])
    assert sum(out.state == "skipped" for out in report.outcomes) > 5


def test_what_was_just_started_is_looked_at_when_its_watch_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe, looks = MemoryDriver.observe, []

    def counted(self: MemoryDriver, stack: str, names: Sequence[str]) -> Mapping[str, Observed]:
        looks.append(list(names))
        return observe(self, stack, names)

    monkeypatch.setattr(MemoryDriver, "observe", counted)
    report = world.apply(container("web").replace("1ms", "200ms"))

    assert report.done
    assert looks == [["shop-web-1"]]
    assert report.seconds > 0.2


# ---- stopping


def test_a_stop_starts_nothing_new_and_lets_running_steps_end(world: World) -> None:
    stop = Stop()

    def interrupt(call: str) -> None:
        if call.startswith("after") and call.endswith("shop-db-1"):
            stop.request(Interrupted("", "interrupted by Ctrl-C"))

    world.engine.hook = interrupt
    report = world.apply(
        container("web", more="depends_on: {db: {condition: healthy}}") + container("db"), stop=stop, parallelism=1
    )

    assert report.exit_code == 130
    assert outcomes(report)["create shop-db-1"] == "done"  # created and started: short actions run to their end
    assert outcomes(report)["create shop-web-1"] == "skipped"
    assert world.names() == ["shop-db-1"]
    assert world.engine.locks == {}
    world.engine.hook = lambda _: None
    assert world.apply(container("web", more="depends_on: {db: {condition: healthy}}") + container("db")).done


def test_a_stop_ends_waiting_at_once(world: World) -> None:
    stop = Stop()
    world.engine.programs["shop-db-1"] = Program(healthy_after=None)
    timer = threading.Timer(0.3, lambda: stop.request(Interrupted("", "interrupted")))
    timer.start()
    begun = time.monotonic()
    report = world.apply(container("db", more="healthcheck: {test: [CMD, ok]}"), stop=stop)
    timer.join()

    assert report.exit_code == 130
    assert time.monotonic() - begun < 2
    assert outcomes(report)["wait db"] == "interrupted"


def test_a_stop_is_heard_though_its_wake_up_is_lost(world: World) -> None:
    """A signal between the last look at signals and the wait that follows wakes nobody: its handler runs after the wait."""
    stop = Stop()
    heard: list[float] = []

    def interrupt(call: str) -> None:
        if call == "before CreateContainer shop-db-1":
            stop.error = Interrupted("", "interrupted by Ctrl-C")
            end = time.monotonic() + 5
            while not heard and time.monotonic() < end:
                time.sleep(0.01)

    def tell(event: object) -> None:
        if isinstance(event, Stopping):
            heard.append(time.monotonic())

    begun = time.monotonic()
    world.engine.hook = interrupt
    apply(world.load(container("db")).desired, world.driver, replace(world.options(), stop=stop, tell=tell))
    assert heard[0] - begun < 2


def test_a_builder_that_hears_ctrl_c_too_was_interrupted_and_did_not_fail(world: World) -> None:
    stop = Stop()

    def cut(call: str) -> None:
        if call.startswith("before PullImage"):
            stop.request(Interrupted("", "interrupted by Ctrl-C"))
            raise Failed("image nginx", "signal: interrupt")

    world.engine.hook = cut
    report = world.apply(container("web").replace("image: busybox", "image: nginx"), stop=stop)

    assert report.exit_code == 130
    assert [out.state for out in report.outcomes if out.step.verb == "pull"] == ["interrupted"]


def test_a_lost_lock_stops_everything_and_undoes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "CHECK_SECONDS", 0.0)

    def steal(call: str) -> None:
        if call.startswith("after") and call.endswith("shop-db-1"):
            world.engine.locks["shop"] = {"nonce": "somebody else"}

    world.engine.hook = steal
    report = world.apply(container("db") + container("web", more="depends_on: {db: {condition: healthy}}"))

    assert isinstance(report.stopped, LockHeld)
    assert report.exit_code == 4
    assert world.names() == ["shop-db-1"]
    assert world.engine.locks["shop"]["nonce"] == "somebody else"


def test_a_fault_of_ours_is_raised_after_the_others_have_ended(world: World) -> None:
    def bug(call: str) -> None:
        if call.startswith("before") and call.endswith("shop-db-1"):
            message = "a bug"
            raise ZeroDivisionError(message)

    world.engine.hook = bug
    with pytest.raises(ZeroDivisionError):
        world.apply(container("db") + container("web"))
    assert world.engine.locks == {}
