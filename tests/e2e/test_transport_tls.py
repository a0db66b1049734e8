"""TCP and TLS to a real dockerd that demands client certificates, and what goes wrong on the way there."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from declarative.dockerapi.client import EngineClient
from declarative.dockerapi.transport import TcpEndpoint, TlsFiles
from declarative.drivers.address import resolve
from declarative.errors import Denied, Invalid, Unavailable
from tests import certificates, engines, sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

_INSIDE = 2376  # the port in the engine's own network


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates.make_authority(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture(scope="module")
def client_files(authority: Path) -> Path:
    return certificates.issue(authority, authority.parent / "client")


@pytest.fixture(scope="module")
def tls_port(authority: Path) -> Iterator[int]:
    """Start a dockerd that wants TLS, and bring its port to the test's loopback."""
    server = certificates.issue(authority, authority.parent / "server")
    wanted = (f"--host=tcp://127.0.0.1:{_INSIDE}", "--tlsverify", f"--tlscacert={server}/ca.pem")
    files = (f"--tlscert={server}/cert.pem", f"--tlskey={server}/key.pem")
    with engines.Engine(options=wanted + files) as engine, _on_a_port(lambda: engine.connect(_INSIDE)) as port:
        yield port


def _endpoint(port: int, files: Path, *, host: str = "127.0.0.1", verify: bool = True) -> TcpEndpoint:
    tls = TlsFiles(ca=f"{files}/ca.pem", cert=f"{files}/cert.pem", key=f"{files}/key.pem", verify=verify)
    return TcpEndpoint(host=host, port=port, tls=tls)


@pytest.fixture
def client(tls_port: int, client_files: Path) -> Iterator[EngineClient]:
    with EngineClient(_endpoint(tls_port, client_files), timeout=20) as made:
        yield made


def test_the_environment_leads_there(tls_port: int, client_files: Path, tmp_path: Path) -> None:
    environ = {
        "DOCKER_HOST": f"tcp://localhost:{tls_port}",
        "DOCKER_CERT_PATH": str(client_files),
        "DOCKER_TLS_VERIFY": "1",
    }
    with EngineClient(resolve("auto", environ, tmp_path).endpoint) as client:
        assert client.facts.api == (1, 41)
        assert client.get_json("/info")["OSType"] == "linux"


