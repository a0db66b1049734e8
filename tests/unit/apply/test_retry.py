"""The one retry policy: what is tried again, how often, and with which pauses."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from declarative.apply.events import Retrying
from declarative.apply.retry import ATTEMPTS, LONGEST_PAUSE, attempt
from declarative.apply.stop import Stop
from declarative.errors import Conflict, DeclarativeError, Failed, Interrupted, LockHeld, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.apply.events import Event


class Patient(Stop):
    """Keeps a list of the pauses instead of sleeping."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def failing(times: int, error: DeclarativeError) -> tuple[Callable[[], str], list[int]]:
    calls: list[int] = []

    def call() -> str:
        calls.append(len(calls) + 1)
        if len(calls) <= times:
            raise error
        return "done"

    return call, calls


def quiet(event: Event) -> None:
    del event


CUT = Unavailable("engine", "connection reset")


def test_what_works_is_done_once() -> None:
    call, calls = failing(0, CUT)

    assert attempt(call, tell=quiet, stop=Stop()) == "done"
    assert calls == [1]


def test_no_proper_answer_is_tried_again_with_growing_pauses_and_told() -> None:
    stop = Patient()
    told: list[Event] = []
    call, calls = failing(3, CUT)

    assert attempt(call, tell=told.append, stop=stop) == "done"
    assert calls == [1, 2, 3, 4]
    assert len(stop.pauses) == 3
    assert all(0 < pause <= LONGEST_PAUSE for pause in stop.pauses)
    assert [event.seconds for event in told if isinstance(event, Retrying)] == stop.pauses


def test_it_ends_and_raises_what_the_last_attempt_raised() -> None:
    call, calls = failing(99, CUT)

    with pytest.raises(Unavailable) as caught:
        attempt(call, tell=quiet, stop=Patient())
    assert caught.value is CUT
    assert len(calls) == ATTEMPTS


@pytest.mark.parametrize(
    "error", [Failed("a", "b"), Conflict("a", "b"), NotFound("a", "b"), LockHeld("a", "b"), Interrupted("a", "b")]
)
def test_answers_are_not_asked_for_again(error: DeclarativeError) -> None:
    call, calls = failing(1, error)

    with pytest.raises(type(error)):
        attempt(call, tell=quiet, stop=Patient())
    assert calls == [1]


def test_the_server_says_when_to_come_back() -> None:
    stop = Patient()
    call, _ = failing(2, Unavailable("registry", "429", retry_after=7.5))

    assert attempt(call, tell=quiet, stop=stop) == "done"
    assert stop.pauses == [7.5, 7.5]


def test_a_server_that_wants_an_hour_is_not_waited_for() -> None:
    call, calls = failing(1, Unavailable("registry", "429", retry_after=3600))

    with pytest.raises(Unavailable):
        attempt(call, tell=quiet, stop=Patient())
    assert calls == [1]


def test_a_stop_ends_it() -> None:
    stop = Patient()
    call, calls = failing(99, CUT)

    def interrupted() -> str:
        if len(calls) == 2:
            stop.request(Interrupted("", "stop"))
        return call()

    with pytest.raises(Unavailable):
        attempt(interrupted, tell=quiet, stop=stop)
    assert len(calls) == 3


def test_the_first_attempt_loads_nothing() -> None:
    code = (
        "import sys\nfrom declarative.apply.retry import attempt\nfrom declarative.apply.stop import Stop\n"
        "attempt(lambda: 1, tell=print, stop=Stop())\nassert 'tenacity' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
