"""The state of an engine in memory, and its primitives: each one change, all or nothing.

The rule: every change goes through `_change`, which a test can make raise before or after it: that is how crashes are injected.
Time is a function, so that a test owns it; ids are counted.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from declarative.core.resources import NetworkSpec, VolumeSpec
from declarative.core.state import LIVING, ImageConfig, Owner
from declarative.drivers.memory.life import Program, Run, finished, look, usual_program
from declarative.drivers.memory.merge import limits, merged
from declarative.drivers.memory.registry import MemoryRegistry
from declarative.errors import Conflict, Failed, Invalid, NotFound
from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from declarative.core.resources import Attachment, ContainerSpec, Resources
    from declarative.core.state import Canonical, Health, RunState
    from declarative.drivers.port import FileChange


@record(frozen=False)
class Box:
    """A container. `spec` is as the engine reports it. `anonymous`: target → name of its anonymous volumes."""

    name: str
    id: str
    image_id: str
    spec: ContainerSpec
    files: Mapping[str, bytes]
    owner: Owner | None
    applied: Canonical | None
    program: Program
    created: float
    anonymous: dict[str, str]
    home: str = ""  # the network that it was made on
    run: Run | None = None
    paused: bool = False
    changes: tuple[FileChange, ...] = ()


@record(frozen=False)
class Picture:
    """An image. `files` are a history image's."""

    id: str
    config: ImageConfig
    labels: Mapping[str, str]
    digests: dict[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0


@record(frozen=False)
class Net:
    """A network."""

    id: str
    spec: NetworkSpec
    owner: Owner | None = None
    applied: Canonical | None = None


@record(frozen=False)
class Store:
    """A volume. `data` is made with it and never again: where it changed, data was lost."""

    spec: VolumeSpec
    data: str
    owner: Owner | None = None
    applied: Canonical | None = None


class MemoryEngine:
    """An engine. `programs`: container or image name → what it does; others are guessed from their commands.

    `hook` is called with "before VERB NAME" and "after VERB NAME" around every change, and may raise.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = lambda: 0.0,
        registry: MemoryRegistry | None = None,
        processors: int = 0,
    ) -> None:
        self.clock = clock
        self.registry = registry or MemoryRegistry()
        self.hook: Callable[[str], None] = lambda _: None
        self.processors = processors
        self.programs: dict[str, Program] = {}
        self.images: dict[str, Picture] = {}
        self.references: dict[str, str] = {}
        self.containers: dict[str, Box] = {}
        self.networks: dict[str, Net] = {
            name: Net(id=name, spec=NetworkSpec(driver=driver))
            for name, driver in (("bridge", "bridge"), ("host", "host"), ("none", "null"))
        }
        self.volumes: dict[str, Store] = {}
        self.locks: dict[str, dict[str, str]] = {}
        self.guard = threading.RLock()
        self._count = 0

    def fresh(self) -> str:
        """Give a new id of 64 hex digits."""
        self._count += 1
        return hashlib.sha256(f"id {self._count}".encode()).hexdigest()

    @contextmanager
    def change(self, verb: str, name: str) -> Iterator[None]:
        """Make one change: alone, and with a crash before or after it where a test wants one."""
        with self.guard:
            self.hook(f"before {verb} {name}")
            yield
            self.hook(f"after {verb} {name}")

    # ---- images

    def add_image(self, reference: str, config: ImageConfig | None = None, image_id: str = "") -> str:
        """Have an image, as if somebody had loaded it; its id."""
        config = config or ImageConfig()
        identity = image_id or "sha256:" + hashlib.sha256(f"{reference} {config!r}".encode()).hexdigest()
        self.images[identity] = Picture(id=identity, config=config, labels=config.labels, created=self.clock())
        self.references[reference] = identity
        return identity

    def image(self, name: str) -> Picture:
        """Find an image by reference or id; NotFound."""
        identity = self.references.get(name, name)
        if identity not in self.images:
            raise NotFound(f"image {name}", "the engine has no such image", "pull or build it first")
        return self.images[identity]

    def drop_reference(self, reference: str) -> None:
        """Remove a reference, and the image with its last one unless a container is made of it."""
        identity = self.references.pop(reference, None)
        if identity is None or identity in self.references.values():
            return
        if not any(box.image_id == identity for box in self.containers.values()):
            self.images.pop(identity, None)

    # ---- containers

    def create(
        self, name: str, spec: ContainerSpec, files: Mapping[str, bytes], owner: Owner | None, applied: Canonical | None
    ) -> Box:
        """Create a container; volumes that are missing are made, as engines do."""
        if name in self.containers:
            raise Conflict(f"container {name}", "another container has this name", "remove or rename it")
        picture = self.image(spec.image.reference)
        full = merged(spec, picture.config, log_driver="json-file")
        if not full.command and not full.entrypoint:
            raise Invalid(f"container {name}", "no command specified", "give a command")
        for mount in full.volumes:
            if mount.type == "volume" and not mount.source and mount.read_only:
                raise Invalid(f"container {name}", "an anonymous volume cannot be read-only", "name the volume")
            if mount.type == "volume" and mount.source:
                self.add_volume(mount.source)
        anonymous = {m.target: self.fresh() for m in full.volumes if m.type == "volume" and not m.source}
        for volume in anonymous.values():
            self.add_volume(volume)
        program = self.programs.get(name) or self.programs.get(spec.image.reference) or usual_program(full)
        box = Box(
            name=name,
            id=self.fresh(),
            image_id=picture.id,
            spec=full,
            files=files,
            owner=owner,
            applied=applied,
            program=program,
            created=self.clock(),
            anonymous=anonymous,
            home="" if spec.network_mode else next(iter(spec.networks), ""),
        )
        self.containers[name] = box
        return box

    def box(self, name: str) -> Box:
        """Find a container; NotFound."""
        if name not in self.containers:
            raise NotFound(f"container {name}", "there is no such container", "look at `declarative status`")
        return self.containers[name]

    def state(self, box: Box) -> tuple[RunState, Health, int, int]:
        """Work out a container's state, health, exit code and restarts now."""
        if box.run is None:
            return "created", "", 0, 0
        if box.paused:
            return "paused", "", 0, 0
        return look(box.spec, box.program, box.run, self.clock())

    def living(self, box: Box) -> bool:
        """Whether it holds its ports."""
        return self.state(box)[0] in LIVING

    def start(self, name: str) -> None:
        """Start; Conflict where a port is taken, NotFound where a network is gone."""
        box = self.box(name)
        box.paused = False
        if self.living(box):
            return
        for network in {*box.spec.networks, *filter(None, (box.home,))}:
            if network not in self.networks:
                raise NotFound(f"container {name}", f"the network {network} is not there", "create it first")
        mode = box.spec.network_mode or ""
        if mode.startswith("container:") and not self.living(self.box(mode.partition(":")[2])):
            raise Conflict(f"container {name}", f"{mode} does not run", "start that container first")
        self._check_ports(box)
        box.run = Run(begun=self.clock(), former=self.finished(box))

    def finished(self, box: Box) -> float | None:
        """Say when a container ended last; None where it never did."""
        return None if box.run is None else finished(box.spec, box.program, box.run, self.clock())

    def _check_ports(self, box: Box) -> None:
        wanted = {(port.published, port.protocol): port.host_ip for port in box.spec.ports if port.published}
        for other in self.containers.values():
            if other is box or not self.living(other):
                continue
            for port in other.spec.ports:
                address = wanted.get((port.published, port.protocol))
                if address is not None and ("" in {address, port.host_ip} or address == port.host_ip):
                    raise Conflict(
                        f"container {box.name}",
                        f"port {port.published} is already taken by another container",
                        f"free the port ({other.name} has it), or publish another one",
                    )

    def stop(self, name: str) -> None:
        """Stop; done where it does not run, or is not there."""
        box = self.containers.get(name)
        if box is None:
            return
        if self.living(box) and box.run is not None:
            box.run = replace(box.run, stopped=self.clock())
        box.paused = False

    def remove(self, name: str, *, volumes: bool) -> None:
        """Remove a container; done where it is gone."""
        box = self.containers.pop(name, None)
        if box is not None and volumes:
            used = {volume for other in self.containers.values() for volume in other.anonymous.values()}
            for volume in set(box.anonymous.values()) - used:
                self.volumes.pop(volume, None)

    def rename(self, name: str, to: str) -> None:
        """Rename; Conflict where the new name is taken."""
        if to in self.containers:
            raise Conflict(f"container {name}", f"the name {to} is taken", "remove or rename that one")
        box = self.box(name)
        del self.containers[name]
        box.name = to
        self.containers[to] = box

    def update(self, name: str, resources: Resources, restart: str | None) -> None:
        """Change limits and restart policy."""
        box = self.box(name)
        now = box.spec.resources
        names = ("memory", "memory_reservation", "memory_swap", "cpus", "cpu_shares", "cpuset", "pids")
        asked = {field_: value for field_ in names if (value := getattr(resources, field_)) is not None}
        if "memory" in asked and "memory_swap" not in asked and now.memory_swap in {None, 2 * (now.memory or 0)}:
            asked["memory_swap"] = 2 * asked["memory"]
        if asked.get("memory") and 0 < asked["memory"] < 6 << 20:
            raise Invalid(f"container {name}", "minimum memory limit allowed is 6MB", "ask for more")
        kept = {field_: value for field_, value in asked.items() if value or field_ == "pids"}  # 0 changes nothing
        box.spec = replace(box.spec, resources=limits(replace(now, **kept)), restart=restart or box.spec.restart)

    # ---- networks and volumes

    def connect(self, name: str, network: str, attachment: Attachment) -> None:
        """Attach a container, anew where it is attached already."""
        if network not in self.networks:
            raise NotFound(f"network {network}", "there is no such network", "create it first")
        box = self.box(name)
        if (box.spec.network_mode or "bridge") not in {"bridge", "default"}:
            raise Failed(f"container {name}", f"has network mode {box.spec.network_mode}", "drop network_mode")
        if box.home and box.home not in self.networks:  # as dockerd 26 does
            raise NotFound(f"container {name}", f"the network {box.home} is not there", "replace the container")
        networks = {**box.spec.networks, network: replace(attachment, aliases=tuple(sorted(set(attachment.aliases))))}
        box.spec = replace(box.spec, networks=dict(sorted(networks.items())))

    def disconnect(self, name: str, network: str) -> None:
        """Detach a container; done where it is not attached."""
        if box := self.containers.get(name):
            networks = {other: how for other, how in box.spec.networks.items() if other != network}
            box.spec = replace(box.spec, networks=networks)

    def remove_network(self, name: str) -> None:
        """Remove a network; what is on it is detached."""
        if self.networks.pop(name, None) is not None:
            for box in self.containers.values():
                if box.run is not None:  # who never ran is on it by its name
                    self.disconnect(box.name, name)

    def add_volume(self, name: str) -> Store:
        """Have a volume; the one that is there, if there is one."""
        if name not in self.volumes:
            self.volumes[name] = Store(spec=VolumeSpec(driver="local"), data=f"data of {self.fresh()[:12]}")
        return self.volumes[name]

    def remove_volume(self, name: str) -> None:
        """Remove a volume with its data; Conflict while a container has it."""
        for box in self.containers.values():
            if name in box.anonymous.values() or any(m.type == "volume" and m.source == name for m in box.spec.volumes):
                raise Conflict(f"volume {name}", f"the container {box.name} uses it", "remove that container first")
        self.volumes.pop(name, None)
