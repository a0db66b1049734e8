"""Planning alone: the pure function from 10,000 resources to their steps, and that its time grows with their number only.

The rule that keeps it simple: no manifest is read and no engine asked; the resources are made here and the clock runs around
`plan` alone.
"""

from __future__ import annotations

import gc
import statistics
from typing import TYPE_CHECKING

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
from declarative.core.state import Actual, ImageConfig, ImageState
from tests.bench import harness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from declarative.core.resources import Condition
    from tests.bench.harness import Figure
    from tests.engines import Engine

_IMAGE = "sha256:" + "ab" * 32
_SIZES = (100, 1_000, 10_000)
_SECONDS_GOAL = 1.0
_GROWTH_GOAL = 1.5  # of the time per resource, from the smallest to the largest: linear, and room for caches that miss
_ROUNDS = 5
_STRIDE = 20  # of twenty resources one is a network, one a volume, and the rest are containers


def measure(_engine: Engine, _folder: Path) -> Iterator[Figure]:
    """Yield the time of the largest size, and the growth of the time per resource."""
    times = {size: _seconds(size) for size in _SIZES}
    largest, smallest = max(_SIZES), min(_SIZES)
    yield harness.Figure(name=f"plan of {largest:,} new resources", ours=times[largest], unit="s", goal=_SECONDS_GOAL)
    yield harness.Figure(
        name=f"planning time per resource, {largest:,} against {smallest:,}",
        ours=times[largest] / largest * 1e6,
        peer=times[smallest] / smallest * 1e6,
        unit="us",
        goal=_GROWTH_GOAL,
    )


def _seconds(size: int) -> float:
    desired, actual = _desired(size), _empty()
    assert len(plan(desired, actual).steps) >= size

    def once() -> None:
        plan(desired, actual)

    gc.collect()
    return statistics.median(harness.timed(once) for _ in range(_ROUNDS))


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


def _empty() -> Actual:
    image = ImageState(id=_IMAGE, references=("busybox:latest",), config=ImageConfig())
    return Actual(stack="bench", images={_IMAGE: image}, references={"busybox:latest": _IMAGE})
