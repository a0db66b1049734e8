"""`python -m tests.bench [NAME…]`, as root: every figure of DESIGN section 9 that can be measured, beside its peer and goal.

The rule that keeps it simple: one engine for all, in a sandbox of its own, gone at the end. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests import sandbox
from tests.bench.harness import report
from tests.engines import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

_HERE = Path(__file__).parent


def main(names: Sequence[str]) -> int:
    """Measure the benches of these names, all of them where none is given; the exit code."""
    known = sorted(path.stem.removeprefix("bench_") for path in _HERE.glob("bench_*.py"))
    if strangers := set(names) - set(known):
        sys.stderr.write(f"no bench {', '.join(sorted(strangers))}: there are {', '.join(known)}\n")
        return 64
    entered = sandbox.enter()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="bench") as folder, Engine(own_network=False) as engine:
        for name in names or known:
            missed += report(importlib.import_module(f"tests.bench.bench_{name}").measure(engine, Path(folder)))
    if entered is not None:
        sandbox.leave(entered)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
