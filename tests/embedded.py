"""The embedded engine for tests: like `tests.engines.Engine`, but the daemon is ours, in namespaces of its own.

The rule that keeps it simple: process 1 of the engine's process namespace is all that has to end; it takes the daemon, the
monitors and the containers with it, and the mount namespace takes the mounts. Nothing here uses the package under test but to
start its daemon: it is judged by independent clients.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests import base_image, engines

_ROOT = Path(__file__).resolve().parent.parent
_POOLS = "10.202.0.0/16"
_START_SECONDS = 60.0

EMBEDDED = engines.Flavour(name="embedded", docker="/usr/bin/docker")
EMBEDDED_26 = engines.Flavour(name="embedded", path=engines.DEBIAN_13.path, docker=engines.DEBIAN_13.docker)


@dataclass(slots=True, kw_only=True)
class EmbeddedEngine(engines.Engine):
    """One running daemon of ours. Use it as a context manager, or call `start` and `stop`.

    `options`: further options of `engine serve`. `kill` is kill -9 of the daemon alone: monitors and containers go on, and
    `start_daemon` brings it back. `base`: whether the base image is loaded at the start.
    """

    flavour: engines.Flavour = EMBEDDED
    base: bool = True

    def start_daemon(self) -> None:
        """Start the daemon in the engine's namespaces: at first, or after `kill`; returns when it answers."""
        argv = [*self._inside(), "env", f"PATH={self.flavour.path}", "PYTHONDONTWRITEBYTECODE=", f"PYTHONPATH={_ROOT}"]
        argv += [sys.executable, "-m", "declarative.engine", f"--root={self.root}", f"--run={self.run}"]
        argv += [f"--host={self.url}", f"--cgroup-parent={self.name}", *self.options]
        argv += ["--default-address-pool", f"base={_POOLS},size=24"]
        with self.log.open("ab") as log:
            self._daemon = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        engines.wait_until(self._answers, "the embedded engine to answer", _START_SECONDS, self.log)

    def stop_daemon(self) -> None:
        """Ask the daemon to end, as a service manager does, and wait for it; containers go on."""
        if self._daemon is not None:
            for pid in self.daemon_pids():
                os.kill(pid, 15)
            self._daemon.wait(30)

    def load(self, archive: bytes) -> None:
        """Load a `docker save` archive, unless it is the base image and none is wanted."""
        if self.base or archive != base_image.archive():
            super(EmbeddedEngine, self).load(archive)

    @property
    def root(self) -> Path:
        """The data root."""
        return self.folder / "data"

    @property
    def run(self) -> Path:
        """The run root."""
        return self.folder / "run"

    def daemon_pids(self) -> list[int]:
        """Process id of the daemon, as the test sees it."""
        return [] if self._daemon is None else engines.children(self._daemon.pid)  # nsenter forks, and waits
