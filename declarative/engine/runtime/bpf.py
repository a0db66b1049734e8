"""Seccomp profiles compiled once for all containers, not by the runtime for each: that took a third of a container's start.

The rule that keeps it simple: libseccomp does it, the library that OCI runtimes use. A profile that it or this file does not
understand is not compiled, and the runtime gets its rules.
"""

from __future__ import annotations

import base64
import ctypes
import errno
import json
import os
import struct
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
_UNKNOWN = -1
_PERMISSIVE = frozenset({"SCMP_ACT_ALLOW", "SCMP_ACT_LOG"})
# linux/filter.h: classic BPF; linux/seccomp.h: where in struct seccomp_data
_LOAD, _JA, _JEQ, _JGT, _JGE, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
_AT_NUMBER, _AT_ARCHITECTURE = 0, 4
_X86_64, _X32, _X32_BIT = 0xC000003E, 0x4000003E, 0x40000000


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
        if not _fill(library, context, profile, default):
            return None
        program = _export(library, context)
    finally:
        library.seccomp_release(context)
    refuses = profile["defaultAction"] not in _PERMISSIVE and profile.get("defaultErrnoRet") != errno.ENOSYS
    if refuses and program:
        program = _unknown_first(library, profile) + program
    return base64.b64encode(program).decode() if program else None


def _fill(library: ctypes.CDLL, context: int, profile: Mapping[str, Any], default: int) -> bool:
    library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, _BINARY_TREE)  # an older library goes without
    for name in profile.get("architectures") or ():
        token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
        if not token or library.seccomp_arch_add(context, token) not in {0, -errno.EEXIST}:
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
        if library.seccomp_rule_add_array(context, action, number, len(group), array) not in {0, -errno.EEXIST}:
            return False
    return True


def _export(library: ctypes.CDLL, context: int) -> bytes | None:
    descriptor = os.memfd_create("seccomp")
    try:
        if library.seccomp_export_bpf(context, descriptor) != 0:
            return None
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, size, 0)
    finally:
        os.close(descriptor)


def _unknown_first(library: ctypes.CDLL, profile: Mapping[str, Any]) -> bytes:
    """Give a program that goes before another, and answers ENOSYS to calls that are newer than the profile.

    So does runc: a C library does without a call that is not there, but not without one that is not permitted.
    """
    names = [name.encode() for rule in profile.get("syscalls") or () for name in rule["names"]]
    newest = {}
    for architecture in profile.get("architectures") or ("SCMP_ARCH_NATIVE",):
        token = library.seccomp_arch_resolve_name(architecture.removeprefix("SCMP_ARCH_").lower().encode())
        numbers = [library.seccomp_syscall_resolve_name_arch(token or _native(library), name) for name in names]
        newest[token or _native(library)] = max(numbers, default=-1)
    program: list[bytes] = []
    for token, number in newest.items():
        if token != _X32:
            checks = [_step(_LOAD, _AT_NUMBER), *_checks(token, number, newest.get(_X32))]
            program = [_step(_JEQ, token, otherwise=len(checks) + 1), *checks, _step(_JA, len(program)), *program]
    return b"".join([_step(_LOAD, _AT_ARCHITECTURE), *program])


def _checks(token: int, newest: int, newest_x32: int | None) -> list[bytes]:
    """Give the steps that refuse a number beyond the newest, and go on with any other."""
    refuse = _newer(newest)
    if token != _X86_64:
        return refuse
    if newest_x32 is None:  # the program that follows knows what to do with it
        return [_step(_JGE, _X32_BIT, then=len(refuse)), *refuse]
    # x32 is this architecture to the kernel, with a bit of its own in the number
    other = [*_newer(newest_x32 | _X32_BIT), _step(_JA, len(refuse))]
    return [_step(_JGE, _X32_BIT, otherwise=len(other)), *other, *refuse]


def _newer(newest: int) -> list[bytes]:
    return [_step(_JGT, max(newest, 0), otherwise=1), _step(_RETURN, _ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS)]


def _step(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    """Give one step (struct sock_filter, linux/filter.h); jumps count the steps that are passed over."""
    return struct.pack("=HBBI", code, then, otherwise, value)


def _native(library: ctypes.CDLL) -> int:
    token: int = library.seccomp_arch_native()
    return token


def _action(name: str, number: int | None) -> int:
    code = _ACTIONS[name]
    return code | ((errno.EPERM if number is None else number) & 0xFFFF) if name == "SCMP_ACT_ERRNO" else code


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
    library.seccomp_syscall_resolve_name_arch.argtypes = (number, ctypes.c_char_p)
    library.seccomp_arch_native.restype = number
    library.seccomp_rule_add_array.argtypes = (handle, number, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison))
    library.seccomp_export_bpf.argtypes = (handle, ctypes.c_int)
    return library
