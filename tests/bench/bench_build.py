"""Builds on the embedded engine against dockerd: the classic builder of 20.10 and BuildKit in 26.1, the same Dockerfiles.

The rule that keeps it simple: the stock client of each, nothing cached but the base image, or everything; all engines are up
all the time and one of them works.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.bench import harness
from tests.embedded import EmbeddedEngine
from tests.engines import DEBIAN_13, PLUGINS, Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.bench.harness import Figure

_STEPS = 10
_FILES = 10_000
_FILE_BYTES = 2_000
_ROUNDS = 5
_CLASSIC_GOAL = 0.5
_BUILDKIT_GOAL = 0.8
_SAME_GOAL = 1.0


def measure(engine: Engine, folder: Path) -> Iterator[Figure]:
    """Yield the figures as they come. RuntimeError when a build fails."""
    steps, files = _ten_steps(folder / "steps"), _many_files(folder / "files")
    with EmbeddedEngine() as embedded, Engine(flavour=DEBIAN_13) as docker26:
        ours = _Builds(embedded, folder)
        peers = {"the classic builder": _Builds(engine, folder), "BuildKit": _Builds(docker26, folder, buildkit=True)}
        for name, peer in peers.items():
            goal = _BUILDKIT_GOAL if peer.buildkit else _CLASSIC_GOAL
            yield _compare(f"build of {_STEPS} RUN steps, against {name}", ours.fresh(steps), peer.fresh(steps), goal)
            yield _compare(f"the same again, against {name}", ours.again(steps), peer.again(steps), _SAME_GOAL)
            yield _compare(f"COPY of {_FILES} files, against {name}", ours.fresh(files), peer.fresh(files), _SAME_GOAL)
            yield _compare(f"the same again, against {name}", ours.again(files), peer.again(files), _SAME_GOAL)


class _Builds:
    """Builds on one engine."""

    def __init__(self, engine: Engine, folder: Path, *, buildkit: bool = False) -> None:
        self._engine = engine
        self.buildkit = buildkit
        self._config = folder / f"config-{engine.name}"
        (self._config / "cli-plugins").mkdir(parents=True)
        if buildkit:
            (self._config / "cli-plugins" / "docker-buildx").symlink_to(PLUGINS / "docker-buildx")

    def fresh(self, context: Path) -> Callable[[], object]:
        """Give a build that may use no cache."""
        return self._program(context, "--no-cache").run

    def again(self, context: Path) -> Callable[[], object]:
        """Give a build that has everything in the cache."""
        return self._program(context).run

    def _program(self, context: Path, *options: str) -> harness.Program:
        environment = {
            "PATH": os.environ["PATH"],
            "DOCKER_HOST": self._engine.url,
            "DOCKER_CONFIG": str(self._config),
            "DOCKER_BUILDKIT": "1" if self.buildkit else "0",
            "HOME": str(self._config),
        }
        argv = [self._engine.flavour.docker, "build", *options, "-t", "bench", "."]
        return harness.Program(argv=argv, cwd=context, environment=environment)


def _compare(name: str, ours: Callable[[], object], peer: Callable[[], object], goal: float) -> Figure:
    return harness.turn_about(name, ours, peer, goal=goal, rounds=_ROUNDS)


def _ten_steps(folder: Path) -> Path:
    folder.mkdir()
    lines = ["FROM busybox", *(f"RUN echo {number} > /file{number}" for number in range(_STEPS))]
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    return folder


def _many_files(folder: Path) -> Path:
    for number in range(_FILES):
        file = folder / "tree" / f"{number % 100:02}" / f"{number:05}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((f"{number} " * _FILE_BYTES).encode()[:_FILE_BYTES])
    (folder / "Dockerfile").write_text("FROM busybox\nCOPY tree /tree\n")
    return folder
