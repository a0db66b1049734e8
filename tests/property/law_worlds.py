"""An engine in memory with what random manifests need in it, applied to by the code that the command line uses.

The rule that keeps it simple: time stands still, save that the engine's clock ticks once for every look at it; so programs that
run on run on, and what was started later was started later.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from declarative.apply.manifests import files_of
from declarative.apply.run import ApplyOptions, apply, look
from declarative.core import canonical
from declarative.core.plan import Policy
from declarative.core.plan_text import plan_text
from declarative.core.resources import Healthcheck
from declarative.core.state import ImageConfig
from declarative.drivers.holder import describe
from declarative.drivers.memory import MemoryDriver, MemoryEngine
from declarative.record import replace
from tests.property.manifest_strategies import PULLED, RICH, Document, read, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.apply.report import Report
    from declarative.core.plan import Plan
    from declarative.core.state import Actual
    from declarative.drivers.port import Driver
    from declarative.manifest.load import Loaded

# Everything a person can allow: random changes lose volumes and move versions.
ALLOWED = Policy(allow_deletes=10_000, delete_volumes=True, allow_retag=True)
_PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
_BUSYBOX = ImageConfig(environment=_PATH, command=("sh",), stop_signal="SIGKILL")
_RICH = ImageConfig(
    environment={**_PATH, "A": "image", "B": "image"},
    command=("sleep", "9000"),
    labels={"who": "image", "what": "image"},
    volumes=("/state",),
    exposed=("53/udp", "80/tcp"),
    healthcheck=Healthcheck(test=("CMD", "true"), interval=50_000_000),
    working_dir="/tmp",  # noqa: S108 - a path in the image
    stop_signal="SIGKILL",
)


def stocked() -> MemoryEngine:
    """Make an engine with the images that random manifests name, here and in its registry."""
    ticks = itertools.count(1_700_000_000)
    engine = MemoryEngine(clock=lambda: next(ticks) / 1000 + 1_000_000_000)
    engine.add_image("busybox:latest", _BUSYBOX)
    engine.add_image(RICH, _RICH)
    engine.registry.publish(PULLED, _BUSYBOX)
    return engine


@dataclass(slots=True, kw_only=True)
class World:
    """One engine, and the folder that manifests stand in."""

    folder: Path
    engine: MemoryEngine = field(default_factory=stocked)
    stack: str = "law"
    real: Driver | None = None  # instead of the one in memory
    count: int = 0

    @property
    def driver(self) -> Driver:
        return self.real or MemoryDriver(self.engine)

    def load(self, documents: list[Document] | str) -> Loaded:
        """Read manifests."""
        text = documents if isinstance(documents, str) else text_of(documents)
        return read(text, self.folder, self.stack)

    def look(self, documents: list[Document] | str, policy: Policy = ALLOWED) -> tuple[Plan, Actual]:
        """Plan."""
        return look(self.load(documents).desired, self.driver, policy)

    def apply(self, documents: list[Document] | str, policy: Policy = ALLOWED) -> Report:
        """Apply, with history."""
        loaded = self.load(documents)
        self.count += 1
        nonce = f"nonce {self.count}"
        options = ApplyOptions(
            policy=policy,
            holder=lambda: describe(user="somebody", command="apply", nonce=nonce),
            salt=lambda: nonce.encode().hex(),
            files=lambda: files_of(loaded),
        )
        return apply(loaded.desired, self.driver, options)

    def converge(self, documents: list[Document] | str) -> None:
        """Apply, and insist that it succeeds and that nothing is left to do."""
        report = self.apply(documents)
        assert report.done, [f"{o.step.verb} {o.step.label}: {o.error}" for o in report.failures]
        self.expect_in_sync(documents)

    def expect_in_sync(self, documents: list[Document] | str) -> None:
        plan, _ = self.look(documents)
        assert plan.in_sync, plan_text(plan)
        assert not plan.drifted, plan_text(plan)


def end_state(engine: MemoryEngine) -> dict[str, Any]:
    """Say what a stack has, without what differs between two engines that are used in the same way: ids and times."""
    found: dict[str, Any] = {}
    for name, box in engine.containers.items():
        container = replace(box.spec, image=replace(box.spec.image, reference=""))
        reported = {path: _shown(value) for path, value in canonical.container(container).items()}
        state = engine.state(box)[:3]
        found[f"container {name}"] = (box.image_id, reported, dict(box.files), box.owner, state, sorted(box.anonymous))
    for name, net in engine.networks.items():
        spec = (
            net.spec if net.applied and "spec.subnet" in net.applied else replace(net.spec, subnet=None, gateway=None)
        )
        found[f"network {name}"] = (canonical.network(spec), net.owner)
    for name, store in engine.volumes.items():
        if store.owner is not None:
            found[f"volume {name}"] = (canonical.volume(store.spec), store.owner)
    found["anonymous volumes"] = sum(store.owner is None for store in engine.volumes.values())
    for name, image_id in engine.references.items():
        if not name.startswith("declarative-history/"):
            found[f"tag {name}"] = image_id
    found["locks"] = dict(engine.locks)
    found["registry"] = {name: dict(tags) for name, tags in engine.registry.repositories.items()}
    return found


def _shown(value: Any) -> Any:
    return value.reveal() if hasattr(value, "reveal") else value


def difference(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """List what differs between two end states."""
    return {
        name: (one.get(name), other.get(name))
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    }
