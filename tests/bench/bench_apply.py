"""`apply` against Compose v2: with nothing to do (50 and 200 containers), and from nothing (50); and its peak memory.

The rule that keeps it simple: each size is one stack that both programs have up on the same engine while they are measured; last,
ours has the embedded engine, which is what a machine without Docker has.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.bench import harness
from tests.bench.stacks import write_pair
from tests.embedded import EmbeddedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.harness import Figure
    from tests.bench.stacks import Pair
    from tests.engines import Engine

_NOTHING_TO_DO = {50: 1.0, 200: 0.6}  # containers: goal, of DESIGN section 9
_COLD_GOAL, _EMBEDDED_GOAL = 1.0, 0.4
_MEMORY_GOAL = 80.0
_ROUNDS = 11
_COLD_ROUNDS = 6
_COLD_REST = 6.0  # seconds; the kernel goes on removing what containers had after their engine says that they are gone
_MEGABYTE = 1_000_000


def measure(engine: Engine, folder: Path) -> Iterator[Figure]:
    """Yield the figures as they come. RuntimeError when either program fails."""
    for containers, goal in _NOTHING_TO_DO.items():
        pair = write_pair(folder / f"stack{containers}", engine, containers=containers)
        peak = harness.peak_memory(pair.ours("apply", "-f", "stack.yaml"))
        if containers == max(_NOTHING_TO_DO):
            yield harness.Figure(
                name=f"peak memory, cold apply of {containers}", ours=peak / _MEGABYTE, unit="MB", goal=_MEMORY_GOAL
            )
        pair.compose("up", "-d").run()
        _must_be_in_sync(pair)
        yield harness.turn_about(
            f"apply, nothing to do, {containers} containers",
            pair.ours("apply", "-f", "stack.yaml").run,
            pair.compose("up", "-d").run,
            goal=goal,
            rounds=_ROUNDS,
        )
        _take_down(pair)
    cold = write_pair(folder / "cold50", engine, containers=50)
    yield _cold("apply from nothing, 50 containers", cold, cold, _COLD_GOAL)
    unwatched = write_pair(folder / "unwatched50", engine, containers=50, watched=False)
    yield _cold(
        "apply from nothing, 50 containers that nobody watches, as with Compose", unwatched, unwatched, _COLD_GOAL
    )
    with EmbeddedEngine() as embedded:
        here = write_pair(folder / "embedded50", embedded, containers=50)
        yield _cold("apply from nothing on the embedded engine, 50 containers", here, cold, _EMBEDDED_GOAL)


def _cold(name: str, mine: Pair, theirs: Pair, goal: float) -> Figure:
    ours: list[float] = []
    peer: list[float] = []

    def one() -> None:
        time.sleep(_COLD_REST)
        ours.append(harness.timed(mine.ours("apply", "-f", "stack.yaml").run))
        _destroy(mine)

    def other() -> None:
        time.sleep(_COLD_REST)
        peer.append(harness.timed(theirs.compose("up", "-d").run))
        theirs.compose("down", "-t", "0").run()

    for number in range(_COLD_ROUNDS):
        for act in (one, other) if number % 2 else (other, one):
            act()
    return harness.compared(name, ours, peer, goal=goal)


def _must_be_in_sync(pair: Pair) -> None:
    pair.ours("plan", "-f", "stack.yaml", "--exit-code").run()


def _take_down(pair: Pair) -> None:
    _destroy(pair)
    pair.compose("down", "-t", "0").run()


def _destroy(pair: Pair) -> None:
    """Destroy, twice where need be: dockerd 20.10 loses count of a network's endpoints now and then, and has to be restarted."""
    destroy = pair.ours("destroy", "-f", "stack.yaml", "--yes").run
    try:
        destroy()
    except RuntimeError as error:
        if "lost count" not in str(error):
            raise
        pair.engine.kill()
        pair.engine.start_daemon()
        destroy()
