"""Side-by-side measurements: ours and a peer, turn about, on the same engine in the same minute.

The rule that keeps it simple: a figure is a median of alternating runs (A B A B), printed with its spread and its goal; a run
that fails is an error, never a sample. Times are wall-clock seconds, memory is bytes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines import children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_POLL_SECONDS = 0.002
_KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure and its goal. `peer` is the other program's figure, where the goal is a ratio to it."""

    name: str
    ours: float
    unit: str
    goal: float
    peer: float | None = None
    spread: str = ""

    @property
    def measured(self) -> float:
        """What is compared with the goal: the ratio where there is a peer, else the figure itself."""
        return self.ours if self.peer is None else self.ours / self.peer

    @property
    def met(self) -> bool:
        return self.measured <= self.goal

    def __str__(self) -> str:
        verdict = "met" if self.met else "MISSED"
        if self.peer is None:
            told = f"{self.ours:.3f} {self.unit}, goal {self.goal:g} {self.unit}"
        else:
            told = f"{self.ours:.3f} against {self.peer:.3f} {self.unit}, ratio {self.measured:.2f}, goal {self.goal:g}"
        return f"{self.name}: {told}: {verdict}{f'  ({self.spread})' if self.spread else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A command to be measured, with all of its environment."""

    argv: Sequence[str | Path]
    cwd: Path
    environment: Mapping[str, str]

    def run(self, seconds: float = 600) -> str:
        """Run to the end: standard output. RuntimeError with what it wrote when it fails."""
        ended = subprocess.run(
            self.argv, cwd=self.cwd, env=self.environment, check=False, capture_output=True, text=True, timeout=seconds
        )
        if ended.returncode != 0:
            msg = f"{' '.join(map(str, self.argv))}: exit {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}"
            raise RuntimeError(msg)
        return ended.stdout


def timed(act: Callable[[], object]) -> float:
    """Seconds that `act` takes."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def turn_about(
    name: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    goal: float,
    rounds: int,
    row: int = 1,
    rest: float = 0.0,
) -> Figure:
    """Measure ours and the peer in turns, after one unmeasured round; the goal is for the ratio of the medians.

    In a turn it is done `row` times; before each turn nothing is done for `rest` seconds, so that what one leaves behind in the
    kernel does not help the other.
    """
    ours(), peer()  # caches are warm for both, or for neither
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        for measured, samples in ((ours, mine), (peer, theirs)):
            time.sleep(rest)
            samples += [timed(measured) for _ in range(row)]
    return compared(name, mine, theirs, goal=goal)


def compared(name: str, ours: Iterable[float], peer: Iterable[float], *, goal: float) -> Figure:
    """Compare samples of ours and of a peer by their medians."""
    mine, theirs = sorted(ours), sorted(peer)
    spread = f"ours {mine[0]:.3f} to {mine[-1]:.3f}, peer {theirs[0]:.3f} to {theirs[-1]:.3f}, {len(mine)} rounds"
    return Figure(
        name=name, ours=statistics.median(mine), peer=statistics.median(theirs), unit="s", goal=goal, spread=spread
    )


def peak_memory(program: Program) -> int:
    """Run to the end: the highest resident size in bytes. RuntimeError when it fails.

    Read from VmHWM while it runs, since getrusage counts what the process was before exec, which is us.
    """
    process = subprocess.Popen(
        program.argv, cwd=program.cwd, env=program.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    highest = 0
    while process.poll() is None:
        highest = max(highest, _status_bytes(process.pid, "VmHWM"))
        time.sleep(_POLL_SECONDS)
    assert process.stderr is not None
    with process.stderr as stream:
        said = stream.read().decode()
    if process.returncode != 0:
        msg = f"{' '.join(map(str, program.argv))}: exit {process.returncode}\n{said[-2000:]}"
        raise RuntimeError(msg)
    return highest


def proportional_memory(pids: Iterable[int]) -> int:
    """Bytes of memory of these processes, shared pages counted by share (PSS); those that ended count nothing."""
    total = 0
    for pid in pids:
        try:
            rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(row.split()[1]) * _KIB for row in rows if row.startswith("Pss:"))
    return total


def descendants(pid: int) -> list[int]:
    """Return the process and all below it."""
    return [pid, *(each for child in children(pid) for each in descendants(child))]


def report(figures: Iterable[Figure]) -> int:
    """Print every figure as it comes; the number of goals missed."""
    missed = 0
    for figure in figures:
        sys.stdout.write(f"{figure}\n")
        sys.stdout.flush()
        missed += not figure.met
    return missed


def _status_bytes(pid: int, key: str) -> int:
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(row.split()[1]) * _KIB for row in rows if row.startswith(f"{key}:")), 0)
