"""Running crun on hybrid machines: where it runs, version 2 of control groups is not mounted, so it sees version 1 alone.

crun drives one version or the other, and refuses a machine whose controllers are in both. All of ours are in version 1 there
(`cgroups`), so nothing is missing. Nobody else notices: in mount namespaces of ours an empty file system is in its place, where
crun makes folders for groups all the same, and which is gone with the namespace.

The rule that keeps it simple: two ways in. What makes a container needs its root file system, which was mounted a moment ago: a
script gives it a namespace of its own, gone with it. What only joins a container is started from a thread that lives in one
such namespace; of the machine's mounts that one keeps what a program needs and no more, lest it holds file systems that others
unmount.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from declarative.engine.runtime import kernel
from declarative.engine.runtime.rootfs import mount_points

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SYSTEM = ("/proc", "/sys", "/dev")
_SCRIPT = """\
#!/bin/sh
exec {unshare} --mount --propagation slave -- /bin/sh -c '{mount} -n -i -t tmpfs none "$0" && exec "$@"' {hidden} {program} "$@"
"""


class Backstage:
    """A thread in a mount namespace without `hidden`, which starts programs there. OSError where the kernel makes none.

    `needed`: paths that the programs use; the file systems that these are on stay.
    """

    def __init__(self, hidden: Path, needed: Sequence[Path]) -> None:
        self._thread = ThreadPoolExecutor(1, "start crun")
        try:
            self._thread.submit(_enter, hidden, needed).result()
        except BaseException:
            self.close()
            raise

    def start(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a program there, as `subprocess.Popen` does."""
        return self._thread.submit(_start, argv, options).result()

    def close(self) -> None:
        """End the thread. What it started goes on."""
        self._thread.shutdown()


def entry(program: str, hidden: Path, unshare: Path, mount: Path) -> bytes:
    """Give the script that runs `program` where `hidden` cannot be seen."""
    words = {"program": program, "hidden": str(hidden), "unshare": str(unshare), "mount": str(mount)}
    return _SCRIPT.format_map({name: shlex.quote(word) for name, word in words.items()}).encode()


def _start(argv: Sequence[str], options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, **options)


def _enter(hidden: Path, needed: Sequence[Path]) -> None:
    points = mount_points()
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_FS)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_SLAVE)
    kernel.umount(hidden)
    kernel.mount("none", hidden, "tmpfs", kernel.MS_RDONLY)  # else crun writes into what was below
    for point in reversed(points):
        stays = any(point in (folder, *folder.parents) for folder in needed)
        if not stays and not point.is_relative_to(hidden) and not str(point).startswith(_SYSTEM):
            with contextlib.suppress(OSError):
                kernel.umount(point)
