"""What an engine and the registries really hold, in the types that manifests ask with.

A driver makes an `Actual` with one snapshot per run; everything after that is pure. Two rules: a container's spec is
what the engine reports, image and engine defaults included (`core.defaults` takes them out again, on both sides alike);
and what is absent here was seen to be absent: a driver that could not look raises instead of leaving things out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from declarative.record import field, record

if TYPE_CHECKING:
    from declarative.core.resources import ContainerSpec, Healthcheck, NetworkSpec, VolumeSpec

# Labels by which objects are owned and remembered. Everything under this prefix is ours, nothing else is.
PREFIX = "declarative."
LABEL_STACK = "declarative.stack"
LABEL_KIND = "declarative.kind"  # Container, Job, Network, Volume, Image, History, Lock
LABEL_NAME = "declarative.name"
LABEL_INDEX = "declarative.index"  # of a replica, from 1
LABEL_SPEC = "declarative.spec"  # the canonical spec of the last apply: JSON, path → value, secrets sealed
LABEL_MADE = (
    "declarative.made"  # on containers: random; where its image has the same, a container has all its labels from there
)
LABEL_BUILD = "declarative.build"  # on built, imported and loaded images: JSON, name of an input → digest
LABEL_REVISION = "declarative.revision"  # on history images: the number
LABEL_OBJECTS = "declarative.objects"  # on history images: JSON of Revision.objects
LABEL_UPDATES = "declarative.updates"  # on history images: JSON of Revision.updates, secrets sealed
LABEL_SUMMARY = "declarative.summary"  # on history images: "2 created, 1 replaced"
LABEL_TARGETS = "declarative.targets"  # on history images: JSON of Revision.targets
LABEL_APPLIED = "declarative.applied"  # on history images that were written anew: Revision.applied_at
LABEL_NOTED = "declarative.noted"  # on those of them that take note of nothing: Revision.noted_at

# Engine names of the two halves of a replacement that is under way: NAME.new, NAME.old
SUFFIX_NEW = ".new"
SUFFIX_OLD = ".old"
SUFFIX_ASIDE = ".aside"  # a container that has given its name up to another one, until it gets its own: NAME.aside
# The name of a container whose files and networks are not all in yet: NAME.making. Drivers hide it and sweep it away.
SUFFIX_MAKING = ".making"

RunState = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]
LIVING: tuple[RunState, ...] = ("running", "paused", "restarting")
"""In which a container holds its ports and addresses."""
Health = Literal["", "starting", "healthy", "unhealthy"]
Canonical = Mapping[str, Any]  # path ("spec.environment.A") → JSON value, Secret or Sealed


@record
class Owner:
    """Who an object belongs to, read from its labels."""

    stack: str
    kind: str
    name: str
    index: int = 0


@record
class EngineInfo:
    """The engine behind the driver. `buildkit`: it has BuildKit, and a client that can drive it is here.

    `processors`: how many the engine's machine has, 0 where it does not say.
    """

    name: str = "docker"
    version: str = ""
    api_version: str = ""
    platform: str = "linux/amd64"
    log_driver: str = "json-file"
    buildkit: bool = False
    processors: int = 0


@record
class ImageConfig:
    """What an image gives to the containers made from it (OCI image config, section "config")."""

    environment: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""


@record
class ImageState:
    """An image in the engine. `digests`: repository → manifest digest under which a registry has it."""

    id: str
    references: tuple[str, ...] = ()  # familiar form, with tag
    digests: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    config: ImageConfig | None = None  # None where the driver did not need to look
    platform: str = ""


@record
class ContainerState:
    """A container in the engine. `spec.networks` and `Mount.source` hold the engine's names of networks and volumes.

    `home`: the network that it was made on, or "". Engines keep its name, on it or not.
    """

    name: str
    id: str
    image_id: str
    spec: ContainerSpec
    owner: Owner | None = None
    applied: Canonical | None = None  # from LABEL_SPEC; None on foreign ones
    home: str = ""
    state: RunState = "running"
    health: Health = ""
    exit_code: int = 0
    oom_killed: bool = False
    restarts: int = 0  # by the engine's restart policy, since it was started
    created: str = ""  # RFC 3339
    started: str = ""
    finished: str = ""
    error: str = ""


@record
class Stranger:
    """A container that is not of this stack: its name, and what it holds on the host: (address, port, protocol)."""

    name: str
    running: bool
    ports: tuple[tuple[str, int, str], ...] = ()
    stack: str = ""  # of another stack of ours, or ""


@record
class NetworkState:
    """A network in the engine. `attached`: engine names of the containers on it, where the engine says."""

    name: str
    id: str
    spec: NetworkSpec
    owner: Owner | None = None
    applied: Canonical | None = None
    attached: tuple[str, ...] = ()


@record
class VolumeState:
    """A volume in the engine."""

    name: str
    spec: VolumeSpec
    owner: Owner | None = None
    applied: Canonical | None = None


@record
class RemoteTag:
    """A tag in a registry. `digest` of the manifest; the rest from the image's config: "" for an index."""

    digest: str
    image_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""  # linux/amd64


