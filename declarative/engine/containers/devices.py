"""Devices that a container is given: `--device`, `--device-cgroup-rule`, and limits on block devices.

The rule that keeps it simple: a device is what the machine has at a path now, when the container starts.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.runtime.sandbox import Device, DeviceRate, DeviceRule, DeviceWeight
from declarative.errors import Failed, Invalid, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from declarative.engine.containers.host import Device as Mapping
    from declarative.engine.containers.host import DeviceRequest, ThrottleDevice, WeightDevice

_RULE = re.compile(r"([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})", re.ASCII)
_DEV = Path("/dev")
_OWN = frozenset({"console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"})
_OWN_FOLDERS = frozenset({"pts", "shm", "fd", "mqueue"})
_NODES = frozenset({stat.S_IFCHR, stat.S_IFBLK})
_KINDS = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}


def devices_of(wanted: Iterable[Mapping]) -> Iterator[Device]:
    """Give the devices; of a folder all that are in it. Failed, in Docker's words, for what is not there."""
    for mapping in wanted:
        path, inside = mapping.path_on_host, mapping.path_in_container or mapping.path_on_host
        permissions = mapping.cgroup_permissions or "rwm"
        if Path(path).is_dir():
            for folder, _, names in os.walk(os.path.realpath(path)):
                for name in sorted(names):
                    at = f"{folder}/{name}"
                    status = os.lstat(at)
                    if stat.S_IFMT(status.st_mode) in _KINDS:
                        below = os.path.relpath(at, os.path.realpath(path))
                        yield _device(status, f"{inside}/{below}", permissions)
            continue
        yield _device(_look(path), inside, permissions)


def every(root: Path = _DEV) -> Iterator[Device]:
    """Give all devices of the machine, for a privileged container; what the runtime makes anew for each is left out."""
    for folder, folders, names in os.walk(root):
        if folder == str(root):
            folders[:] = [name for name in folders if name not in _OWN_FOLDERS]
        for name in sorted(names):
            at = f"{folder}/{name}"
            status = os.lstat(at)
            if name not in _OWN and stat.S_IFMT(status.st_mode) in _NODES:
                yield _device(status, f"{_DEV}{at.removeprefix(str(root))}", "rwm")


def _look(path: str) -> os.stat_result:
    try:
        status = Path(path).stat()
    except OSError as error:
        reason = reason_of(error)
        raise Failed("", f'error gathering device information while adding custom device "{path}": {reason}') from error
    if stat.S_IFMT(status.st_mode) not in _KINDS:
        raise Failed("", f'error gathering device information while adding custom device "{path}": not a device node')
    return status


def _device(status: os.stat_result, inside: str, permissions: str) -> Device:
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    if set(permissions) - set("rwm"):
        raise Invalid("", f"invalid device mode: {permissions}")
    return Device(
        path=inside,
        kind=kind,  # type: ignore[arg-type]
        major=os.major(status.st_rdev),
        minor=os.minor(status.st_rdev),
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        permissions=permissions,
    )


def rules_of(wanted: Iterable[str]) -> Iterator[DeviceRule]:
    """Give the rules of `--device-cgroup-rule`. Invalid, in Docker's words."""
    for text in wanted:
        match = _RULE.fullmatch(text)
        if match is None:
            raise Invalid("", f"invalid device cgroup rule format: '{text}'")
        kind, major, minor, permissions = match.groups()
        yield DeviceRule(
            kind=kind,  # type: ignore[arg-type]
            major=None if major == "*" else int(major),
            minor=None if minor == "*" else int(minor),
            permissions=permissions,
        )


def refuse_requests(wanted: Iterable[DeviceRequest]) -> None:
    """Refuse devices that are asked for by what they can do: there is no driver for any. Failed, in Docker's words."""
    for request in wanted:
        capabilities = " ".join(f"[{' '.join(words)}]" for words in request.capabilities or ())
        raise Failed("", f'could not select device driver "{request.driver}" with capabilities: [{capabilities}]')


def weights_of(wanted: Iterable[WeightDevice]) -> tuple[DeviceWeight, ...]:
    """Give weights by device number."""
    return tuple(
        DeviceWeight(major=major, minor=minor, weight=entry.weight)
        for entry in wanted
        for major, minor in (_number(entry.path),)
    )


def rates_of(wanted: Iterable[ThrottleDevice]) -> tuple[DeviceRate, ...]:
    """Give rates by device number."""
    return tuple(
        DeviceRate(major=major, minor=minor, rate=entry.rate)
        for entry in wanted
        for major, minor in (_number(entry.path),)
    )


def _number(path: str) -> tuple[int, int]:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise Failed("", f"stat {path}: {reason_of(error)}") from error
    return os.major(status.st_rdev), os.minor(status.st_rdev)
