"""A daemon as its users have it: the stock `docker` client of three releases, at a pipe or a terminal, and its network.

The rule that keeps it simple: what is asked here is asked in the same words of every daemon; a test that needs to know which one
it speaks to says so in its own text.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from tests import engines
from tests.base_image import BASE_IMAGE

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

IMAGE = BASE_IMAGE
FOREVER = ("sleep", "9000")
HEX64 = re.compile(r"[0-9a-f]{64}")
Ended = subprocess.CompletedProcess[str]
Release = Literal["20", "26", "28"]

_CLIENTS: dict[Release, str] = {"20": "/usr/bin/docker", "26": engines.DEBIAN_13.docker, "28": "/usr/local/bin/docker"}
_SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"


def client_exists(release: Release) -> bool:
    """Whether this machine has that client; 28 is a guest, the others the test command installs."""
    return shutil.which(_CLIENTS[release]) is not None


@dataclass(slots=True, kw_only=True)
class Daemon:
    """A running daemon behind its stock client. `home` is the HOME of the client: its configuration and logins."""

    engine: engines.Engine = field(repr=False)
    home: Path = field(repr=False)
    release: Release = "26"

    @property
    def name(self) -> str:
        """`docker20`, `docker26` or `embedded`."""
        return self.engine.flavour.name

    @property
    def ours(self) -> bool:
        return self.name == "embedded"

    @property
    def url(self) -> str:
        """The value for DOCKER_HOST."""
        return self.engine.url

    def argv(self, *args: str, release: Release | None = None) -> list[str]:
        """Write the command line of the client."""
        return [_CLIENTS[release or self.release], *args]

    def environment(self, **more: str) -> dict[str, str]:
        """Give the environment of the client, and nothing of the tests' own."""
        plain = {
            "PATH": _SYSTEM,
            "HOME": str(self.home),
            "DOCKER_HOST": self.url,
            "DOCKER_BUILDKIT": "0",
            "TERM": "xterm",
        }
        return {**plain, **more}

    def docker(
        self,
        *args: str,
        check: bool = True,
        stdin: str | None = None,
        release: Release | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        seconds: float = 120,
    ) -> Ended:
        """Run the client to its end; AssertionError with what it printed where it fails and `check` is set."""
        ended = subprocess.run(
            self.argv(*args, release=release),
            check=False,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            input=stdin if stdin is not None else "",
            env=self.environment(**(env or {})),
            cwd=cwd,
            timeout=seconds,
        )
        told = f"docker {' '.join(args)}: exit {ended.returncode}\n--- out\n{ended.stdout}\n--- err\n{ended.stderr}"
        assert not check or ended.returncode == 0, told
        return ended

    def out(self, *args: str, stdin: str | None = None, release: Release | None = None) -> str:
        """Run the client and give what it wrote on standard output, without the last line end."""
        return self.docker(*args, stdin=stdin, release=release).stdout.removesuffix("\n")

    def lines(self, *args: str, release: Release | None = None) -> list[str]:
        return self.out(*args, release=release).splitlines()

    def fails(self, *args: str, code: int | None = None, stdin: str | None = None) -> str:
        """Run the client, insist that it fails, and give what it said."""
        ended = self.docker(*args, check=False, stdin=stdin)
        told = f"docker {' '.join(args)}: exit {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        assert ended.returncode != 0, told
        assert code is None or ended.returncode == code, told
        return ended.stderr + ended.stdout

    def start(self, *args: str, stdin: int | None = subprocess.PIPE, **more: str) -> subprocess.Popen[bytes]:
        """Start the client and return at once; all three streams are pipes. The caller ends it."""
        return subprocess.Popen(
            self.argv(*args),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(**more),
        )

    def terminal(self, *args: str, rows: int = 24, columns: int = 80) -> Terminal:
        """Start the client at a terminal of its own."""
        return Terminal.open(self.argv(*args), self.environment(), rows, columns)

    # ---- short words for what every test does

    def run(self, *args: str, **more: Any) -> str:
        """`docker run --rm`: what the program wrote."""
        return self.docker("run", "--rm", *args, **more).stdout.removesuffix("\n")

    def up(self, name: str, *options: str, image: str = IMAGE, command: tuple[str, ...] = FOREVER) -> str:
        """Run a container in the background, one that `stop` ends at once; its id."""
        return self.out("run", "-d", "--name", name, "--stop-signal", "KILL", *options, image, *command)

    def sh(self, container: str, script: str) -> str:
        """Run a script in a container; what it wrote."""
        return self.out("exec", container, "sh", "-c", script)

    def inspect(self, name: str, *, kind: str = "container") -> Any:
        return json.loads(self.docker(kind, "inspect", name).stdout)[0]

    def field(self, name: str, template: str) -> str:
        return self.out("inspect", "-f", template, name)

    def state(self, name: str) -> str:
        return self.field(name, "{{.State.Status}}")

    def wait_for(self, name: str, template: str, wanted: str, seconds: float = 30) -> None:
        """Poll `inspect` until the template gives `wanted`."""
        engines.wait_until(lambda: self.field(name, template) == wanted, f"{name}: {template} to be {wanted}", seconds)

    def wait_log(self, name: str, text: str, seconds: float = 30) -> str:
        """Poll the log until `text` is in it; the log."""
        seen = ""

        def there() -> bool:
            nonlocal seen
            ended = self.docker("logs", name)
            seen = ended.stdout + ended.stderr
            return text in seen

        engines.wait_until(there, f"{text!r} in the log of {name}", seconds)
        return seen

    def events(self, *filters: str, since: float = 0.0) -> list[Any]:
        """Read the events since a moment, up to now, that pass the filters."""
        args = [part for text in filters for part in ("--filter", text)]
        times = ("--since", f"{since:.9f}", "--until", f"{time.time():.9f}")
        return [json.loads(line) for line in self.lines("events", *times, *args, "--format", "{{json .}}")]

    # ---- the network

    def connect(self, port: int, host: str = "127.0.0.1") -> socket.socket:
        """Make a connection to a port of the machine that the daemon runs on."""
        import socket as sockets

        return self.engine._in_network(lambda: sockets.create_connection((host, port), timeout=10))

    def get(self, port: int, path: str = "/", host: str = "127.0.0.1") -> tuple[int, str]:
        from tests import sockets

        return sockets.exchange(self.connect(port, host), "GET", path)

    def wait_http(self, port: int, path: str = "/", host: str = "127.0.0.1", seconds: float = 20) -> str:
        """Poll a published port until it answers 200; the body."""
        body = ""

        def answers() -> bool:
            nonlocal body
            try:
                status, body = self.get(port, path, host)
            except OSError:
                return False
            return status == 200

        engines.wait_until(answers, f"port {port} to answer", seconds)
        return body

    def enter(self, *argv: str, check: bool = True) -> Ended:
        """Run a program in the namespaces of the daemon: what an administrator of its machine sees."""
        ended = subprocess.run([*self.engine._inside(), *argv], check=False, capture_output=True, text=True, timeout=60)
        assert not check or ended.returncode == 0, f"{' '.join(argv)}: exit {ended.returncode}\n{ended.stderr}"
        return ended


