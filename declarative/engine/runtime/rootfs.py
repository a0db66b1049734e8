"""Root file systems: overlayfs over image layers, bind mounts, shared memory; mounted where the machine sees them.

The rule that keeps it simple: what is mounted stays until `unmount`; nothing here remembers anything. However many layers and
however long their paths: the new mount API takes them one by one (kernel 6.8 and later), and for older kernels the options of
mount(2), one page at most, name them by short links.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.runtime import kernel
from declarative.engine.runtime.idmaps import mapped, root_of
from declarative.errors import DeclarativeError, Failed, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from declarative.engine.runtime.sandbox import IdMap

LAYERS_MAX = 500
"""Layers in one mount, fs/overlayfs OVL_MAX_STACK."""
_VALUE_MAX = 255  # fs/fsopen.c: a value of fsconfig
# what a layer's xattrs mean must not depend on how the kernel was built: diffs are read from `upper`
_OPTIONS = (("index", "off"), ("metacopy", "off"), ("redirect_dir", "off"))


def mount_overlay(
    lowers: Sequence[Path],
    upper: Path,
    work: Path,
    target: Path,
    *,
    volatile: bool = False,
    uid_maps: Sequence[IdMap] = (),
    gid_maps: Sequence[IdMap] = (),
    place: Path | None = None,
) -> None:
    """Mount image layers (uppermost first) below a writable layer. `work` is on the file system of `upper`.

    `volatile`: the kernel need not write it out when it is unmounted or synced; for what does not outlive the machine anyway.
    `uid_maps`, `gid_maps`: those of the sandbox, for a container in a user namespace. Its layers are mounted below `place` (the
    folder of `work` if None) meanwhile, and stay so where we are killed: whoever removes that folder must unmount first.
    Failed where the kernel refuses, Unsupported where it has no overlayfs or a container has too many layers.
    """
    if len(lowers) > LAYERS_MAX:
        raise Unsupported("overlay", f"{len(lowers)} layers are more than {LAYERS_MAX}", "squash the image")
    if uid_maps and upper.parent != work.parent:
        raise Failed("overlay", "upper and work are not beside each other")
    shutil.rmtree(work / "work" / "incompat", ignore_errors=True)  # of a volatile mount that nobody unmounted
    below = list(lowers)
    spare: Path | None = None
    if not below:  # overlayfs wants one: an image without layers
        spare = Path(tempfile.mkdtemp(prefix="empty-", dir=work.parent))
        below = [spare]
    try:
        if uid_maps:
            with mapped([upper.parent, *below], uid_maps, gid_maps, place or work.parent) as (home, *shown):
                # overlayfs works as who mounts it, and through the map the machine's root is nobody
                act_as(
                    root_of(uid_maps, gid_maps),
                    lambda: _mount(shown, home / upper.name, home / work.name, target, volatile=volatile),
                )
        else:
            _mount(below, upper, work, target, volatile=volatile)
    except OSError as error:
        raise _refused(error, target, over_mapped=bool(uid_maps)) from error
    finally:
        if spare is not None:
            with contextlib.suppress(OSError):
                spare.rmdir()


def mount_tmpfs(target: Path, *, size: int, mode: int = 0o1777) -> None:
    """Mount memory, such as the /dev/shm that containers share. Failed where the kernel refuses."""
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    try:
        kernel.mount("shm", target, "tmpfs", flags, f"mode={mode:o},size={size}")
    except OSError as error:
        raise Failed("tmpfs", f"cannot mount at {target}: {error.strerror}") from error


def unmount(target: Path) -> None:
    """Unmount everything at `target`, at once; what still uses it keeps it until it ends. Nothing where nothing is mounted."""
    while True:
        try:
            kernel.umount(target)
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.ENOENT}:
                return
            raise Failed("unmount", f"cannot unmount {target}: {error.strerror}") from error


def mounts_below(folder: Path) -> tuple[Path, ...]:
    """Give the mount points at and below a folder, innermost first."""
    return tuple(point for point in reversed(mount_points()) if point.is_relative_to(folder))


def mount_points() -> list[Path]:
    """Give every mount point, outermost first."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return [Path(os.fsdecode(_unescape(line.split(b" ", 5)[4]))) for line in lines]


