"""The life of a container: what leads where, when it is started again, when it is probed."""

from __future__ import annotations

import itertools
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.engine.containers import backoff, health
from declarative.engine.containers.config import Config, Healthcheck
from declarative.engine.containers.container import Health, Probe
from declarative.engine.containers.host import RestartPolicy
from declarative.engine.containers.life import ANSWERS, MOVES, Call, Move, Refusal, Status, allowed, move
from declarative.engine.runtime.kernel import age_of
from declarative.errors import Conflict, Failed

_SECOND = 1_000_000_000


# ---- moves and calls


def test_every_state_is_left_somehow() -> None:
    assert {status for status, _ in MOVES} == set(Status)


def test_what_no_table_names_is_an_error_of_ours() -> None:
    for status, what in itertools.product(Status, Move):
        if (status, what) in MOVES:
            assert move(status, what) in Status
        else:
            with pytest.raises(Failed):
                move(status, what)


def test_every_call_has_an_answer_in_every_state() -> None:
    for call, status in itertools.product(Call, Status):
        answer = ANSWERS[call].get(status)
        if isinstance(answer, Refusal):
            with pytest.raises(answer.error) as raised:
                allowed(call, status, id="ID", name="NAME")
            assert "{" not in str(raised.value)
        else:
            assert allowed(call, status, id="ID", name="NAME") == (answer is None)


@pytest.mark.parametrize(
    ("call", "status", "words"),
    [
        (Call.KILL, Status.EXITED, "cannot kill container: web: container ID is not running"),
        (Call.PAUSE, Status.PAUSED, "Container ID is already paused"),
        (Call.PAUSE, Status.EXITED, "container ID is not running"),
        (Call.EXEC, Status.PAUSED, "Container web is paused, unpause the container before exec"),
        (Call.EXEC, Status.RESTARTING, "Container ID is restarting, wait until the container is running"),
        (
            Call.REMOVE,
            Status.RUNNING,
            'cannot remove container "/web": container is running: stop the container before removing or force remove',
        ),
        (Call.REMOVE, Status.PAUSED, 'cannot remove container "/web": container is paused and must be unpaused first'),
        (Call.START, Status.PAUSED, "cannot start a paused container, try unpause instead"),
    ],
)
def test_refusals_are_dockers(call: Call, status: Status, words: str) -> None:
    with pytest.raises(Conflict) as raised:
        allowed(call, status, id="ID", name="web")
    assert str(raised.value) == words


def test_unpausing_what_is_not_paused_is_500_as_in_docker() -> None:
    with pytest.raises(Failed, match="Container ID is not paused"):
        allowed(Call.UNPAUSE, Status.RUNNING, id="ID", name="web")


# ---- restarts


def after(
    policy: str, *, code: int = 1, stopped: bool = False, restarts: int = 0, ran: int = 0, pause: int = 0, most: int = 0
) -> backoff.Verdict:
    return backoff.after_exit(
        RestartPolicy(name=policy, maximum_retry_count=most),
        exit_code=code,
        stopped=stopped,
        restarts=restarts,
        ran=ran,
        last_pause=pause,
    )


def test_who_is_started_again() -> None:
    assert not after("").again
    assert not after("no").again
    assert after("always", code=0).again
    assert after("unless-stopped", code=0).again
    assert not after("on-failure", code=0).again
    assert after("on-failure", code=1).again
    assert after("on-failure", restarts=2, most=3).again
    assert not after("on-failure", restarts=3, most=3).again
    for policy in ("always", "unless-stopped", "on-failure"):
        assert not after(policy, stopped=True).again


def test_pauses_double_up_to_a_minute() -> None:
    pauses, pause = [], 0
    for _ in range(12):
        pause = after("always", pause=pause).pause
        pauses.append(pause / _SECOND)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60]


def test_a_run_of_ten_seconds_begins_anew() -> None:
    assert after("always", pause=_SECOND, ran=10 * _SECOND).pause == backoff.FIRST
    assert after("always", pause=_SECOND, ran=10 * _SECOND - 1).pause == 2 * _SECOND


@given(pause=st.integers(0, 1 << 62), ran=st.integers(-_SECOND, 1 << 62))
def test_no_pause_leaves_its_bounds(pause: int, ran: int) -> None:
    assert (
        backoff.FIRST <= after("always", pause=max(pause, 0), ran=ran).pause <= backoff.LONGEST
        or pause < backoff.FIRST // 2
    )


