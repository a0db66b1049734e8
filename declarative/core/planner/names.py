"""From the manifest's names to the engine's: references, networks, volumes, shared namespaces."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from declarative.core.resources import Attachment, ImageRef
from declarative.oci.reference import Reference
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.core.resources import Container, ContainerSpec, Desired, Job, Mount
    from declarative.core.state import ContainerState

# Networks that every engine has and that know no aliases.
_BUILT_IN = ("bridge", "host", "none")


@lru_cache(maxsize=4096)
def familiar(reference: str) -> str:
    """Give a reference the way engines list it: `busybox:latest`; of `busybox:1@DIGEST` the digest alone. Raises Invalid."""
    return Reference.parse(reference).addressed().familiar()


def repository_of(reference: str) -> str:
    """Give the repository in its familiar form: `localhost:5000/app`."""
    return Reference.parse(reference).bare.familiar()


def bind(resource: Container | Job, desired: Desired, reference: str) -> ContainerSpec:
    """Translate a spec to engine names. Every container answers to its resource name on the stack's networks."""
    spec = resource.spec
    networks = {}
    for name, attachment in spec.networks.items():
        network = desired.networks.get(name)
        engine_name = network.engine_name(desired.stack) if network else name
        networks[engine_name] = attachment if engine_name in _BUILT_IN else _named(attachment, resource.name)
    return replace(
        spec,
        image=ImageRef(reference=reference),
        networks=networks,
        volumes=tuple(_mount(mount, desired) for mount in spec.volumes),
        network_mode=_namespace(spec.network_mode, desired),
        pid=_namespace(spec.pid, desired),
        ipc=_namespace(spec.ipc, desired),
    )


def shared(spec: ContainerSpec, desired: Desired) -> set[str]:
    """Name the Containers whose namespaces this one lives in."""
    modes = (spec.network_mode, spec.pid, spec.ipc)
    names = {mode.partition(":")[2] for mode in modes if mode and mode.startswith("container:")}
    return {name for name in names if name in desired.containers}


def leaves(state: ContainerState | None) -> tuple[str, ...]:
    """Name what who may leave networks comes after: one that is made anew lets go of it first, or engines trip over both.

    The network that it was made on is one of them: dockerd 26 neither starts nor attaches it while that is not there.
    """
    return tuple(f"network:{name}" for name in {*state.spec.networks, state.home} if name) if state is not None else ()


def _named(attachment: Attachment, name: str) -> Attachment:
    return replace(attachment, aliases=tuple(sorted({*attachment.aliases, name})))


def _mount(mount: Mount, desired: Desired) -> Mount:
    volume = desired.volumes.get(mount.source) if mount.type == "volume" else None
    return replace(mount, source=volume.engine_name(desired.stack)) if volume else mount


def _namespace(mode: str | None, desired: Desired) -> str | None:
    if mode is None or not mode.startswith("container:"):
        return mode
    owner = desired.containers.get(mode.removeprefix("container:"))
    return f"container:{owner.engine_name(desired.stack, 1)}" if owner else mode
