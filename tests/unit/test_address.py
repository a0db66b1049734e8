"""Where the engine is: environment, docker contexts as the docker command writes them, sockets, URLs."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from declarative.dockerapi.places import Places
from declarative.dockerapi.transport import SshEndpoint, TcpEndpoint, TlsFiles, UnixEndpoint
from declarative.drivers.address import DOCKER_SOCKET, resolve
from declarative.errors import DeclarativeError, Invalid, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping


def _endpoint(engine: str, home: Path, environ: Mapping[str, str] | None = None) -> object:
    return resolve(engine, environ or {}, home, sockets=()).endpoint


def _listen(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as made:  # closed again: it exists, and nobody answers
        made.bind(str(path))
    return str(path)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("unix:///run/x.sock", UnixEndpoint(path="/run/x.sock")),
        ("tcp://engine:1234", TcpEndpoint(host="engine", port=1234)),
        ("tcp://engine", TcpEndpoint(host="engine", port=2375)),
        ("tcp://engine:1234/", TcpEndpoint(host="engine", port=1234)),
        ("tcp://:1234", TcpEndpoint(host="localhost", port=1234)),
        ("tcp://[::1]:1234", TcpEndpoint(host="::1", port=1234)),
        ("tcp://[fe80::1%eth0]", TcpEndpoint(host="fe80::1%eth0", port=2375)),
        ("ssh://host", SshEndpoint(host="host")),
        ("ssh://me@host:2222", SshEndpoint(host="host", user="me", port=2222)),
        ("ssh://me@host/", SshEndpoint(host="host", user="me")),
        ("ssh://me@[::1]/run/x.sock", SshEndpoint(host="::1", user="me", socket_path="/run/x.sock")),
    ],
)
def test_urls(url: str, endpoint: object, tmp_path: Path) -> None:
    assert _endpoint(url, tmp_path) == endpoint
    assert _endpoint("auto", tmp_path, {"DOCKER_HOST": url}) == endpoint


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/var/run/docker.sock", "did you mean unix:///var/run/docker.sock?"),
        ("dokcer", "'dokcer' is no address of an engine — give one of auto, docker"),
        ("unix://relative.sock", "three slashes"),
        ("unix://", "three slashes"),
        ("tcp://a:b:c", "not of the form tcp://HOST:PORT"),
        ("tcp://::1:2375", "an IPv6 address stands in brackets"),
        ("tcp://host:0", "ports are 1 to 65535"),
        ("tcp://host:65536", "ports are 1 to 65535"),
        ("tcp://host:2375/proxy", "not of the form"),
        ("ssh://", "not of the form ssh://"),
        ("ssh://-oProxyCommand=evil", "not of the form ssh://"),
        ("ssh://-l@host", "not of the form ssh://"),
        ("gopher://x", "no engine here speaks"),
        ("npipe:////./pipe/docker_engine", "Windows pipe"),
    ],
)
def test_what_is_no_address_is_said_with_the_place_it_came_from(url: str, words: str, tmp_path: Path) -> None:
    for engine, environ, origin in ((url, {}, "--engine"), ("auto", {"DOCKER_HOST": url}, "DOCKER_HOST")):
        with pytest.raises(DeclarativeError) as caught:
            _endpoint(engine, tmp_path, environ)
        assert str(caught.value).startswith(f"{origin}: ")
        assert words in str(caught.value)


def test_a_password_in_an_ssh_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        _endpoint("ssh://me:sesame@host", tmp_path)
    assert "sesame" not in str(caught.value)
    assert "use a key or an agent" in str(caught.value)


def test_the_embedded_engine_has_its_place(tmp_path: Path) -> None:
    address = resolve("embedded", {"DOCKER_HOST": "unix:///ignored"}, tmp_path, platform="linux")
    assert address.endpoint == UnixEndpoint(path="/run/declarative/engine.sock")
    assert address.embedded == Places()

    named = resolve("embedded", {"DECLARATIVE_ENGINE_ROOT": "/data/x"}, tmp_path, platform="linux")
    assert named.endpoint == UnixEndpoint(path="/data/x/run/engine.sock")
    assert named.embedded == Places(root=Path("/data/x"), run=Path("/data/x/run"))


def test_without_any_socket_auto_is_the_embedded_engine(tmp_path: Path) -> None:
    sockets = (f"{tmp_path}/docker.sock",)
    address = resolve("auto", {"XDG_RUNTIME_DIR": "/nix"}, tmp_path, sockets=sockets, platform="linux")
    assert address.embedded is not None
    for looked in (f"{tmp_path}/docker.sock", "/nix/docker.sock", "/nix/podman/podman.sock"):
        assert looked in address.origin
    assert resolve("docker", {}, tmp_path, sockets=sockets).endpoint == UnixEndpoint(path=DOCKER_SOCKET)


def test_elsewhere_than_on_linux_there_is_no_embedded_engine(tmp_path: Path) -> None:
    for engine in ("embedded", "auto"):
        with pytest.raises(Unsupported, match=r"runs on Linux alone.* — install Docker Desktop or Podman, or name"):
            resolve(engine, {}, tmp_path, sockets=(), platform="darwin")


def test_auto_takes_sockets_in_order_and_only_ones_that_exist(tmp_path: Path) -> None:
    system_docker, system_podman = tmp_path / "docker.sock", tmp_path / "podman.sock"
    runtime = tmp_path / "runtime"
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    system = (str(system_docker), str(system_podman))
    (runtime / "podman").mkdir(parents=True)
    system_docker.write_text("a file is not a socket")
    found = []
    for path in (runtime / "podman/podman.sock", system_podman, runtime / "docker.sock", system_docker):
        path.unlink(missing_ok=True)
        _listen(path)
        found.append(resolve("auto", environ, tmp_path, sockets=system).endpoint == UnixEndpoint(path=str(path)))
    assert found == [True, True, True, True]


def test_a_socket_that_nobody_answers_on_is_still_taken(tmp_path: Path) -> None:
    dead = _listen(tmp_path / "docker.sock")
    alive = tmp_path / "podman.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(alive))
        listener.listen()
        address = resolve("auto", {}, tmp_path, sockets=(dead, str(alive)))
    assert str(address) == f"unix://{dead}"


def test_docker_means_docker_even_where_there_is_none(tmp_path: Path) -> None:
    _listen(tmp_path / "podman.sock")
    address = resolve("docker", {}, tmp_path, sockets=(str(tmp_path / "podman.sock"),))
    assert address.endpoint == UnixEndpoint(path=DOCKER_SOCKET)
    assert str(resolve("docker", {"DOCKER_HOST": "tcp://x:1"}, tmp_path)) == "tcp://x:1"


# ---- TLS


def _pem(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("pem")


@pytest.mark.parametrize(
    ("environ", "verify"),
    [
        ({}, True),
        ({"DOCKER_TLS_VERIFY": "1"}, True),
        ({"DOCKER_TLS_VERIFY": ""}, False),
        ({"DOCKER_TLS": "1"}, False),
        ({"DOCKER_TLS": "1", "DOCKER_TLS_VERIFY": "1"}, True),
    ],
)
def test_tls_by_cert_path(environ: dict[str, str], verify: bool, tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    _pem(folder, "ca.pem", "cert.pem", "key.pem")
    endpoint = _endpoint("tcp://engine", tmp_path, {**environ, "DOCKER_CERT_PATH": str(folder)})
    files = TlsFiles(ca=f"{folder}/ca.pem", cert=f"{folder}/cert.pem", key=f"{folder}/key.pem", verify=verify)
    assert endpoint == TcpEndpoint(host="engine", port=2376, tls=files)


def test_tls_without_cert_path_uses_the_docker_folder(tmp_path: Path) -> None:
    _pem(tmp_path / ".docker", "ca.pem")
    endpoint = _endpoint("tcp://engine:1", tmp_path, {"DOCKER_TLS_VERIFY": "1"})
    assert endpoint == TcpEndpoint(host="engine", port=1, tls=TlsFiles(ca=f"{tmp_path}/.docker/ca.pem"))


def test_wrong_tls_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"DOCKER_CERT_PATH: /nix is no folder"):
        _endpoint("tcp://engine", tmp_path, {"DOCKER_CERT_PATH": "/nix"})
    _pem(tmp_path / "half", "cert.pem")
    with pytest.raises(Invalid, match=r"belong together, and one is missing"):
        _endpoint("tcp://engine", tmp_path, {"DOCKER_CERT_PATH": str(tmp_path / "half")})


def test_the_ssh_command_is_handed_in(tmp_path: Path) -> None:
    environ = {"DECLARATIVE_SSH_COMMAND": "ssh -F '/a b/config'"}
    assert _endpoint("ssh://host", tmp_path, environ) == SshEndpoint(host="host", command=("ssh", "-F", "/a b/config"))
    with pytest.raises(Invalid, match="DECLARATIVE_SSH_COMMAND: cannot be split"):
        _endpoint("ssh://host", tmp_path, {"DECLARATIVE_SSH_COMMAND": "ssh 'x"})


# ---- docker contexts


def _create_context(config: Path, name: str, docker: str) -> None:
    """Have the docker command itself write a context."""
    argv = ["docker", "--config", str(config), "context", "create", name, "--docker", docker]
    subprocess.run(argv, check=True, capture_output=True)


def test_contexts_as_the_docker_command_writes_them(tmp_path: Path) -> None:
    config = tmp_path / ".docker"
    pem = tmp_path / "pem"
    pem.mkdir()
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    subprocess.run([*made, "-keyout", pem / "key", "-out", pem / "cert"], check=True, capture_output=True)
    _create_context(config, "plain", "host=tcp://lab:1234")
    _create_context(config, "remote", "host=ssh://me@lab")
    _create_context(config, "safe", f"host=tcp://lab:2376,ca={pem}/cert,cert={pem}/cert,key={pem}/key")
    _create_context(config, "lax", "host=tcp://lab,skip-tls-verify=true")
    environ = {"DOCKER_CONTEXT": "plain"}
    address = resolve("auto", environ, tmp_path)
    assert (address.endpoint, address.origin) == (TcpEndpoint(host="lab", port=1234), "docker context plain")
    subprocess.run(["docker", "--config", config, "context", "use", "remote"], check=True, capture_output=True)
    assert resolve("auto", {}, tmp_path).endpoint == SshEndpoint(host="lab", user="me")
    assert resolve("docker", {}, tmp_path).endpoint == SshEndpoint(host="lab", user="me")
    assert resolve("auto", environ, tmp_path).endpoint == TcpEndpoint(host="lab", port=1234)
    assert resolve("auto", {**environ, "DOCKER_HOST": "tcp://first:1"}, tmp_path).origin == "DOCKER_HOST"
    safe = resolve("auto", {"DOCKER_CONTEXT": "safe"}, tmp_path).endpoint
    folder = config / "contexts" / "tls" / hashlib.sha256(b"safe").hexdigest() / "docker"
    tls = TlsFiles(ca=f"{folder}/ca.pem", cert=f"{folder}/cert.pem", key=f"{folder}/key.pem")
    assert safe == TcpEndpoint(host="lab", port=2376, tls=tls)
    lax = TcpEndpoint(host="lab", port=2376, tls=TlsFiles(verify=False))
    assert resolve("auto", {"DOCKER_CONTEXT": "lax"}, tmp_path).endpoint == lax


def test_the_default_context_is_no_context(tmp_path: Path) -> None:
    sock = _listen(tmp_path / "docker.sock")
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "default"}')
    assert str(resolve("auto", {}, tmp_path, sockets=(sock,))) == f"unix://{sock}"
    assert str(resolve("auto", {"DOCKER_CONTEXT": "default"}, tmp_path, sockets=(sock,))) == f"unix://{sock}"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('{"currentContext": "lab"}', "there is no docker context 'lab'"),
        ('{"currentContext": 7}', "currentContext is not a text"),
        ("[]", "is not a JSON object"),
        ("{", "cannot be read: "),
        ("\0\1\2", "cannot be read: "),
        ("[" * 100_000, "cannot be read: "),
    ],
)
def test_a_broken_configuration_is_named(config: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere/config.json"
    file.parent.mkdir()
    file.write_text(config)
    with pytest.raises(Invalid) as caught:
        resolve("auto", {"DOCKER_CONFIG": str(file.parent)}, tmp_path)
    assert str(file) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "meta", [{}, {"Endpoints": []}, {"Endpoints": {"docker": {}}}, {"Endpoints": {"docker": {"Host": 1}}}]
)
def test_a_broken_context_is_named(meta: object, tmp_path: Path) -> None:
    folder = tmp_path / ".docker/contexts/meta" / hashlib.sha256(b"lab").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(Invalid, match="docker context 'lab' names no docker host"):
        resolve("auto", {"DOCKER_CONTEXT": "lab"}, tmp_path)


_LONG = "/" + "n" * 300
"""A path that no file can have: to look for it is an error, as it is to look into a folder that is another user's."""


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"DOCKER_CONFIG": _LONG}, "config.json: cannot be read: file name too long"),
        ({"DOCKER_CONFIG": _LONG, "DOCKER_CONTEXT": "lab"}, "meta.json: cannot be read: file name too long"),
        ({"DOCKER_HOST": "tcp://lab", "DOCKER_CERT_PATH": _LONG}, "cannot be read: file name too long"),
    ],
)
def test_what_may_not_be_looked_for_is_an_error_and_no_crash(
    environ: dict[str, str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match=words):
        _endpoint("auto", tmp_path, environ)
