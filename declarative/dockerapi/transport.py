"""How to get a connected socket to an engine: unix socket, TCP, TLS with client certificates, SSH.

Owns the endpoint types, the links, and the words for a link that fails: every error names the address and the way out.
The rule: a link is one socket plus what is needed to explain its death; what travels on it is of no concern here.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from typing import TYPE_CHECKING

from declarative.errors import DeclarativeError, Denied, Invalid, Unavailable
from declarative.record import record

if TYPE_CHECKING:
    import subprocess
    from typing import IO

MAX_UNIX_PATH = 107
"""Bytes of a unix socket's path: sun_path less its NUL (unix(7))."""


@record
class UnixEndpoint:
    """An engine at a unix socket; `path` is absolute."""

    path: str

    @property
    def address(self) -> str:
        """As a person would give it with --engine."""
        return f"unix://{self.path}"


@record
class TlsFiles:
    """PEM files of a TLS connection; "" is "not given". Without `verify` the engine's certificate is not checked."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True


@record
class TcpEndpoint:
    """An engine at a TCP port; without `tls` in clear text."""

    host: str
    port: int
    tls: TlsFiles | None = None

    @property
    def address(self) -> str:
        """As a person would give it with --engine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


@record
class SshEndpoint:
    """An engine behind `docker system dial-stdio` on another host; `command` is the ssh client with its options."""

    host: str
    user: str = ""
    port: int = 0
    socket_path: str = ""
    command: tuple[str, ...] = ("ssh",)

    @property
    def address(self) -> str:
        """As a person would give it with --engine."""
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"ssh://{user}{self.host}{port}{self.socket_path}"


Endpoint = UnixEndpoint | TcpEndpoint | SshEndpoint


