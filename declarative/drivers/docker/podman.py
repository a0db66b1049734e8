"""What Podman adds to a container on its own or says in other words than Docker: taken off, so that like is compared with like.

Seen with Podman 4.3 over its Docker-compatible API. The rule: what the last apply stated, or the image says, is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.resources import ContainerSpec, Healthcheck, Mount, Port
    from declarative.core.state import ContainerState, ImageConfig
    from declarative.dockerapi.client import EngineClient
    from declarative.dockerapi.wire import Json

_ENVIRONMENT = ("HOME", "HOSTNAME", "TERM", "container")
_PIDS = 2048  # containers.conf(5), pids_limit
_OWN_NAMESPACE = "private"
_PROPAGATION = "rprivate"
_TMPFS = frozenset({"rw", "rprivate", "nosuid", "nodev", "tmpcopyup"})
_WRITABLE = ("/run", "/tmp", "/var/tmp")  # noqa: S108 - paths in containers
_CHECK = {"interval": 30_000_000_000, "timeout": 30_000_000_000, "retries": 3}
_USUAL_POWERS = frozenset({"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"})
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - compared, not bound to
_NO_REGISTRY = "localhost/"


def is_podman(client: EngineClient) -> bool:
    """Tell whether it is Podman that answers."""
    return "libpod" in client.facts.server.lower()


def in_docker_s_names(documents: Json) -> Json:
    """Give images as Docker would list or inspect them: what has no registry is `localhost/NAME` in Podman."""
    return [
        {**document, **{key: [_named(name) for name in document.get(key) or ()] for key in ("RepoTags", "RepoDigests")}}
        for document in documents or ()
        if document is not None
    ]


def _named(name: str) -> str:
    return name.removeprefix(_NO_REGISTRY)


def in_docker_s_words(state: ContainerState, image: ImageConfig | None) -> ContainerState:
    """Give a container as Docker would tell of it."""
    applied = state.applied or {}
    spec = state.spec
    resources = spec.resources
    if resources.pids == _PIDS and "spec.resources.pids" not in applied:
        resources = replace(resources, pids=None)
    return replace(
        state,
        spec=replace(
            spec,
            environment=_environment(spec, applied, image.environment if image is not None else {}),
            ports=tuple(sorted(_port(port, applied) for port in spec.ports)),
            volumes=tuple(_mount(mount, applied) for mount in spec.volumes),
            tmpfs=_tmpfs(spec, applied),
            cap_drop=_dropped(spec.cap_drop, applied),
            healthcheck=_healthcheck(spec.healthcheck, applied),
            pid=None if spec.pid == _OWN_NAMESPACE else spec.pid,
            stop_signal=_signal(spec.stop_signal),
            resources=resources,
        ),
    )


def _environment(spec: ContainerSpec, applied: Mapping[str, object], image: Mapping[str, str]) -> Mapping[str, object]:
    added = {name for name in _ENVIRONMENT if f"spec.environment.{name}" not in applied and name not in image}
    return {name: value for name, value in spec.environment.items() if name not in added}


def _tmpfs(spec: ContainerSpec, applied: Mapping[str, object]) -> Mapping[str, str]:
    """Leave out what Podman adds: options, and folders that it makes writable where the root is not (`--read-only-tmpfs`)."""
    found = {}
    for target, options in spec.tmpfs.items():
        stated = applied.get(f"spec.tmpfs.{target}")
        if stated is None and spec.read_only and target in _WRITABLE:
            continue
        asked = set(str(stated or "").split(","))
        found[target] = ",".join(option for option in options.split(",") if option in asked or option not in _TMPFS)
    return found


def _dropped(names: tuple[str, ...], applied: Mapping[str, object]) -> tuple[str, ...]:
    """Give ALL where it was asked for: Podman writes down what that came to."""
    return ("ALL",) if applied.get("spec.cap_drop") == ["ALL"] and set(names) >= _USUAL_POWERS else names


def _healthcheck(check: Healthcheck | None, applied: Mapping[str, object]) -> Healthcheck | None:
    if check is None:
        return None
    silent = {
        name: 0
        for name, value in _CHECK.items()
        if getattr(check, name) == value and f"spec.healthcheck.{name}" not in applied
    }
    return replace(check, **silent)


def _port(port: Port, applied: Mapping[str, object]) -> Port:
    """Give a port as it was asked for: no address and 0.0.0.0 are one to Podman, which keeps or shows the one for the other."""
    if port.host_ip not in {"", _EVERYWHERE}:
        return port
    stated = applied.get("spec.ports")
    everywhere = replace(port, host_ip=_EVERYWHERE)
    return everywhere if isinstance(stated, list) and str(everywhere) in stated else replace(port, host_ip="")


def _mount(mount: Mount, applied: Mapping[str, object]) -> Mount:
    stated = applied.get(f"spec.volumes.{mount.target}")
    asked = isinstance(stated, dict) and stated.get("propagation")
    return replace(mount, propagation="") if mount.propagation == _PROPAGATION and not asked else mount


def _signal(text: str | None) -> str | None:
    if not text or not text.isdecimal():
        return text
    import signal

    try:
        return signal.Signals(int(text)).name
    except ValueError:
        return text