@record
class Revision:
    """One entry of a stack's history.

    `updates`: container → paths changed in place since it was made, with their new values (its label cannot change).
    `objects`: what the stack had after that apply: "Container/web-1", "Network/STACK_back", … → "", a "Job/NAME" → digest
    of what ran, "Image/NAME", "Tag/REFERENCE" (asked for by an Image), "Version/REFERENCE" (by a TagScheme), the
    "Container/web-1" that follows a track and "Track/NAME" of a job that does → image id. By these a later plan
    tells what was removed or moved by hand from what is new. `targets`: what alone was applied of the manifests
    ("Container/web"); empty for all of them. `noted_at`: until when it is known who was started; not before `applied_at`.
    """

    number: int
    applied_at: str  # RFC 3339, the engine's clock
    noted_at: str = ""
    image_id: str = ""
    summary: str = ""
    updates: Mapping[str, Canonical] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)
    targets: frozenset[str] = frozenset()


@record
class Scope:
    """What a snapshot has to look at beside what the stack owns. Everything by engine names and references."""

    stack: str
    references: frozenset[str] = frozenset()  # images named by containers, builds' bases, pulls
    containers: frozenset[str] = frozenset()  # names wanted, whoever holds them
    networks: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()
    repositories: frozenset[str] = frozenset()  # registry repositories whose tags are needed
    refresh: frozenset[str] = frozenset()  # references whose registry digest is needed (pull policy always)


@record
class Actual:
    """A snapshot. Containers, networks, volumes by engine name: those owned by the stack, and those the scope named."""

    stack: str
    engine: EngineInfo = EngineInfo()
    images: Mapping[str, ImageState] = field(default_factory=dict)  # by id
    references: Mapping[str, str] = field(default_factory=dict)  # familiar reference, tag included → image id
    containers: Mapping[str, ContainerState] = field(default_factory=dict)
    strangers: tuple[Stranger, ...] = ()
    networks: Mapping[str, NetworkState] = field(default_factory=dict)
    volumes: Mapping[str, VolumeState] = field(default_factory=dict)
    registry: Mapping[str, Mapping[str, RemoteTag]] = field(default_factory=dict)  # repository → tag → what
    latest: Mapping[str, str] = field(default_factory=dict)  # reference → digest the registry has now (Scope.refresh)
    revision: Revision | None = None  # the newest of this stack
    leftovers: tuple[str, ...] = ()  # locks and half-made containers; taking the lock sweeps those of a killed apply

    def owned(self, kind: str) -> list[tuple[str, Owner]]:
        """Engine names of this stack's containers, networks or volumes of one kind, with their owners."""
        pools: list[Mapping[str, Any]] = [self.containers, self.networks, self.volumes]
        return [
            (name, item.owner)
            for pool in pools
            for name, item in pool.items()
            if item.owner is not None and item.owner.stack == self.stack and item.owner.kind == kind
        ]
