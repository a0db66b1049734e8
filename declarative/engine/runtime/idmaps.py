"""Root file systems of containers with a user namespace: the image's ids, shown through the namespace's maps.

The rule that keeps it simple: nothing on the disk changes its owner. Each layer is seen through a mount that maps ids (kernel
5.12, for overlayfs 5.19), so that layers are shared by containers with any maps, and what a container writes has the image's ids.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.runtime import kernel
from declarative.errors import Failed, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from declarative.engine.runtime.sandbox import IdMap


@contextmanager
def mapped(
    folders: Sequence[Path], uid_maps: Sequence[IdMap], gid_maps: Sequence[IdMap], place: Path
) -> Iterator[list[Path]]:
    """Give folders that show the same files with mapped ids, for as long as it takes to mount them in an overlay.

    `place` is a folder for the mounts, which are gone at the end. Unsupported where the kernel or a file system cannot do it.
    """
    scratch = Path(tempfile.mkdtemp(prefix="mapped-", dir=place))
    try:
        with shown(uid_maps, gid_maps, scratch) as places:
            yield [places.show(folder) for folder in folders]
    finally:
        scratch.rmdir()


class Places:
    """Where folders are seen for a while, in a folder for it. What is mounted is unmounted at the end."""

    def __init__(self, folder: Path, namespace: int, stack: ExitStack) -> None:
        self._folder = folder
        self._namespace = namespace
        self._stack = stack
        self._number = itertools.count()

    def show(self, source: Path) -> Path:
        """Give where a folder, or a file, is seen with mapped ids. Unsupported, Failed."""
        target = self._folder / str(next(self._number))
        if source.is_dir():
            target.mkdir()
            self._stack.callback(target.rmdir)
        else:
            target.touch()
            self._stack.callback(target.unlink)
        self._mount(source, target, lambda tree: kernel.map_ids(tree, self._namespace))
        return target

    def reach(self, source: Path, name: str) -> Path:
        """Give where a folder is seen as it is, by those who may not go the way to it; the empty folder there stays. Failed."""
        target = self._folder / name
        target.mkdir(exist_ok=True)
        self._mount(source, target, lambda _: None)
        return target

    def _mount(self, source: Path, target: Path, change: Callable[[int], None]) -> None:
        try:
            tree = kernel.open_tree(source)
            try:
                change(tree)
                kernel.move_mount(tree, target)
            finally:
                os.close(tree)
        except OSError as error:
            raise _refusal(source, error) from error
        self._stack.callback(kernel.umount, target)


@contextmanager
def shown(uid_maps: Sequence[IdMap], gid_maps: Sequence[IdMap], folder: Path) -> Iterator[Places]:
    """Give places in `folder`, until the end; else as `mapped`.

    It may never be removed with what is in it: where we are killed, the mounts stay.
    """
    with ExitStack() as stack:
        namespace = _user_namespace(uid_maps, gid_maps)
        stack.callback(os.close, namespace)
        yield Places(folder, namespace, stack)


def root_of(uid_maps: Sequence[IdMap], gid_maps: Sequence[IdMap]) -> tuple[int, int]:
    """Give the machine's (uid, gid) that the container's root is. Failed where it is nobody."""
    for uid in uid_maps:
        for gid in gid_maps:
            if uid.inside == gid.inside == 0:
                return uid.outside, gid.outside
    raise Failed("user namespace", "the maps have no root")


def _refusal(folder: Path, error: OSError) -> Unsupported | Failed:
    if error.errno in {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}:
        return Unsupported(
            "user namespace",
            f"ids cannot be mapped on the file system of {folder}: {error.strerror}",
            "use kernel 5.19 or later and ext4, xfs, btrfs or tmpfs",
        )
    return Failed("user namespace", f"cannot map ids of {folder}: {error.strerror}")


def _user_namespace(uid_maps: Sequence[IdMap], gid_maps: Sequence[IdMap]) -> int:
    """Give a descriptor of a user namespace with these maps. It is made by a process that does nothing else."""
    with subprocess.Popen(["unshare", "--user", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        if holder.stdin is None or holder.stdout is None:
            raise AssertionError
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        if not holder.stdout.readline():  # cat answers, so it is there
            raise Unsupported("user namespace", "the kernel makes none", "see /proc/sys/user/max_user_namespaces")
        process = Path("/proc") / str(holder.pid)
        try:
            for name, maps in (("gid_map", gid_maps), ("uid_map", uid_maps)):
                (process / name).write_text("".join(f"{one.inside} {one.outside} {one.size}\n" for one in maps))
            return os.open(process / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Failed("user namespace", f"cannot map ids: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                holder.stdin.close()
