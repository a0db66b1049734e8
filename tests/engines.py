"""Real container engines for tests: start one, speak to it, hurt it, and leave nothing.

Each engine is a dockerd with its own containerd, data root, socket and control group parent, in its own process and mount
namespaces; all but the first have a network namespace of their own too, because two dockerds in one fight over bridges and
firewall chains. The first engine shares the test process's network (see `tests/sandbox.py`): a port that it publishes is on
the test's own loopback, and a registry that a test starts on loopback is `localhost:PORT` for both. For the others,
`Engine.connect` and `Engine.http_get` go in, and `Engine.reach` brings a port of the test's loopback onto theirs.

The rule that keeps it simple: process 1 of an engine's process namespace is all that has to end. It ends when the engine is
stopped, and when the test process dies of anything, and takes dockerd, containerd, the shims and the containers with it.
Nothing here uses the package under test: it is judged by an independent client.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests import base_image, sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

CACHE = Path(
    os.environ.get("DECLARATIVE_TEST_CACHE", "/var/cache/declarative-tests")
)  # what tests/install-host unpacked
_TRIXIE = CACHE / "trixie" / "root"
PLUGINS = _TRIXIE / "usr/libexec/docker/cli-plugins"  # docker-buildx and docker-compose
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_SCRATCH = Path("/var/tmp")  # noqa: S108 - overlayfs needs a disk, which /tmp may not be; the folder is made by mkdtemp
_SOCKETS = Path("/run/declarative-tests")  # /run is the sandbox's own; a socket's path has 107 bytes at most
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POOLS = "10.201.0.0/16"  # for networks without a subnet: 256 of them, where Docker's default has 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """Which engine: a name, its program, and where that and those that it calls are looked for first."""

    name: str
    program: str = "dockerd"
    path: str = _SYSTEM_PATH
    docker: str = "/usr/bin/docker"

    @property
    def daemon(self) -> str | None:
        return shutil.which(self.program, path=self.path)


DEBIAN_12 = Flavour(name="docker20")
DEBIAN_13 = Flavour(
    name="docker26", path=f"{_TRIXIE}/usr/sbin:{_TRIXIE}/usr/bin:{_SYSTEM_PATH}", docker=f"{_TRIXIE}/usr/bin/docker"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What an engine holds, by name: what a test must have removed again."""

    containers: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()

    def __sub__(self, before: Contents) -> list[str]:
        """Return what is here and was not before, as `kind name` lines."""
        return [
            f"{kind} {name}" for kind in self.__slots__ for name in sorted(getattr(self, kind) - getattr(before, kind))
        ]


