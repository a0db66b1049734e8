"""Building numbered things that depend on smaller ones; and how they speak."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from declarative.engine.build.output import Console, Message, Text, Voice
from declarative.engine.build.solver import Solver, Stop
from declarative.errors import Failed, Interrupted


def test_each_is_done_once_and_sees_what_it_needs() -> None:
    done = Solver([3, 1, 2], lambda number, own: number + (own.result(number - 1) if number > 1 else 0), Stop()).run()

    assert done == {1: 1, 2: 3, 3: 6}


def test_independent_ones_are_worked_on_at_the_same_time() -> None:
    met = threading.Barrier(2, timeout=60)

    Solver([0, 1], lambda number, own: met.wait(), Stop()).run()  # noqa: ARG005 - each waits for the other


def test_the_first_failure_is_raised_and_stops_the_rest() -> None:
    begun: list[int] = []

    def work(number: int, own: Solver[int]) -> int:
        begun.append(number)
        if number == 0:
            raise Failed("", "zero")
        return own.result(0)

    stop = Stop()
    with pytest.raises(Failed, match="zero"):
        Solver(list(range(20)), work, stop, workers=2).run()

    assert stop
    assert len(begun) < 20


def test_an_error_that_is_none_of_ours_is_not_hidden_by_those_that_follow_from_it() -> None:
    def work(number: int, own: Solver[int]) -> int:
        if number == 1:
            raise ZeroDivisionError
        return own.result(1) if number == 2 else 0

    with pytest.raises(ZeroDivisionError):
        Solver([0, 1, 2], work, Stop()).run()


def test_stopped_from_outside_whoever_waits_is_let_go() -> None:
    stop = Stop()
    waits = threading.Event()

    def work(number: int, own: Solver[int]) -> int:
        if number == 0:
            waits.wait(60)
            stop.set()
            own.result(5)
        waits.set()
        return own.result(0)

    with pytest.raises(Interrupted):
        Solver([0, 1], work, stop).run()


def test_whoever_has_gone_is_noticed_when_work_asks() -> None:
    now = [0.0]
    gone = [False]
    stop = Stop(lambda: gone[0], lambda: now[0])

    assert not stop
    gone[0] = True
    assert not stop  # asked just now
    now[0] = 1.0
    with pytest.raises(Interrupted, match="Build cancelled"):
        stop.check()


@settings(max_examples=50)
@given(st.lists(st.integers(min_value=0, max_value=20), min_size=1, max_size=12), st.integers(min_value=1, max_value=5))
def test_no_graph_of_smaller_numbers_gets_stuck(links: list[int], workers: int) -> None:
    def work(number: int, own: Solver[int]) -> int:
        return 1 + (own.result(links[number]) if links[number] < number else 0)

    assert set(Solver(range(len(links)), work, Stop(), workers).run()) == set(range(len(links)))


def heard(messages: list[Message]) -> str:
    return "".join(message.text for message in messages if isinstance(message, Text))


def test_a_later_speaker_waits_for_its_turn() -> None:
    told: list[Message] = []
    console = Console(told.append, [0, 2], lambda: False)
    console.say(2, Text(text="c"))
    console.say(0, Text(text="a"))
    assert heard(told) == "a"

    console.finish(0)
    assert heard(told) == "ac"

    console.say(2, Text(text="d"))
    assert heard(told) == "acd"


def test_one_that_ends_before_its_turn_is_heard_in_its_turn() -> None:
    told: list[Message] = []
    console = Console(told.append, [0, 1, 2], lambda: False)
    console.say(1, Text(text="b"))
    console.finish(1)
    console.say(2, Text(text="c"))
    assert heard(told) == ""

    console.finish(0)
    assert heard(told) == "bc"


def test_after_a_failure_those_before_it_are_heard_and_it_is_the_last() -> None:
    told: list[Message] = []
    console = Console(told.append, [0, 1, 2], lambda: False)
    console.say(0, Text(text="a"))
    console.say(2, Text(text="c"))
    console.say(1, Text(text="b!"))
    console.fail(1)
    console.say(0, Text(text="late"))
    console.finish(2)

    assert heard(told) == "ab!"


def test_one_with_much_to_say_waits_until_it_is_heard() -> None:
    told: list[Message] = []
    console = Console(told.append, [0, 1], lambda: False)
    said: list[int] = []

    def chatter() -> None:
        for number in range(12):
            console.say(1, Text(text="x" * (1 << 20)))
            said.append(number)

    thread = threading.Thread(target=chatter)
    thread.start()
    thread.join(0.5)
    assert len(said) < 12

    console.finish(0)
    thread.join(60)
    assert len(heard(told)) == 12 << 20


def test_a_command_speaks_in_whole_characters_and_errors_are_red() -> None:
    told: list[Message] = []
    voice = Voice(told.append, 3)
    voice.step(2, "RUN x")
    voice.out("ü".encode()[:1])
    voice.out("ü".encode()[1:])
    voice.err(b"no\n")
    voice.out(b"\xff")
    voice.out("ü".encode()[:1])
    voice.ended()

    assert heard(told) == "Step 2/3 : RUN x\nü\x1b[91mno\n\x1b[0m��"