class Link:
    """A connected socket, and the words for its failures."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.sock = sock
        self.address = address

    def receive(self, size: int) -> bytes:
        """Read at least one byte, or b"" at the end. Raises TimeoutError after the socket's timeout, OSError."""
        return self.sock.recv(size)

    def send_some(self, data: memoryview) -> int:
        """Take some of `data` for sending; how many bytes. Raises TimeoutError (nothing was taken), OSError."""
        return self.sock.send(data)

    def flush(self) -> None:
        """Send what was taken and is still here. Raises TimeoutError (call again), OSError."""

    def send(self, data: bytes) -> None:
        """Send all of `data`. Raises TimeoutError (then it is unknown how much went out), OSError."""
        view = memoryview(data)
        while view:
            view = view[self.send_some(view) :]
        self.flush()

    def explain(self, error: Exception) -> DeclarativeError:
        """Say what `error`, met while talking on this link, means to a person."""
        return Unavailable(self.address, f"the engine went away: {_words(error)}", "see whether it is still running")

    def half_close(self) -> None:
        """Tell the other side that nothing more will be sent; reading goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Wake every thread that waits on this link, from any thread."""
        with contextlib.suppress(OSError):  # already gone: nobody waits
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close for good."""
        self.sock.close()


def connect(endpoint: Endpoint, timeout: float) -> Link:
    """Connect within `timeout` seconds; the socket is left with that timeout. Raises Unavailable, Denied, Invalid."""
    if isinstance(endpoint, UnixEndpoint):
        return _connect_unix(endpoint, timeout)
    if isinstance(endpoint, TcpEndpoint):
        return _connect_tcp(endpoint, timeout)
    return _connect_ssh(endpoint, timeout)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _connect_unix(endpoint: UnixEndpoint, timeout: float) -> Link:
    if len(endpoint.path.encode()) > MAX_UNIX_PATH:
        problem = f"the path is longer than the {MAX_UNIX_PATH} bytes of a unix socket"
        raise Invalid(endpoint.address, problem, "give a shorter path, for instance through a symbolic link")
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    deadline = time.monotonic() + timeout
    try:
        while not _tried(sock, endpoint.path, deadline):
            time.sleep(0.01)
    except OSError as error:
        sock.close()
        raise _unix_fault(endpoint, error, timeout) from error
    return Link(sock, endpoint.address)


def _tried(sock: socket.socket, path: str, deadline: float) -> bool:
    """Connect; False asks for another try: a full backlog says EAGAIN at once instead of waiting (connect(2))."""
    try:
        sock.connect(path)
    except BlockingIOError:
        if time.monotonic() >= deadline:
            raise TimeoutError from None
        return False
    return True


def _unix_fault(endpoint: UnixEndpoint, error: OSError, timeout: float) -> DeclarativeError:
    address = endpoint.address
    if error.errno in {errno.EACCES, errno.EPERM}:
        way = "use sudo, or join the group that owns the socket (usually `docker`) and log in again"
        return Denied(address, "you may not use this engine's socket", way)
    if error.errno == errno.ENOENT:
        return Unavailable(address, "there is no such socket", "start the engine, or name another one with --engine")
    if error.errno == errno.ECONNREFUSED:
        problem = "the socket exists, but no engine listens on it"
        return Unavailable(address, problem, "start the engine, or name another one with --engine")
    if isinstance(error, TimeoutError):
        return _silent(address, timeout)
    return Unavailable(address, f"cannot connect: {_words(error)}", "name another engine with --engine")


def _silent(address: str, timeout: float) -> Unavailable:
    problem = f"the engine does not answer ({timeout:g} s)"
    return Unavailable(address, problem, "see whether it hangs, or name another one with --engine")


def _connect_tcp(endpoint: TcpEndpoint, timeout: float) -> Link:
    try:
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout)
    except TimeoutError as error:
        raise _silent(endpoint.address, timeout) from error
    except socket.gaierror as error:
        problem = f"the host name cannot be resolved: {_words(error)}"
        raise Unavailable(endpoint.address, problem, "check the name") from error
    except OSError as error:
        way = "start the engine, or name another one with --engine"
        raise Unavailable(endpoint.address, f"cannot connect: {_words(error)}", way) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A network that went away sends no FIN: keep-alive finds out within minutes instead of never.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if endpoint.tls is None:
        return Link(sock, endpoint.address)
    from declarative.dockerapi.tls import wrap

    return wrap(sock, endpoint.address, endpoint.host, endpoint.tls)


class SshLink(Link):
    """The near end of an ssh process; what ssh printed goes into the error."""

    def __init__(self, sock: socket.socket, address: str, process: subprocess.Popen[bytes], printed: IO[bytes]) -> None:
        super().__init__(sock, address)
        self._process = process
        self._printed = printed

    def explain(self, error: Exception) -> DeclarativeError:
        """Give ssh's own words where it ended by itself, else the plain ones."""
        code = self._ended(2.0)
        said = self._said()
        if code is None or (code == 0 and not said):
            return super().explain(error)
        if "permission denied (" in said.lower() or "host key verification failed" in said.lower():
            return Denied(self.address, f"ssh was refused: {said}", f"try `ssh` by hand: {self._by_hand()}")
        problem = f"ssh ended with code {code}: {said or 'it printed nothing'}"
        return Unavailable(self.address, problem, f"try by hand: {self._by_hand()}")

    def close(self) -> None:
        """Close, and leave no ssh process behind."""
        super().close()
        if self._ended(1.0) is None:
            self._process.kill()
            self._process.wait()
        self._printed.close()

    def _ended(self, seconds: float) -> int | None:
        import subprocess

        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def _said(self) -> str:
        self._printed.seek(0)
        lines = self._printed.read(4096).decode("utf-8", "replace").split("\n")
        return "; ".join(line.strip() for line in lines if line.strip())

    def _by_hand(self) -> str:
        arguments = self._process.args
        return " ".join(str(word) for word in arguments) if isinstance(arguments, list | tuple) else str(arguments)


def ssh_arguments(endpoint: SshEndpoint, timeout: float) -> list[str]:
    """Build the command line; the host follows `--` and can never be read as an option."""
    words = [*endpoint.command, "-o", f"ConnectTimeout={max(1, round(timeout))}", "-T"]
    if endpoint.user:
        words += ["-l", endpoint.user]
    if endpoint.port:
        words += ["-p", str(endpoint.port)]
    words += ["--", endpoint.host, "docker"]
    if endpoint.socket_path:
        words += ["--host", f"unix://{endpoint.socket_path}"]
    return [*words, "system", "dial-stdio"]


def _connect_ssh(endpoint: SshEndpoint, timeout: float) -> Link:
    import subprocess
    import tempfile

    near, far = socket.socketpair()
    near.settimeout(timeout)
    printed = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the link; a file never fills up as a pipe does
    try:
        # A session of its own: Ctrl-C at the terminal must reach us alone, we still need the link to clean up.
        arguments = ssh_arguments(endpoint, timeout)
        process = subprocess.Popen(
            arguments, stdin=far.fileno(), stdout=far.fileno(), stderr=printed, start_new_session=True
        )
    except OSError as error:
        near.close()
        printed.close()
        problem = f"cannot run {endpoint.command[0]!r}: {_words(error)}"
        raise Unavailable(endpoint.address, problem, "install openssh-client") from error
    finally:
        far.close()
    return SshLink(near, endpoint.address, process, printed)
