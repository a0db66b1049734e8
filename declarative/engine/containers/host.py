"""How a container runs on this machine: `HostConfig` of the API and the objects in it.

The rule that keeps it simple: as in `config`, a record has the fields of the API object of that name. Windows' fields are kept
for the document's shape, and do nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.containers.shapes import (
    FLAG,
    LISTS,
    MAYBE_FLAG,
    MAYBE_NUMBER,
    NUMBER,
    NUMBERS,
    PAIRS,
    TEXT,
    TEXTS,
    Shape,
    many,
    one,
    shape,
    table,
)
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping


@record
class LogConfig:
    """`LogConfig`."""

    type: str = ""
    config: Mapping[str, str] | None = field(default=None, hash=False)


shape(LogConfig, Shape("type", "Type", TEXT), Shape("config", "Config", PAIRS))


@record
class RestartPolicy:
    """`RestartPolicy`: name "", no, always, unless-stopped or on-failure."""

    name: str = ""
    maximum_retry_count: int = 0


shape(RestartPolicy, Shape("name", "Name", TEXT), Shape("maximum_retry_count", "MaximumRetryCount", NUMBER))


@record
class PortBinding:
    """`PortBinding`: `host_port` is "", a port, or a range."""

    host_ip: str = ""
    host_port: str = ""


shape(PortBinding, Shape("host_ip", "HostIp", TEXT), Shape("host_port", "HostPort", TEXT))


@record
class Device:
    """`DeviceMapping`."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


shape(
    Device,
    Shape("path_on_host", "PathOnHost", TEXT),
    Shape("path_in_container", "PathInContainer", TEXT),
    Shape("cgroup_permissions", "CgroupPermissions", TEXT),
)


@record
class DeviceRequest:
    """`DeviceRequest`: devices by what they can do, such as GPUs."""

    driver: str = ""
    count: int = 0
    device_ids: tuple[str, ...] | None = None
    capabilities: tuple[tuple[str, ...], ...] | None = None
    options: Mapping[str, str] | None = field(default=None, hash=False)


shape(
    DeviceRequest,
    Shape("driver", "Driver", TEXT),
    Shape("count", "Count", NUMBER),
    Shape("device_ids", "DeviceIDs", TEXTS),
    Shape("capabilities", "Capabilities", LISTS),
    Shape("options", "Options", PAIRS),
)


@record
class Limit:
    """One of `Ulimits`; -1 is unlimited."""

    name: str = ""
    hard: int = 0
    soft: int = 0


shape(Limit, Shape("name", "Name", TEXT), Shape("hard", "Hard", NUMBER), Shape("soft", "Soft", NUMBER))


@record
class WeightDevice:
    """One of `BlkioWeightDevice`."""

    path: str = ""
    weight: int = 0


shape(WeightDevice, Shape("path", "Path", TEXT), Shape("weight", "Weight", NUMBER))


@record
class ThrottleDevice:
    """`ThrottleDevice`: bytes or operations a second."""

    path: str = ""
    rate: int = 0


shape(ThrottleDevice, Shape("path", "Path", TEXT), Shape("rate", "Rate", NUMBER))


@record
class BindOptions:
    """`Mount.BindOptions`."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


shape(
    BindOptions,
    Shape("propagation", "Propagation", TEXT, omit=True),
    Shape("non_recursive", "NonRecursive", FLAG, omit=True),
    Shape("create_mountpoint", "CreateMountpoint", FLAG, omit=True),
    Shape("read_only_non_recursive", "ReadOnlyNonRecursive", FLAG, omit=True),
    Shape("read_only_force_recursive", "ReadOnlyForceRecursive", FLAG, omit=True),
)


@record
class VolumeDriver:
    """`Mount.VolumeOptions.DriverConfig`."""

    name: str = ""
    options: Mapping[str, str] | None = field(default=None, hash=False)


shape(VolumeDriver, Shape("name", "Name", TEXT, omit=True), Shape("options", "Options", PAIRS, omit=True))


@record
class VolumeOptions:
    """`Mount.VolumeOptions`."""

    no_copy: bool = False
    labels: Mapping[str, str] | None = field(default=None, hash=False)
    subpath: str = ""
    driver: VolumeDriver | None = None


shape(
    VolumeOptions,
    Shape("no_copy", "NoCopy", FLAG, omit=True),
    Shape("labels", "Labels", PAIRS, omit=True),
    Shape("subpath", "Subpath", TEXT, omit=True),
    Shape("driver", "DriverConfig", one(VolumeDriver), omit=True),
)


@record
class TmpfsOptions:
    """`Mount.TmpfsOptions`."""

    size: int = 0
    mode: int = 0
    options: tuple[tuple[str, ...], ...] | None = None


shape(
    TmpfsOptions,
    Shape("size", "SizeBytes", NUMBER, omit=True),
    Shape("mode", "Mode", NUMBER, omit=True),
    Shape("options", "Options", LISTS, omit=True),
)


@record
class Mount:
    """`Mount`, as `docker run --mount` asks for."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind: BindOptions | None = None
    volume: VolumeOptions | None = None
    tmpfs: TmpfsOptions | None = None


