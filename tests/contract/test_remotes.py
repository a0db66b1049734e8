"""The remote engines that other tests use answer the stock client, and refuse a stranger."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import remotes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines import Engine
    from tests.remotes import Remote

pytestmark = pytest.mark.engine


def test_an_engine_behind_tls_answers_a_client_with_a_certificate(tmp_path: Path) -> None:
    with remotes.tls_engine(tmp_path) as remote:
        assert _server_version(remote, tmp_path).stdout.startswith("20.10.")


def test_an_engine_behind_tls_refuses_a_client_of_another_authority(tmp_path: Path) -> None:
    stranger = {"DOCKER_CERT_PATH": str(remotes.make_certificates(tmp_path / "stranger"))}
    with remotes.tls_engine(tmp_path) as remote:
        refused = remotes.Remote(url=remote.url, environment=remote.environment | stranger)
        assert "certificate" in _server_version(refused, tmp_path).stderr


def test_an_engine_behind_ssh_answers(tmp_path: Path, docker_engine: Engine) -> None:
    with remotes.ssh_host(tmp_path, docker_engine) as remote:
        ended = _server_version(remote, tmp_path)
        assert ended.stdout.startswith("20.10."), ended.stderr


def _server_version(remote: Remote, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "DOCKER_HOST": remote.url} | remote.environment
    return subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
