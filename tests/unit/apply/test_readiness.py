"""When a container is ready, by tables of what was seen when."""

from __future__ import annotations

import pytest

from declarative.apply.readiness import Never, NotYet, Ready, Vigil
from declarative.core.plan import Await
from declarative.drivers.port import Observed

SECOND = 1_000_000_000
RUNNING = Observed(state="running", started="t1")
HEALTHY = Observed(state="running", health="healthy", started="t1")
STARTING = Observed(state="running", health="starting", started="t1")
UNHEALTHY = Observed(state="running", health="unhealthy", started="t1")
EXITED = Observed(state="exited", exit_code=3, started="t1")
DONE = Observed(state="exited", exit_code=0, started="t1")
CREATED = Observed(state="created")


def vigil(condition: str = "healthy", *, monitor: float = 0, deadline: float = 0, fresh: bool = False) -> Vigil:
    item = Await(
        name="web",
        condition=condition,  # type: ignore[arg-type]
        monitor=int(monitor * SECOND),
        deadline=int(deadline * SECOND),
    )
    return Vigil(awaits=(item,), begun=0.0, fresh={"web": 0.0} if fresh else {})


@pytest.mark.parametrize(
    ("condition", "seen", "answer"),
    [
        ("started", RUNNING, Ready),
        ("started", STARTING, Ready),
        ("started", UNHEALTHY, Ready),
        ("started", CREATED, NotYet),
        ("started", EXITED, Never),
        ("started", DONE, Never),
        ("healthy", RUNNING, Ready),
        ("healthy", HEALTHY, Ready),
        ("healthy", STARTING, NotYet),
        ("healthy", UNHEALTHY, Never),
        ("healthy", Observed(state="paused"), NotYet),
        ("healthy", Observed(state="restarting", exit_code=1), Never),
        ("healthy", Observed(state="dead", exit_code=1), Never),
        ("completed", RUNNING, NotYet),
        ("completed", DONE, Ready),
        ("completed", EXITED, Never),
        ("completed", CREATED, NotYet),
    ],
)
def test_one_look_is_judged_by_its_condition(condition: str, seen: Observed, answer: type) -> None:
    assert isinstance(vigil(condition).see({"web": seen}, 1.0), answer)


def test_a_container_must_stay_well_for_the_whole_monitor() -> None:
    watch = vigil(monitor=5)

    assert isinstance(watch.see({"web": RUNNING}, 1.0), NotYet)
    assert isinstance(watch.see({"web": RUNNING}, 5.9), NotYet)
    assert isinstance(watch.see({"web": RUNNING}, 6.0), Ready)


def test_the_end_of_the_monitor_is_known_so_that_nobody_looks_too_early() -> None:
    answer = vigil(monitor=5).see({"web": RUNNING}, 1.0)

    assert isinstance(answer, NotYet)
    assert answer.due == 6.0


def test_what_this_apply_started_is_watched_from_its_start_on() -> None:
    watch = vigil(monitor=5, fresh=True)
    answer = watch.see({"web": RUNNING}, 1.0)

    assert isinstance(answer, NotYet)
    assert answer.due == 5.0
    assert isinstance(watch.see({"web": RUNNING}, 5.0), Ready)


def test_the_first_look_at_what_this_apply_started_is_the_one_that_may_end_the_watch() -> None:
    assert vigil(monitor=5, fresh=True).first_look == 5.0
    assert vigil(monitor=5).first_look == 0.0

    both = (Await(name="web", condition="started", monitor=5 * SECOND), Await(name="old", condition="started"))
    assert Vigil(awaits=both, begun=2.0, fresh={"web": 1.0}).first_look == 2.0
    assert Vigil(awaits=both, begun=2.0, fresh={"web": 1.0, "old": 1.5}).first_look == 6.0


def test_a_health_check_begins_the_monitor_when_it_passes() -> None:
    watch = vigil(monitor=5, fresh=True)
    watch.see({"web": STARTING}, 1.0)
    answer = watch.see({"web": HEALTHY}, 2.0)

    assert isinstance(answer, NotYet)
    assert answer.due == 7.0


def test_a_restart_that_somebody_else_made_begins_the_monitor_anew() -> None:
    watch = vigil(monitor=5, fresh=True)
    watch.see({"web": RUNNING}, 1.0)
    answer = watch.see({"web": Observed(state="running", started="t2")}, 3.0)

    assert isinstance(answer, NotYet)
    assert answer.due == 8.0


def test_being_unwell_in_between_begins_the_monitor_anew() -> None:
    watch = vigil(monitor=5)
    watch.see({"web": HEALTHY}, 1.0)
    watch.see({"web": STARTING}, 3.0)
    watch.see({"web": HEALTHY}, 4.0)

    assert isinstance(watch.see({"web": HEALTHY}, 8.0), NotYet)
    assert isinstance(watch.see({"web": HEALTHY}, 9.0), Ready)


def test_an_exit_during_the_monitor_is_a_failure_at_once() -> None:
    watch = vigil(monitor=5)
    watch.see({"web": RUNNING}, 1.0)
    answer = watch.see({"web": EXITED}, 1.1)

    assert isinstance(answer, Never)
    assert "code 3" in answer.why
    assert not answer.timed_out


def test_a_restart_by_the_engine_is_an_exit() -> None:
    watch = vigil(monitor=5)
    watch.see({"web": RUNNING}, 1.0)

    assert isinstance(watch.see({"web": Observed(state="running", started="t2", restarts=1)}, 2.0), Never)


def test_restarts_of_long_ago_count_only_for_what_this_apply_started() -> None:
    restarted = {"web": Observed(state="running", restarts=4)}

    assert isinstance(vigil().see(restarted, 1.0), Ready)
    assert isinstance(vigil(fresh=True).see(restarted, 1.0), Never)


def test_what_is_gone_never_becomes_ready() -> None:
    assert isinstance(vigil().see({}, 1.0), Never)


def test_the_deadline_names_what_is_missing() -> None:
    answer = vigil(deadline=3).see({"web": STARTING}, 3.0)

    assert isinstance(answer, Never)
    assert answer.timed_out
    assert "health check" in answer.why


def test_all_must_be_ready_at_the_same_time() -> None:
    awaits = tuple(Await(name=name, condition="started") for name in ("a", "b"))
    watch = Vigil(awaits=awaits, begun=0.0)

    assert isinstance(watch.see({"a": RUNNING, "b": CREATED}, 1.0), NotYet)
    assert isinstance(watch.see({"a": EXITED, "b": RUNNING}, 2.0), Never)
