"""The same stack twice: as manifests of ours and as a Compose file, and the two programs set up to drive one engine.

The rule that keeps it simple: what one file says the other says too, field for field, so that neither has less to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests import cli
from tests.bench import installed
from tests.bench.harness import Program
from tests.engines import PLUGINS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines import Engine

_CONTAINER = """\
---
apiVersion: declarative/v1
kind: Container
metadata:
  name: web{index}
spec:
  image: busybox:latest
  command: [sleep, "86400"]
  environment:
    INDEX: "{index}"
    MODE: production
  labels:
    tier: web
  networks: [front]
  stop_signal: SIGKILL
  resources: {{memory: 64m, pids: 50}}
"""
_SERVICE = """\
  web{index}:
    image: busybox:latest
    command: [sleep, "86400"]
    environment:
      INDEX: "{index}"
      MODE: production
    labels:
      tier: web
    networks: [front]
    stop_signal: SIGKILL
    mem_limit: 64m
    pids_limit: 50
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One stack in a folder, to be driven by either program. Their objects have different names: both may be up at once."""

    folder: Path
    engine: Engine
    program: Path

    def ours(self, *args: str | Path) -> Program:
        return Program(argv=[self.program, *args], cwd=self.folder, environment=self._environment())

    def compose(self, *args: str) -> Program:
        argv = ["docker", "compose", "--progress", "quiet", *args]
        return Program(argv=argv, cwd=self.folder, environment=self._environment())

    def _environment(self) -> dict[str, str]:
        return cli.clean_environment(self.folder, docker_host=self.engine.url, plugins=PLUGINS)


def write_pair(folder: Path, engine: Engine, *, containers: int, watched: bool = True) -> Pair:
    """Write `stack.yaml` and `compose.yaml` for that many containers on one network.

    `watched`: ours sees whether a container stays up for a moment, as it does by default; Compose never does.
    """
    folder.mkdir(parents=True)
    head = "apiVersion: declarative/v1\nkind: Network\nmetadata:\n  name: front\n"
    numbers = range(1, containers + 1)
    more = "" if watched else "  update: {monitor: 0s}\n"
    (folder / "stack.yaml").write_text(head + "".join(_CONTAINER.format(index=index) + more for index in numbers))
    services = "".join(_SERVICE.format(index=index) for index in numbers)
    (folder / "compose.yaml").write_text(f"name: {folder.name}-peer\nservices:\n{services}networks:\n  front: {{}}\n")
    return Pair(folder=folder, engine=engine, program=installed.program(folder.parent / "installed"))