def test_many_calls_one_by_one_pipelined_and_in_threads(client: EngineClient) -> None:
    assert [client.get_json("/version")["Os"] for _ in range(20)] == ["linux"] * 20
    assert [found["Os"] for found in client.get_many(["/version"] * 200)] == ["linux"] * 200
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(client.get_json("/version")["Os"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["linux"] * 8


def test_standard_input_ends_over_tls_and_output_goes_on(client: EngineClient) -> None:
    """The end of input is a close_notify; what Python's own TLS socket cannot send and go on reading after."""
    name = f"transport-tls-{os.getpid()}"
    body: dict[str, object] = {
        "Image": "busybox",
        "Cmd": ["sh", "-c", "cat; sleep 1; echo late"],
        "HostConfig": {"NetworkMode": "none"},
    }
    body |= {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
    client.post_json("/containers/create", {"name": name}, body)
    content = os.urandom(3_000_000)
    try:
        query = {"stream": True, "stdin": True, "stdout": True, "stderr": True}
        with client.hijack(f"/containers/{name}/attach", query) as stream:
            client.post_json(f"/containers/{name}/start")

            def write() -> None:
                for start in range(0, len(content), 50_000):
                    stream.write(content[start : start + 50_000])
                stream.close_write()

            writer = threading.Thread(target=write)
            writer.start()
            assert b"".join(frame.data for frame in stream.frames()) == content + b"late\n"
            writer.join()
    finally:
        client.delete(f"/containers/{name}", {"force": True})


def test_big_bodies_both_ways(client: EngineClient) -> None:
    archive = b"".join(client.stream_bytes("/images/busybox/get"))
    pieces = (archive[start : start + 100_000] for start in range(0, len(archive), 100_000))
    lines = list(client.stream_lines("POST", "/images/load", {"quiet": True}, body=pieces))
    assert lines == [{"stream": "Loaded image: busybox:latest\n"}]


# ---- refused on either side


def test_without_a_client_certificate(tls_port: int, client_files: Path) -> None:
    endpoint = TcpEndpoint(host="127.0.0.1", port=tls_port, tls=TlsFiles(ca=f"{client_files}/ca.pem"))
    with pytest.raises(Denied, match=r"the engine refused our client certificate: .*check cert\.pem and key\.pem"):
        EngineClient(endpoint, timeout=5).get_json("/info")


def test_with_a_client_certificate_of_somebody_else(tls_port: int, client_files: Path, tmp_path: Path) -> None:
    stranger = certificates.issue(certificates.make_authority(tmp_path / "stranger"), tmp_path / "client")
    (stranger / "ca.pem").write_bytes((client_files / "ca.pem").read_bytes())
    for _ in range(20):  # the refusal comes after the handshake, and may overtake our first request
        with pytest.raises(Denied, match="the engine refused our client certificate"):
            EngineClient(_endpoint(tls_port, stranger), timeout=5).get_json("/info")


def test_an_engine_that_we_do_not_trust(tls_port: int, client_files: Path, tmp_path: Path) -> None:
    other = certificates.issue(certificates.make_authority(tmp_path / "other"), tmp_path / "client")
    for name in ("cert.pem", "key.pem"):
        (other / name).write_bytes((client_files / name).read_bytes())
    with pytest.raises(Denied, match=r"the engine's certificate is not trusted: .*check ca\.pem"):
        EngineClient(_endpoint(tls_port, other), timeout=5).get_json("/info")
    with EngineClient(_endpoint(tls_port, other, verify=False), timeout=5) as client:
        assert client.get_json("/info")["OSType"] == "linux"


def test_an_engine_by_another_name(tls_port: int, client_files: Path) -> None:
    endpoint = _endpoint(tls_port, client_files, host="127.1")  # loopback by a name that is not in the certificate
    with pytest.raises(Denied, match=r"not trusted: .*(mismatch|not valid for)"):
        EngineClient(endpoint, timeout=5).get_json("/info")


def test_clear_text_to_a_tls_port(tls_port: int) -> None:
    with pytest.raises(Invalid, match=r"the engine wants TLS: .*set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"):
        EngineClient(TcpEndpoint(host="127.0.0.1", port=tls_port), timeout=5).get_json("/info")


def test_tls_to_a_port_in_clear_text(docker_engine: engines.Engine, client_files: Path) -> None:
    """A relay puts the engine's clear-text socket on a port."""
    with _on_a_port(lambda: sockets.connect_unix(str(docker_engine.socket_path))) as port:
        with EngineClient(TcpEndpoint(host="127.0.0.1", port=port), timeout=5) as client:
            assert client.get_json("/info")["OSType"] == "linux"
        with pytest.raises(Invalid, match="the engine does not speak TLS on this port"):
            EngineClient(_endpoint(port, client_files), timeout=5).get_json("/info")


def test_tls_to_a_port_that_says_nothing(client_files: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(Unavailable, match="does not answer the TLS handshake"),
    ):
        EngineClient(_endpoint(silent.getsockname()[1], client_files), timeout=0.3).get_json("/info")


def test_an_engine_that_goes_away_during_the_handshake(client_files: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            made, _ = server.accept()
            made.recv(10)
            made.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(Unavailable, match="the TLS connection failed"):
            EngineClient(_endpoint(server.getsockname()[1], client_files), timeout=5).get_json("/info")
        thread.join()


@pytest.mark.parametrize("broken", ["ca.pem", "cert.pem", "key.pem"])
@pytest.mark.parametrize("content", [b"nonsense", b"\0\xff", None])
def test_broken_and_missing_files_are_named(
    broken: str, content: bytes | None, tls_port: int, client_files: Path, tmp_path: Path
) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((client_files / name).read_bytes())
    (tmp_path / broken).unlink()
    if content is not None:
        (tmp_path / broken).write_bytes(content)
    with pytest.raises(Invalid, match=rf"cannot read the TLS files .*{broken}.*check DOCKER_CERT_PATH"):
        EngineClient(_endpoint(tls_port, tmp_path), timeout=5).get_json("/info")


@contextlib.contextmanager
def _on_a_port(dial: Callable[[], socket.socket]) -> Iterator[int]:
    """Relay a port of loopback to what `dial` connects to."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                made, _ = listener.accept()
                threading.Thread(target=sockets.carry, args=(made, dial()), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        sockets.stop_relay(listener)
