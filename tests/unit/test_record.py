"""A record behaves as a frozen, slotted, keyword-only dataclass does."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest

from declarative.record import FrozenRecordError, defaults_of, field, record, replace


@record
class Pair:
    """Two fields, one of them with a default, one made."""

    left: int
    right: str = "r"
    rest: list[int] = field(default_factory=list)

    def total(self) -> int:
        return self.left + len(self.rest)


@record(order=True, kw_only=False)
class Point:
    x: int
    y: int = 0


@record(frozen=False)
class Counter:
    count: int = 0


def test_fields_are_given_by_name_and_defaults_are_made_anew() -> None:
    one, other = Pair(left=1), Pair(left=1)

    assert (one.left, one.right, one.rest) == (1, "r", [])
    assert one.rest is not other.rest
    assert Pair(left=1, rest=[5]).total() == 2


@pytest.mark.parametrize("values", [{}, {"left": 1, "wrong": 2}])
def test_missing_and_unknown_fields_are_type_errors(values: dict[str, int]) -> None:
    for _ in range(2):  # the first call compiles
        with pytest.raises(TypeError):
            Pair(**values)  # type: ignore[arg-type]


def test_positional_arguments_are_refused_unless_asked_for() -> None:
    with pytest.raises(TypeError):
        Pair(1)  # type: ignore[call-arg]

    assert Point(1, 2) == Point(x=1, y=2)


def test_equality_goes_by_kind_and_values() -> None:
    assert Pair(left=1) == Pair(left=1)
    assert Pair(left=1) != Pair(left=2)
    assert Point(1).__eq__((1, 0)) is NotImplemented
    assert len({Point(1), Point(1), Point(2)}) == 2


def test_frozen_fields_cannot_be_written_or_deleted() -> None:
    point = Point(1)

    with pytest.raises(FrozenRecordError, match=r"Point\.x"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(FrozenRecordError, match=r"Point\.x"):
        del point.x


def test_there_is_no_room_for_other_fields() -> None:
    with pytest.raises(AttributeError):
        Counter().other = 1  # type: ignore[attr-defined]


def test_mutable_records_change_and_have_no_hash() -> None:
    counter = Counter()
    counter.count += 1

    assert counter == Counter(count=1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(counter)


def test_order_is_that_of_the_values() -> None:
    assert sorted([Point(2), Point(1, 5), Point(1)]) == [Point(1), Point(1, 5), Point(2)]
    assert Point(1) <= Point(1) < Point(2) >= Point(2) > Point(1)


def test_replace_copies_with_changes() -> None:
    assert replace(Pair(left=1, right="x"), left=3) == Pair(left=3, right="x")
    with pytest.raises(TypeError):
        replace(Pair(left=1), wrong=1)


def test_copies_and_pickles_are_equal() -> None:
    pair = Pair(left=1, rest=[2])

    assert copy.deepcopy(pair) == pair == copy.copy(pair)
    assert pickle.loads(pickle.dumps(pair)) == pair  # noqa: S301 - our own bytes


@record
class Login:
    name: str
    password: str = field(default="", repr=False)
    seen: dict[str, int] = field(default_factory=dict, hash=False)
    asked: int = field(default=0, compare=False)


def test_fields_can_stay_out_of_printing_hashing_and_comparing() -> None:
    login = Login(name="a", password="p", seen={"x": 1}, asked=1)

    assert repr(login) == "Login(name='a', seen={'x': 1}, asked=1)"
    assert login == Login(name="a", password="p", seen={"x": 1}, asked=2)
    assert login != Login(name="a", password="p")
    assert isinstance(hash(login), int)


def test_it_prints_its_fields() -> None:
    assert repr(Point(1, 2)) == "Point(x=1, y=2)"


def test_defaults_can_be_asked_for() -> None:
    assert defaults_of(Pair) == {"right": "r", "rest": []}


def test_the_standard_decorator_and_what_it_imports_stay_out() -> None:
    text = "import sys, declarative.core.planner; print([m for m in ('dataclasses', 'inspect') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_first_instances_may_be_made_by_many_threads_at_once() -> None:
    """A thread that found the first `__init__` gone raised StopIteration, and an apply waited for it for ever."""
    import sys
    import threading

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    failures: list[BaseException] = []
    try:
        for _ in range(100):

            @record
            class Point:
                x: int
                y: int = 2

            barrier = threading.Barrier(4)

            def make(kind: type[Point] = Point, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                try:
                    assert kind(x=1).y == 2
                except BaseException as error:  # noqa: BLE001 - whatever it is, it is the failure
                    failures.append(error)

            threads = [threading.Thread(target=make) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    assert failures == []
