"""The driver of every engine that speaks the Docker Engine API. See `drivers.port` for what it promises.

The rule: this file only hands each call to the module that owns the noun, with the subject that errors shall name.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, assert_never

from declarative.core import actions as do
from declarative.dockerapi.client import EngineClient
from declarative.drivers.docker.ahead import Ahead
from declarative.drivers.docker.subject import about
from declarative.errors import DeclarativeError, Unsupported
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from declarative.core.resources import BuildSource
    from declarative.core.state import Actual, ContainerState, Revision, Scope
    from declarative.dockerapi.transport import Endpoint
    from declarative.drivers.docker.build import ContextTar
    from declarative.drivers.docker.buildx import Programs
    from declarative.drivers.port import BuildFailed, FileChange, Lease, LogLine, Observed, Progress, Streams
    from declarative.registry.client import RegistryClient

_AT_ONCE_SECONDS = 0.25
"""An engine that is slower than this is asked when it is needed, by whoever waits for it with more patience."""


def _no_header(domain: str) -> str:
    del domain
    return "e30="  # {} in base64: engines before 23.0 refuse a push without the header


@record
class Surroundings:
    """What the driver is handed from outside: everything that reads files, environments, clocks or chance.

    `salt` gives fresh hex for sealing secrets. `open_context` packs a build context. `auth_header` gives X-Registry-Auth for a
    registry's domain; `registry` a client for it, told whether the engine is content without TLS there. `buildx`: the environment
    of `docker buildx`, None where it is not installed.
    """

    salt: Callable[[], str]
    open_context: Callable[[BuildSource], ContextTar] | None = None
    auth_header: Callable[[str], str] = _no_header
    registry: Callable[[str, bool], RegistryClient] | None = None
    buildx: dict[str, str] | None = None


class DockerDriver:
    """Drives the engine at `endpoint`. With `read_only` every writing call is a programming error before it is sent."""

    def __init__(
        self, endpoint: Endpoint, surroundings: Surroundings, *, read_only: bool = False, timeout: float = 60.0
    ) -> None:
        self.client = EngineClient(endpoint, timeout=timeout, read_only=read_only)
        self._around = surroundings
        self._registries: dict[str, RegistryClient] = {}
        self._programs: Programs = set()
        self._ahead: Ahead | None = None
        self._guard = threading.Lock()
        self._prepared: dict[tuple[str, int], str] = {}  # ids of revisions without a name yet

    @property
    def address(self) -> str:
        """Where the engine is, for messages."""
        return self.client.address

    def begin(self) -> bool:
        """Ask already what the first snapshot needs, if the engine answers at once; whether it does."""
        try:
            self.client.greet(_AT_ONCE_SECONDS)
            self._ahead = Ahead(self.client)
        except DeclarativeError:  # whoever needs the engine will be told
            return False
        return True

    def expect(self, stack: str) -> None:
        """Hear which stack the first snapshot will be of: after `begin`, its containers are inspected already."""
        if self._ahead is not None:
            with suppress(DeclarativeError):  # the snapshot asks again
                self._ahead.expect(stack)

    def snapshot(self, scope: Scope) -> Actual:
        """Look at everything in `scope` and everything its stack owns. Reads only."""
        from declarative.drivers.docker import snapshot

        ahead, self._ahead = self._ahead, None
        actual = snapshot.take(self.client, scope, buildkit=self._around.buildx is not None, ahead=ahead)
        if not scope.repositories and not scope.refresh:
            return actual
        from declarative.drivers.docker import remote

        return replace(
            actual,
            registry=remote.tags_of(self._registry, scope.repositories),
            latest=remote.latest(self.client, self._around.auth_header, scope.refresh),
        )

    def execute(self, action: do.Action, progress: Callable[[Progress], None]) -> None:
        """Do one action, to its end."""
        with about(_subject(action), self.client.address):
            self._execute(action, progress)

    def _execute(self, action: do.Action, progress: Callable[[Progress], None]) -> None:  # noqa: PLR0912, PLR0915 - one table
        from declarative.drivers.docker import containers, history, images, making, networks, remote

        client, around = self.client, self._around
        match action:
            case do.BuildImage():
                self._build(action, progress)
            case do.PullImage():
                images.pull(client, action, around.auth_header, progress)
            case do.ImportImage():
                images.import_image(client, action, progress)
            case do.LoadImage():
                images.load(client, action, progress)
            case do.TagImage():
                images.tag(client, action.source, action.reference)
            case do.UntagImage():
                images.untag(client, action.reference)
            case do.PushImage():
                images.push(client, action, around.auth_header, progress)
            case do.RetagRemote():
                remote.retag(self._registry, action)
            case do.UntagRemote():
                remote.untag(self._registry, action)
            case do.CreateNetwork():
                networks.create_network(client, action, around.salt)
            case do.RemoveNetwork():
                networks.remove_network(client, action.name)
            case do.CreateVolume():
                networks.create_volume(client, action, around.salt)
            case do.RemoveVolume():
                networks.remove_volume(client, action.name)
            case do.CreateContainer():
                making.create(client, action, around.salt)
            case do.StartContainer():
                containers.start(client, action.name)
            case do.StopContainer():
                containers.stop(client, action.name)
            case do.RestartContainer():
                containers.restart(client, action.name)
            case do.RemoveContainer():
                containers.remove(client, action.name, volumes=action.volumes)
            case do.RenameContainer():
                containers.rename(client, action)
            case do.UpdateContainer():
                containers.update(client, action)
            case do.ConnectNetwork():
                containers.connect(client, action)
            case do.DisconnectNetwork():
                containers.disconnect(client, action.container, action.network)
            case do.WriteRevision():
                history.write(client, action, self._prepared.pop((action.stack, action.number), ""))
            case _:
                assert_never(action)

    def prepare(self, action: do.WriteRevision) -> None:
        """Load a revision; executing the action gives it its name."""
        from declarative.drivers.docker import history

        with about(_subject(action), self.client.address):
            self._prepared[action.stack, action.number] = history.prepare(self.client, action)

    def give_up(self, action: do.WriteRevision) -> None:
        """Remove a revision that has no name."""
        from declarative.drivers.docker import images

        with about(_subject(action), self.client.address):
            if prepared := self._prepared.pop((action.stack, action.number), ""):
                images.untag(self.client, prepared)

    def _build(self, action: do.BuildImage, progress: Callable[[Progress], None]) -> None:
        from declarative.drivers.docker import build, buildx, images, snapshot

        client, around, builder = self.client, self._around, self._buildx()
        labels = build.build_labels(client, action, around.auth_header, progress)
        if builder is not None:
            buildx.build(client, action, labels, builder, progress, self._programs)
            return
        if around.open_context is None:
            raise Unsupported("", "this driver was made without a way to read build contexts")
        build.build_classic(client, action, labels, around.open_context, progress, full=snapshot.is_embedded(client))
        for reference in action.references[1:]:
            images.tag(client, action.references[0], reference)

    def _buildx(self) -> dict[str, str] | None:
        """Give the environment of `docker buildx`; None where it, or BuildKit in the engine, is missing."""
        from declarative.drivers.docker import snapshot

        return self._around.buildx if snapshot.has_buildkit(self.client) else None

    def debug_image(self, action: do.BuildImage, failure: BuildFailed, progress: Callable[[Progress], None]) -> str:
        """Give the image of the state just before the step that failed; "" where there is none."""
        from declarative.drivers.docker import build, buildx

        source, builder = action.source, self._buildx()
        if failure.layer or not failure.line or builder is None:
            return failure.layer
        text = build.dockerfile_text(source)
        return buildx.last_good(self.client, source, text, failure.line, builder, progress, self._programs)

    def _registry(self, domain: str) -> RegistryClient:
        if self._around.registry is None:
            raise Unsupported(domain, "this driver was made without a way to reach registries")
        from declarative.drivers.docker import remote

        with self._guard:
            if domain not in self._registries:
                insecure = remote.is_insecure(self.client.get_json("/info"), domain)
                self._registries[domain] = self._around.registry(domain, insecure)
            return self._registries[domain]

    def observe(self, stack: str, names: Sequence[str]) -> Mapping[str, Observed]:
        """See how these containers are right now."""
        from declarative.drivers.docker import reading

        with about(f"stack {stack}", self.client.address):
            return reading.observe(self.client, names)

    def lock(self, stack: str, *, timeout: float, holder: Mapping[str, str]) -> Lease:
        """Take the stack's lock."""
        from declarative.drivers.docker import lock

        with about(f"lock of stack {stack}", self.client.address):
            return lock.acquire(self.client, stack, timeout=timeout, holder=holder)

    def changes(self, container: str) -> tuple[FileChange, ...]:
        """List what differs in the container's writable layer from what its image and its spec put there."""
        from declarative.drivers.docker import reading

        with about(f"container {container}", self.client.address):
            return reading.changes(self.client, container)

    def logs(
        self, containers: Sequence[str], *, follow: bool, tail: int | None, since: str, timestamps: bool
    ) -> Iterator[LogLine]:
        """Give the output of containers, merged."""
        from declarative.drivers.docker import logs

        with about(f"logs of {', '.join(containers)}", self.client.address):
            yield from logs.lines(self.client, containers, follow=follow, tail=tail, since=since, timestamps=timestamps)

    def revisions(self, stack: str) -> tuple[Revision, ...]:
        """List the history of a stack, oldest first."""
        from declarative.drivers.docker import history

        with about(f"history of {stack}", self.client.address):
            return history.revisions(self.client, stack)

    def revision_files(self, stack: str, number: int) -> Mapping[str, str]:
        """Read the rendered manifests of one revision."""
        from declarative.drivers.docker import history

        with about(f"revision {number} of {stack}", self.client.address):
            return history.revision_files(self.client, stack, number)

    def stacks(self) -> Iterable[str]:
        """Name every stack that owns something in this engine."""
        from declarative.drivers.docker import reading

        return reading.stacks(self.client)

    def inspect(self, container: str) -> ContainerState:
        """See one container whole."""
        from declarative.drivers.docker import reading

        with about(f"container {container}", self.client.address):
            return reading.inspect(self.client, container)

    def last_output(self, container: str, lines: int) -> str:
        """Give the last lines a container printed."""
        from declarative.drivers.docker import logs

        with about(f"container {container}", self.client.address):
            return logs.last_output(self.client, container, lines)

    def exec(
        self,
        container: str,
        command: Sequence[str],
        streams: Streams,
        *,
        user: str = "",
        workdir: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Run a command in a running container; its exit code."""
        from declarative.drivers.docker import terminal

        with about(f"container {container}", self.client.address):
            return terminal.execute(
                self.client, container, command, streams, user=user, workdir=workdir, environment=environment or {}
            )

    def run(self, image: str, command: Sequence[str], streams: Streams) -> int:
        """Run a command in a new container of an image, gone afterwards; its exit code."""
        from declarative.drivers.docker import terminal

        with about(f"image {image}", self.client.address):
            return terminal.run(self.client, image, command, streams)

    def close(self) -> None:
        """Let go of connections, and end builds that are under way."""
        if self._programs:
            from declarative.drivers.docker import buildx

            for program in tuple(self._programs):
                buildx.end(program)
        if self._ahead is not None:
            self._ahead.drop()
        self.client.close()
        for client in self._registries.values():
            client.close()


_IMAGES = (do.PullImage, do.TagImage, do.UntagImage, do.PushImage)


def _subject(action: do.Action) -> str:
    """Name what an action is about, for errors."""
    subject = f"container {getattr(action, 'name', '')}"
    if isinstance(action, do.BuildImage | do.ImportImage | do.LoadImage):
        subject = f"image {action.references[0] if action.references else action.owner.name}"
    elif isinstance(action, _IMAGES):
        subject = f"image {action.reference}"
    elif isinstance(action, do.RetagRemote | do.UntagRemote):
        subject = f"image {action.repository}:{action.tag}"
    elif isinstance(action, do.CreateNetwork | do.RemoveNetwork):
        subject = f"network {action.name}"
    elif isinstance(action, do.CreateVolume | do.RemoveVolume):
        subject = f"volume {action.name}"
    elif isinstance(action, do.ConnectNetwork | do.DisconnectNetwork):
        subject = f"container {action.container} on network {action.network}"
    elif isinstance(action, do.WriteRevision):
        subject = f"revision {action.number} of {action.stack}"
    return subject
