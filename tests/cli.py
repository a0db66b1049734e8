"""The command line as its user has it: the installed program, in a clean environment, its output kept apart.

The rule that keeps it simple: nothing of the tests' environment reaches the program but what is named here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = Path(sys.executable).parent / "declarative"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended: the exit code, and what it wrote."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Decode standard output, which must be one JSON document. AssertionError that shows both streams where it is not."""
        try:
            return json.loads(self.out)
        except ValueError:
            raise AssertionError(f"not one JSON document (exit {self.code}):\n{self.out}\n{self.err}") from None

    def expect(self, code: int) -> Ended:
        """Return this, if the exit code is that one. AssertionError that shows both streams where it is not."""
        assert self.code == code, f"exit {self.code}, not {code}\n--- out\n{self.out}\n--- err\n{self.err}"
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Cli:
    """Runs `declarative` in a folder, with an environment of its own. Times are in seconds."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(
        self,
        *args: str | Path,
        stdin: str | bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        seconds: float = 120,
    ) -> Ended:
        """Run to the end. subprocess.TimeoutExpired after `seconds`; the program is killed then."""
        text = stdin.encode() if isinstance(stdin, str) else stdin
        ended = subprocess.run(
            [PROGRAM, *args],
            check=False,
            capture_output=True,
            input=text,
            timeout=seconds,
            cwd=cwd or self.folder,
            env={**self.environment, **(env or {})},
        )
        return Ended(code=ended.returncode, out=ended.stdout.decode(), err=ended.stderr.decode())

    def start(
        self, *args: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start and return at once, to signal or kill it; both streams are pipes. The caller waits for it."""
        return subprocess.Popen(
            [PROGRAM, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd or self.folder,
            env={**self.environment, **(env or {})},
        )


def clean_environment(folder: Path, *, docker_host: str | None, plugins: Path) -> dict[str, str]:
    """Return an environment with a home and a docker configuration in `folder`, the docker plugins in it, and nothing else."""
    config = folder / "docker-config"
    (config / "cli-plugins").mkdir(parents=True, exist_ok=True)
    for plugin in plugins.iterdir() if plugins.is_dir() else ():
        link = config / "cli-plugins" / plugin.name
        if not link.exists():
            link.symlink_to(plugin)
    environment = {
        "PATH": os.pathsep.join([str(PROGRAM.parent), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "DOCKER_CONFIG": str(config),
    }
    return environment | ({"DOCKER_HOST": docker_host} if docker_host else {})
