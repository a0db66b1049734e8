"""Finds the engine: from `--engine`, the environment and the Docker configuration to an endpoint.

The order of `auto` is DESIGN section 5's: DOCKER_HOST, else the current docker context, else a docker or podman socket that
exists, else the embedded engine. The rule that keeps it simple: this looks at names and files and never connects. So a socket
that exists is taken, and if nothing answers there, that is an error of its own and never a reason to try the next one.
"""

from __future__ import annotations

import json
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.dockerapi.places import Places, places_of
from declarative.dockerapi.transport import Endpoint, SshEndpoint, TcpEndpoint, TlsFiles, UnixEndpoint
from declarative.errors import Invalid, Unsupported, reason_of
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCKER_SOCKET = "/var/run/docker.sock"
ROOTFUL_SOCKETS = (DOCKER_SOCKET, "/run/podman/podman.sock")
"""System-wide sockets, Docker's before Podman's; a user's own stand before Podman's system one only if that is absent."""

PLAIN_PORT = 2375
TLS_PORT = 2376

_FORMS = "auto, docker, embedded, unix:///PATH, tcp://HOST:PORT or ssh://[USER@]HOST"
_TCP = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%a-z]+\]|[^\[\]:/@]*)(?::(?P<port>[0-9]{1,5}))?/?")
_SSH = re.compile(
    r"(?:(?P<user>[^@:/]+)@)?(?P<host>\[[0-9A-Fa-f:.%a-z]+\]|[^\[\]:/@]+)(?::(?P<port>[0-9]{1,5}))?(?P<path>/.*)?"
)


@record
class Address:
    """Where the engine is, and how we came to think so (`origin`, for messages: "DOCKER_HOST", "docker context lab", …).

    `embedded`: it is our own, at these places, and whoever connects starts it where it is not running.
    """

    endpoint: Endpoint
    origin: str
    embedded: Places | None = None

    def __str__(self) -> str:
        return self.endpoint.address


def resolve(
    engine: str,
    environ: Mapping[str, str],
    home: Path,
    *,
    sockets: tuple[str, ...] = ROOTFUL_SOCKETS,
    platform: str = sys.platform,
) -> Address:
    """Find the engine that `engine` (the value of --engine, "auto" by default) means.

    `sockets` are the system-wide sockets that `auto` looks for. Raises Invalid for what cannot be read, with the place it
    came from, and Unsupported where only the embedded engine is left and `platform`, as in sys.platform, is not Linux.
    """
    if engine == "embedded":
        return _embedded("--engine", environ, platform)
    if engine in {"auto", "docker", ""}:
        return _found(engine or "auto", environ, home, sockets, platform)
    return Address(endpoint=parse(engine, environ, home, origin="--engine"), origin="--engine")


def parse(url: str, environ: Mapping[str, str], home: Path, *, origin: str) -> Endpoint:
    """Read an engine's URL; TLS for tcp:// is taken from the environment. Raises Invalid, Unsupported."""
    scheme, found, rest = url.partition("://")
    if not found:
        remedy = f"did you mean unix://{url}?" if url.startswith("/") else f"give one of {_FORMS}"
        raise Invalid(origin, f"{url!r} is no address of an engine", remedy)
    if scheme == "unix":
        return _unix(url, rest, origin)
    if scheme == "tcp":
        return _tcp(url, rest, origin, _tls_of(environ, home))
    if scheme == "ssh":
        return _ssh(url, rest, origin, environ)
    if scheme == "npipe":
        raise Unsupported(origin, f"{url!r} is a Windows pipe", "run the tool inside WSL, or use tcp:// or ssh://")
    raise Invalid(origin, f"{url!r} has a scheme that no engine here speaks", f"give one of {_FORMS}")


# ---- what the environment says


