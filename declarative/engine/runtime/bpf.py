"""Seccomp profiles compiled once for all containers, not by the runtime for each: that took a third of a container's start.

The rule that keeps it simple: libseccomp does it, the library that OCI runtimes use. A profile that it or this file does not
understand is not compiled, and the runtime gets its rules.
"""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import json
import os
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# include/seccomp.h
_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_ATTRIBUTE_OPTIMIZE, _BINARY_TREE = 8, 2
_EEXIST, _EPERM = 17, 1
_UNKNOWN = -1


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def compile_profile(profile: Mapping[str, Any]) -> str | None:
    """Give OCI's `linux.seccomp` as the kernel's program, in base64; None where it cannot be compiled here."""
    return _compile(json.dumps(profile))


@lru_cache(maxsize=32)
def _compile(text: str) -> str | None:
    library = _library()
    profile = json.loads(text)
    if library is None or profile.get("flags") or profile.get("listenerPath"):
        return None
    try:
        default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
        context = library.seccomp_init(default)
    except KeyError:
        return None
    if not context:
        return None
    try:
        return _export(library, context) if _fill(library, context, profile, default) else None
    finally:
        library.seccomp_release(context)


def _fill(library: ctypes.CDLL, context: int, profile: Mapping[str, Any], default: int) -> bool:
    library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, _BINARY_TREE)  # an older library goes without
    for name in profile.get("architectures") or ():
        token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
        if not token or library.seccomp_arch_add(context, token) not in {0, -_EEXIST}:
            return False
    for rule in profile.get("syscalls") or ():
        try:
            action = _action(rule["action"], rule.get("errnoRet"))
            comparisons = [_comparison(argument) for argument in rule.get("args") or ()]
        except KeyError:
            return False
        if action == default:
            continue  # libseccomp refuses a rule that says nothing
        if not all(_add(library, context, action, name, comparisons) for name in rule["names"]):
            return False
    return True


def _add(library: ctypes.CDLL, context: int, action: int, name: str, comparisons: list[_Comparison]) -> bool:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number == _UNKNOWN:
        return True  # newer than the library: what is not named gets the default, as in runc
    # conditions on one argument twice cannot be one rule: any of them is enough, as in runc
    once = len({entry.argument for entry in comparisons}) == len(comparisons)
    for group in [comparisons] if once else [[entry] for entry in comparisons]:
        array = (_Comparison * max(len(group), 1))(*group)
        if library.seccomp_rule_add_array(context, action, number, len(group), array) not in {0, -_EEXIST}:
            return False
    return True


def _export(library: ctypes.CDLL, context: int) -> str | None:
    descriptor = os.memfd_create("seccomp")
    try:
        if library.seccomp_export_bpf(context, descriptor) != 0:
            return None
        size = os.fstat(descriptor).st_size
        return base64.b64encode(os.pread(descriptor, size, 0)).decode()
    finally:
        os.close(descriptor)


def _action(name: str, number: int | None) -> int:
    code = _ACTIONS[name]
    return code | ((_EPERM if number is None else number) & 0xFFFF) if name == "SCMP_ACT_ERRNO" else code


def _comparison(argument: Mapping[str, Any]) -> _Comparison:
    return _Comparison(
        argument=argument["index"],
        operator=_OPERATORS[argument["op"]],
        first=argument["value"],
        second=argument.get("valueTwo", 0),
    )


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    handle, number = ctypes.c_void_p, ctypes.c_uint32
    library.seccomp_init.restype, library.seccomp_init.argtypes = handle, (number,)
    library.seccomp_release.restype, library.seccomp_release.argtypes = None, (handle,)
    library.seccomp_attr_set.argtypes = (handle, ctypes.c_int, number)
    library.seccomp_arch_resolve_name.restype, library.seccomp_arch_resolve_name.argtypes = number, (ctypes.c_char_p,)
    library.seccomp_arch_add.argtypes = (handle, number)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_rule_add_array.argtypes = (handle, number, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison))
    library.seccomp_export_bpf.argtypes = (handle, ctypes.c_int)
    return library
