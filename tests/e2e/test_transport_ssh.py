"""SSH for real: an sshd on loopback with keys of its own, and `docker system dial-stdio` on its other side."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from declarative.dockerapi.client import EngineClient
from declarative.dockerapi.transport import SshEndpoint
from declarative.drivers.address import resolve
from declarative.errors import Denied, NotFound, Unavailable
from tests import engines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines import Engine

pytestmark = pytest.mark.engine

_SSHD = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
"""

_SSH = """
Host *
  HostKeyAlias test
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
  IdentityFile {folder}/{key}
  IdentitiesOnly yes
  IdentityAgent none
  StrictHostKeyChecking yes
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running sshd. `folder` holds its keys and the clients' configurations."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def endpoint(self, configuration: str = "ssh_config", *, socket_path: str = "") -> SshEndpoint:
        command = ("ssh", "-F", f"{self.folder}/{configuration}")
        return SshEndpoint(host="127.0.0.1", user="root", port=self.port, socket_path=socket_path, command=command)


def _key(path: Path) -> str:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(argv, check=True, capture_output=True)
    return path.with_suffix(".pub").read_text()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        port: int = made.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.fixture
def server(tmp_path: Path, docker_engine: Engine) -> Iterator[Server]:
    assert docker_engine.socket_path is not None
    host = _key(tmp_path / "host_key")
    known, bare, stranger = (_key(tmp_path / name) for name in ("known_key", "bare_key", "stranger_key"))
    # Who comes with the bare key finds a machine without docker.
    (tmp_path / "authorized_keys").write_text(f'{known}command="exec docker-that-is-not-there" {bare}')
    (tmp_path / "known_hosts").write_text(f"test {host}")
    (tmp_path / "known_strangers").write_text(f"test {stranger}")
    for name, key in (("ssh_config", "known_key"), ("bare_config", "bare_key"), ("stranger_config", "stranger_key")):
        (tmp_path / name).write_text(_SSH.format(folder=tmp_path, key=key))
    lied = (tmp_path / "ssh_config").read_text().replace("known_hosts\n", "known_strangers\n", 1)
    (tmp_path / "other_host_config").write_text(lied)
    port = _free_port()
    (tmp_path / "sshd_config").write_text(_SSHD.format(folder=tmp_path, port=port))
    with (tmp_path / "sshd.log").open("wb") as log:
        process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", f"{tmp_path}/sshd_config"], stderr=log)
    try:
        engines.wait_until(lambda: _listens(port), "sshd", 10, tmp_path / "sshd.log")
        yield Server(folder=tmp_path, port=port, process=process)
    finally:
        process.kill()
        process.wait()


def test_the_environment_leads_there(server: Server, tmp_path: Path) -> None:
    environ = {
        "DOCKER_HOST": f"ssh://root@127.0.0.1:{server.port}",
        "DECLARATIVE_SSH_COMMAND": f"ssh -F {server.folder}/ssh_config",
    }
    with EngineClient(resolve("auto", environ, tmp_path).endpoint) as client:
        assert client.facts.api == (1, 41)
        assert client.get_json("/info")["OSType"] == "linux"
        with pytest.raises(NotFound, match="No such container: nix"):
            client.get_json("/containers/nix/json")


def test_one_connection_serves_many_calls(server: Server) -> None:
    with EngineClient(server.endpoint()) as client:
        client.get_json("/version")
        started = time.monotonic()
        assert [found["Os"] for found in client.get_many(["/version"] * 200)] == ["linux"] * 200
        assert [client.get_json("/version")["Os"] for _ in range(20)] == ["linux"] * 20
        assert time.monotonic() - started < 5  # a new ssh takes a good tenth of a second; 220 of them would not do


def test_another_socket_on_the_other_side(server: Server, docker26: Engine) -> None:
    with EngineClient(server.endpoint(socket_path=str(docker26.socket_path))) as client:
        assert client.facts.api == (1, 45)


def test_streams_end_on_both_sides(server: Server) -> None:
    name = f"transport-ssh-{os.getpid()}"
    body: dict[str, object] = {"Image": "busybox", "Cmd": ["sh", "-c", "cat; sleep 1; echo late"]}
    body |= {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
    content = os.urandom(1_000_000)
    with EngineClient(server.endpoint()) as client:
        client.post_json("/containers/create", {"name": name}, body)
        try:
            query = {"stream": True, "stdin": True, "stdout": True, "stderr": True}
            with client.hijack(f"/containers/{name}/attach", query) as stream:
                client.post_json(f"/containers/{name}/start")

                def write() -> None:
                    stream.write(content)
                    stream.close_write()

                writer = threading.Thread(target=write)
                writer.start()
                assert b"".join(frame.data for frame in stream.frames()) == content + b"late\n"
                writer.join()
        finally:
            client.delete(f"/containers/{name}", {"force": True})


def test_no_ssh_is_left_behind(server: Server) -> None:
    before = _children()
    client = EngineClient(server.endpoint())
    client.get_json("/version")
    assert len(_children() - before) == 1
    client.close()
    assert _children() <= before


def test_a_key_that_is_not_known_there(server: Server) -> None:
    with pytest.raises(
        Denied, match=r"^ssh://root@127\.0\.0\.1:\d+: ssh was refused: .*Permission denied \(publickey\)"
    ):
        EngineClient(server.endpoint("stranger_config")).get_json("/info")


def test_a_host_that_is_not_who_it_was(server: Server) -> None:
    with pytest.raises(Denied, match=r"ssh was refused: .*Host key verification failed.* — try `ssh` by hand"):
        EngineClient(server.endpoint("other_host_config")).get_json("/info")


def test_a_machine_without_docker(server: Server) -> None:
    with pytest.raises(
        Unavailable, match=r"ssh ended with code 127: .*docker-that-is-not-there.*not found — try by hand: ssh -F"
    ):
        EngineClient(server.endpoint("bare_config")).get_json("/info")


def test_no_engine_on_the_other_side(server: Server) -> None:
    with pytest.raises(Unavailable, match=r"ssh ended with code 1: .*/run/nix\.sock"):
        EngineClient(server.endpoint(socket_path="/run/nix.sock")).get_json("/info")


def test_nobody_listens(server: Server) -> None:
    endpoint = SshEndpoint(host="127.0.0.1", port=_free_port(), command=server.endpoint().command)
    with pytest.raises(Unavailable, match=r"ssh ended with code 255: .*Connection refused"):
        EngineClient(endpoint).get_json("/info")


def test_a_host_that_says_nothing(server: Server) -> None:
    before = _children()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = SshEndpoint(host="127.0.0.1", port=silent.getsockname()[1], command=server.endpoint().command)
        with pytest.raises(Unavailable, match=r"does not answer \(0\.5 s\)"):
            EngineClient(endpoint, timeout=0.5).get_json("/info")
    assert _children() <= before


def test_without_an_ssh_program(server: Server) -> None:
    endpoint = SshEndpoint(host="127.0.0.1", port=server.port, command=("ssh-that-is-not-there",))
    with pytest.raises(
        Unavailable, match="cannot run 'ssh-that-is-not-there': no such file or directory — install openssh-client"
    ):
        EngineClient(endpoint).get_json("/info")


def test_the_line_dies_in_the_middle(server: Server) -> None:
    with EngineClient(server.endpoint()) as client:
        events = client.stream_lines("GET", "/events")
        sessions = _children(server.process.pid)
        assert sessions
        for pid in sessions:
            subprocess.run(["kill", "-9", str(pid)], check=True)
        with pytest.raises(Unavailable, match=r"ssh ended with code 255: .*(closed|reset)"):
            next(events)
        assert client.get_json("/info")["OSType"] == "linux"  # on a new connection


def _children(pid: int | None = None) -> set[int]:
    found = subprocess.run(["pgrep", "-P", str(pid or os.getpid())], check=False, capture_output=True, text=True)
    running = {int(line) for line in found.stdout.split()}
    return {child for child in running if _is_ssh(child)}


def _is_ssh(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], check=False, capture_output=True, text=True)
    return found.stdout.strip() in {"ssh", "sshd"}
