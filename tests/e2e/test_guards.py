"""What the program must not do, and what it says instead: strangers' objects, taken ports, held locks, dead engines."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests import engines

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli import Cli, Ended
    from tests.engines import Engine

_STACK = """\
apiVersion: declarative/v1
kind: Container
metadata: {{name: web}}
spec:
  image: busybox:latest
  command: [{command}]
  stop_signal: SIGKILL
  {more}
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a stack named `guard` with one container, and return its file."""

    def write(command: str = "sleep, '86400'", more: str = "restart: 'no'") -> Path:
        folder = tmp_path / "guard"
        folder.mkdir(exist_ok=True)
        file = folder / "stack.yaml"
        file.write_text(_STACK.format(command=command, more=more))
        return file

    return write


def test_a_strangers_container_of_the_same_name_stays_and_is_named(
    written: Callable[..., Path], declarative_cli: Cli, docker_engine: Engine
) -> None:
    stranger = docker_engine.docker("create", "--name", "guard-web-1", "busybox").stdout.strip()
    ended = declarative_cli("apply", "-f", written()).expect(1)
    assert "guard-web-1" in ended.err
    assert docker_engine.api("GET", "/containers/guard-web-1/json")[1]["Id"] == stranger


def test_what_is_destroyed_may_finish_its_work_first(
    tmp_path: Path, declarative_cli: Cli, docker_engine: Engine
) -> None:
    file = tmp_path / "grace.yaml"
    file.write_text(
        "{apiVersion: declarative/v1, kind: Container, metadata: {name: db}, spec: {image: busybox, "
        "stop_signal: SIGTERM, stop_grace_period: 30s, "
        f"volumes: ['{tmp_path}:/data'], command: [sh, -c, "
        "\"trap 'sleep 1; echo flushed > /data/end; exit 0' TERM; while :; do sleep 0.05; done\"]}}\n"
    )
    declarative_cli("apply", "-f", file).expect(0)
    declarative_cli("destroy", "-f", file, "--yes").expect(0)
    assert (tmp_path / "end").read_text() == "flushed\n"
    assert docker_engine.api("GET", "/containers/grace-db-1/json")[0] == 404


def test_a_port_that_a_stranger_holds_is_an_error_and_what_ran_goes_on(
    written: Callable[..., Path], declarative_cli: Cli, docker_engine: Engine
) -> None:
    declarative_cli("apply", "-f", written()).expect(0)
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104 - the whole port has to be taken
        port = taken.getsockname()[1]
        ended = declarative_cli("apply", "-f", written(more=f"ports: ['{port}:80']")).expect(1)
    assert str(port) in ended.err
    assert docker_engine.api("GET", "/containers/guard-web-1/json")[1]["State"]["Running"]


def test_a_container_that_exits_at_once_fails_the_apply_and_the_old_one_stays(
    written: Callable[..., Path], declarative_cli: Cli, docker_engine: Engine
) -> None:
    declarative_cli("apply", "-f", written()).expect(0)
    before = docker_engine.api("GET", "/containers/guard-web-1/json")[1]["Id"]
    ended = declarative_cli("apply", "-f", written(command="sh, -c, 'exit 7'")).expect(1)
    assert "7" in ended.err
    after = docker_engine.api("GET", "/containers/guard-web-1/json")[1]
    assert (after["Id"], after["State"]["Running"]) == (before, True)


def test_an_engine_that_is_not_there_is_one_line(
    written: Callable[..., Path], declarative_cli: Cli, tmp_path: Path
) -> None:
    ended = declarative_cli("apply", "-f", written(), env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}).expect(1)
    assert f"{tmp_path}/none.sock" in ended.err
    _is_one_line(ended)


def test_an_engine_that_does_not_answer_is_given_up_on(
    written: Callable[..., Path], cli_for: Callable[[Engine], Cli], spare_engine: Engine
) -> None:
    spare_engine.pause()
    try:
        ended = cli_for(spare_engine)("apply", "-f", written(), "--timeout", "2s", seconds=30).expect(1)
    finally:
        spare_engine.resume()
    _is_one_line(ended)


def test_a_full_disk_is_an_error_and_a_later_apply_converges(
    written: Callable[..., Path], cli_for: Callable[[Engine], Cli], tmp_path: Path
) -> None:
    with engines.Engine(disk="48m") as engine:
        cli = cli_for(engine)
        context = tmp_path / "big"
        context.mkdir()
        with (context / "blob").open("wb") as blob:
            blob.truncate(64 * 1024 * 1024)
        (context / "Dockerfile").write_text("FROM busybox:latest\nCOPY blob /\n")
        stack = written()
        image = (
            "---\napiVersion: declarative/v1\nkind: Image\nmetadata: {name: big}\nspec: {build: {context: ../big}}\n"
        )
        stack.write_text(stack.read_text() + image)
        ended = cli("apply", "-f", stack).expect(1)
        assert "space" in ended.err
        (context / "blob").write_bytes(b"small")
        # the builder gives back what the failed build took a moment later
        engines.wait_until(lambda: cli("apply", "-f", stack).code == 0, "an apply to succeed", 60)
        cli("plan", "-f", stack, "--exit-code").expect(0)


def test_a_second_apply_is_told_who_holds_the_lock(
    written: Callable[..., Path], declarative_cli: Cli, docker_engine: Engine
) -> None:
    health = "healthcheck: {test: [CMD, test, -e, /go], interval: 200ms}\n  update: {deadline: 60s}"
    first = declarative_cli.start("apply", "-f", written(more=health))
    try:
        engines.wait_until(
            lambda: "guard-web-1" in docker_engine.contents().containers, "the first apply to create", 20
        )
        changed = written(more=f"{health}\n  stop_grace_period: 1s")
        ended = declarative_cli("apply", "-f", changed, "--lock-timeout", "0s").expect(4)
        assert str(first.pid) in ended.err
        docker_engine.docker("exec", "guard-web-1", "touch", "/go")
        out, err = first.communicate(timeout=60)
        assert first.returncode == 0, (out, err)
    finally:
        _kill(first)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.communicate()


def _is_one_line(ended: Ended) -> None:
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert "Traceback" not in ended.err
