"""What a container gets that says nothing: of the image, of its client's API version, of the engine.

The rule that keeps it simple: pure, in Docker's order: what an old client could not say, the image, the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.containers import modes
from declarative.engine.containers.config import Config, Healthcheck
from declarative.engine.containers.host import BindOptions, LogConfig, VolumeOptions
from declarative.engine.containers.log_options import JSON_FILE
from declarative.engine.runtime.sandbox import DEFAULT_MASKED_PATHS, DEFAULT_READONLY_PATHS, DEFAULT_SHM_SIZE
from declarative.errors import Invalid
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.engine.containers.config import NetworkingConfig
    from declarative.engine.containers.host import HostConfig, Mount
    from declarative.engine.containers.machine import Machine
    from declarative.oci.config import RunDefaults

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The search path where the environment has none, as in Docker."""


def of_version(
    config: Config, host: HostConfig, networking: NetworkingConfig, version: tuple[int, int]
) -> tuple[Config, HostConfig]:
    """Drop what a client of this API version cannot have meant, and fill in what it takes for granted. Invalid."""
    if version < (1, 44):
        if len(networking.endpoints or {}) > 1:
            names = ", ".join(networking.endpoints or ())
            raise Invalid("", f"Container cannot be created with multiple network endpoints: {names}")
        if config.healthcheck is not None:
            config = replace(config, healthcheck=replace(config.healthcheck, start_interval=0))
    if version < (1, 42):
        host = replace(host, console_size=(0, 0))
    if version < (1, 43):
        host = replace(host, annotations=None)
    if version < (1, 41) and not host.cgroupns_mode:
        host = replace(host, cgroupns_mode="host")
    if version < (1, 40):
        if not host.ipc_mode:
            host = replace(host, ipc_mode="shareable")
        if host.pids_limit is not None and host.pids_limit <= 0:
            host = replace(host, pids_limit=None)
    if version < (1, 45) and host.mounts:
        host = replace(host, mounts=tuple(_mount_of(mount, version) for mount in host.mounts))
    return config, host


def _mount_of(mount: Mount, version: tuple[int, int]) -> Mount:
    bind, volume = mount.bind, mount.volume
    if bind is not None:
        bind = BindOptions(
            propagation=bind.propagation,
            non_recursive=bind.non_recursive and version >= (1, 40),
            create_mountpoint=bind.create_mountpoint and version >= (1, 42),
            read_only_non_recursive=bind.read_only_non_recursive and version >= (1, 44),
            read_only_force_recursive=bind.read_only_force_recursive and version >= (1, 44),
        )
    if volume is not None:
        volume = VolumeOptions(no_copy=volume.no_copy, labels=volume.labels, driver=volume.driver)
    return replace(mount, bind=bind, volume=volume)


def of_image(config: Config, image: RunDefaults | None) -> Config:
    """Give the configuration over the image's defaults, as Docker merges them. Invalid where there is nothing to run."""
    if image is not None:
        labels = dict(image.labels) | dict(config.labels or {})
        exposed = dict.fromkeys((*(config.exposed_ports or ()), *image.exposed_ports))
        volumes = dict.fromkeys((*(config.volumes or ()), *image.volumes))
        entrypoint, cmd = config.entrypoint, config.cmd
        if not entrypoint:  # null or []: the image's, and then its command too if there is none
            if not cmd:
                cmd = image.cmd if image.cmd is not None else cmd
            if entrypoint is None:
                entrypoint = image.entrypoint
        config = replace(
            config,
            user=config.user or image.user,
            exposed_ports=tuple(exposed) or config.exposed_ports,
            env=_merge_env(config.env or (), image.env),
            cmd=cmd,
            entrypoint=entrypoint,
            labels=labels,
            volumes=tuple(volumes) or None,
            working_dir=config.working_dir or image.working_dir,
            stop_signal=config.stop_signal or image.stop_signal,
            on_build=config.on_build,
            healthcheck=_merge_health(config.healthcheck, image),
            shell=config.shell or image.shell or None,
        )
    if config.entrypoint == ("",):
        config = replace(config, entrypoint=None)  # `--entrypoint ""`: none, not the image's
    if not config.entrypoint and not config.cmd:
        raise Invalid("", "no command specified")
    return config


def _merge_env(own: tuple[str, ...], image: tuple[str, ...]) -> tuple[str, ...] | None:
    names = {entry.partition("=")[0] for entry in own}
    return (*own, *(entry for entry in image if entry.partition("=")[0] not in names)) or None


def _merge_health(own: Healthcheck | None, image: RunDefaults) -> Healthcheck | None:
    found = image.health_check
    if found is None:
        return own
    base = Healthcheck(
        test=found.test or None,
        interval=found.interval,
        timeout=found.timeout,
        start_period=found.start_period,
        start_interval=found.start_interval,
        retries=found.retries,
    )
    if own is None:
        return base
    return Healthcheck(
        test=own.test or base.test,
        interval=own.interval or base.interval,
        timeout=own.timeout or base.timeout,
        start_period=own.start_period or base.start_period,
        start_interval=own.start_interval or base.start_interval,
        retries=own.retries or base.retries,
    )


def of_engine(host: HostConfig, machine: Machine) -> HostConfig:
    """Fill in the engine's own defaults."""
    private = "private" if machine.unified else "host"
    security = host.security_opt
    unlabelled = host.privileged or host.pid_mode == "host" or host.ipc_mode == "host"
    if unlabelled and "label=disable" not in (security or ()):
        security = (*(security or ()), "label=disable")  # dockerd writes it whether the machine has SELinux or not
    open_paths = host.privileged
    return replace(
        host,
        network_mode=modes.BRIDGE if host.network_mode in {"", "default"} else host.network_mode,
        ipc_mode=host.ipc_mode or "private",
        cgroupns_mode=host.cgroupns_mode or ("host" if host.privileged and machine.unified else private),
        shm_size=host.shm_size or DEFAULT_SHM_SIZE,
        restart_policy=host.restart_policy if host.restart_policy.name else replace(host.restart_policy, name="no"),
        log_config=LogConfig(type=host.log_config.type or JSON_FILE, config=host.log_config.config or {}),
        runtime=host.runtime or "runc",
        security_opt=security,
        pids_limit=None if host.pids_limit == 0 else host.pids_limit,
        console_size=host.console_size if len(host.console_size) == 2 else (0, 0),
        masked_paths=_paths(host.masked_paths, DEFAULT_MASKED_PATHS, privileged=open_paths),
        readonly_paths=_paths(host.readonly_paths, DEFAULT_READONLY_PATHS, privileged=open_paths),
    )


def _paths(wanted: tuple[str, ...] | None, default: tuple[str, ...], *, privileged: bool) -> tuple[str, ...] | None:
    if wanted is not None:
        return wanted
    return None if privileged else default


def of_hostname(config: Config, host: HostConfig, id: str, machine: Machine) -> Config:  # noqa: A002 - Docker's word
    """Give the container its host name: the machine's where it shares that, else the short id."""
    if config.hostname:
        return config
    shared = host.network_mode == "host" or host.uts_mode == "host"
    return replace(config, hostname=machine.hostname if shared else id[:12])
