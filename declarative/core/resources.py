"""What a stack may hold: Image, TagScheme, Container, Job, Network, Volume, as frozen types.

Desired state and actual state are made of the same types: a driver reads an engine's container into the
`ContainerSpec` that would have made it. Two rules keep this simple: a field that nobody stated is None or empty, never
a copied default; and every value is in its one canonical form already (sizes in bytes, durations in nanoseconds, lists
sorted where order carries no meaning), so that equality is equality of values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.secret import Secret

Kind = Literal["Image", "TagScheme", "Container", "Job", "Network", "Volume"]
KINDS: tuple[Kind, ...] = ("Image", "TagScheme", "Container", "Job", "Network", "Volume")
Condition = Literal["started", "healthy", "completed"]
PullPolicy = Literal["missing", "always", "never"]
Scheme = Literal["semver", "calver", "literal"]


class Places(Protocol):
    """Where a resource stands in its manifest; made by `manifest`, asked when a difference is shown."""

    def at(self, path: str) -> str:
        """`file:line` of the field at `path` ("spec.image"), or of the nearest parent that is written down."""
        ...


@record(kw_only=False)
class Nowhere:
    """The places of a resource that no file holds (made by a test, or read back from a label)."""

    def at(self, path: str) -> str:
        """Give no place."""
        del path
        return ""


NOWHERE = Nowhere()

# ---- Image ------------------------------------------------------------------------------------------------------


@record
class BuildSource:
    """A build. Paths are absolute. `parts` are the digests that decide whether a build is needed.

    `parts` maps the name of an input ("dockerfile", "context", "args", "target", "platform", "secrets", "options") to
    its digest; base images are not among them, because only the engine knows what they are: `bases` lists references.
    """

    context: str
    dockerfile: str  # absolute path, or "" where `dockerfile_inline` is the text
    dockerfile_inline: str = ""
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)  # id → content
    network: str = ""
    platform: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)
    bases: tuple[str, ...] = ()
    needs_buildkit: tuple[str, ...] = ()  # "Dockerfile:7: RUN --mount", for the refusal where there is no BuildKit


@record
class PullSource:
    """An image that comes from a registry under `reference`."""

    reference: str
    policy: PullPolicy = "missing"
    platform: str = ""


@record
class RootfsSource:
    """A base image made from a root file system archive at `path` whose content is `digest`."""

    path: str
    digest: str


@record
class ArchiveSource:
    """An image out of a `docker save` or OCI archive at `path`; `reference` names which, where it holds several.

    `image_id` is the digest of the image's config inside the archive: the id it has once it is loaded, so that a plan
    can tell without loading whether the engine has it already.
    """

    path: str
    image_id: str
    reference: str = ""


@record
class KeptSource:
    """An image that an earlier revision made and the engine still has: no manifest says this, `rollout undo` does."""

    image_id: str
    revision: int


ImageSource = BuildSource | PullSource | RootfsSource | ArchiveSource | KeptSource


@record
class ImageSpec:
    """An image of the stack: where it comes from and under which references (`repository:tag`) it shall be known."""

    source: ImageSource
    repository: str
    tags: tuple[str, ...] = ()

    @property
    def references(self) -> tuple[str, ...]:
        """Every `repository:tag` that the image itself asks for (a tag scheme may ask for more)."""
        return tuple(f"{self.repository}:{tag}" for tag in self.tags)


# ---- TagScheme --------------------------------------------------------------------------------------------------


@record
class TagSchemeSpec:
    """The semantic-version tags of one image. `version` is resolved already, except where it comes from a label."""

    image: str
    repository: str
    version: str = ""
    version_label: str = ""  # read the version from this label of the image
    scheme: Scheme = "semver"
    levels: tuple[str, ...] = ("major", "minor", "patch", "latest")
    variant: str = ""
    prefix: str = ""
    build: Literal["refuse", "replace"] = "refuse"
    push: bool = False
    prune: bool = False


# ---- Container and Job ------------------------------------------------------------------------------------------


@record
class ImageRef:
    """What a container runs: one of a plain `reference`, an `image` of this stack, or a `scheme` and `track`.

    `kept`: what the track gave in the revision that is brought back; floating tags never go back.
    """

    reference: str = ""
    image: str = ""
    scheme: str = ""
    track: str = ""
    kept: KeptSource | None = None


@record(order=True)
class Port:
    """One published port. `published` is 0 where the engine chooses; `host_ip` is "" for every address."""

    target: int
    protocol: str = "tcp"
    published: int = 0
    host_ip: str = ""

    def __str__(self) -> str:
        host = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip
        head = f"{host}:" if host else ""
        middle = f"{self.published or ''}:" if self.published or host else ""
        return f"{head}{middle}{self.target}/{self.protocol}"


@record(order=True)
class Mount:
    """One mount. `source`: a volume's resource or engine name, a host path, or "" (anonymous volume, tmpfs)."""

    target: str
    type: Literal["volume", "bind", "tmpfs"] = "volume"
    source: str = ""
    read_only: bool = False
    nocopy: bool = False
    propagation: str = ""
    create_host_path: bool = False  # short form only, as in Compose: a missing host path is made
    size: int = 0  # tmpfs, bytes
    mode: int = 0  # tmpfs


