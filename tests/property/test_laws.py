"""The laws of planning and applying, for random valid manifests on the engine in memory.

`DECLARATIVE_LAWS=10` runs ten times as many examples; what CI runs is fixed, so that a failure there is a failure here.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from declarative.apply.manifests import files_of, read_back
from declarative.core import actions as do
from declarative.core.plan_text import plan_text
from declarative.core.planner import plan
from declarative.core.planner.refusal import Refused
from declarative.core.resources import NetworkSpec, VolumeSpec
from declarative.drivers.memory.engine import Net
from declarative.manifest.load import LoadOptions
from tests.property.law_worlds import ALLOWED, World, difference, end_state
from tests.property.manifest_strategies import PLAIN, SECRETS, Document, read, stacks, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from declarative.core.plan import Plan, Step
    from declarative.core.state import Actual

_TIMES = float(os.environ.get("DECLARATIVE_LAWS", "1"))


def law(examples: int) -> settings:
    """Settle how many examples a law gets."""
    return settings(
        max_examples=max(1, int(examples * _TIMES)),
        derandomize=_TIMES == 1,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="laws-") as name:
        yield Path(name)


@law(300)
@given(before=stacks(), after=stacks())
def test_after_any_successful_apply_the_next_plan_is_empty(
    folder: Path, before: list[Document], after: list[Document]
) -> None:
    world = World(folder=folder)
    world.converge(before)
    world.converge(after)


@law(150)
@given(before=stacks(PLAIN), after=stacks(PLAIN))
def test_applying_one_then_another_equals_applying_the_other(
    folder: Path, before: list[Document], after: list[Document]
) -> None:
    both, one = World(folder=folder), World(folder=folder)
    both.converge(before)
    both.converge(after)
    one.converge(after)
    differing = difference(end_state(both.engine), end_state(one.engine))
    differing.pop("anonymous volumes", None)  # a replacement keeps the volumes that the new container does not mount
    assert differing == {}


@law(150)
@given(before=stacks(), after=stacks())
def test_every_plan_is_acyclic_and_creates_before_it_uses(
    folder: Path, before: list[Document], after: list[Document]
) -> None:
    world = World(folder=folder)
    world.converge(before)
    made, actual = world.look(after)
    for number, step in enumerate(made.steps, start=1):
        assert step.id == number
        assert all(need < number for need in step.needs), plan_text(made)
    _check_uses(made, actual)


@law(100)
@given(before=stacks(), after=stacks())
def test_planning_twice_plans_the_same_and_the_engine_is_as_it_was(
    folder: Path, before: list[Document], after: list[Document]
) -> None:
    world = World(folder=folder)
    world.converge(before)
    kept = end_state(world.engine)
    desired = read(text_of(after), folder).desired
    made, actual = world.look(after)
    assert plan(desired, actual, ALLOWED) == made
    assert plan_text(made) == plan_text(plan(desired, actual, ALLOWED))
    assert end_state(world.engine) == kept


@law(100)
@given(documents=stacks(), data=st.data())
def test_no_action_is_ever_planned_on_what_is_foreign(
    folder: Path, documents: list[Document], data: st.DataObject
) -> None:
    world = World(folder=folder)
    other = World(folder=folder, engine=world.engine, stack="other")
    other.converge(data.draw(stacks(PLAIN)) if data.draw(st.booleans()) else [])
    _put_strangers(world, documents, data)
    foreign = _foreign(world)
    kept = {name: value for name, value in end_state(world.engine).items() if name in foreign}
    try:
        made, _ = world.look(documents)
    except Refused:
        assert {n: v for n, v in end_state(world.engine).items() if n in kept} == kept
        return
    touched = {name for step in made.steps for action in _actions(step) for name in _objects(action)}
    assert touched & foreign == set(), plan_text(made)
    world.apply(documents)
    assert {n: v for n, v in end_state(world.engine).items() if n in kept} == kept


@law(100)
@given(documents=stacks())
def test_rendering_what_was_rendered_changes_nothing(folder: Path, documents: list[Document]) -> None:
    loaded = read(text_of(documents), folder)
    files = files_of(loaded)
    again = read_back(files, LoadOptions(working_folder=folder, environ={**SECRETS, "GIVEN": "given"}))
    assert files_of(again) == files
    # what comes back asks for the same: planned on the same engine, it says the same
    actual = World(folder=folder).look(documents)[1]
    assert _bare(plan(again.desired, actual, ALLOWED)) == _bare(plan(loaded.desired, actual, ALLOWED))


@law(100)
@given(before=stacks(), after=stacks())
def test_no_secret_is_in_any_text_or_label(folder: Path, before: list[Document], after: list[Document]) -> None:
    world = World(folder=folder)
    world.converge(before)
    made, _ = world.look(after)
    world.converge(after)
    shown = [plan_text(made), *(repr(box.applied) for box in world.engine.containers.values())]
    shown += [f"{picture.labels} {picture.files}" for picture in world.engine.images.values()]
    for secret in SECRETS.values():
        assert all(secret not in text for text in shown)


# ---- what the laws look at


def _check_uses(made: Plan, actual: Actual) -> None:
    """Check that whatever a step's containers need is there, or made by a step that it comes after."""
    before: dict[int, set[str]] = {}
    for step in made.steps:
        there = {f"image {name}" for name in actual.references} | {f"network {name}" for name in actual.networks}
        there |= {f"volume {name}" for name in actual.volumes} | {f"image {name}" for name in actual.images}
        reached = set().union(*(before[need] for need in step.needs)) if step.needs else set()
        made_here: set[str] = set()
        for action in _actions(step):
            missing = {use for use in _uses(action) if use not in there | reached | made_here}
            assert not missing, f"{step.label} uses {missing}\n{plan_text(made)}"
            made_here |= set(_makes(action))
        before[step.id] = reached | made_here