def is_mounted(target: Path) -> bool:
    """Tell whether something is mounted there."""
    try:
        return target.stat().st_dev != target.parent.stat().st_dev
    except FileNotFoundError:
        return False


def act_as(owner: tuple[int, int], act: Callable[[], None]) -> None:
    """Do work in a thread that makes files as (uid, gid), with all our powers; what it raises is raised here."""
    problem: list[BaseException] = []

    def run() -> None:
        try:
            kernel.act_as(*owner)
            act()
        except BaseException as error:  # noqa: BLE001 - raised below
            problem.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if problem:
        raise problem[0]


def _refused(error: OSError, target: Path, *, over_mapped: bool) -> DeclarativeError:
    """Say why the kernel mounts no overlay."""
    if error.errno == errno.EINVAL and over_mapped:
        problem = f"kernel {os.uname().release} mounts no overlay over mapped ids"
        return Unsupported("user namespace", problem, "use kernel 5.19 or later, or no user namespaces")
    if error.errno == errno.ENODEV:
        return Unsupported("overlay", "the kernel has no overlayfs", "load it: modprobe overlay")
    return Failed("overlay", f"cannot mount at {target}: {error.strerror} ({error.filename})")


def _unescape(point: bytes) -> bytes:
    if b"\\" not in point:
        return point
    for code, character in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        point = point.replace(code, character)
    return point


def _mount(lowers: Sequence[Path], upper: Path, work: Path, target: Path, *, volatile: bool) -> None:
    paths = [str(path) for path in (*lowers, upper, work)]
    if all(len(os.fsencode(path)) <= _VALUE_MAX for path in paths):
        try:
            _mount_by_parts(paths[:-2], str(upper), str(work), target, volatile=volatile)
        except OSError as error:
            # ENOSYS: no such call; EINVAL: it has the call, and no lowerdir+ yet
            if error.errno not in {errno.ENOSYS, errno.EINVAL}:
                raise
        else:
            return
    _mount_by_options(lowers, upper, work, target, volatile=volatile)


def _mount_by_parts(lowers: Iterable[str], upper: str, work: str, target: Path, *, volatile: bool) -> None:
    context = kernel.fsopen("overlay")
    try:
        for lower in lowers:
            kernel.fsconfig_string(context, "lowerdir+", lower)
        kernel.fsconfig_string(context, "upperdir", upper)
        kernel.fsconfig_string(context, "workdir", work)
        for key, value in _OPTIONS:
            kernel.fsconfig_string(context, key, value)
        if volatile:
            kernel.fsconfig_flag(context, "volatile")
        kernel.fsconfig_create(context)
        mounted = kernel.fsmount(context)
    finally:
        os.close(context)
    try:
        kernel.move_mount(mounted, target)
    finally:
        os.close(mounted)


def _mount_by_options(lowers: Sequence[Path], upper: Path, work: Path, target: Path, *, volatile: bool) -> None:
    """Mount by mount(2), whose options share a page: a path of each layer is a link of a few letters.

    They are relative to a working folder, which is the process's; a thread can have its own.
    """
    problem: list[OSError] = []

    def mount_from(links: str) -> None:
        try:
            kernel.unshare(kernel.CLONE_FS)
            os.chdir(links)
            names = []
            for number, path in enumerate((upper, work, *lowers)):
                names.append(f"{number:x}")
                Path(names[-1]).symlink_to(path)
            options = [f"lowerdir={':'.join(names[2:])}", f"upperdir={names[0]}", f"workdir={names[1]}"]
            options += [*(f"{key}={value}" for key, value in _OPTIONS), *(("volatile",) if volatile else ())]
            kernel.mount("overlay", target, "overlay", 0, ",".join(options))
        except OSError as error:
            problem.append(error)

    with tempfile.TemporaryDirectory(prefix="layers-", dir=work.parent) as links:
        thread = threading.Thread(target=mount_from, args=(links,))
        thread.start()
        thread.join()
    if problem:
        raise problem[0]