@record
class FileEntry:
    """A file put into the container before it starts. `content` counts for the comparison, secret or not."""

    target: str
    content: bytes | Secret
    mode: int = 0o444
    uid: int = 0
    gid: int = 0


@record
class Attachment:
    """How a container hangs on one network; the key in `networks` is the Network's resource name."""

    aliases: tuple[str, ...] = ()
    ipv4_address: str = ""
    ipv6_address: str = ""


@record
class Healthcheck:
    """A health check. Durations in nanoseconds; 0 means the engine's default. `test` ("NONE",) switches it off."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    retries: int = 0
    start_period: int = 0
    start_interval: int = 0


@record
class Logging:
    """Log driver and its options."""

    driver: str
    options: Mapping[str, str] = field(default_factory=dict)


@record
class Resources:
    """Limits. Bytes, nano-CPUs; None where nobody asked."""

    memory: int | None = None
    memory_reservation: int | None = None
    memory_swap: int | None = None  # -1 unlimited
    cpus: int | None = None  # in 1e-9 CPUs
    cpu_shares: int | None = None
    cpuset: str | None = None
    pids: int | None = None  # -1 unlimited


@record
class Update:
    """How a rollout goes, in Swarm's words. Durations in nanoseconds.

    A replica that fails comes back as it was, and the rollout ends. `monitor` is how long a container must stay well to
    count as ready, None for the default; `deadline` is how long it may take to get there.
    """

    order: Literal["stop-first", "start-first"] = "stop-first"
    parallelism: int = 1
    delay: int = 0
    monitor: int | None = None
    deadline: int = 300_000_000_000


@record
class ContainerSpec:
    """What a Container or a Job asks of the engine. None or empty: nobody stated it."""

    image: ImageRef
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str | Secret] = field(default_factory=dict)  # env_file merged in already
    ports: tuple[Port, ...] = ()  # sorted
    expose: tuple[str, ...] = ()  # "80/tcp", sorted
    volumes: tuple[Mount, ...] = ()  # sorted by target
    files: tuple[FileEntry, ...] = ()  # sorted by target
    networks: Mapping[str, Attachment] = field(default_factory=dict)
    network_mode: str | None = None  # bridge, host, none, container:NAME
    healthcheck: Healthcheck | None = None
    restart: str | None = None  # no, always, unless-stopped, on-failure[:N]
    labels: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    working_dir: str | None = None
    hostname: str | None = None
    domainname: str | None = None
    dns: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()  # "name:address", sorted
    cap_add: tuple[str, ...] = ()  # upper case without CAP_, sorted
    cap_drop: tuple[str, ...] = ()
    privileged: bool | None = None
    read_only: bool | None = None
    tmpfs: Mapping[str, str] = field(default_factory=dict)  # path → options
    shm_size: int | None = None
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # name → soft, hard
    sysctls: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()  # "host:container:rwm", sorted
    security_opt: tuple[str, ...] = ()  # sorted
    pid: str | None = None
    ipc: str | None = None
    init: bool | None = None
    tty: bool | None = None
    stdin_open: bool | None = None
    stop_signal: str | None = None
    stop_grace_period: int | None = None  # nanoseconds
    logging: Logging | None = None
    resources: Resources = Resources()
    platform: str | None = None


@record
class NetworkSpec:
    """A network. `external` ones must exist and are never touched."""

    driver: str | None = None
    internal: bool | None = None
    subnet: str | None = None
    gateway: str | None = None
    ip_range: str | None = None
    ipv6: bool | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    name: str = ""  # the engine's name; "" stands for STACK_NAME


@record
class VolumeSpec:
    """A volume. Its data is never removed unless the person says so."""

    driver: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    name: str = ""


# ---- resources: a name, a spec, and what only the tool needs to know ---------------------------------------------


@record
class Image:
    """An Image document."""

    name: str
    spec: ImageSpec
    places: Places = NOWHERE


@record
class TagScheme:
    """A TagScheme document."""

    name: str
    spec: TagSchemeSpec
    places: Places = NOWHERE


@record
class Container:
    """A Container document: `replicas` copies of one spec. `depends_on` maps Container or Job names to a condition."""

    name: str
    spec: ContainerSpec
    replicas: int = 1
    container_name: str = ""
    depends_on: Mapping[str, Condition] = field(default_factory=dict)
    update: Update = Update()
    ignore: tuple[str, ...] = ()  # drift.ignore: paths whose drift is not reported and not mended
    places: Places = NOWHERE

    def engine_name(self, stack: str, index: int) -> str:
        """Give the engine's name of replica `index` (from 1)."""
        return self.container_name or f"{stack}-{self.name}-{index}"