@dataclass(slots=True, kw_only=True)
class Terminal:
    """A program at a pseudo terminal: type, read, change the window's size, wait."""

    process: subprocess.Popen[bytes]
    master: int
    seen: str = ""
    _closed: bool = field(default=False)

    @classmethod
    def open(cls, argv: list[str], environment: Mapping[str, str], rows: int, columns: int) -> Self:
        """Start a program that has the terminal as its three streams."""
        master, slave = pty.openpty()
        _set_size(slave, rows, columns)
        try:
            process = subprocess.Popen(
                argv, stdin=slave, stdout=slave, stderr=slave, env=dict(environment), start_new_session=True
            )
        finally:
            os.close(slave)
        return cls(process=process, master=master)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if not self._closed:
            os.close(self.master)
            self._closed = True

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Change the size, and tell the program as a terminal's driver does."""
        _set_size(self.master, rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def read_until(self, text: str, seconds: float = 30) -> str:
        """Read until `text` was written after what was read before; what came up to and with it."""
        ends = time.monotonic() + seconds
        new = ""
        while text not in new:
            left = ends - time.monotonic()
            ready, _, _ = select.select([self.master], [], [], max(0.0, left))
            chunk = self._read() if ready else ""
            new += chunk
            assert chunk, f"no {text!r} in {self.seen + new!r}"
        self.seen += new
        return new

    def finish(self, seconds: float = 30) -> int:
        """Read to the end and wait; the exit code. What was written is in `seen`."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            ready, _, _ = select.select([self.master], [], [], 0.05)
            chunk = self._read() if ready else ""
            self.seen += chunk
            if not chunk and self.process.poll() is not None:
                break
        return self.process.wait(max(0.1, ends - time.monotonic()))

    def _read(self) -> str:
        try:
            return os.read(self.master, 65536).decode(errors="replace")
        except OSError:  # EIO: the other side is closed
            return ""


def _set_size(descriptor: int, rows: int, columns: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
