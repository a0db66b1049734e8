"""What the contract suite stands on: an engine behind its driver, and a hand that works on the engine beside the driver.

The rule that keeps it simple: a test sees the port, and `hand` for what somebody else does to the engine. Names begin with the
bench's stack; everything of that name is removed when the test is over.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import uuid
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Protocol

from declarative.core import actions as do
from declarative.core import canonical
from declarative.core.resources import BuildSource, ContainerSpec, ImageRef, NetworkSpec, VolumeSpec
from declarative.core.state import Owner, Scope
from declarative.dockerapi.transport import UnixEndpoint
from declarative.drivers.docker import DockerDriver, Surroundings
from declarative.drivers.docker.build import ContextTar
from declarative.drivers.memory import MemoryDriver, MemoryEngine
from declarative.registry.client import RegistryClient
from tests.base_image import BASE_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from declarative.core.actions import Action
    from declarative.core.state import Actual, ContainerState, ImageConfig
    from declarative.drivers.port import Driver, Progress
    from tests.engines import Engine

FOREVER = ("sleep", "1000")
_numbers = itertools.count(1)


class Hand(Protocol):
    """Somebody else, who works on the same engine and knows nothing of us."""

    def run(self, name: str, *, port: int = 0) -> None:
        """Run a container."""
        ...

    def network(self, name: str) -> None:
        """Create a network."""
        ...

    def volume(self, name: str) -> None:
        """Create a volume."""
        ...

    def pause(self, name: str) -> None:
        """Pause a container."""
        ...

    def data(self, volume: str) -> str:
        """Read what is in a volume; at the first time something is put in."""
        ...

    def anonymous(self, container: str) -> dict[str, str]:
        """Read which anonymous volumes a container has: target → name."""
        ...

    def volumes(self) -> set[str]:
        """Name all volumes."""
        ...

    def clear(self, stack: str) -> None:
        """Remove everything whose name begins with `stack`."""
        ...


@dataclass(slots=True, kw_only=True)
class Bench:
    """One engine for one test. `reach` lets the engine reach a port of the test's loopback."""

    kind: str
    stack: str
    driver: Driver
    hand: Hand
    open: Callable[[], Driver]
    reach: Callable[[int], None]
    engine: Engine | None = None
    memory: MemoryEngine | None = None
    opened: list[Driver] = field(default_factory=list)

    def close(self) -> None:
        """Let go of everything, and remove what the test made."""
        for driver in [self.driver, *self.opened]:
            driver.close()
        self.hand.clear(self.stack)

    def owner(self, kind: str = "Container", name: str = "web", index: int = 1) -> Owner:
        return Owner(stack=self.stack, kind=kind, name=name, index=index if kind == "Container" else 0)

    def do(self, action: Action) -> list[str]:
        """Execute; what was reported."""
        said: list[str] = []

        def hear(progress: Progress) -> None:
            said.append(progress.text)

        self.driver.execute(action, hear)
        return said

    def look(self, **scope: frozenset[str]) -> Actual:
        return self.driver.snapshot(Scope(stack=self.stack, **scope))

    def see(self, name: str) -> ContainerState:
        return self.driver.inspect(name)

    def name(self, of: str = "web", index: int = 1) -> str:
        return f"{self.stack}-{of}-{index}"

    def create(self, spec: ContainerSpec | None = None, *, name: str = "", inherit: str = "", of: str = "web") -> str:
        """Create a container; its name."""
        spec = spec or container()
        name = name or self.name(of)
        flat = canonical.container(spec)
        self.do(
            do.CreateContainer(name=name, spec=spec, owner=self.owner(name=of), applied=flat, inherit=inherit),
        )
        return name

    def start(self, spec: ContainerSpec | None = None, *, name: str = "", inherit: str = "", of: str = "web") -> str:
        """Create and start a container; its name."""
        name = self.create(spec, name=name, inherit=inherit, of=of)
        self.do(do.StartContainer(name=name))
        return name

    def network(self, of: str = "back", spec: NetworkSpec | None = None) -> str:
        spec = spec or NetworkSpec()
        name, owner = f"{self.stack}_{of}", self.owner("Network", of)
        self.do(do.CreateNetwork(name=name, spec=spec, owner=owner, applied=canonical.network(spec)))
        return name

    def volume(self, of: str = "data", spec: VolumeSpec | None = None) -> str:
        spec = spec or VolumeSpec()
        name, owner = f"{self.stack}_{of}", self.owner("Volume", of)
        self.do(do.CreateVolume(name=name, spec=spec, owner=owner, applied=canonical.volume(spec)))
        return name

    def build(self, dockerfile: str, *tags: str, bases: tuple[str, ...] = (BASE_IMAGE,)) -> str:
        """Build an image of the stack; its first reference."""
        parts = {"dockerfile": "sha256:" + hashlib.sha256(dockerfile.encode()).hexdigest()}
        source = BuildSource(
            context="/var/empty", dockerfile="", dockerfile_inline=dockerfile, parts=parts, bases=bases
        )
        references = tuple(f"{self.stack}/{tag}" for tag in tags or ("app:1",))
        self.do(do.BuildImage(source=source, references=references, owner=self.owner("Image", "app")))
        return references[0]


