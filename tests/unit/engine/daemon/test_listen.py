"""Where the daemon listens, and where it refuses to."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from declarative.dockerapi.transport import TlsFiles
from declarative.engine.daemon.listen import listen
from declarative.errors import Conflict, DeclarativeError, Invalid

if TYPE_CHECKING:
    from pathlib import Path


def test_a_unix_socket_is_its_owners_and_groups(tmp_path: Path) -> None:
    listener = listen(f"unix://{tmp_path}/deep/s")
    path = tmp_path / "deep/s"

    assert path.stat().st_mode & 0o777 == 0o660
    assert [entry.name for entry in path.parent.iterdir()] == ["s"]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()
    assert not path.exists()


def test_a_socket_that_nobody_listens_at_is_taken_over(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(f"{tmp_path}/s")
    left.close()

    listen(f"unix://{tmp_path}/s").close()


def test_a_socket_of_another_daemon_is_left_alone(tmp_path: Path) -> None:
    first = listen(f"unix://{tmp_path}/s")
    with pytest.raises(Conflict, match="another daemon listens there"):
        listen(f"unix://{tmp_path}/s")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/s")
    first.close()


def test_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(Conflict, match="is a file, and no socket"):
        listen(f"unix://{tmp_path}/s")
    assert (tmp_path / "s").read_text() == "mine"


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:0", "tcp://localhost:0"])
def test_loopback_needs_no_certificates(host: str) -> None:
    listener = listen(host)
    assert listener.address.startswith("tcp://")
    listener.close()


@pytest.mark.parametrize("host", ["tcp://0.0.0.0:0", "tcp://:0", "tcp://[::]:0", "tcp://10.0.2.15:0"])
def test_beyond_loopback_without_certificates_is_refused(host: str) -> None:
    with pytest.raises(Invalid, match="whoever speaks to the daemon is root here — add --tlscacert"):
        listen(host)


def test_a_certificate_without_the_others_is_refused() -> None:
    with pytest.raises(Invalid, match="--tlscacert, --tlskey is missing"):
        listen("tcp://127.0.0.1:0", TlsFiles(cert="c.pem"))


def test_files_that_are_no_certificates_are_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(Invalid, match=f"cannot read {tmp_path}/x"):
        listen("tcp://127.0.0.1:0", TlsFiles(ca=f"{tmp_path}/x", cert=f"{tmp_path}/x", key=f"{tmp_path}/x"))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "s",
        "/run/s",
        "unix://s",
        "fd://",
        "ssh://h",
        "tcp://127.0.0.1:x",
        "tcp://127.0.0.1:70000",
        "unix:///" + "a" * 110,
    ],
)
def test_what_is_no_place_to_listen_at(host: str) -> None:
    with pytest.raises(Invalid):
        listen(host)


def test_a_port_that_is_taken_is_a_conflict() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Conflict, match="cannot listen"):
        listen(f"tcp://127.0.0.1:{taken.getsockname()[1]}")


def test_an_address_that_is_not_ours_is_said_so() -> None:
    with pytest.raises(DeclarativeError):
        listen("tcp://no-such-host.invalid:0")
