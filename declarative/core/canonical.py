"""A spec as a flat map from path to value, and its form as a label.

The flat form is what differences are made of: "spec.environment.A" → "1". A path is there only if somebody stated it.
Values are JSON values, `Secret` where the manifest is the source, `Sealed` where a label is. One rule: what two specs
that ask for the same have in common is this map; anything that may differ without meaning (order, spelling, units) was
made canonical before or is made so here.
"""

from __future__ import annotations

import json
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from declarative.core.secret import Sealed, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.resources import (
        Attachment,
        ContainerSpec,
        FileEntry,
        Healthcheck,
        Mount,
        NetworkSpec,
        VolumeSpec,
    )
    from declarative.core.state import Canonical

SEALED = "$sealed"  # in a label, {"$sealed": [digest, salt]} stands for a secret

# Fields whose canonical value is the value itself (text, number, truth); None: not stated.
_SCALARS = (
    "network_mode",
    "restart",
    "user",
    "working_dir",
    "hostname",
    "domainname",
    "privileged",
    "read_only",
    "shm_size",
    "pid",
    "ipc",
    "init",
    "tty",
    "stdin_open",
    "stop_signal",
    "platform",
)
_LISTS = ("expose", "dns", "extra_hosts", "cap_add", "cap_drop", "devices", "security_opt")  # empty: not stated
_MAPS = ("environment", "labels", "tmpfs", "sysctls")
_SECOND = 1_000_000_000
_UNSEEN = ("spec.files.", "spec.platform")  # no engine reports these of a container
RESOURCES = ("memory", "memory_reservation", "memory_swap", "cpus", "cpu_shares", "cpuset", "pids")
_SCALAR_PATHS = tuple(f"spec.{name}" for name in _SCALARS)
_RESOURCE_PATHS = tuple(f"spec.resources.{name}" for name in RESOURCES)
_scalars = attrgetter(*_SCALARS)  # all at once: this runs for every container, twice
_resources = attrgetter(*RESOURCES)
HEALTH_DURATIONS = ("interval", "timeout", "start_period", "start_interval")