def container(*, command: tuple[str, ...] | None = FOREVER, image: str = BASE_IMAGE, **fields: object) -> ContainerSpec:
    """Make a spec; it stops at once when it is told to."""
    given: dict[str, object] = {"stop_grace_period": 0, **fields}
    return ContainerSpec(image=ImageRef(reference=image), command=command, **given)  # type: ignore[arg-type]


def new_stack() -> str:
    """Name a stack that no other test and no other run has."""
    return f"ct{next(_numbers)}-{uuid.uuid4().hex[:6]}"


# ---- the engine in memory


@dataclass(slots=True)
class MemoryHand:
    """Works on the engine in memory."""

    engine: MemoryEngine

    def run(self, name: str, *, port: int = 0) -> None:
        from declarative.core.resources import Port

        ports = (Port(target=80, published=port),) if port else ()
        self.engine.create(name, container(ports=ports), {}, None, None)
        self.engine.start(name)

    def network(self, name: str) -> None:
        from declarative.drivers.memory.engine import Net

        self.engine.networks[name] = Net(id=self.engine.fresh(), spec=NetworkSpec(driver="bridge"))

    def volume(self, name: str) -> None:
        self.engine.add_volume(name)

    def pause(self, name: str) -> None:
        self.engine.box(name).paused = True

    def data(self, volume: str) -> str:
        return self.engine.volumes[volume].data

    def anonymous(self, container: str) -> dict[str, str]:
        return dict(self.engine.box(container).anonymous)

    def volumes(self) -> set[str]:
        return set(self.engine.volumes)

    def clear(self, stack: str) -> None:
        """Nothing outlives the test."""


def memory_bench(registry_image: Mapping[str, ImageConfig] | None = None) -> Bench:
    """Make an engine in memory with the base image in it."""
    from declarative.core.state import ImageConfig

    engine = MemoryEngine()
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
    engine.add_image(BASE_IMAGE, ImageConfig(command=("sh",), environment=environment, stop_signal="SIGKILL"))
    for reference, config in (registry_image or {}).items():
        engine.registry.publish(reference, config)
    return Bench(
        kind="memory",
        stack=new_stack(),
        driver=MemoryDriver(engine),
        hand=MemoryHand(engine),
        open=lambda: MemoryDriver(engine),
        reach=lambda _: None,
        memory=engine,
    )


# ---- real engines


@dataclass(slots=True)
class DockerHand:
    """Works on a real engine with its stock client."""

    engine: Engine

    def run(self, name: str, *, port: int = 0) -> None:
        publish = ["-p", f"{port}:80"] if port else []
        self.engine.docker("run", "-d", "--name", name, "--stop-timeout", "0", *publish, BASE_IMAGE, *FOREVER)

    def network(self, name: str) -> None:
        self.engine.docker("network", "create", name)

    def volume(self, name: str) -> None:
        self.engine.docker("volume", "create", name)

    def pause(self, name: str) -> None:
        self.engine.docker("pause", name)

    def data(self, volume: str) -> str:
        script = "test -e /v/data || echo data of $RANDOM > /v/data; cat /v/data"
        return self.engine.docker("run", "--rm", "-v", f"{volume}:/v", BASE_IMAGE, "sh", "-c", script).stdout

    def anonymous(self, container: str) -> dict[str, str]:
        mounts = json.loads(self.engine.docker("inspect", "-f", "{{json .Mounts}}", container).stdout)
        return {mount["Destination"]: mount["Name"] for mount in mounts if len(mount.get("Name", "")) == 64}

    def volumes(self) -> set[str]:
        return set(self.engine.docker("volume", "ls", "-q").stdout.split())

    def clear(self, stack: str) -> None:
        docker = self.engine.docker
        for name in docker("ps", "-a", "--format", "{{.Names}}").stdout.split():
            if name.startswith(stack):
                docker("rm", "-f", "-v", name)
        for noun in ("network", "volume"):
            for name in docker(noun, "ls", "--format", "{{.Name}}").stdout.split():
                if stack in name:
                    docker(noun, "rm", name)
        for name in docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split():
            if stack in name and "<none>" not in name:
                docker("rmi", "-f", name)


def docker_bench(
    engine: Engine,
    *,
    buildx: Mapping[str, str] | None = None,
    open_context: Callable[[BuildSource], ContextTar] | None = None,
) -> Bench:
    """Open the driver of a real engine. Without `open_context` a build has its inline Dockerfile and nothing else."""
    endpoint = UnixEndpoint(path=str(engine.socket_path))
    around = Surroundings(
        salt=lambda: uuid.uuid4().hex,
        open_context=open_context or inline_context,
        registry=lambda domain, _: RegistryClient(domain),
        buildx=None if buildx is None else dict(buildx),
    )

    opened: list[Driver] = []

    def open_driver() -> Driver:
        opened.append(DockerDriver(endpoint, around))
        return opened[-1]

    return Bench(
        kind=engine.flavour.name,
        stack=new_stack(),
        driver=open_driver(),
        hand=DockerHand(engine),
        open=open_driver,
        reach=cache(engine.reach),
        opened=opened,
        engine=engine,
    )


def inline_context(source: BuildSource) -> ContextTar:
    """Pack a context that is a Dockerfile alone."""
    import io
    import tarfile

    buffer, content = io.BytesIO(), source.dockerfile_inline.encode()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return ContextTar(dockerfile="Dockerfile", chunks=[buffer.getvalue()])
