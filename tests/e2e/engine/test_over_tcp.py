"""The stock client over TCP with TLS: the streams that a unix socket carries, standard input's end among them.

The rule that keeps it simple: one engine, reached from this process's own loopback, and the client's own certificates.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import certificates, engines
from tests.embedded import EmbeddedEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PORT = 23760  # on the loopback of this run's own network


@pytest.fixture(scope="module", params=["/usr/bin/docker", engines.DEBIAN_13.docker], ids=["20", "26"])
def client(request: pytest.FixtureRequest) -> str:
    path: str = request.param
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority = certificates.make_authority(folder / "ca")
    certificates.issue(authority, folder / "server")
    return certificates.issue(authority, folder / "client")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[EmbeddedEngine]:
    server = folder.parent / "server"
    options = (
        f"--host=tcp://0.0.0.0:{_PORT}",
        f"--tlscacert={server}/ca.pem",
        f"--tlscert={server}/cert.pem",
        f"--tlskey={server}/key.pem",
    )
    with EmbeddedEngine(own_network=False, options=options) as engine:
        yield engine


@pytest.fixture
def docker(
    served: EmbeddedEngine, folder: Path, client: str, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    del served
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DOCKER_HOST": f"tcp://127.0.0.1:{_PORT}",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(folder),
        "DOCKER_BUILDKIT": "0",
    }

    def run(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [client, *words], check=False, capture_output=True, input=stdin, env=environment, timeout=120
        )

    return run


def test_standard_input_ends_and_output_still_comes(
    docker: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    ended = docker("run", "--rm", "-i", "busybox", "sh", "-c", "sort; sleep 0.3; echo end; exit 7", stdin=b"b\na\n")

    assert ended.stdout == b"a\nb\nend\n", ended.stderr
    assert ended.returncode == 7


def test_much_goes_through_exec_both_ways(docker: Callable[..., subprocess.CompletedProcess[bytes]]) -> None:
    content = os.urandom(1 << 20) * 8
    started = docker("run", "-d", "--rm", "busybox", "sleep", "9000")
    name = started.stdout.decode().strip()
    try:
        ended = docker("exec", "-i", name, "cat", stdin=content)
    finally:
        docker("rm", "-f", name)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == content


def test_images_and_builds_go_through(
    docker: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY blob /blob\nCMD wc -c /blob\n")
    (tmp_path / "blob").write_bytes(b"x" * 5_000_000)
    built = docker("build", "-t", "tcp:1", str(tmp_path))
    assert b"Successfully tagged tcp:1" in built.stdout, built.stderr
    saved = docker("save", "tcp:1")
    assert len(saved.stdout) > 5_000
    assert docker("rmi", "tcp:1").returncode == 0
    assert b"Loaded image: tcp:1" in docker("load", stdin=saved.stdout).stdout
    assert docker("run", "--rm", "tcp:1").stdout == b"5000000 /blob\n"
    assert docker("rmi", "tcp:1").returncode == 0