@dataclass(slots=True, kw_only=True)
class Engine:
    """One running dockerd. Use it as a context manager, or call `start` and `stop`.

    `own_network`: a network namespace of its own. `socket_path`: default one in the sandbox's /run. `disk`: the size of the
    data root (as mount's `size=`, e.g. `64m`), for tests of a full disk; without it the data root is a folder on disk.
    `options`: further options of dockerd. `etc`: what it reads in files of /etc, by name, in place of the machine's.
    """

    flavour: Flavour = DEBIAN_12
    own_network: bool = True
    socket_path: Path | None = None
    disk: str | None = None
    options: tuple[str, ...] = ()
    etc: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    _folder: Path | None = None
    _holder: subprocess.Popen[bytes] | None = None
    _daemon: subprocess.Popen[bytes] | None = None
    _relays: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ---- life

    def start(self) -> Self:
        """Start the engine and load the base image; returns when it answers. RuntimeError with its log's end when not."""
        if self.flavour.daemon is None or os.geteuid() != 0:
            msg = f"no {self.flavour.name}: run `bash tests/install-host` as root, and the tests as root"
            raise RuntimeError(msg)
        self._folder = Path(tempfile.mkdtemp(prefix=f"declarative-tests-{os.getpid()}-", dir=_SCRATCH))
        self.name = self._folder.name
        _SOCKETS.mkdir(mode=0o700, exist_ok=True)
        self.socket_path = self.socket_path or _SOCKETS / f"{self.name}.sock"
        data = self.folder / "data"
        data.mkdir(mode=0o711)
        (self.folder / "daemon.json").write_text("{}")  # in place of the machine's /etc/docker/daemon.json
        try:
            if self.disk is not None:
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.disk}", "tmpfs", str(data)], check=True)
            self._hold_namespaces()
            self.start_daemon()
            self.load(base_image.archive())
        except BaseException:
            self.stop()
            raise
        return self

    def start_daemon(self) -> None:
        """Start dockerd in the engine's namespaces: at first, or after `kill`."""
        argv = [*self._inside(), *self._command()]
        with self.log.open("ab") as log:
            self._daemon = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._answers, f"{self.flavour.name} to answer", _START_SECONDS, self.log)

    def kill(self) -> None:
        """Kill dockerd and its containerd as a crash would; containers go on. `start_daemon` brings it back."""
        for pid in reversed(self.daemon_pids()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._daemon is not None:
            self._daemon.wait(_STOP_SECONDS)
        (self.folder / "pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """Stop dockerd from answering, its socket still open; `resume` undoes it."""
        pid = self.daemon_pids()[0]
        os.kill(pid, signal.SIGSTOP)
        wait_until(
            partial(_is_stopped, pid), "the daemon to stop", _STOP_SECONDS
        )  # on a busy machine it goes on for a while

    def resume(self) -> None:
        os.kill(self.daemon_pids()[0], signal.SIGCONT)

    def stop(self) -> None:
        """End everything the engine has, running or not, and remove its data."""
        for listener in self._relays:
            sockets.stop_relay(listener)
        self._relays.clear()
        if self._holder is not None:
            _end(self._holder)  # process 1 ends, and the kernel ends the rest
        if self._daemon is not None:
            _end(self._daemon)
        self._holder = self._daemon = None
        if self.socket_path is not None:
            self.socket_path.unlink(missing_ok=True)
        if self._folder is not None:
            if self.disk is not None:
                subprocess.run(["umount", "-l", str(self._folder / "data")], check=False, capture_output=True)
            remove_control_groups(self.name)
            shutil.rmtree(self._folder, ignore_errors=False)
        self._folder = None

    # ---- facts

    @property
    def folder(self) -> Path:
        if self._folder is None:
            msg = "the engine is not started"
            raise RuntimeError(msg)
        return self._folder

    @property
    def log(self) -> Path:
        """What dockerd wrote."""
        return self.folder / "log"

    @property
    def url(self) -> str:
        """The value for DOCKER_HOST and `--engine`."""
        return f"unix://{self.socket_path}"

    def daemon_pids(self) -> list[int]:
        """Process ids of dockerd and, after it, of its containerd."""
        if self._daemon is None:
            return []
        dockerd = children(self._daemon.pid)
        # its other children are short-lived calls of iptables and modprobe, and docker-proxy
        return dockerd + [child for pid in dockerd for child in children(pid) if _name(child) == "containerd"]

    def contents(self) -> Contents:
        """Return what the engine holds now, the engine's own networks left out."""
        _, containers = self.api("GET", "/containers/json?all=1")
        _, networks = self.api("GET", "/networks")
        _, volumes = self.api("GET", "/volumes")
        _, images = self.api("GET", "/images/json")
        return Contents(
            containers=frozenset(row["Names"][0].lstrip("/") for row in containers),
            networks=frozenset(row["Name"] for row in networks) - {"bridge", "host", "none"},
            volumes=frozenset(row["Name"] for row in volumes["Volumes"] or []),
            images=frozenset(tag for row in images for tag in row["RepoTags"] or [row["Id"]]),
        )

    def clear(self) -> None:
        """Remove every container, network and volume."""
        held = self.contents()
        for name in held.containers:
            self.api("DELETE", f"/containers/{name}?force=1&v=1")
        for name in held.networks:
            self.api("DELETE", f"/networks/{name}")
        for name in held.volumes:
            self.api("DELETE", f"/volumes/{name}?force=1")

    def clear_images(self) -> None:
        """Remove every image but the base image, which is put back where it was retagged or removed."""
        for name in self.contents().images - {base_image.BASE_IMAGE}:
            self.api("DELETE", f"/images/{name}?force=1")
        self.load(base_image.archive())

    # ---- use

    def api(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One call of the Engine API: status and decoded JSON, or the text where it is none. `body`: bytes, or for JSON."""
        if isinstance(body, bytes):
            content, kind = body, "application/x-tar"
        else:
            content, kind = b"" if body is None else json.dumps(body).encode(), "application/json"
        made = sockets.connect_unix(str(self.socket_path))
        status, text = sockets.exchange(made, method, path, body=content, kind=kind)
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def load(self, archive: bytes) -> None:
        """Load a `docker save` archive. RuntimeError with what the engine said."""
        status, answer = self.api("POST", "/images/load?quiet=1", archive)
        if status != 200 or "errorDetail" in str(answer):
            msg = f"{self.flavour.name} does not load the archive: {answer}"
            raise RuntimeError(msg)

    def docker(self, *args: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the stock docker client of this engine's release; AssertionError with what it printed where it fails."""
        environment = {"PATH": self.flavour.path, "HOME": str(self.folder), "DOCKER_HOST": self.url}
        argv = [self.flavour.docker, *args]
        ended = subprocess.run(
            argv, check=False, capture_output=True, text=True, input=stdin, env=environment, timeout=120
        )
        assert not check or ended.returncode == 0, f"docker {' '.join(args)}: exit {ended.returncode}\n{ended.stderr}"
        return ended

    def connect(self, port: int) -> socket.socket:
        """Make a connection to a port on the engine's loopback, such as one that a container publishes."""
        return self._in_network(lambda: socket.create_connection(("127.0.0.1", port), timeout=10))

    def http_get(self, port: int, path: str = "/") -> tuple[int, str]:
        """GET from a port on the engine's loopback: status and body."""
        return sockets.exchange(self.connect(port), "GET", path)

    def reach(self, port: int) -> None:
        """Let the engine reach `localhost:port` of the test process, under the same name. Ends with the engine."""
        if not self.own_network:
            return
        listener = self._in_network(lambda: socket.create_server(("127.0.0.1", port)))
        self._relays.append(listener)
        sockets.relay(listener, lambda: socket.create_connection(("127.0.0.1", port), timeout=10))

    def bring_out(self, port: int) -> None:
        """Let the test process reach `localhost:port` of the engine, under the same name. Ends with the engine."""
        if not self.own_network:
            return
        listener = socket.create_server(("127.0.0.1", port))
        self._relays.append(listener)
        sockets.relay(listener, partial(self.connect, port))

    # ---- inside

    def _command(self) -> list[str]:
        command = ["env", f"PATH={self.flavour.path}", str(self.flavour.daemon)]
        command += [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/run", f"--pidfile={self.folder}/pid"]
        command += [f"--config-file={self.folder}/daemon.json", f"--host={self.url}", f"--cgroup-parent=/{self.name}"]
        command += [f"--default-address-pool=base={_POOLS},size=24", "--storage-driver=overlay2"]
        return [*command, "--shutdown-timeout=3", "--log-level=warn", *self.options]

    def _hold_namespaces(self) -> None:
        argv = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]
        argv += ["--net"] if self.own_network else []
        argv += ["sh", "-c", "ip link set lo up; echo; exec tini -- sleep infinity"]
        self._holder = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        assert self._holder.stdout is not None
        if not self._holder.stdout.readline():
            msg = f"no namespaces for {self.flavour.name}"
            raise RuntimeError(msg)
        self._holder.stdout.close()
        if self.etc:
            self.folder.chmod(0o711)  # for containers whose root is another user
        for name, text in self.etc.items():
            (self.folder / name).write_text(text)
            subprocess.run([*self._inside(), "mount", "--bind", str(self.folder / name), f"/etc/{name}"], check=True)

    def _inside(self) -> list[str]:
        network = ["--net"] if self.own_network else []
        return ["nsenter", f"--target={self._process_1()}", "--mount", "--pid", *network]

    def _process_1(self) -> int:
        if self._holder is None:
            msg = "the engine is not started"
            raise RuntimeError(msg)
        return children(self._holder.pid)[0]

    def _answers(self) -> bool:
        if self._daemon is not None and self._daemon.poll() is not None:
            msg = f"{self.flavour.name} ended at once:\n{tail(self.log)}"
            raise RuntimeError(msg)
        try:
            return self.api("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def _in_network(self, make: Callable[[], socket.socket]) -> socket.socket:
        if not self.own_network:
            return make()
        return sockets.made_in_network(f"/proc/{self._process_1()}/ns/net", make)


def wait_until(holds: Callable[[], bool], what: str, seconds: float, log: Path | None = None) -> None:
    """Poll until `holds`; TimeoutError that says what was waited for, with the log's end."""
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            msg = f"waited {seconds:g} s for {what}" + (f":\n{tail(log)}" if log else "")
            raise TimeoutError(msg)
        time.sleep(0.02)


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else "(no log)"


def children(pid: int) -> list[int]:
    """Return the processes that any thread of this one has started; none where it is gone."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _is_stopped(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return all((thread / "stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(_STOP_SECONDS)


def remove_control_groups(name: str) -> None:
    """Remove the engine's control groups, leaves first; they empty a moment after their processes have ended."""
    for top in [*Path("/sys/fs/cgroup").glob(f"*/{name}"), Path("/sys/fs/cgroup") / name]:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(TimeoutError):
                wait_until(partial(_removed, Path(folder)), "a control group to empty", 2.0)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # busy
        return False
    return True