def container(spec: ContainerSpec) -> dict[str, Any]:
    """Flatten what a container asks for, its image left out: images are compared by content, not by name."""
    flat: dict[str, Any] = {
        path: value for path, value in zip(_SCALAR_PATHS, _scalars(spec), strict=True) if value is not None
    }
    if spec.stop_grace_period is not None:
        flat["spec.stop_grace_period"] = -(-spec.stop_grace_period // _SECOND) * _SECOND  # engines keep whole seconds
    for name in _LISTS:
        value = getattr(spec, name)
        if value:
            flat["spec." + name] = list(value)
    for name in _MAPS:
        prefix = f"spec.{name}."
        for key, value in getattr(spec, name).items():
            flat[prefix + key] = value
    for name in ("command", "entrypoint"):
        value = getattr(spec, name)
        if value is not None:
            flat["spec." + name] = list(value)
    _structures(spec, flat)
    return flat


def _structures(spec: ContainerSpec, flat: dict[str, Any]) -> None:
    if spec.ports:
        flat["spec.ports"] = [str(port) for port in spec.ports]
    for mount in spec.volumes:
        flat["spec.volumes." + mount.target] = _mount(mount)
    for entry in spec.files:
        _file(entry, flat)
    for name, attachment in spec.networks.items():
        flat["spec.networks." + name] = _attachment(attachment)
    for name, (soft, hard) in spec.ulimits.items():
        flat["spec.ulimits." + name] = [soft, hard]
    limits = zip(_RESOURCE_PATHS, _resources(spec.resources), strict=True)
    flat.update((path, value) for path, value in limits if value is not None)
    if spec.healthcheck is not None:
        _healthcheck(spec.healthcheck, flat)
    if spec.logging is not None:
        flat["spec.logging.driver"] = spec.logging.driver
        for key, value in spec.logging.options.items():
            flat["spec.logging.options." + key] = value


def _healthcheck(check: Healthcheck, flat: dict[str, Any]) -> None:
    if check.test:
        flat["spec.healthcheck.test"] = list(check.test)
    for name in ("retries", *HEALTH_DURATIONS):
        if value := getattr(check, name):
            flat["spec.healthcheck." + name] = value


def _mount(mount: Mount) -> dict[str, Any]:
    """Give a mount without what is false or empty. `create_host_path` says how to make it, not what it is."""
    flat: dict[str, Any] = {"type": mount.type}
    for name in ("source", "read_only", "nocopy", "propagation", "size", "mode"):
        if value := getattr(mount, name):
            flat[name] = value
    return flat


def _file(entry: FileEntry, flat: dict[str, Any]) -> None:
    prefix = f"spec.files.{entry.target}."
    content = entry.content
    flat[prefix + "content"] = content if isinstance(content, Secret) else _digest(content)
    flat[prefix + "mode"] = f"{entry.mode:04o}"
    flat[prefix + "owner"] = f"{entry.uid}:{entry.gid}"


def _digest(content: bytes) -> str:
    import hashlib  # few stacks have files

    return "sha256:" + hashlib.sha256(content).hexdigest()


def _attachment(attachment: Attachment) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    if attachment.aliases:
        flat["aliases"] = sorted(attachment.aliases)
    if attachment.ipv4_address:
        flat["ipv4_address"] = attachment.ipv4_address
    if attachment.ipv6_address:
        flat["ipv6_address"] = attachment.ipv6_address
    return flat


def unseen(applied: Canonical) -> dict[str, Any]:
    """Give what was applied and no engine reports: it is taken to be as it was applied."""
    return {path: value for path, value in applied.items() if path.startswith(_UNSEEN)}


def network(spec: NetworkSpec) -> dict[str, Any]:
    """Flatten what a network asks for."""
    flat: dict[str, Any] = {}
    for name in ("driver", "internal", "subnet", "gateway", "ip_range", "ipv6"):
        value = getattr(spec, name)
        if value not in (None, False):
            flat["spec." + name] = value
    return flat | _options_and_labels(spec.options, spec.labels)


def volume(spec: VolumeSpec) -> dict[str, Any]:
    """Flatten what a volume asks for."""
    flat: dict[str, Any] = {"spec.driver": spec.driver} if spec.driver else {}
    return flat | _options_and_labels(spec.options, spec.labels)


def _options_and_labels(options: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, Any]:
    flat: dict[str, Any] = {f"spec.options.{key}": value for key, value in options.items()}
    flat.update((f"spec.labels.{key}", value) for key, value in labels.items())
    return flat


def encode(flat: Canonical, salt: str) -> str:
    """Give the text of a label: JSON with sorted keys, every secret sealed under `salt` (hex, fresh for each object)."""
    sealed = {path: _seal(value, salt) for path, value in flat.items()}
    return json.dumps(sealed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _seal(value: Any, salt: str) -> Any:
    if isinstance(value, Secret):
        value = value.seal(salt)
    if isinstance(value, Sealed):
        return {SEALED: [value.digest, value.salt]}
    return value


def decode(text: str) -> dict[str, Any] | None:
    """Read a label back. None where it is not one of ours: somebody wrote over it, and nothing is known."""
    try:
        flat = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(flat, dict):
        return None
    if SEALED in text:
        return {path: _unseal(value) for path, value in flat.items()}
    return flat


def _unseal(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {SEALED}:
        digest, salt = value[SEALED]
        return Sealed(digest=str(digest), salt=str(salt))
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two canonical values are the same, where either may be a secret, a sealed one, or its plain text."""
    if isinstance(one, Sealed) and isinstance(other, Sealed):
        return one == other
    if isinstance(one, Sealed):
        return isinstance(other, (Secret, str)) and one.holds(other)
    if isinstance(other, Sealed):
        return isinstance(one, (Secret, str)) and other.holds(one)
    if isinstance(one, Secret) or isinstance(other, Secret):
        return bool(_plain(one) == _plain(other))
    return bool(one == other)


def _plain(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else value


def is_secret(value: Any) -> bool:
    """Whether a canonical value must be shown as `***`."""
    return isinstance(value, (Secret, Sealed))
