"""The engines that the other tests stand on: they run, publish, reach a registry, crash and leave nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import engines, sandbox

if TYPE_CHECKING:
    from tests.engines import Engine

pytestmark = pytest.mark.engine

_SERVE = "mkdir -p /www && echo hello > /www/index.html && exec httpd -f -p 80 -h /www"


@pytest.mark.parametrize("fixture", ["docker_engine", "docker26"])
def test_an_engine_runs_the_base_image_and_publishes_a_port(fixture: str, request: pytest.FixtureRequest) -> None:
    engine: Engine = request.getfixturevalue(fixture)
    engine.docker("run", "-d", "--name", "serves", "-p", "8099:80", "busybox", "sh", "-c", _SERVE)
    try:
        engines.wait_until(lambda: _answers(engine, 8099), "the published port", 10)
        assert engine.http_get(8099, "/index.html") == (200, "hello\n")
    finally:
        engine.docker("rm", "-f", "serves")


@pytest.mark.parametrize("fixture", ["docker_engine", "docker26"])
def test_an_engine_pushes_to_a_registry_on_the_tests_loopback(
    fixture: str, registry: str, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(fixture)
    engine.reach(int(registry.rpartition(":")[2]))
    name = f"{registry}/pushed:1"
    engine.docker("tag", "busybox", name)
    try:
        assert "digest: sha256:" in engine.docker("push", name).stdout
    finally:
        engine.docker("rmi", name)


def test_both_engines_give_the_base_image_the_same_id(docker_engine: Engine, docker26: Engine) -> None:
    assert (
        docker_engine.api("GET", "/images/busybox/json")[1]["Id"]
        == docker26.api("GET", "/images/busybox/json")[1]["Id"]
    )


def test_the_releases_are_the_ones_promised(docker_engine: Engine, docker26: Engine) -> None:
    versions = [engine.api("GET", "/version")[1]["Version"] for engine in (docker_engine, docker26)]
    assert [version.split(".")[0] for version in versions] == ["20", "26"]


def test_an_engine_that_is_paused_does_not_answer_and_comes_back(spare_engine: Engine) -> None:
    spare_engine.pause()
    path = str(spare_engine.socket_path)
    asked = subprocess.run(
        ["curl", "-s", "-m", "1", "--unix-socket", path, "http://localhost/_ping"], check=False, capture_output=True
    )
    assert asked.returncode == 28  # time-out
    spare_engine.resume()
    assert spare_engine.api("GET", "/_ping")[0] == 200


def test_a_killed_engine_starts_again_with_what_it_had(spare_engine: Engine) -> None:
    spare_engine.docker("volume", "create", "kept")
    spare_engine.kill()
    with pytest.raises(ConnectionRefusedError):
        spare_engine.api("GET", "/_ping")
    spare_engine.start_daemon()
    assert "kept" in spare_engine.contents().volumes


def test_a_stopped_engine_leaves_no_process_and_no_folder() -> None:
    with engines.Engine() as engine:
        engine.docker("run", "-d", "--init", "busybox", "sleep", "1000")
        folder, daemons = engine.folder, engine.daemon_pids()
    assert len(daemons) == 2
    assert not folder.exists()
    assert not [pid for pid in daemons if Path(f"/proc/{pid}/exe").exists()]
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{folder.name}"))


def test_a_small_data_root_fills_up() -> None:
    with engines.Engine(disk="32m") as engine:
        ended = engine.docker(
            "run", "--rm", "busybox", "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=64", check=False
        )
        assert "No space left on device" in ended.stderr


def test_the_tests_run_in_namespaces_of_their_own() -> None:
    assert sandbox.namespace("net") != sandbox.namespace("net", os.getppid())
    assert sandbox.namespace("mnt") != sandbox.namespace("mnt", os.getppid())


def _answers(engine: Engine, port: int) -> bool:
    try:
        return engine.http_get(port)[0] > 0
    except OSError:
        return False
