"""Seccomp profiles: Docker's format, whose rules depend on capabilities, architecture and kernel, made into OCI's.

The rule that keeps it simple: one pure function of profile and `Machine`. The default profile is the published one, beside this
file as it came, so that it can be compared and replaced.
"""

from __future__ import annotations

import json
import os
import platform
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from declarative.errors import Invalid
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_GO_NAMES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "x86",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
}
_SECCOMP_NAMES = {
    "x86_64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "armv7l": "SCMP_ARCH_ARM",
    "armv6l": "SCMP_ARCH_ARM",
    "i686": "SCMP_ARCH_X86",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "s390x": "SCMP_ARCH_S390X",
    "riscv64": "SCMP_ARCH_RISCV64",
    "loongarch64": "SCMP_ARCH_LOONGARCH64",
}
_COPIED = ("defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata")


@record
class Machine:
    """What rules depend on: the architecture as `uname -m` says it, the kernel's (major, minor)."""

    architecture: str
    kernel: tuple[int, int]


@cache
def this_machine() -> Machine:
    """Give this machine."""
    return Machine(architecture=platform.machine(), kernel=_version(os.uname().release))


@cache
def default_profile() -> Mapping[str, Any]:
    """Give the default profile, in Docker's format."""
    document: Mapping[str, Any] = json.loads(resources.files(__package__).joinpath("seccomp.json").read_bytes())
    return document


def resolve(profile: Mapping[str, Any], capabilities: Iterable[str], machine: Machine) -> dict[str, Any]:
    """Give OCI's `linux.seccomp` for a container with these capabilities. Invalid where the profile is none.

    The order of checks, and that every capability of `includes` must be there while one of `excludes` is enough, are Docker's
    (profiles/seccomp). A profile that is OCI's already has no conditions and comes through unchanged.
    """
    if not isinstance(profile, dict) or "defaultAction" not in profile:
        raise Invalid("seccomp", "the profile has no defaultAction", "see the profile format of Docker or OCI")
    if profile.get("architectures") and profile.get("archMap"):
        raise Invalid("seccomp", "the profile has both architectures and archMap", "give one of them")
    given = frozenset(capabilities)
    result: dict[str, Any] = {key: profile[key] for key in _COPIED if profile.get(key) is not None}
    result["architectures"] = list(profile.get("architectures") or _architectures(profile, machine))
    if not result["architectures"]:
        del result["architectures"]
    rules = profile.get("syscalls") or []
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise Invalid("seccomp", "syscalls is no list of rules")
    result["syscalls"] = [_rule(rule) for rule in rules if _applies(rule, given, machine)]
    return result


def _architectures(profile: Mapping[str, Any], machine: Machine) -> list[str]:
    native = _SECCOMP_NAMES.get(machine.architecture, "")
    for entry in profile.get("archMap") or []:
        if entry.get("architecture") == native:
            return [native, *(entry.get("subArchitectures") or [])]
    return []


def _applies(rule: Mapping[str, Any], given: frozenset[str], machine: Machine) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    architecture = _GO_NAMES.get(machine.architecture, machine.architecture)
    if architecture in (excludes.get("arches") or ()) or given & set(excludes.get("caps") or ()):
        return False
    if excludes.get("minKernel") and machine.kernel >= _version(excludes["minKernel"]):
        return False
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if not given >= set(includes.get("caps") or ()):
        return False
    return not (includes.get("minKernel") and machine.kernel < _version(includes["minKernel"]))


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    names = list(rule.get("names") or ([rule["name"]] if rule.get("name") else []))
    if not names or "action" not in rule:
        raise Invalid("seccomp", "a rule has no names or no action")
    result: dict[str, Any] = {"names": names, "action": rule["action"]}
    if rule.get("errnoRet") is not None:
        result["errnoRet"] = rule["errnoRet"]
    if rule.get("args"):
        result["args"] = rule["args"]
    return result


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
