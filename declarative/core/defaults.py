"""Like with like: what images and engines add on their own is put on both sides of a comparison, or taken off both.

Three sorts of defaults (DESIGN 4, semantics 2.9):
- the image's (env, command, labels, volumes, ports, health check, user, directory, stop signal): merged under what was
  stated, by the engine's own rules, so that both sides are what a container of that image would have;
- the engine's fixed ones (not privileged, no limits, restart "no"): taken off wherever they are written out;
- the engine's chosen ones (log driver, shm size, host name, …), which differ from host to host and cannot be changed on a
  living container: looked at only where somebody stated the field, now or at the last apply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.state import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.state import Canonical, ImageConfig

# The engine's fixed defaults: a path with this value says nothing.
_FIXED: Mapping[str, tuple[Any, ...]] = {
    "spec.restart": ("no", ""),
    "spec.privileged": (False,),
    "spec.read_only": (False,),
    "spec.tty": (False,),
    "spec.stdin_open": (False,),
    "spec.network_mode": ("default", "bridge", ""),
    "spec.user": ("",),
    "spec.working_dir": ("", "/"),
    "spec.hostname": ("",),
    "spec.domainname": ("",),
    "spec.stop_signal": ("", "SIGTERM", "15"),
    "spec.pid": ("",),
    "spec.ipc": ("",),
    "spec.shm_size": (0,),
    "spec.platform": ("",),
    "spec.resources.memory": (0,),
    "spec.resources.memory_reservation": (0,),
    "spec.resources.memory_swap": (0,),
    "spec.resources.cpus": (0,),
    "spec.resources.cpu_shares": (0,),
    "spec.resources.cpuset": ("",),
    "spec.resources.pids": (0, -1),
    "spec.entrypoint": ([],),
    "spec.command": ([],),
}

# Chosen by the engine for this host or container, and never changed while the container lives.
_CHOSEN = (
    "spec.hostname",
    "spec.domainname",
    "spec.shm_size",
    "spec.ipc",
    "spec.init",
    "spec.platform",
    "spec.stop_grace_period",
)
_CHOSEN_PREFIXES = ("spec.logging.", "spec.ulimits.", "spec.security_opt")

# The network an engine attaches a container to when nobody asked for one.
_DEFAULT_NETWORKS = ("spec.networks.bridge", "spec.networks.default")


def effective(flat: Canonical, image: ImageConfig | None) -> dict[str, Any]:
    """Give what a container made of `flat` and `image` really has, in the form of `observed`.

    `image` None: it is not known yet (to be built or pulled); then only what was stated is given.
    """
    merged = dict(flat)
    if image is not None:
        _merge_image(merged, image)
    return _strip(merged)


def observed(flat: Canonical, stated: tuple[Canonical, ...]) -> dict[str, Any]:
    """Take off what the engine chose on its own and nobody in `stated` (desired, last applied) asked for."""
    chosen = [path for path in flat if path in _CHOSEN or path.startswith(_CHOSEN_PREFIXES)]
    if not chosen:
        return _strip(dict(flat))
    named = {path for source in stated for path in source if path in _CHOSEN or path.startswith(_CHOSEN_PREFIXES)}
    groups = tuple(prefix for prefix in _CHOSEN_PREFIXES if any(path.startswith(prefix) for path in named))
    silent = {path for path in chosen if path not in named and not path.startswith(groups)}
    return _strip({path: value for path, value in flat.items() if path not in silent})


def last_applied(applied: Canonical, have: Canonical, image: ImageConfig | None) -> dict[str, Any]:
    """Give `applied` in the form of `effective`, with what the engine chose where it said nothing: that is no drift."""
    chosen = {path: value for path, value in have.items() if path in _CHOSEN or path.startswith(_CHOSEN_PREFIXES)}
    return chosen | effective(applied, image)


def _strip(flat: dict[str, Any]) -> dict[str, Any]:
    memory = flat.get("spec.resources.memory")
    # The engine sets swap to twice the memory where nobody said otherwise (documented with `docker run --memory-swap`).
    if memory and flat.get("spec.resources.memory_swap") == 2 * memory:
        del flat["spec.resources.memory_swap"]
    if flat.get("spec.healthcheck.test") == ["NONE"]:
        for path in [path for path in flat if path.startswith("spec.healthcheck.") and path != "spec.healthcheck.test"]:
            del flat[path]
    if expose := flat.get("spec.expose"):
        _strip_published(flat, expose)
    for path in _DEFAULT_NETWORKS:
        if flat.get(path) == {}:
            del flat[path]
    for path in _FIXED.keys() & flat.keys():
        if flat[path] in _FIXED[path]:
            del flat[path]
    return flat


def _strip_published(flat: dict[str, Any], expose: list[str]) -> None:
    """Leave out of `expose` what is exposed by being published."""
    published = {str(port).rsplit(":", 1)[-1] for port in flat.get("spec.ports", ())}
    left = [port for port in expose if port not in published]
    if left:
        flat["spec.expose"] = left
    else:
        del flat["spec.expose"]


def _merge_image(flat: dict[str, Any], image: ImageConfig) -> None:
    """Merge as the engine does when it creates a container (moby daemon/commit.go, function merge)."""
    for key, value in image.environment.items():
        flat.setdefault("spec.environment." + key, value)
    for key, value in image.labels.items():
        if not key.startswith(PREFIX):
            flat.setdefault("spec.labels." + key, value)
    if "spec.entrypoint" not in flat:
        if not flat.get("spec.command") and image.command:  # an empty one is none: it cannot be taken away
            flat["spec.command"] = list(image.command)
        if image.entrypoint:
            flat["spec.entrypoint"] = list(image.entrypoint)
    for path, stated in (
        ("spec.user", image.user),
        ("spec.working_dir", image.working_dir),
        ("spec.stop_signal", image.stop_signal),
    ):
        if stated and not flat.get(path):
            flat[path] = stated
    for target in image.volumes:
        if f"spec.volumes.{target}" not in flat and f"spec.tmpfs.{target}" not in flat:
            flat["spec.volumes." + target] = {"type": "volume"}
    _merge_ports(flat, image)
    _merge_healthcheck(flat, image)


def _merge_ports(flat: dict[str, Any], image: ImageConfig) -> None:
    exposed = set(flat.get("spec.expose", ())) | set(image.exposed)
    if exposed:
        flat["spec.expose"] = sorted(exposed)


def _merge_healthcheck(flat: dict[str, Any], image: ImageConfig) -> None:
    check = image.healthcheck
    if check is None:
        return
    if "spec.healthcheck.test" not in flat and check.test:
        flat["spec.healthcheck.test"] = list(check.test)
    for name in ("interval", "timeout", "retries", "start_period", "start_interval"):
        if value := getattr(check, name):
            flat.setdefault("spec.healthcheck." + name, value)