def _actions(step: Step) -> list[do.Action]:
    actions = list(step.actions)
    return [*actions, step.rollout.create] if step.rollout is not None else actions


def _uses(action: do.Action) -> Iterator[str]:
    match action:
        case do.CreateContainer():
            yield f"image {action.spec.image.reference}"
            yield from (f"network {name}" for name in action.spec.networks)
            yield from (
                f"volume {mount.source}" for mount in action.spec.volumes if mount.type == "volume" and mount.source
            )
        case do.ConnectNetwork():
            yield f"network {action.network}"
        case do.TagImage():
            yield f"image {action.source}"
        case do.PushImage():
            yield f"image {action.reference}"


def _makes(action: do.Action) -> Iterator[str]:
    match action:
        case do.BuildImage() | do.ImportImage() | do.LoadImage():
            yield from (f"image {reference}" for reference in action.references)
        case do.PullImage() | do.TagImage():
            yield f"image {action.reference}"
        case do.CreateNetwork():
            yield f"network {action.name}"
        case do.CreateVolume():
            yield f"volume {action.name}"


def _put_strangers(world: World, documents: list[Document], data: st.DataObject) -> None:
    """Put things there that nobody owns, now and then under names that the stack wants."""
    wanted = [f"law_{made['metadata']['name']}" for made in documents if made["kind"] in {"Network", "Volume"}]
    name = data.draw(st.sampled_from([*wanted, "somebodys"]))
    if data.draw(st.booleans()):
        world.engine.networks[name] = Net(id="stranger", spec=NetworkSpec(driver="bridge"))
    else:
        world.engine.add_volume(name).spec = VolumeSpec(driver="local")


def _foreign(world: World) -> set[str]:
    engine = world.engine
    pools: dict[str, Mapping[str, Any]] = {
        "container": engine.containers,
        "network": engine.networks,
        "volume": engine.volumes,
    }
    return {
        f"{kind} {name}"
        for kind, pool in pools.items()
        for name, item in pool.items()
        if (item.owner is None or item.owner.stack != "law") and name not in {"bridge", "host", "none"}
    }


def _objects(action: do.Action) -> Iterator[str]:
    """Name the containers, networks and volumes that an action changes."""
    match action:
        case do.RenameContainer():
            yield from (f"container {action.name}", f"container {action.to}")
        case do.ConnectNetwork() | do.DisconnectNetwork():
            yield f"container {action.container}"
        case do.CreateContainer() | do.StartContainer() | do.StopContainer() | do.RestartContainer():
            yield f"container {action.name}"
        case do.RemoveContainer() | do.UpdateContainer():
            yield f"container {action.name}"
        case do.CreateNetwork() | do.RemoveNetwork():
            yield f"network {action.name}"
        case do.CreateVolume() | do.RemoveVolume():
            yield f"volume {action.name}"


def _bare(made: Plan) -> list[tuple[object, ...]]:
    return [(step.verb, step.label, step.cause, step.needs, step.actions, step.rollout) for step in made.steps]