def _found(engine: str, environ: Mapping[str, str], home: Path, sockets: tuple[str, ...], platform: str) -> Address:
    if url := environ.get("DOCKER_HOST", ""):
        return Address(endpoint=parse(url, environ, home, origin="DOCKER_HOST"), origin="DOCKER_HOST")
    folder = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    name, source = _current_context(environ, folder)
    if name not in {"", "default"}:
        return Address(endpoint=_context(name, source, folder, environ), origin=f"docker context {name}")
    if engine == "docker":
        return Address(endpoint=UnixEndpoint(path=DOCKER_SOCKET), origin="--engine docker")
    candidates = _candidates(environ, home, sockets)
    for path in candidates:
        if _is_socket(path):
            return Address(endpoint=UnixEndpoint(path=path), origin="socket")
    return _embedded(f"no docker or podman socket at {', '.join(candidates)}", environ, platform)


def _embedded(origin: str, environ: Mapping[str, str], platform: str) -> Address:
    """Give our own engine's address: its daemon runs on Linux alone."""
    if platform != "linux":
        problem = "the embedded engine runs on Linux alone" + (
            "" if origin == "--engine" else f", and there is {origin}"
        )
        remedy = "install Docker Desktop or Podman, or name an engine with --engine tcp://… or ssh://…"
        raise Unsupported("engine", problem, remedy)
    where = places_of(environ)
    return Address(endpoint=UnixEndpoint(path=str(where.socket)), origin=origin, embedded=where)


def _candidates(environ: Mapping[str, str], home: Path, sockets: tuple[str, ...]) -> list[str]:
    """Docker before Podman, the system's before the user's own (rootless Docker and Podman, Docker Desktop)."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    docker = [path for path in sockets if "podman" not in path]
    podman = [path for path in sockets if "podman" in path]
    if runtime:
        docker.append(f"{runtime}/docker.sock")
        podman.append(f"{runtime}/podman/podman.sock")
    return [*docker, str(home / ".docker/run/docker.sock"), *podman]


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return False  # not there, or in a folder that is closed to us: then it is not ours to use


# ---- docker contexts


def _current_context(environ: Mapping[str, str], folder: Path) -> tuple[str, str]:
    """Name the current context and where its name came from; "" is none."""
    if name := environ.get("DOCKER_CONTEXT", ""):
        return name, "DOCKER_CONTEXT"
    config = folder / "config.json"
    current = _object(config).get("currentContext", "") if _exists(config) else ""
    if not isinstance(current, str):
        raise Invalid(
            str(config), "currentContext is not a text", "repair the file, or run `docker context use default`"
        )
    return current, str(config)


def _context(name: str, source: str, folder: Path, environ: Mapping[str, str]) -> Endpoint:
    """Read a context as the docker command stores it: folders are named by the SHA-256 of the context's name."""
    import hashlib

    key = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / key / "meta.json"
    if not _exists(meta):
        raise Invalid(source, f"there is no docker context {name!r}", "see `docker context ls`, or give --engine")
    endpoints = _object(meta).get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = docker.get("Host") if isinstance(docker, dict) else None
    if not isinstance(docker, dict) or not isinstance(host, str) or not host:
        raise Invalid(
            str(meta), f"docker context {name!r} names no docker host", "see `docker context inspect`, or give --engine"
        )
    origin = f"docker context {name}"
    scheme, _, rest = host.partition("://")
    if scheme != "tcp":
        return parse(host, environ, folder, origin=origin)
    skip = docker.get("SkipTLSVerify") is True
    return _tcp(
        host, rest, origin, _pem_files(folder / "contexts" / "tls" / key / "docker", verify=not skip, insist=skip)
    )


def _exists(path: Path) -> bool:
    """Whether a file is there, or may be: who may not look into its folder is told so by reading it."""
    try:
        return path.exists()
    except OSError:
        return True


