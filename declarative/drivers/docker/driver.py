"""The driver of every engine that speaks the Docker Engine API. See `drivers.port` for what it promises.

The rule: this file only hands each call to the module that owns the noun, with the subject that errors shall name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from declarative.core import actions as do
from declarative.dockerapi.client import EngineClient
from declarative.drivers.docker import snapshot
from declarative.drivers.docker.subject import about
from declarative.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.core.resources import BuildSource
    from declarative.core.state import Actual, Scope
    from declarative.dockerapi.transport import Endpoint
    from declarative.drivers.docker.build import ContextTar
    from declarative.drivers.port import Progress
    from declarative.registry.client import RegistryClient


def _no_header(domain: str) -> str:
    del domain
    return "e30="  # {} in base64: engines before 23.0 refuse a push without the header


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the driver is handed from outside: everything that reads files, environments, clocks or chance.

    `salt` gives fresh hex for sealing secrets. `open_context` packs a build context. `auth_header` gives X-Registry-Auth for a
    registry's domain; `registry` a client for it. `buildx`: the environment of `docker buildx`, None where it is not installed.
    """

    salt: Callable[[], str]
    open_context: Callable[[BuildSource], ContextTar] | None = None
    auth_header: Callable[[str], str] = _no_header
    registry: Callable[[str], RegistryClient] | None = None
    buildx: dict[str, str] | None = None


class DockerDriver:
    """Drives the engine at `endpoint`. With `read_only` every writing call is a programming error before it is sent."""

    def __init__(
        self, endpoint: Endpoint, surroundings: Surroundings, *, read_only: bool = False, timeout: float = 60.0
    ) -> None:
        self.client = EngineClient(endpoint, timeout=timeout, read_only=read_only)
        self._around = surroundings

    @property
    def address(self) -> str:
        """Where the engine is, for messages."""
        return self.client.address

    def snapshot(self, scope: Scope) -> Actual:
        """Look at everything in `scope` and everything its stack owns. Reads only."""
        return snapshot.take(self.client, scope, buildkit=self._around.buildx is not None)

    def execute(self, action: do.Action, progress: Callable[[Progress], None]) -> None:
        """Do one action, to its end."""
        with about(_subject(action), self.client.address):
            self._execute(action, progress)

    def _execute(self, action: do.Action, progress: Callable[[Progress], None]) -> None:  # noqa: PLR0912 - the table of verbs
        from declarative.drivers.docker import containers, images, making, networks

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
            case do.RetagRemote() | do.UntagRemote():
                raise NotImplementedError
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
                raise NotImplementedError
            case _:
                assert_never(action)

    def _build(self, action: do.BuildImage, progress: Callable[[Progress], None]) -> None:
        from declarative.drivers.docker import build, images

        labels = build.build_labels(self.client, action, self._around.auth_header, progress)
        if self._around.open_context is None:
            raise Unsupported("", "this driver was made without a way to read build contexts")
        build.build_classic(self.client, action, labels, self._around.open_context, progress)
        for reference in action.references[1:]:
            images.tag(self.client, action.references[0], reference)

    def close(self) -> None:
        """Let go of connections."""
        self.client.close()


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