def test_who_is_started_when_the_machine_comes_back() -> None:
    def boots(policy: str, *, was_up: bool, stopped: bool) -> bool:
        return backoff.at_boot(RestartPolicy(name=policy), was_up=was_up, stopped=stopped)

    assert boots("always", was_up=True, stopped=False)
    assert boots("always", was_up=False, stopped=True)
    assert boots("unless-stopped", was_up=True, stopped=False)
    assert not boots("unless-stopped", was_up=False, stopped=True)
    assert boots("on-failure", was_up=True, stopped=False)
    assert not boots("no", was_up=True, stopped=False)
    assert not boots("", was_up=True, stopped=False)


# ---- health


def plan(**values: int) -> health.Plan:
    found = health.plan_of(Config(healthcheck=Healthcheck(test=("CMD", "x"), **values)))
    assert found is not None
    return found


def test_defaults_are_dockers() -> None:
    found = plan()
    assert (found.interval, found.timeout, found.retries) == (30 * _SECOND, 30 * _SECOND, 3)
    assert (found.start_period, found.start_interval) == (0, 5 * _SECOND)


def test_a_start_interval_that_nobody_gave_is_no_longer_than_the_interval() -> None:
    assert plan(interval=_SECOND, start_period=60 * _SECOND).start_interval == _SECOND
    assert plan(interval=60 * _SECOND, start_period=60 * _SECOND).start_interval == 5 * _SECOND
    assert plan(interval=_SECOND, start_interval=7 * _SECOND).start_interval == 7 * _SECOND


def test_what_is_run() -> None:
    def args(*test: str, by: tuple[str, ...] | None = None) -> tuple[str, ...] | None:
        found = health.plan_of(Config(healthcheck=Healthcheck(test=test), shell=by))
        return found.args if found else None

    assert args("CMD", "a", "b") == ("a", "b")
    assert args("CMD-SHELL", "a b") == ("/bin/sh", "-c", "a b")
    assert args("CMD-SHELL", "a b", by=("/bin/bash", "-ec")) == ("/bin/bash", "-ec", "a b")
    assert args("NONE") is None
    assert args("FOO") is None
    assert health.plan_of(Config()) is None


def probe(start: int, code: int) -> Probe:
    return Probe(start=start * _SECOND, end=start * _SECOND, exit_code=code)


def test_failures_in_a_row_make_unhealthy_and_one_success_heals() -> None:
    rules, found = plan(retries=3), Health()
    states = []
    for second, code in enumerate((1, 1, 0, 1, 1, 1, 0)):
        found = health.after_probe(rules, found, probe(second, code), ran=second * _SECOND)
        states.append((found.status, found.streak))
    assert states == [
        ("starting", 1), ("starting", 2), ("healthy", 0), ("healthy", 1), ("healthy", 2), ("unhealthy", 3), ("healthy", 0),
    ]  # fmt: skip
    assert len(found.log or ()) == 5


def test_the_start_period_shields_until_the_first_success() -> None:
    rules, found = plan(retries=1, start_period=60 * _SECOND), Health()
    found = health.after_probe(rules, found, probe(59, 1), ran=59 * _SECOND)
    assert (found.status, found.streak) == ("starting", 0)
    assert health.after_probe(rules, found, probe(60, 1), ran=60 * _SECOND).status == "unhealthy"
    well = health.after_probe(rules, found, probe(10, 0), ran=10 * _SECOND)
    assert well.status == "healthy"
    assert health.after_probe(rules, well, probe(11, 1), ran=11 * _SECOND).status == "unhealthy"


def test_the_start_interval_counts_while_starting_inside_the_start_period() -> None:
    rules = plan(interval=10 * _SECOND, start_period=60 * _SECOND, start_interval=2 * _SECOND)

    def wait(status: str, ran: int) -> int:
        return health.next_probe(rules, Health(status=status), ran=ran * _SECOND) // _SECOND

    assert (wait("starting", 0), wait("starting", 59), wait("starting", 60)) == (2, 2, 10)
    assert wait("healthy", 5) == 10
    assert health.next_probe(plan(interval=10 * _SECOND), Health(), ran=0) == 10 * _SECOND


def test_how_long_a_container_has_run_is_no_matter_of_the_clock() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        first = age_of(process.pid)
        time.sleep(0.2)
        assert 0 <= first < age_of(process.pid) < 30 * _SECOND
        process.kill()
    assert age_of(process.pid) == 0