def _object(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise Invalid(str(path), f"cannot be read: {reason}", "repair the file, or give --engine") from error
    if not isinstance(document, dict):
        raise Invalid(str(path), "is not a JSON object", "repair the file, or give --engine")
    return document


# ---- the forms of an address


def _unix(url: str, path: str, origin: str) -> UnixEndpoint:
    if not path.startswith("/"):
        raise Invalid(origin, f"{url!r} has no absolute path", "write it with three slashes: unix:///PATH")
    return UnixEndpoint(path=path)


def _tcp(url: str, rest: str, origin: str, tls: TlsFiles | None) -> TcpEndpoint:
    match = _TCP.fullmatch(rest)
    if not match:
        raise Invalid(
            origin, f"{_without_user(url)!r} is not of the form tcp://HOST:PORT", "an IPv6 address stands in brackets"
        )
    port = _port(url, match["port"], origin) or (TLS_PORT if tls else PLAIN_PORT)
    return TcpEndpoint(host=match["host"].strip("[]") or "localhost", port=port, tls=tls)


def _ssh(url: str, rest: str, origin: str, environ: Mapping[str, str]) -> SshEndpoint:
    match = _SSH.fullmatch(rest)
    if not match or match["host"].startswith("-") or (match["user"] or "").startswith("-"):
        remedy = "a password has no place there: use a key or an agent"
        raise Invalid(origin, f"{_without_user(url)!r} is not of the form ssh://[USER@]HOST[:PORT][/SOCKET]", remedy)
    path = match["path"] or ""
    return SshEndpoint(
        host=match["host"].strip("[]"),
        user=match["user"] or "",
        port=_port(url, match["port"], origin),
        socket_path="" if path == "/" else path,
        command=_ssh_command(environ),
    )


def _ssh_command(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Take DECLARATIVE_SSH_COMMAND (words as a shell splits them, like GIT_SSH_COMMAND), else plain ssh."""
    text = environ.get("DECLARATIVE_SSH_COMMAND", "")
    if not text:
        return ("ssh",)
    import shlex

    try:
        return tuple(shlex.split(text)) or ("ssh",)
    except ValueError as error:
        raise Invalid("DECLARATIVE_SSH_COMMAND", f"cannot be split into words: {error}", "close its quotes") from error


def _without_user(url: str) -> str:
    """Leave out what stands before the @: it may hold a password, and errors are logged."""
    return re.sub(r"//[^/]*@", "//…@", url)


def _port(url: str, text: str | None, origin: str) -> int:
    port = int(text or 0)
    if text is not None and not 0 < port < 65536:
        raise Invalid(origin, f"{url!r} has a port that cannot be", "ports are 1 to 65535")
    return port


# ---- TLS


def _tls_of(environ: Mapping[str, str], home: Path) -> TlsFiles | None:
    """TLS as the environment asks for it. The engine is verified unless DOCKER_TLS_VERIFY is empty, or only DOCKER_TLS is set."""
    folder, verify = environ.get("DOCKER_CERT_PATH", ""), environ.get("DOCKER_TLS_VERIFY")
    without_verify = environ.get("DOCKER_TLS", "")
    if not (folder or verify or without_verify):
        return None
    checked = bool(verify) if verify is not None else not without_verify
    if folder and not _is_folder(Path(folder)):
        raise Invalid(
            "DOCKER_CERT_PATH", f"{folder} is no folder", "it names the folder with ca.pem, cert.pem and key.pem"
        )
    place = Path(folder) if folder else Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    return _pem_files(place, verify=checked, insist=True)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise Invalid(
            "DOCKER_CERT_PATH", f"{path} cannot be read: {reason_of(error)}", "mend its permissions"
        ) from error


def _pem_files(folder: Path, *, verify: bool, insist: bool) -> TlsFiles | None:
    """Take the files that are there; without any, TLS only where it is insisted on."""
    ca, cert, key = (
        str(path) if _exists(path) else "" for path in (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    )
    if bool(cert) != bool(key):
        raise Invalid(str(folder), "cert.pem and key.pem belong together, and one is missing", "add the other one")
    return TlsFiles(ca=ca, cert=cert, key=key, verify=verify) if insist or ca or cert else None
