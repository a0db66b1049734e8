"""System calls that Python 3.11 does not have, through ctypes: mounts, namespaces, openat2, inotify.

The rule that keeps it simple: one thin function for each call, which raises OSError with errno; no policy here. Calls by number
have the same one on every architecture (424 and above, kernel 5.1 and later).
"""

from __future__ import annotations

import ctypes
import os
import time
from functools import cache
from pathlib import Path

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 18, 1 << 19, 1 << 20
CLONE_FS, CLONE_NEWNS = 0x200, 0x20000
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

FSOPEN_CLOEXEC = FSMOUNT_CLOEXEC = OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 0, 1, 6
MOUNT_ATTR_IDMAP = 0x100000

RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 0x02, 0x04, 0x08, 0x10

IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_MOVE_SELF, IN_DELETE_SELF, IN_CLOSE_WRITE = 0x2, 0x80, 0x100, 0x800, 0x400, 0x8
IN_IGNORED = 0x8000

_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP = 28, 4
_FSCONFIG, _FSOPEN, _FSMOUNT, _MOVE_MOUNT, _OPEN_TREE, _OPENAT2, _MOUNT_SETATTR = 431, 430, 432, 429, 428, 437, 442


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


@cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    text, number = ctypes.c_char_p, ctypes.c_ulong
    library.mount.argtypes = (text, text, text, number, text)
    library.umount2.argtypes = (text, ctypes.c_int)
    library.inotify_add_watch.argtypes = (ctypes.c_int, text, ctypes.c_uint32)
    return library


def _checked(result: int, subject: object = "") -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(subject))
    return result


def _call(number: int, *arguments: int | bytes | ctypes._SimpleCData[int] | object, subject: object = "") -> int:
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _checked(int(_libc().syscall(ctypes.c_long(number), *converted)), subject)


def mount(
    source: str | os.PathLike[str], target: str | os.PathLike[str], kind: str, flags: int, data: str = ""
) -> None:
    """Mount a file system, or change a mount (man 2 mount)."""
    encoded = (os.fsencode(source), os.fsencode(target), kind.encode(), flags, os.fsencode(data))
    _checked(_libc().mount(*encoded), target)


def umount(target: str | os.PathLike[str], flags: int = MNT_DETACH | UMOUNT_NOFOLLOW) -> None:
    """Unmount (man 2 umount2)."""
    _checked(_libc().umount2(os.fsencode(target), flags), target)


def unshare(flags: int) -> None:
    """Give the calling thread new namespaces (man 2 unshare)."""
    _checked(_libc().unshare(flags), "unshare")


def act_as(uid: int, gid: int) -> None:
    """Have the calling thread make files as another user, and keep its powers (man 2 setfsuid, man 7 capabilities)."""
    _checked(_libc().prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "securebits")
    _libc().setfsgid(gid)
    _libc().setfsuid(uid)


def setns(descriptor: int, kind: int = 0) -> None:
    """Move the calling thread into a namespace (man 2 setns)."""
    _checked(_libc().setns(descriptor, kind), "setns")


def fsopen(kind: str) -> int:
    """Give a descriptor of a file system to be configured (man 2 fsopen)."""
    return _call(_FSOPEN, kind.encode(), FSOPEN_CLOEXEC, subject=kind)


def fsconfig_string(descriptor: int, key: str, value: str) -> None:
    """Set one option (255 bytes at most)."""
    _call(_FSCONFIG, descriptor, FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0, subject=f"{key}={value}")


def fsconfig_flag(descriptor: int, key: str) -> None:
    """Set one option that has no value."""
    _call(_FSCONFIG, descriptor, FSCONFIG_SET_FLAG, key.encode(), None, 0, subject=key)


def fsconfig_create(descriptor: int) -> None:
    """Make the file system."""
    _call(_FSCONFIG, descriptor, FSCONFIG_CMD_CREATE, None, None, 0, subject="fsconfig")


def fsmount(descriptor: int) -> int:
    """Give a detached mount (man 2 fsmount)."""
    return _call(_FSMOUNT, descriptor, FSMOUNT_CLOEXEC, 0, subject="fsmount")


def open_tree(path: str | os.PathLike[str], *, recursive: bool = False) -> int:
    """Give a detached copy of a mount, from the path down (man 2 open_tree)."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return _call(_OPEN_TREE, AT_FDCWD, os.fsencode(path), flags, subject=path)


def move_mount(descriptor: int, target: str | os.PathLike[str]) -> None:
    """Attach a detached mount (man 2 move_mount)."""
    _call(_MOVE_MOUNT, descriptor, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH, subject=target)


def map_ids(descriptor: int, user_namespace: int) -> None:
    """Have a detached mount show its ids through a user namespace's maps (man 2 mount_setattr)."""
    attributes = _MountAttr(attr_set=MOUNT_ATTR_IDMAP, userns_fd=user_namespace)
    size = ctypes.sizeof(attributes)
    _call(_MOUNT_SETATTR, descriptor, b"", AT_EMPTY_PATH, ctypes.byref(attributes), size, subject="mount_setattr")


def openat2(folder: int, path: str | os.PathLike[str], flags: int, resolve: int, mode: int = 0) -> int:
    """Open a file with limits to its way there (man 2 openat2). ENOSYS before kernel 5.6."""
    how = _OpenHow(flags=flags | os.O_CLOEXEC, mode=mode, resolve=resolve)
    return _call(_OPENAT2, folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how), subject=path)


def inotify() -> int:
    """Give a descriptor, not blocking, that tells of changes (man 2 inotify_init1)."""
    return _checked(int(_libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)), "inotify")


def inotify_watch(descriptor: int, path: str | os.PathLike[str], mask: int) -> int:
    """Add a file or folder to what is told of (man 2 inotify_add_watch)."""
    return _checked(int(_libc().inotify_add_watch(descriptor, os.fsencode(path), mask)), path)


def age_of(pid: int) -> int:
    """Give how long ago a process was made, in nanoseconds, whatever became of the clock since; 0 for one that is gone.

    proc(5), /proc/PID/stat: field 22 counts ticks since the boot, also those of a machine that slept.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    made = int(fields[19]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - made)
