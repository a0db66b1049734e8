"""What the tests of the runtime share: a root file system of busybox, a runtime with a run root of its own, and sandboxes.

The rule that keeps it simple: everything is below one folder and one control group; what is left after a test fails it.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from declarative.engine.paths import Paths
from declarative.engine.runtime import rootfs
from declarative.engine.runtime.runtime import Runtime
from declarative.engine.runtime.sandbox import Process, Sandbox
from tests import base_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from declarative.engine.runtime.bundle import Exit

ENVIRONMENT = ("PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/root")
_GRACE_SECONDS = 3.0
PATIENCE_SECONDS = 60.0


@dataclass(slots=True, kw_only=True, eq=False)
class Machine:
    """One runtime and what it runs. `folder` has everything; `group` is the control group above the containers'."""

    folder: Path
    group: str
    runtime: Runtime
    exits: list[Exit] = field(default_factory=list)
    _count: int = 0

    @property
    def image(self) -> Path:
        """The busybox that containers have as their only layer."""
        return self.folder / "image"

    def log(self, name: str) -> Path:
        """Where a container's log is."""
        return self.folder / f"{name}.log"

    def root_of(self, name: str) -> Path:
        """Mount a writable root file system for a container."""
        folder = self.folder / "roots" / name
        for part in ("upper", "work", "merged"):
            (folder / part).mkdir(parents=True)
        rootfs.mount_overlay([self.image], folder / "upper", folder / "work", folder / "merged")
        return folder / "merged"

    def sandbox(self, *args: str, name: str = "", **fields: Any) -> Sandbox:
        """Describe a container that runs `args`."""
        self._count += 1
        name = name or f"c{self._count}"
        given = {"hostname": name, "env": ENVIRONMENT, "cgroup_parent": self.group} | fields
        return Sandbox(id=name, args=args, rootfs=self.root_of(name), **given)

    def shell(self, script: str, **fields: Any) -> Sandbox:
        """Describe a container that runs a script."""
        return self.sandbox("sh", "-c", script, **fields)

    def start(self, sandbox: Sandbox, *, stdin: bool = False) -> str:
        """Create a container and start it; give its name."""
        self.runtime.create(sandbox, log=self.log(sandbox.id), stdin=stdin)
        self.runtime.start(sandbox.id)
        return sandbox.id

    def run(self, sandbox: Sandbox) -> tuple[int, str]:
        """Run a container to its end; give the exit code and its output, both streams."""
        output: list[bytes] = []
        ended = self.runtime.run_once(sandbox, lambda _, data: output.append(data))
        self.drop(sandbox.id)
        return ended.code, b"".join(output).decode()

    def execute(self, name: str, *args: str, session: str = "", **fields: Any) -> tuple[int, str]:
        """Run one more process in a container to its end; give the exit code and its output."""
        self._count += 1
        process = Process(args=args, env=ENVIRONMENT, **fields)
        made = self.runtime.exec(name, session or f"s{self._count}", process, stdin=False)
        output = b""
        while chunk := made.attachment.read():
            output += chunk.data
        code = made.wait(PATIENCE_SECONDS)
        made.close()
        assert code is not None
        return code, output.decode()

    def ended(self, name: str) -> Exit:
        """Wait for a container's end."""
        ended = self.runtime.wait(name, PATIENCE_SECONDS)
        assert ended is not None, f"{name} goes on"
        return ended

    def logged(self, name: str) -> str:
        """Give what is in a container's log, without times."""
        entries = self.log(name).read_bytes().split(b"\n")[:-1]
        return b"".join(entry[45:] + (b"\n" if entry[43:44] == b"F" else b"") for entry in entries).decode()

    def drop(self, name: str) -> None:
        """Remove a container and its root file system."""
        self.runtime.delete(name)
        rootfs.unmount(self.folder / "roots" / name / "merged")


@contextmanager
def machine(folder: Path, only: str = "") -> Iterator[Machine]:
    """Open a runtime in an empty folder; at the end everything is removed, and nothing may be left."""
    group = f"/declarative-tests-{os.getpid()}-{folder.name}"
    before = traces(folder, group)
    runtime = Runtime(Paths(root=folder / "data", run=folder / "run"), only=only)
    made = Machine(folder=folder, group=group, runtime=runtime)
    runtime.on_exit = made.exits.append
    try:
        _unpack(made.image)
        yield made
    finally:
        for bundle in list((folder / "run/containers").iterdir()):
            runtime.delete(bundle.name)
        for point in rootfs.mounts_below(folder):
            rootfs.unmount(point)
        runtime.close()
        runtime.cgroups.remove(group)
    wait_until(lambda: traces(folder, group) == before, lambda: f"left: {traces(folder, group) - before}")


def traces(folder: Path, group: str) -> frozenset[str]:
    """Give what a runtime can leave: mounts and processes of a folder, and control groups."""
    found = {f"mount {point}" for point in rootfs.mounts_below(folder)}
    found |= {f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"*{group}/*")}
    found |= {f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f".{group}/*")}
    for process in Path("/proc").iterdir():
        try:
            working = (process / "cwd").readlink()
            root = (process / "root").readlink()
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if process.name != str(os.getpid()) and (
            working.is_relative_to(folder) or root.is_relative_to(folder) or os.fsencode(folder) in command
        ):
            found.add(f"process {process.name} {command!r}")
    return frozenset(found)


def wait_until(true: Callable[[], bool], what: str | Callable[[], str], seconds: float = _GRACE_SECONDS) -> None:
    """Wait until something is so."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, what if isinstance(what, str) else what()
        time.sleep(0.02)


def _unpack(folder: Path) -> None:
    """Unpack the only layer of the base image."""
    with tarfile.open(fileobj=io.BytesIO(base_image.archive())) as archive:
        layer = archive.extractfile("layer.tar")
        assert layer is not None
        folder.mkdir(parents=True)
        subprocess.run(["tar", "-x", "-C", str(folder)], input=layer.read(), check=True)
