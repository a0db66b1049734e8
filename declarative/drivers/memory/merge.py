"""What a container really gets: its spec, the image's config and the engine's defaults, merged as dockerd merges them.

Written from moby's behaviour (daemon/commit.go `merge`, daemon/create_unix.go, daemon/daemon_unix.go `adaptContainerSettings`)
and on purpose not from `core.defaults`, whose mistakes it shall bring to light. The rule: one function for each field that has a
rule of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.resources import Logging, Mount
from declarative.core.secret import Secret
from declarative.core.state import PREFIX
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.core.resources import Attachment, ContainerSpec, Healthcheck, Resources
    from declarative.core.state import ImageConfig

SHM_SIZE = 64 << 20
_SECOND = 1_000_000_000


def merged(spec: ContainerSpec, image: ImageConfig, *, log_driver: str) -> ContainerSpec:
    """Give the spec that the engine will report of a container made of `spec` and `image`."""
    command, entrypoint = _program(spec, image)
    grace = spec.stop_grace_period
    ports = tuple(sorted(spec.ports))
    return replace(
        spec,
        command=command,
        entrypoint=entrypoint,
        environment=_environment(spec, image),
        ports=ports,
        expose=tuple(sorted({*spec.expose, *image.exposed, *(f"{port.target}/{port.protocol}" for port in ports)})),
        volumes=_volumes(spec, image),
        files=(),  # engines do not tell what was copied into a container
        networks=_networks(spec),
        network_mode=spec.network_mode or (None if spec.networks else "bridge"),
        healthcheck=_healthcheck(spec.healthcheck, image.healthcheck),
        restart=spec.restart or "no",
        labels={**{name: text for name, text in image.labels.items() if not name.startswith(PREFIX)}, **spec.labels},
        user=spec.user or image.user or None,
        working_dir=spec.working_dir or image.working_dir or "/",
        hostname=spec.hostname or None,
        domainname=spec.domainname or None,
        privileged=spec.privileged or None,
        read_only=spec.read_only or None,
        shm_size=spec.shm_size or SHM_SIZE,
        ipc=spec.ipc or "private",
        tty=spec.tty or None,
        stdin_open=spec.stdin_open or None,
        stop_signal=spec.stop_signal or image.stop_signal or None,
        stop_grace_period=None if grace is None else -(-grace // _SECOND) * _SECOND,
        logging=spec.logging or Logging(driver=log_driver),
        resources=limits(spec.resources),
        platform=None,
    )


def _program(spec: ContainerSpec, image: ImageConfig) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Merge command and entrypoint: one that was stated hides the image's command too; stated and empty, there is none."""
    if spec.entrypoint is not None:
        return spec.command or None, spec.entrypoint or None
    return (spec.command or image.command or None), (image.entrypoint or None)


def _environment(spec: ContainerSpec, image: ImageConfig) -> dict[str, str | Secret]:
    stated = {name: text.reveal() if isinstance(text, Secret) else text for name, text in spec.environment.items()}
    return {**image.environment, **stated}


def _volumes(spec: ContainerSpec, image: ImageConfig) -> tuple[Mount, ...]:
    """Add the image's volumes: anonymous ones, unless something else is mounted there."""
    taken = {mount.target for mount in spec.volumes} | set(spec.tmpfs)
    added = [Mount(target=target) for target in image.volumes if target not in taken]
    return tuple(sorted([*spec.volumes, *added], key=lambda mount: mount.target))


def _networks(spec: ContainerSpec) -> dict[str, Attachment]:
    return {
        name: replace(spec.networks[name], aliases=tuple(sorted(set(spec.networks[name].aliases))))
        for name in sorted(spec.networks)
    }


def _healthcheck(stated: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    if stated is None or image is None:
        return stated or image
    return replace(
        stated,
        test=stated.test or image.test,
        interval=stated.interval or image.interval,
        timeout=stated.timeout or image.timeout,
        retries=stated.retries or image.retries,
        start_period=stated.start_period or image.start_period,
        start_interval=stated.start_interval or image.start_interval,
    )


def limits(resources: Resources) -> Resources:
    """Zero is "no limit", and swap is twice the memory where nobody said otherwise."""
    found = replace(
        resources,
        memory=resources.memory or None,
        memory_reservation=resources.memory_reservation or None,
        memory_swap=resources.memory_swap or None,
        cpus=resources.cpus or None,
        cpu_shares=resources.cpu_shares or None,
        cpuset=resources.cpuset or None,
        pids=resources.pids or None,
    )
    if found.memory and found.memory_swap is None:
        return replace(found, memory_swap=2 * found.memory)
    return found
