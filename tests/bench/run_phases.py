"""Where the time of `docker run --rm IMAGE true` goes inside our engine: each step's median, as a table.

The rule that keeps it simple: the engine's parts are put together in this process, and its functions are timed from outside;
nothing in them knows.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from declarative.engine.containers import creating, joining, mounting, removing, starting
from declarative.engine.containers.config import Config
from declarative.engine.containers.host import HostConfig
from declarative.engine.engine import Engine
from declarative.engine.images.loading import load
from declarative.engine.paths import Paths
from declarative.engine.runtime import spawn
from declarative.engine.settings import Settings
from tests import base_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ROUNDS = 20
_POOL = ("10.203.0.0/16", 24)


def table() -> str:
    """Measure, and give the table. The caller is in a sandbox of its own."""
    folder = Path(tempfile.mkdtemp(prefix="phases-", dir="/var/tmp"))
    settings = Settings(paths=Paths(root=folder / "data", run=folder / "run"), cgroup_parent="phases", pools=(_POOL,))
    engine = Engine(settings)
    try:
        engine.restore()
        load(engine.images, [base_image.archive()])
        times = _Times()
        undo = [times.around(*step) for step in _steps(engine)]
        for _ in range(3):
            _once(engine, times)
        times.clear()
        for _ in range(_ROUNDS):
            _once(engine, times)
        for back in undo:
            back()
        return times.table()
    finally:
        engine.close()
        shutil.rmtree(folder, ignore_errors=True)


def _steps(engine: Engine) -> Iterator[tuple[Any, str, str]]:
    parts = engine.containers.parts
    yield mounting, "make_folder", "  make its folders"
    yield parts.records, "add", "  record it"
    yield engine.networks, "open_namespace", "  open a network namespace"
    yield engine.networks, "connect", "  (beside) connect to the network"
    yield joining, "write_files", "  (beside) write hosts, resolv.conf"
    yield mounting, "mount_root", "  mount the root"
    yield starting, "sandbox_of", "  work out the sandbox"
    yield spawn, "start_monitor", "  monitor and OCI runtime"
    yield engine.runtime, "start", "  let it go"
    yield engine.runtime, "delete", "  runtime's remains"
    yield engine.networks, "close_namespace", "  network's remains"
    yield mounting, "unmount", "  unmount"
    yield removing, "forget", "  forget it"


def _once(engine: Engine, times: _Times) -> None:
    parts = engine.containers.parts
    with times.timing("create"):
        request = creating.CreateRequest(
            config=Config(image="busybox", cmd=("true",)), host=HostConfig(auto_remove=True)
        )
        container = engine.containers.get(creating.create(parts, request).id)
    with times.timing("start"):
        starting.start(parts, container, container.id)
    with times.timing("run to its end, and remove"):
        container.wait_until(lambda: container.removed, 30)


class _Times:
    """Seconds by step, in the order in which steps are first seen."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._order: list[str] = []

    def clear(self) -> None:
        self._seconds.clear()

    def timing(self, label: str) -> _Timing:
        if label not in self._order:
            self._order.append(label)
        return _Timing(self._seconds[label])

    def around(self, owner: Any, name: str, label: str) -> Callable[[], None]:
        """Time a function from outside; give what undoes it."""
        inner = getattr(owner, name)

        def timed(*args: Any, **values: Any) -> Any:
            with self.timing(label):
                return inner(*args, **values)

        setattr(owner, name, timed)
        return lambda: setattr(owner, name, inner)

    def table(self) -> str:
        lines = ["where the time of a run goes (medians, milliseconds)\n"]
        lines += [f"{label:42}{statistics.median(self._seconds[label]) * 1000:8.2f}\n" for label in self._order]
        return "".join(lines)


class _Timing:
    def __init__(self, seconds: list[float]) -> None:
        self._seconds = seconds
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds.append(time.perf_counter() - self._begun)
