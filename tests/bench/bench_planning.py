"""Planning alone: the pure function from 10,000 resources to their steps, and that time grows with their number; reading YAML.

The rule that keeps it simple: no engine is asked; the resources are made here and the clock runs around `plan` or `parse` alone.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from declarative.apply.scope import scope_of
from declarative.core.planner import plan
from declarative.core.resources import (
    Attachment,
    Container,
    ContainerSpec,
    Desired,
    ImageRef,
    Mount,
    Network,
    NetworkSpec,
    Volume,
    VolumeSpec,
)
from declarative.drivers.memory.driver import MemoryDriver
from declarative.drivers.memory.engine import MemoryEngine
from declarative.manifest.sources import Source
from declarative.manifest.yaml_parse import parse
from tests.bench import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from declarative.core.resources import Condition
    from declarative.core.state import Actual
    from tests.bench.harness import Figure
    from tests.engines import Engine

_SIZES = (100, 1_000, 10_000)
_SECONDS_GOAL = 1.0
_GROWTH_GOAL = 1.5  # of the time per resource, from the smallest to the largest: linear, and room for caches that miss
_READING_GOAL = 1.0
_DOCUMENT = "kind: Container\nmetadata:\n  name: web\nspec:\n  image: nginx:1.25\n  ports:\n    - 80:80\n  labels: {A: x}\n---\n"
_DOCUMENTS = 550
_ROUNDS = 5
_STRIDE = 20  # of twenty resources one is a network, one a volume, and the rest are containers


def measure(_engine: Engine, _folder: Path) -> Iterator[Figure]:
    """Yield the time of the largest size, with everything to make and with nothing, and the growth of the time per resource."""
    gc.set_threshold(100_000, 50, 50)  # as `declarative.cli.main` sets it
    for what, actual_for in {"new": _nothing_yet, "unchanged": _all_there}.items():
        times = {size: _seconds(size, actual_for) for size in _SIZES}
        largest, smallest = max(_SIZES), min(_SIZES)
        yield harness.Figure(
            name=f"plan of {largest:,} {what} resources", ours=times[largest], unit="s", goal=_SECONDS_GOAL
        )
        yield harness.Figure(
            name=f"planning time per {what} resource, {largest:,} against {smallest:,}",
            ours=times[largest] / largest * 1e6,
            peer=times[smallest] / smallest * 1e6,
            unit="us",
            goal=_GROWTH_GOAL,
        )
    text = _DOCUMENT * _DOCUMENTS
    manifest = Source(name="a.yaml", text=text, folder=Path())
    yield harness.Figure(
        name=f"reading {text.count(chr(10)):,} lines of YAML, with places, against PyYAML's C loader",
        ours=_best(lambda: parse(manifest)),
        peer=_best(lambda: list(yaml.load_all(text, yaml.CSafeLoader))),
        unit="s",
        goal=_READING_GOAL,
    )


def _best(act: Callable[[], object]) -> float:
    return min(_processor_seconds(act) for _ in range(_ROUNDS))


def _seconds(size: int, actual_for: Callable[[Desired], Actual]) -> float:
    desired = _desired(size)
    actual = actual_for(desired)

    def once() -> None:
        plan(desired, actual)

    once()
    gc.collect()
    return min(_processor_seconds(once) for _ in range(_ROUNDS))


def _processor_seconds(act: Callable[[], object]) -> float:
    """Return the processor's time, which for one busy thread is the wall's on a machine with nothing else to do."""
    begun = time.process_time()
    act()
    return time.process_time() - begun


def _nothing_yet(desired: Desired) -> Actual:
    engine = MemoryEngine()
    engine.add_image("busybox:latest")
    actual = MemoryDriver(engine).snapshot(scope_of(desired))
    assert len(plan(desired, actual).steps) >= len(desired.containers) + len(desired.networks) + len(desired.volumes)
    return actual


def _all_there(desired: Desired) -> Actual:
    """Return what the memory driver holds after every step of the first plan."""
    engine = MemoryEngine()
    engine.add_image("busybox:latest")
    driver = MemoryDriver(engine)
    for step in plan(desired, driver.snapshot(scope_of(desired))).steps:
        for action in step.actions:
            driver.execute(action, lambda _: None)
    actual = driver.snapshot(scope_of(desired))
    assert not plan(desired, actual).steps
    return actual


def _desired(size: int) -> Desired:
    groups = max(1, size // _STRIDE)
    containers = {f"c{number}": _container(number, groups) for number in range(size - 2 * groups)}
    networks = {f"n{number}": Network(name=f"n{number}", spec=NetworkSpec()) for number in range(groups)}
    volumes = {f"v{number}": Volume(name=f"v{number}", spec=VolumeSpec()) for number in range(groups)}
    return Desired(stack="bench", containers=containers, networks=networks, volumes=volumes)


def _container(number: int, groups: int) -> Container:
    spec = ContainerSpec(
        image=ImageRef(reference="busybox:latest"),
        command=("sleep", "86400"),
        environment={"INDEX": str(number), "MODE": "production"},
        labels={"tier": "web"},
        networks={f"n{number % groups}": Attachment()},
        volumes=(Mount(source=f"v{number % groups}", target="/data"),),
    )
    # chains ten long: long enough to order, short enough to be a stack that somebody has
    before: dict[str, Condition] = {f"c{number - 1}": "started"} if number % 10 else {}
    return Container(name=f"c{number}", spec=spec, depends_on=before)