shape(
    Mount,
    Shape("type", "Type", TEXT, omit=True),
    Shape("source", "Source", TEXT, omit=True),
    Shape("target", "Target", TEXT, omit=True),
    Shape("read_only", "ReadOnly", FLAG, omit=True),
    Shape("consistency", "Consistency", TEXT, omit=True),
    Shape("bind", "BindOptions", one(BindOptions), omit=True),
    Shape("volume", "VolumeOptions", one(VolumeOptions), omit=True),
    Shape("tmpfs", "TmpfsOptions", one(TmpfsOptions), omit=True),
)


@record
class HostConfig:
    """`HostConfig`: sizes in bytes, CPU times in microseconds, 0 and None where nothing is said."""

    binds: tuple[str, ...] | None = None
    container_id_file: str = ""
    log_config: LogConfig = field(default_factory=LogConfig)
    network_mode: str = ""
    port_bindings: Mapping[str, tuple[PortBinding, ...] | None] | None = field(default=None, hash=False)
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: tuple[str, ...] | None = None
    console_size: tuple[int, ...] = (0, 0)
    annotations: Mapping[str, str] | None = field(default=None, hash=False)
    cap_add: tuple[str, ...] | None = None
    cap_drop: tuple[str, ...] | None = None
    cgroupns_mode: str = ""
    dns: tuple[str, ...] | None = None
    dns_options: tuple[str, ...] | None = None
    dns_search: tuple[str, ...] | None = None
    extra_hosts: tuple[str, ...] | None = None
    group_add: tuple[str, ...] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: tuple[str, ...] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: tuple[str, ...] | None = None
    storage_opt: Mapping[str, str] | None = field(default=None, hash=False)
    tmpfs: Mapping[str, str] | None = field(default=None, hash=False)
    uts_mode: str = ""
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: Mapping[str, str] | None = field(default=None, hash=False)
    runtime: str = ""
    isolation: str = ""
    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: tuple[WeightDevice, ...] | None = None
    blkio_device_read_bps: tuple[ThrottleDevice, ...] | None = None
    blkio_device_write_bps: tuple[ThrottleDevice, ...] | None = None
    blkio_device_read_iops: tuple[ThrottleDevice, ...] | None = None
    blkio_device_write_iops: tuple[ThrottleDevice, ...] | None = None
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: tuple[Device, ...] | None = None
    device_cgroup_rules: tuple[str, ...] | None = None
    device_requests: tuple[DeviceRequest, ...] | None = None
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: tuple[Limit, ...] | None = None
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = 0
    io_maximum_bandwidth: int = 0
    mounts: tuple[Mount, ...] | None = None
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    init: bool | None = None