@record
class Job:
    """A Job document: run to completion once per distinct spec and image. `deadline` in nanoseconds, 0 for none."""

    name: str
    spec: ContainerSpec
    container_name: str = ""
    depends_on: Mapping[str, Condition] = field(default_factory=dict)
    deadline: int = 0
    places: Places = NOWHERE

    def engine_name(self, stack: str) -> str:
        """Give the engine's name of the job's container."""
        return self.container_name or f"{stack}-{self.name}-1"


@record
class Network:
    """A Network document."""

    name: str
    spec: NetworkSpec
    places: Places = NOWHERE

    def engine_name(self, stack: str) -> str:
        """Give the engine's name of the network."""
        return self.spec.name or (self.name if self.spec.external else f"{stack}_{self.name}")


@record
class Volume:
    """A Volume document."""

    name: str
    spec: VolumeSpec
    places: Places = NOWHERE

    def engine_name(self, stack: str) -> str:
        """Give the engine's name of the volume."""
        return self.spec.name or (self.name if self.spec.external else f"{stack}_{self.name}")


Resource = Image | TagScheme | Container | Job | Network | Volume


@record
class Desired:
    """All resources of one stack, by kind and name. `max_deletes` None: half of what is owned, at least five.

    References between resources were checked when the manifests were read: every name that a spec mentions is here.
    Images with neither tags nor a tag scheme do not occur. Where a Container or Job states neither networks nor a
    network mode, the manifest layer has put it on the stack's Network "default" and added that Network.
    """

    stack: str
    images: Mapping[str, Image] = field(default_factory=dict)
    schemes: Mapping[str, TagScheme] = field(default_factory=dict)
    containers: Mapping[str, Container] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    max_deletes: int | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing at all is asked for."""
        return not (self.images or self.schemes or self.containers or self.jobs or self.networks or self.volumes)
