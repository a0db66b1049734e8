"""What one container process needs, all of it resolved: the vocabulary of the low level.

The rule that keeps it simple: plain data. No name is looked up, no default of Docker's API is filled in after this point; a
`Sandbox` and the bytes of its root file system say everything.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_CAPABILITIES = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
"""What Docker gives a container that asks for nothing."""

DEFAULT_MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
DEFAULT_READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
DEFAULT_SHM_SIZE = 64 << 20
DEFAULT_CGROUP_PARENT = "/declarative"

Shared = Literal["private", "host"] | Path
"""A namespace: a new one, the machine's, or the one at a path (`/proc/PID/ns/pid`, a bind mount)."""


@record
class User:
    """Who a process is. `home` is what the image's passwd says, "/" where it says nothing."""

    uid: int = 0
    gid: int = 0
    additional: tuple[int, ...] = ()
    home: str = "/"


@record
class Mount:
    """One mount. `kind`: bind, tmpfs, or a file system's name; `options` as mount(8) and OCI spell them."""

    target: str
    kind: str = "bind"
    source: str = ""
    options: tuple[str, ...] = ()


@record
class Namespaces:
    """Which namespaces are new, the machine's, or somebody's. `uts`, `ipc`, `pid`, `cgroup`, `network` as `Shared`.

    `network="private"` is a new one that has a loopback and nothing else. `user`: somebody's, whose maps the sandbox has too.
    """

    network: Shared = "private"
    pid: Shared = "private"
    ipc: Shared = "private"
    uts: Shared = "private"
    cgroup: Shared | None = None
    """None: private where the machine has cgroup v2 alone, else the machine's, as in Docker."""
    user: Path | None = None


@record
class IdMap:
    """`size` ids from `inside` on are the machine's from `outside` on."""

    inside: int
    outside: int
    size: int


@record
class IdMaps:
    """The maps of a user namespace, of users and of groups; empty where there is none, which is false."""

    uids: tuple[IdMap, ...] = ()
    gids: tuple[IdMap, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.uids)


@record
class Device:
    """A device node in the container, and what may be done with it (some of "rwm")."""

    path: str
    kind: Literal["c", "b", "u", "p"]
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0
    permissions: str = "rwm"


@record
class DeviceRule:
    """A rule of the devices cgroup; None stands for every number. `kind` "a": every device."""

    kind: Literal["a", "c", "b"]
    major: int | None = None
    minor: int | None = None
    permissions: str = "rwm"
    allow: bool = True


@record
class Rlimit:
    """A resource limit, such as RLIMIT_NOFILE. -1 is unlimited."""

    name: str
    soft: int
    hard: int


@record
class DeviceWeight:
    """A weight of block I/O (10 to 1000) for one device."""

    major: int
    minor: int
    weight: int


@record
class DeviceRate:
    """A rate of block I/O for one device, in bytes or operations a second."""

    major: int
    minor: int
    rate: int


@record
class Resources:
    """Limits. 0 (or "", None) says nothing about a thing; bytes are bytes, -1 is unlimited.

    `memory_swap` is memory plus swap, as in Docker's API; `cpu_quota` and `cpu_period` in microseconds.
    """

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids: int = 0
    blkio_weight: int = 0
    blkio_device_weights: tuple[DeviceWeight, ...] = ()
    read_bytes: tuple[DeviceRate, ...] = ()
    write_bytes: tuple[DeviceRate, ...] = ()
    read_operations: tuple[DeviceRate, ...] = ()
    write_operations: tuple[DeviceRate, ...] = ()


Seccomp = Literal["default", "unconfined"]


@record
class Sandbox:
    """One container process. `env` as NAME=VALUE; `rootfs` is mounted already; `cgroup` is absolute in each hierarchy.

    `seccomp`: the default profile, none, or a profile as a document (Docker's format or OCI's). `capabilities` are those of the
    bounding set, already resolved (`capabilities.resolve`). `privileged` opens what is not a capability: every device, /sys and
    /proc writable, nothing masked, no seccomp. `uid_maps`, `gid_maps`: a user namespace; () for none.
    """

    id: str
    rootfs: Path
    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: User = field(default_factory=User)
    terminal: bool = False
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    shm_size: int = DEFAULT_SHM_SIZE
    namespaces: Namespaces = field(default_factory=Namespaces)
    uid_maps: tuple[IdMap, ...] = ()
    gid_maps: tuple[IdMap, ...] = ()
    capabilities: tuple[str, ...] = DEFAULT_CAPABILITIES
    privileged: bool = False
    readonly_rootfs: bool = False
    masked_paths: tuple[str, ...] = DEFAULT_MASKED_PATHS
    readonly_paths: tuple[str, ...] = DEFAULT_READONLY_PATHS
    seccomp: Seccomp | Mapping[str, Any] = "default"
    apparmor: str = ""
    no_new_privileges: bool = False
    resources: Resources = field(default_factory=Resources)
    devices: tuple[Device, ...] = ()
    device_rules: tuple[DeviceRule, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict, hash=False)
    rlimits: tuple[Rlimit, ...] = ()
    cgroup_parent: str = DEFAULT_CGROUP_PARENT
    oom_score_adj: int | None = None
    owner: tuple[int, int] | None = None
    """As `Process.owner`."""
    init: Path | None = None
    """A static init program of the machine's, to be the first process (`find_init`); None: the program itself."""

    @property
    def cgroup(self) -> str:
        """The control group's path, absolute in each hierarchy."""
        return f"{self.cgroup_parent.rstrip('/')}/{self.id}"


@record
class Process:
    """One more process for a running container (`docker exec`)."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: User = field(default_factory=User)
    terminal: bool = False
    capabilities: tuple[str, ...] = DEFAULT_CAPABILITIES
    privileged: bool = False
    no_new_privileges: bool = False
    rlimits: tuple[Rlimit, ...] = ()
    apparmor: str = ""
    oom_score_adj: int | None = None
    owner: tuple[int, int] | None = None
    """In a user namespace: the machine's (uid, gid) of its user, who gets its pipes, lest /dev/stdout is closed to it."""
