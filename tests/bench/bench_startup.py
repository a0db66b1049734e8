"""How long `declarative --help` takes: what every use of the command pays before it does anything.

The rule that keeps it simple: the installed program, as a user starts it; the engine is not touched.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from tests.bench import harness
from tests.bench.stacks import write_pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.harness import Figure
    from tests.engines import Engine

_GOAL = 80.0
_ROUNDS = 21


def measure(engine: Engine, folder: Path) -> Iterator[Figure]:
    """Yield the one figure, in milliseconds."""
    program = write_pair(folder / "help", engine, containers=1).ours("--help")
    program.run()
    samples = sorted(harness.timed(program.run) * 1000 for _ in range(_ROUNDS))
    spread = f"{samples[0]:.0f} to {samples[-1]:.0f}, {_ROUNDS} rounds"
    yield harness.Figure(name="--help", ours=statistics.median(samples), unit="ms", goal=_GOAL, spread=spread)
