"""Where the daemon listens: unix sockets, TCP on loopback, TCP with client certificates.

The rule that keeps it simple: whoever may speak to the daemon is root on this machine. So a socket is its owner's and group's
(0660), and TCP that others can reach is opened with TLS that asks for a certificate, or not at all.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.dockerapi.transport import MAX_UNIX_PATH, Link
from declarative.errors import Conflict, Denied, Invalid, Unavailable
from declarative.record import record

if TYPE_CHECKING:
    import ssl

    from declarative.dockerapi.transport import TlsFiles

BACKLOG = 512
_HANDSHAKE_SECONDS = 10.0
_PLAIN_PORT = 2375
_TLS_PORT = 2376


@record
class Listener:
    """An open socket; with `tls`, each connection begins with its handshake."""

    sock: socket.socket
    address: str
    tls: ssl.SSLContext | None = None
    path: Path | None = None

    def close(self) -> None:
        """Close, and take the unix socket's file away."""
        for path in (self.path, self._hidden) if self.path is not None else ():
            with contextlib.suppress(OSError):
                path.unlink()
        self.sock.close()

    @property
    def _hidden(self) -> Path:
        return self.path.with_name(f".{self.path.name[:40]}.old") if self.path is not None else Path()

    def hide(self) -> None:
        """Let nobody new find the unix socket: who looks for it sees that no daemon is there."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.rename(self._hidden)

    def show(self) -> None:
        """Undo `hide`."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self._hidden.rename(self.path)

    def link(self, sock: socket.socket) -> Link:
        """Make a link of an accepted connection. Raises OSError where the handshake fails."""
        if self.sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self.tls is None:
            return Link(sock, self.address)
        from declarative.dockerapi.tls import TlsLink

        link = TlsLink(sock, self.address, self.tls, None)
        sock.settimeout(_HANDSHAKE_SECONDS)
        link.handshake()
        sock.settimeout(None)
        return link


def listen(host: str, tls: TlsFiles | None = None) -> Listener:
    """Open `unix:///PATH` or `tcp://ADDRESS:PORT`; `tls` is for TCP. Raises Invalid, Conflict, Denied."""
    scheme, found, rest = host.partition("://")
    if not found or scheme not in {"unix", "tcp"}:
        raise Invalid("--host", f"{host!r} is no place to listen at", "give unix:///PATH or tcp://ADDRESS:PORT")
    try:
        return _unix(Path(rest)) if scheme == "unix" else _tcp(host, rest, tls)
    except PermissionError as error:
        raise Denied(host, "cannot listen: permission denied", "run as root") from error
    except OSError as error:
        raise Conflict(host, f"cannot listen: {error.strerror or error}", "see who has the address") from error


def _unix(path: Path) -> Listener:
    if not path.is_absolute():
        raise Invalid("--host", f"unix://{path} has no absolute path", "write it with three slashes: unix:///PATH")
    if len(str(path).encode()) > MAX_UNIX_PATH:
        problem = f"unix://{path} is longer than the {MAX_UNIX_PATH} bytes of a unix socket"
        raise Invalid("--host", problem, "give a shorter path")
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    _make_way(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Bound under another name and renamed: nobody connects before it has its mode and listens.
        temporary = path.with_name(f".{path.name[:40]}.new")
        temporary.unlink(missing_ok=True)
        made.bind(str(temporary) if len(str(temporary).encode()) <= MAX_UNIX_PATH else str(path))
        bound = Path(made.getsockname())
        bound.chmod(0o660)
        made.listen(BACKLOG)
        if bound != path:
            bound.rename(path)
    except BaseException:
        made.close()
        raise
    return Listener(sock=made, address=f"unix://{path}", path=path)


def _make_way(path: Path) -> None:
    """Remove a socket that nobody listens at. Conflict where somebody does, or where it is something else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Conflict(f"unix://{path}", "is a file, and no socket", "move it away, or listen elsewhere")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError:
            pass  # somebody is there, and busy
    raise Conflict(f"unix://{path}", "another daemon listens there", "stop it, or listen elsewhere with --host")


def _tcp(host: str, rest: str, tls: TlsFiles | None) -> Listener:
    name, port = _split(host, rest, _TLS_PORT if tls else _PLAIN_PORT)
    try:
        found = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise Unavailable(host, f"the name cannot be resolved: {error.strerror}", "give an address") from error
    family, _, _, _, address = found[0]
    if tls is None and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise Invalid(
            host,
            "others can reach this address, and whoever speaks to the daemon is root here",
            "add --tlscacert, --tlscert and --tlskey, so that clients need a certificate; or listen at 127.0.0.1",
        )
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and name:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(BACKLOG)
        bound = made.getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        context = server_context(tls) if tls is not None else None
    except BaseException:
        made.close()
        raise
    return Listener(sock=made, address=f"tcp://{shown}:{bound[1]}", tls=context)


def _split(host: str, rest: str, default: int) -> tuple[str, int]:
    name, colon, port = rest.rstrip("/").rpartition(":")
    if not colon or port.endswith("]"):
        name, port = rest.rstrip("/"), ""
    if port and not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise Invalid("--host", f"{host!r} has a port that cannot be", "ports are 0 (any) to 65535")
    return name.strip("[]"), int(port) if port else default


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS that asks clients for a certificate of the authority in `files.ca`. Raises Invalid."""
    import ssl

    if not (files.ca and files.cert and files.key):
        missing = [
            option
            for option, value in (("--tlscacert", files.ca), ("--tlscert", files.cert), ("--tlskey", files.key))
            if not value
        ]
        raise Invalid("TLS", f"{', '.join(missing)} is missing", "clients are known by certificates: give all three")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_mode = ssl.CERT_REQUIRED
    try:
        made.load_verify_locations(files.ca)
        made.load_cert_chain(files.cert, files.key)
    except OSError as error:
        named = f"{files.ca}, {files.cert}, {files.key}"
        raise Invalid("TLS", f"cannot read {named}: {error.strerror or error}", "give PEM files") from error
    return made
