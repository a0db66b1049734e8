"""A stack of manifests and an engine in memory, driven through the same code as the command line drives a real one.

The rule that keeps it simple: time runs for real, but programs live for hours and monitors last a millisecond, unless a test
says otherwise.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from declarative.apply.manifests import files_of
from declarative.apply.run import ApplyOptions, apply, look
from declarative.core.plan import Policy
from declarative.drivers.memory import MemoryDriver, MemoryEngine
from declarative.manifest.load import LoadOptions, load_stack
from declarative.record import replace

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.apply.events import Event
    from declarative.apply.report import Report
    from declarative.apply.stop import Stop
    from declarative.core.plan import Plan
    from declarative.core.state import Actual
    from declarative.manifest.load import Loaded

HEAD = "apiVersion: declarative/v1\n"
QUICK = "update: {monitor: 1ms, deadline: 5s}"


def container(name: str, command: str = "sleep 9000", more: str = "") -> str:
    """Write a Container document with quick readiness; `more` is further lines of its spec, separated by `;`."""
    lines = [f"  {line.strip()}" for line in (QUICK, *more.split(";")) if line.strip()]
    words = ", ".join(f'"{word}"' for word in command.split())
    head = f"---\n{HEAD}kind: Container\nmetadata: {{name: {name}}}\nspec:\n  image: busybox\n  command: [{words}]\n"
    return head + "\n".join(lines) + "\n"


def job(name: str, command: str, more: str = "") -> str:
    """Write a Job document."""
    lines = [f"  {line.strip()}" for line in more.split(";") if line.strip()]
    words = ", ".join(f'"{word}"' for word in command.split())
    head = f"---\n{HEAD}kind: Job\nmetadata: {{name: {name}}}\nspec:\n  image: busybox\n  command: [{words}]\n"
    return head + "".join(line + "\n" for line in lines)


@dataclass(slots=True, kw_only=True)
class World:
    """An engine with busybox in it, and the folder that manifests stand in."""

    folder: Path
    engine: MemoryEngine = field(default_factory=lambda: MemoryEngine(clock=time.monotonic))
    events: list[Event] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.engine.add_image("busybox:latest")

    @property
    def driver(self) -> MemoryDriver:
        return MemoryDriver(self.engine)

    def load(self, text: str) -> Loaded:
        """Read manifests as standard input would bring them."""
        options = LoadOptions(working_folder=self.folder, stack="shop", stdin=io.BytesIO(text.encode()))
        return load_stack(["-"], options)

    def options(self, **policy: object) -> ApplyOptions:
        """Give options with a fresh nonce."""
        self.count += 1
        nonce = f"nonce {self.count}"
        return ApplyOptions(
            policy=Policy(**policy),  # type: ignore[arg-type]
            holder=lambda: {"nonce": nonce},
            salt=lambda: "5a17",
            tell=self.events.append,
        )

    def apply(self, text: str, *, stop: Stop | None = None, parallelism: int = 8, **policy: object) -> Report:
        """Apply manifests, with history."""
        loaded = self.load(text)
        options = replace(self.options(**policy), files=lambda: files_of(loaded), parallelism=parallelism)
        return apply(loaded.desired, self.driver, replace(options, stop=stop) if stop else options)

    def look(self, text: str, **policy: object) -> tuple[Plan, Actual]:
        """Plan."""
        return look(self.load(text).desired, self.driver, Policy(**policy))  # type: ignore[arg-type]

    def names(self) -> list[str]:
        """Name every container there is."""
        return sorted(self.engine.containers)

    def command(self, name: str) -> tuple[str, ...] | None:
        """Say what a container runs."""
        return self.engine.containers[name].spec.command