shape(
    HostConfig,
    Shape("binds", "Binds", TEXTS),
    Shape("container_id_file", "ContainerIDFile", TEXT),
    Shape("log_config", "LogConfig", one(LogConfig, LogConfig())),
    Shape("network_mode", "NetworkMode", TEXT),
    Shape("port_bindings", "PortBindings", table(many(PortBinding))),
    Shape("restart_policy", "RestartPolicy", one(RestartPolicy, RestartPolicy())),
    Shape("auto_remove", "AutoRemove", FLAG),
    Shape("volume_driver", "VolumeDriver", TEXT),
    Shape("volumes_from", "VolumesFrom", TEXTS),
    Shape("console_size", "ConsoleSize", NUMBERS),
    Shape("annotations", "Annotations", PAIRS, omit=True),
    Shape("cap_add", "CapAdd", TEXTS),
    Shape("cap_drop", "CapDrop", TEXTS),
    Shape("cgroupns_mode", "CgroupnsMode", TEXT),
    Shape("dns", "Dns", TEXTS),
    Shape("dns_options", "DnsOptions", TEXTS),
    Shape("dns_search", "DnsSearch", TEXTS),
    Shape("extra_hosts", "ExtraHosts", TEXTS),
    Shape("group_add", "GroupAdd", TEXTS),
    Shape("ipc_mode", "IpcMode", TEXT),
    Shape("cgroup", "Cgroup", TEXT),
    Shape("links", "Links", TEXTS),
    Shape("oom_score_adj", "OomScoreAdj", NUMBER),
    Shape("pid_mode", "PidMode", TEXT),
    Shape("privileged", "Privileged", FLAG),
    Shape("publish_all_ports", "PublishAllPorts", FLAG),
    Shape("readonly_rootfs", "ReadonlyRootfs", FLAG),
    Shape("security_opt", "SecurityOpt", TEXTS),
    Shape("storage_opt", "StorageOpt", PAIRS, omit=True),
    Shape("tmpfs", "Tmpfs", PAIRS, omit=True),
    Shape("uts_mode", "UTSMode", TEXT),
    Shape("userns_mode", "UsernsMode", TEXT),
    Shape("shm_size", "ShmSize", NUMBER),
    Shape("sysctls", "Sysctls", PAIRS, omit=True),
    Shape("runtime", "Runtime", TEXT),
    Shape("isolation", "Isolation", TEXT),
    Shape("cpu_shares", "CpuShares", NUMBER),
    Shape("memory", "Memory", NUMBER),
    Shape("nano_cpus", "NanoCpus", NUMBER),
    Shape("cgroup_parent", "CgroupParent", TEXT),
    Shape("blkio_weight", "BlkioWeight", NUMBER),
    Shape("blkio_weight_device", "BlkioWeightDevice", many(WeightDevice)),
    Shape("blkio_device_read_bps", "BlkioDeviceReadBps", many(ThrottleDevice)),
    Shape("blkio_device_write_bps", "BlkioDeviceWriteBps", many(ThrottleDevice)),
    Shape("blkio_device_read_iops", "BlkioDeviceReadIOps", many(ThrottleDevice)),
    Shape("blkio_device_write_iops", "BlkioDeviceWriteIOps", many(ThrottleDevice)),
    Shape("cpu_period", "CpuPeriod", NUMBER),
    Shape("cpu_quota", "CpuQuota", NUMBER),
    Shape("cpu_realtime_period", "CpuRealtimePeriod", NUMBER),
    Shape("cpu_realtime_runtime", "CpuRealtimeRuntime", NUMBER),
    Shape("cpuset_cpus", "CpusetCpus", TEXT),
    Shape("cpuset_mems", "CpusetMems", TEXT),
    Shape("devices", "Devices", many(Device)),
    Shape("device_cgroup_rules", "DeviceCgroupRules", TEXTS),
    Shape("device_requests", "DeviceRequests", many(DeviceRequest)),
    Shape("memory_reservation", "MemoryReservation", NUMBER),
    Shape("memory_swap", "MemorySwap", NUMBER),
    Shape("memory_swappiness", "MemorySwappiness", MAYBE_NUMBER),
    Shape("oom_kill_disable", "OomKillDisable", MAYBE_FLAG),
    Shape("pids_limit", "PidsLimit", MAYBE_NUMBER),
    Shape("ulimits", "Ulimits", many(Limit)),
    Shape("cpu_count", "CpuCount", NUMBER),
    Shape("cpu_percent", "CpuPercent", NUMBER),
    Shape("io_maximum_iops", "IOMaximumIOps", NUMBER),
    Shape("io_maximum_bandwidth", "IOMaximumBandwidth", NUMBER),
    Shape("mounts", "Mounts", many(Mount), omit=True),
    Shape("masked_paths", "MaskedPaths", TEXTS),
    Shape("readonly_paths", "ReadonlyPaths", TEXTS),
    Shape("init", "Init", MAYBE_FLAG, omit=True),
)
