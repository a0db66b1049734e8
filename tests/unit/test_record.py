"""A record behaves as a standard dataclass does, however it is asked, and its class costs less to make."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import field
from typing import Any

import pytest

from declarative import record


def _made(decorator: Any, **options: bool) -> Any:
    class Pair:
        """Two fields, one of them with a default, one made."""

        left: int
        right: str = "r"
        rest: list[int] = field(default_factory=list)
        quiet: int = field(default=3, repr=False, compare=False)
        fixed: int = field(default=4, init=False)

        def total(self) -> int:
            return self.left + self.quiet

    return decorator(**options)(Pair)


OPTIONS = [
    {"frozen": True, "slots": True, "kw_only": True},
    {"frozen": True, "slots": True},
    {"slots": True, "kw_only": True},
    {"slots": True},
    {"frozen": True},
    {"frozen": True, "slots": True, "repr": False},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_it_does_what_the_standard_decorator_does(options: dict[str, bool]) -> None:
    ours, theirs = _made(record.dataclass, **options), _made(dataclasses.dataclass, **options)
    assert _behaviour(ours) == _behaviour(theirs)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_first_instance_gives_the_class_a_plain_signature(options: dict[str, bool]) -> None:
    ours, theirs = _made(record.dataclass, **options), _made(dataclasses.dataclass, **options)
    ours(left=1)
    kinds = [
        [(name, parameter.kind) for name, parameter in inspect.signature(cls).parameters.items()]
        for cls in (ours, theirs)
    ]
    assert kinds[0] == kinds[1]


def test_a_copy_and_a_pickle_of_a_frozen_one_are_equal_to_it() -> None:
    one = Kept(name="a", items=(1, 2))
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own bytes


def test_what_it_cannot_do_goes_to_the_standard_decorator() -> None:
    assert Ordered(rank=1) < Ordered(rank=2)
    assert Child(name="a", items=(), age=3).age == 3


def test_no_init_is_compiled_before_the_first_instance() -> None:
    cls = _made(record.dataclass, frozen=True, slots=True, kw_only=True)
    before = cls.__init__
    cls(left=1)
    assert cls.__init__ is not before
    assert cls.__init__.__code__.co_filename == "<string>"


@record.dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    name: str
    items: tuple[int, ...] = ()


@record.dataclass(frozen=True, slots=True, kw_only=True)
class Child(Kept):
    age: int


@record.dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Ordered:
    rank: int


def _behaviour(cls: Any) -> dict[str, Any]:
    """Everything that can be seen of a class and its instances, as text and plain values."""
    one, same, other = cls(left=1), cls(left=1), cls(left=2, right="x", rest=[1], quiet=9)
    return {
        "fields": [(each.name, each.kw_only, each.init) for each in dataclasses.fields(one)],
        "match": cls.__match_args__,
        "equal": (one == same, one == other, one != other, one == 1, one == cls(left=1, quiet=7)),
        "shared": one.rest is same.rest,
        "text": _text(repr(other), other),
        "values": (other.left, other.right, other.rest, other.quiet, other.fixed, other.total()),
        "replaced": dataclasses.replace(one, left=5).left,
        "dict": dataclasses.asdict(other),
        "slots": getattr(cls, "__slots__", None),
        "hash": _outcome(lambda: hash(one) is not None),
        "set": _outcome(lambda: setattr(one, "left", 3)),
        "new": _outcome(lambda: setattr(one, "stranger", 3)) if not hasattr(cls, "__slots__") else None,
        "delete": _outcome(lambda: delattr(same, "left")),
        "missing": _outcome(cls),
        "unknown": _outcome(lambda: cls(left=1, stranger=2)),
        "positional": _outcome(lambda: cls(1).left),
        "initialised": _outcome(lambda: cls(left=1, fixed=2)),
    }


def _text(shown: str, instance: object) -> str:
    return shown.replace(hex(id(instance)), "HERE")


def _outcome(act: Any) -> tuple[str, str]:
    try:
        return ("value", str(act()))
    except (TypeError, AttributeError) as error:
        return (type(error).__name__, str(error))
