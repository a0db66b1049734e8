"""The law of crashes, in memory: killed around any change, the next apply ends where an undisturbed one ends.

Nothing is lost, and nothing left behind.

A kill is for good: after it the engine hears no more of that apply, whatever its threads still try, and its lock stays.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from declarative.core.state import SUFFIX_MAKING, SUFFIX_NEW, SUFFIX_OLD
from declarative.drivers.holder import describe
from tests.property.law_worlds import World, difference, end_state
from tests.property.manifest_strategies import Document, stacks
from tests.property.test_laws import law
from tests.unit.planner.handover_scenes import SCENES
from tests.unit.planner.scenes import nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.planner.scenes import Scene

_DEAD = {**describe(user="somebody", command="apply", nonce="dead"), "pid": "2147483647"}  # beyond any pid_max
_REFUSED = "names-and-ports-swapped"
_HANDOVERS = [
    scene for scene in SCENES if scene.since is nothing and not scene.policy.targets and scene.name != _REFUSED
]
_LEFT = (SUFFIX_NEW, SUFFIX_OLD, SUFFIX_MAKING)


class _Killed(BaseException):
    """The process is gone. No handler of ours may catch it."""


class _Killer:
    """The engine's hook: counts, and from event number `at` on answers to nothing."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.events: list[str] = []

    def __call__(self, event: str) -> None:
        self.events.append(event)
        if self.at and len(self.events) >= self.at:
            raise _Killed(event)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="laws-") as name:
        yield Path(name)


@law(12)
@given(before=stacks(), after=stacks())
def test_killed_at_any_change_the_next_apply_converges(
    folder: Path, before: list[Document], after: list[Document]
) -> None:
    _check_every_kill(folder, before, after)


@pytest.mark.parametrize("scene", _HANDOVERS, ids=lambda scene: scene.name)
def test_killed_while_names_ports_and_addresses_change_hands_it_converges(folder: Path, scene: Scene) -> None:
    _check_every_kill(folder, scene.applied[0], scene.now)


def _check_every_kill(folder: Path, before: list[Document] | str, after: list[Document] | str) -> None:
    expected, kept, events = _undisturbed(folder, before, after)
    for at in range(1, events + 1):
        world = _at(folder, before)
        data = _data(world)
        killer = _Killer(at)
        world.engine.hook = killer
        with pytest.raises(_Killed):
            world.apply(after)
        world.engine.hook = lambda _: None
        world.engine.locks["law"] = dict(_DEAD)
        event = killer.events[at - 1]
        try:
            world.converge(after)
            _check(world, expected, {name: data[name] for name in kept})
        except AssertionError as error:
            raise AssertionError(f"killed {event} ({at} of {events}): {error}") from error


@law(4)
@given(before=stacks(), after=stacks())
def test_killed_twice_it_converges_too(folder: Path, before: list[Document], after: list[Document]) -> None:
    expected, kept, events = _undisturbed(folder, before, after)
    for first in range(1, events + 1, 2):
        for second in (2, 5, 9):
            world = _at(folder, before)
            data = _data(world)
            for at in (first, second):
                world.engine.hook = _Killer(at)
                try:
                    world.apply(after)
                except _Killed:
                    world.engine.locks["law"] = dict(_DEAD)
            world.engine.hook = lambda _: None
            world.converge(after)
            _check(world, expected, {name: data[name] for name in kept})


def _undisturbed(
    folder: Path, before: list[Document] | str, after: list[Document] | str
) -> tuple[dict[str, object], list[str], int]:
    """Apply with nobody killing: the end state, the volumes whose data stays, and how many events there are."""
    world = _at(folder, before)
    data = _data(world)
    world.engine.hook = counting = _Killer()
    world.converge(after)
    left = _data(world)
    return end_state(world.engine), [name for name in data if left.get(name) == data[name]], len(counting.events)


def _at(folder: Path, before: list[Document] | str) -> World:
    world = World(folder=folder)
    world.converge(before)
    return world


def _data(world: World) -> dict[str, str]:
    return {name: store.data for name, store in world.engine.volumes.items() if store.owner is not None}


def _check(world: World, expected: dict[str, object], data: dict[str, str]) -> None:
    engine = world.engine
    assert [name for name in engine.containers if name.endswith(_LEFT)] == []
    assert difference(end_state(engine), expected) == {}
    assert {name: engine.volumes[name].data for name in data} == data
