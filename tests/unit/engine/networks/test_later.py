"""Work that can wait: done once, in time, and never lost."""

from __future__ import annotations

import threading

from declarative.engine.networks.later import Later


def test_it_is_done_when_it_is_due() -> None:
    done = threading.Event()
    later = Later(lambda _name, _error: None)
    later.put("far", 1000, lambda: None)
    later.put("near", 0.01, done.set)
    assert done.wait(10)
    later.close()


def test_the_last_of_a_name_counts_and_can_be_taken_back() -> None:
    done: list[str] = []
    later = Later(lambda _name, _error: None)
    later.put("a", 1000, lambda: done.append("first"))
    later.put("a", 1000, lambda: done.append("second"))
    later.put("b", 1000, lambda: done.append("third"))
    assert later.cancel("b")
    assert not later.cancel("b")
    later.close()
    assert done == ["second"]


def test_closing_does_what_is_left_whatever_fails() -> None:
    done: list[str] = []
    told: list[str] = []
    later = Later(lambda name, error: told.append(f"{name}: {error}"))

    def fail() -> None:
        raise OSError("no")

    later.put("bad", 1000, fail)
    later.put("good", 1000, lambda: done.append("good"))
    later.put("more", 1000, lambda: later.put("added", 1000, lambda: done.append("added")))
    later.close()
    assert (sorted(done), told) == (["added", "good"], ["bad: no"])


def test_a_failure_does_not_stop_the_rest() -> None:
    done = threading.Event()
    told: list[str] = []
    later = Later(lambda name, _: told.append(name))

    def fail() -> None:
        raise ValueError

    later.put("bad", 0, fail)
    later.put("good", 0.05, done.set)
    assert done.wait(10)
    later.close()
    assert told == ["bad"]
