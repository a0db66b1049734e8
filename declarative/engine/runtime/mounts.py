"""Mounts of a container: the ones that every container has, and options of tmpfs and binds as `docker run` takes them.

The rule that keeps it simple: pure. What a mount's options mean to the kernel is the OCI runtime's business.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.engine.runtime.sandbox import Mount
from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_TMPFS_FLAGS = PROPAGATIONS | {
    *("ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "dirsync", "remount"),
    *("mand", "nomand", "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime"),
    *("strictatime", "nostrictatime", "bind", "rbind", "unbindable", "runbindable"),
}
_TMPFS_DATA = re.compile(r"(mode|uid|gid|nr_inodes|nr_blocks|mpol)=.+|size=\d+[kKmMgG%]?")
_TMPFS_DEFAULT = ("nosuid", "nodev", "noexec")


def bind(
    source: Path | str, target: str, *, read_only: bool = False, propagation: str = "rprivate", recursive: bool = True
) -> Mount:
    """Give a bind mount. `recursive` takes along what is mounted below the source."""
    options = ("rbind" if recursive else "bind", propagation, *(("ro",) if read_only else ()))
    return Mount(target=target, source=str(source), options=options)


def tmpfs(target: str, options: str = "") -> Mount:
    """Give a tmpfs with the options of `--tmpfs PATH:OPTIONS`. Invalid, in Docker's words, for an option that it has not."""
    wanted = [option for option in options.split(",") if option]
    for option in wanted:
        if option not in _TMPFS_FLAGS and not _TMPFS_DATA.fullmatch(option):
            raise Invalid("", f'invalid tmpfs option ["{option}"]')
    return Mount(target=target, kind="tmpfs", source="tmpfs", options=merge_options((*_TMPFS_DEFAULT, *wanted)))


def merge_options(options: Iterable[str]) -> tuple[str, ...]:
    """Give the options with the last word on each matter: `nosuid,suid` is `suid`, `mode=1,mode=2` is `mode=2`."""
    last: dict[str, str] = {}
    for option in options:
        name = option.partition("=")[0]
        matter = {"ro": "rw"}.get(name, name.removeprefix("no"))
        last.pop(matter, None)
        last[matter] = option
    return tuple(last.values())


def standard(*, shm_size: int, cgroup_writable: bool) -> tuple[Mount, ...]:
    """Give what Docker mounts in every container, in the order in which it has to be mounted."""
    noexec = ("nosuid", "noexec", "nodev")
    options = noexec if cgroup_writable else ("ro", *noexec)
    return (
        Mount(target="/proc", kind="proc", source="proc", options=noexec),
        Mount(
            target="/dev", kind="tmpfs", source="tmpfs", options=("nosuid", "strictatime", "mode=755", "size=65536k")
        ),
        Mount(
            target="/dev/pts",
            kind="devpts",
            source="devpts",
            options=("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        Mount(target="/sys", kind="sysfs", source="sysfs", options=("ro", *noexec)),
        Mount(target="/sys/fs/cgroup", kind="cgroup", source="cgroup", options=options),
        Mount(target="/dev/mqueue", kind="mqueue", source="mqueue", options=noexec),
        Mount(target="/dev/shm", kind="tmpfs", source="shm", options=(*noexec, "mode=1777", f"size={shm_size}")),  # noqa: S108 - in the container
    )


def in_order(standard_mounts: Sequence[Mount], wanted: Sequence[Mount]) -> tuple[Mount, ...]:
    """Give all mounts in mounting order: parents come first, and a wanted one takes the place of a standard one of its target.

    A /dev of one's own takes the place of everything below it too, as in Docker.
    """
    targets = {mount.target.rstrip("/") or "/" for mount in wanted}
    own_dev = "/dev" in targets
    kept = [
        mount
        for mount in standard_mounts
        if mount.target not in targets and not (own_dev and mount.target.startswith("/dev/"))
    ]
    return (*kept, *sorted(wanted, key=lambda mount: mount.target.rstrip("/").count("/")))
