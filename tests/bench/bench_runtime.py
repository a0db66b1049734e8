"""Where the time of a container's life goes, below the API: both OCI runtimes, and the peer for the whole: `runc run`.

The rule that keeps it simple: one container after the other in one process, each step timed by itself, medians in a table.
Run it alone with `python -m tests.bench.bench_runtime`.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests import sandbox
from tests.bench.harness import Figure
from tests.contract.engine import runtimes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.contract.engine.runtimes import Machine
    from tests.engines import Engine

_ROUNDS = 40
_GOAL = 1.0  # of `runc run`: a monitor, an attached client and an overlay on top must not cost more than crun saves
_LINES = 1_000_000


def measure(_engine: Engine, folder: Path) -> Sequence[Figure]:
    """Measure turn about, print the tables, and give the figures that have a goal."""
    with runtimes.machine(folder / "crun", only="crun") as crun, runtimes.machine(folder / "runc", only="runc") as runc:
        spent: dict[str, list[dict[str, float]]] = {}
        for number in range(_ROUNDS):
            for name, box in (("crun", crun), ("runc", runc)):
                spent.setdefault(name, []).append(_one_life(box))
            spent.setdefault("runc run, nothing else", []).append({"all of it": _plain_runc(runc, number)})
        running = {box: box.start(box.sandbox("sleep", "1000")) for box in (crun, runc)}
        for _ in range(_ROUNDS):
            for name, box in (("crun, others", crun), ("runc, others", runc)):
                spent.setdefault(name, []).append(_others(box, running[box]))
    totals = {title: _table(title, lives) for title, lives in spent.items()}
    peer = totals["runc run, nothing else"]
    return [
        Figure(name="a life under the monitor", ours=totals["crun"], peer=peer, unit="s", goal=_GOAL),
        Figure(name="reading a log of 1,000,000 lines", ours=_read_log(folder), unit="s", goal=2.0),
    ]


class _Clock:
    """Times of the steps of one life, by name."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.steps[name] = time.perf_counter() - begun


def _one_life(box: Machine) -> dict[str, float]:
    clock = _Clock()
    with clock.step("mount the root"):
        made = box.sandbox("true")
    with clock.step("create: monitor and runtime"):
        box.runtime.create(made, log=box.log(made.id))
    with clock.step("attach"):
        client = box.runtime.attach(made.id)
    with clock.step("start"):
        box.runtime.start(made.id)
    with clock.step("run, last output, exit notice"):
        while client.read():
            pass
        client.close()
        box.ended(made.id)
    with clock.step("delete and unmount"):
        box.drop(made.id)
    return clock.steps


def _others(box: Machine, running: str) -> dict[str, float]:
    clock = _Clock()
    made = box.sandbox("true")
    with clock.step("run_once"):
        box.run(made)
    with clock.step("exec"):
        box.execute(running, "true")
    return clock.steps


def _plain_runc(box: Machine, number: int) -> float:
    """Run the same container by `runc run` alone, with the seccomp profile that dockerd gives it."""
    bundle = box.folder / f"plain{number}"
    bundle.mkdir()
    made = box.sandbox("true", name=f"plain{number}")
    document = box.runtime.document(made)
    (bundle / "config.json").write_text(document)
    begun = time.perf_counter()
    subprocess.run(["runc", "--root", str(box.folder / "plain"), "run", "-b", str(bundle), made.id], check=True)
    spent = time.perf_counter() - begun
    box.drop(made.id)
    return spent


def _read_log(folder: Path) -> float:
    from declarative.engine.runtime.logformat import Wanted
    from declarative.engine.runtime.logs import read_log

    path = folder / "big.log"
    with path.open("w") as file:
        for number in range(_LINES):
            file.write(f"2026-11-25T15:19:36.{number:09}+00:00 stdout F line {number} of many that say something\n")
    begun = time.perf_counter()
    size = sum(map(len, read_log(path, Wanted())))
    spent = time.perf_counter() - begun
    assert size > _LINES * 40
    return spent


def _table(title: str, lives: list[dict[str, float]]) -> float:
    medians = {name: statistics.median(life[name] for life in lives) for name in lives[0]}
    total = statistics.median(sum(life.values()) for life in lives)
    print(f"{title}, ms, medians of {len(lives)}")
    for name, value in medians.items():
        print(f"  {name:32}{value * 1000:7.1f}")
    print(f"  {'all':32}{total * 1000:7.1f}")
    return total


if __name__ == "__main__":
    entered = sandbox.enter()
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir="/var/tmp"))
    for figure in measure(None, scratch):  # type: ignore[arg-type]
        print(figure)
    shutil.rmtree(scratch)
    if entered is not None:
        sandbox.leave(entered)
    sys.exit(0)
