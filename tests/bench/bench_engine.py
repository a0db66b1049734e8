"""Containers on the embedded engine against dockerd: the stock client of each, the same image, turn about.

The rule that keeps it simple: both engines are up all the time, one of them works. The table of where the time of `run` goes is
measured in a process of its own, around the functions that do the steps.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import harness, run_phases
from tests.embedded import EmbeddedEngine
from tests.engines import children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.harness import Figure
    from tests.engines import Engine

_ROUNDS = 15
_REST = 0.5  # seconds: for a while after a process was made the kernel makes the next one faster, whoever asks
_MANY = 200
_SOME = 50
_LINES = 1_000_000
_RUN_GOAL, _EXEC_GOAL, _PS_GOAL, _STOP_GOAL, _LOGS_GOAL, _MEMORY_GOAL = 0.4, 0.5, 1.0, 0.5, 1.0, 0.25


def measure(engine: Engine, folder: Path) -> Iterator[Figure]:
    """Yield the figures as they come. RuntimeError when a command fails."""
    del folder
    sys.stdout.write(run_phases.table())
    with EmbeddedEngine() as embedded:
        both = _Both(embedded, engine)
        yield both.compare("docker run --rm IMAGE true", _RUN_GOAL, "run", "--rm", "busybox", "true", rest=_REST)
        both.each("run", "-d", "--name", "host", "busybox", "sleep", "100000")
        yield both.compare("docker exec, five in a row", _EXEC_GOAL, "exec", "host", "true", row=5, rest=_REST)
        yield both.compare("docker exec, one by itself", _EXEC_GOAL, "exec", "host", "true", rest=_REST)
        both.each("rm", "-f", "host")
        yield from _logs(both)
        yield from _many(both)
        yield _stop(both)


class _Both:
    """The same commands for both engines."""

    def __init__(self, ours: Engine, peer: Engine) -> None:
        self.ours = ours
        self.peer = peer

    def program(self, engine: Engine, *args: str) -> Callable[[], str]:
        environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": engine.url, "HOME": str(engine.folder)}
        argv = [engine.flavour.docker, *args]
        return harness.Program(argv=argv, cwd=engine.folder, environment=environment).run

    def each(self, *args: str) -> None:
        for engine in (self.ours, self.peer):
            self.program(engine, *args)()

    def compare(
        self, name: str, goal: float, *args: str, rounds: int = _ROUNDS, row: int = 1, rest: float = 0.0
    ) -> Figure:
        ours, peer = self.program(self.ours, *args), self.program(self.peer, *args)
        return harness.turn_about(name, ours, peer, goal=goal, rounds=rounds, row=row, rest=rest)


def _logs(both: _Both) -> Iterator[Figure]:
    both.each("run", "--name", "talker", "busybox", "sh", "-c", f"seq {_LINES} > /dev/stdout")
    yield both.compare(f"docker logs of {_LINES} lines", _LOGS_GOAL, "logs", "talker", rounds=5)
    both.each("rm", "talker")


def _start(both: _Both, engine: Engine, count: int) -> None:
    def one(number: int) -> None:
        both.program(engine, "run", "-d", "--name", f"many-{number}", "busybox", "sleep", "100000")()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(count)))


def _many(both: _Both) -> Iterator[Figure]:
    idle = {engine.name: _memory(engine) for engine in (both.ours, both.peer)}
    for engine in (both.ours, both.peer):
        _start(both, engine, _MANY)
    yield both.compare(f"docker ps with {_MANY} running", _PS_GOAL, "ps")
    sizes = [_memory(engine) for engine in (both.ours, both.peer)]
    told = f"idle {idle[both.ours.name] >> 20} and {idle[both.peer.name] >> 20} MiB"
    yield harness.Figure(
        name=f"memory (PSS) of daemon and monitors, {_MANY} running",
        ours=sizes[0] / 2**20,
        peer=sizes[1] / 2**20,
        unit="MiB",
        goal=_MEMORY_GOAL,
        spread=told,
    )
    for engine in (both.ours, both.peer):
        engine.clear()


def _stop(both: _Both) -> Figure:
    """Stop and remove many at once, each time anew."""
    names = [f"many-{number}" for number in range(_SOME)]
    samples: dict[str, list[float]] = {both.ours.name: [], both.peer.name: []}
    for _ in range(3):
        for engine in (both.ours, both.peer):
            _start(both, engine, _SOME)
            stop, remove = both.program(engine, "stop", "-t", "0", *names), both.program(engine, "rm", *names)
            samples[engine.name].append(harness.timed(lambda stop=stop, remove=remove: (stop(), remove())))  # type: ignore[misc]
    name = f"docker stop and rm of {_SOME}"
    return harness.compared(name, samples[both.ours.name], samples[both.peer.name], goal=_STOP_GOAL)


def _memory(engine: Engine) -> int:
    """Give the PSS of an engine's processes, those of containers aside, in bytes."""
    first = engine._process_1()
    total = 0
    for pid in _descendants(first):
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if name in {"sleep", "sh", "tini"}:
                continue
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def _descendants(first: int) -> list[int]:
    found, todo = [], [first]
    while todo:
        at = todo.pop()
        below = children(at)
        found += below
        todo += below
    # monitors are children of the namespace's process 1; a daemon that entered it is a child of ours
    namespace = Path(f"/proc/{first}/ns/pid").readlink()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "ns/pid").readlink() == namespace:
                found.append(int(folder.name))
        except OSError:
            continue
    return sorted(set(found) - {first})
