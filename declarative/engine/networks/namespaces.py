"""Network namespaces: made, kept by a bind mount, entered for a moment.

The rule that keeps it simple: a namespace is a file. Only threads that are made for it and end after it are ever in another
namespace than the daemon's, so that nothing of the daemon can go astray.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from declarative.engine.networks import links
from declarative.engine.networks.netlink import Netlink
from declarative.engine.runtime.rootfs import mounts_below

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from pathlib import Path

_T = TypeVar("_T")
_NEWNET = 0x40000000  # sched.h
_BIND, _REC, _SHARED = 0x1000, 0x4000, 0x100000  # sys/mount.h
_DETACH = 2
_INSIDE = (
    # as dockerd sets them: ping without CAP_NET_RAW, low ports without CAP_NET_BIND_SERVICE
    ("ipv4/ping_group_range", "0 2147483647"),
    ("ipv4/ip_unprivileged_port_start", "0"),
    # no link-local addresses, no listening to routers: an interface that has an IPv6 address given switches it on for itself
    ("ipv6/conf/default/disable_ipv6", "1"),
    ("ipv6/conf/default/accept_ra", "0"),
)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)  # Python has unshare, setns from 3.12 on, mount never


def _checked(result: int, call: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")


def prepare(folder: Path) -> None:
    """Make the folder that mounts of namespaces are kept in. OSError.

    It is a mount of its own, and shared, as ip-netns(8) makes its folder: what is unmounted here goes from the mount namespaces
    of others that were made meanwhile too, where it would keep the network alive.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if mounts_below(folder.resolve()):
        return
    name = os.fsencode(folder)
    _checked(_libc().mount(name, name, b"none", _BIND | _REC, None), "mount")
    _checked(_libc().mount(b"", name, b"none", _SHARED | _REC, None), "mount")


def abandon(folder: Path) -> None:
    """Take the folder's own mount away, once nothing is in it."""
    while _libc().umount2(os.fsencode(folder), _DETACH) == 0:
        pass
    with contextlib.suppress(OSError):
        folder.rmdir()


def create(path: Path) -> None:
    """Make a namespace with its loopback up, kept at `path`. FileExistsError where the path is taken, OSError."""

    def inside() -> None:
        _checked(_libc().unshare(_NEWNET), "unshare")
        _prepare_inside()
        _checked(_libc().mount(b"/proc/thread-self/ns/net", os.fsencode(path), b"none", _BIND, None), "mount")

    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    try:
        in_thread(inside)
    except BaseException:
        remove(path)
        raise


def take(path: Path, pid: int, given: Iterable[str] = ()) -> None:
    """Make a process's namespace what `create` makes, but for the sysctls `given`, and keep it at `path`. OSError."""
    keep(path, pid)
    try:
        enter(path, lambda: _prepare_inside(frozenset(given)))
    except BaseException:
        remove(path)
        raise


def _prepare_inside(given: Container[str] = ()) -> None:
    for name, value in _INSIDE:
        if f"net.{name.replace('/', '.')}" not in given:
            write_setting(name, value)
    with Netlink() as kernel:
        kernel.run(links.up(1))  # the loopback is link 1 of every namespace


def keep(path: Path, pid: int) -> None:
    """Keep a process's namespace at `path` again, where its mount was lost. OSError."""
    path.touch(0o444)
    _checked(_libc().mount(os.fsencode(f"/proc/{pid}/ns/net"), os.fsencode(path), b"none", _BIND, None), "mount")


def remove(path: Path) -> bool:
    """Let a namespace go: the kernel takes it down with its last process. False where it was not there."""
    there = path.exists()
    while _libc().umount2(os.fsencode(path), _DETACH) == 0:
        pass
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return there


def is_kept(path: Path) -> bool:
    """Whether a namespace is mounted at the path: its file is one of another file system than the folder's."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except OSError:
        return False


def enter(path: Path, work: Callable[[], _T]) -> _T:
    """Do work in the namespace kept at `path`, and give its result. What it raises is raised here; OSError."""

    def inside() -> _T:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _checked(_libc().setns(descriptor, _NEWNET), "setns")
        finally:
            os.close(descriptor)
        return work()

    return in_thread(inside)


def in_thread(work: Callable[[], _T]) -> _T:
    """Do work in a thread of its own and wait for it."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the caller waits
            errors.append(error)

    thread = threading.Thread(target=run, name="in a namespace", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    found: _T = results[0]
    return found


def has_ipv6() -> bool:
    """Whether the kernel knows IPv6 at all: it can be started without."""
    return os.path.isdir("/proc/sys/net/ipv6")  # noqa: PTH112 - asked for each container: half the time of a Path


def write_setting(name: str, value: str) -> bool:
    """Write a setting below /proc/sys/net of the calling thread's namespace; False where the kernel has none of that name."""
    try:
        descriptor = os.open(f"/proc/sys/net/{name}", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
    return True


def read_setting(name: str) -> str:
    """Read a setting below /proc/sys/net, "" where the kernel has none of that name."""
    try:
        descriptor = os.open(f"/proc/sys/net/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        return os.read(descriptor, 4096).decode().strip()
    finally:
        os.close(descriptor)
