"""Compose v2, the stock binary, against a daemon: up, ps, logs, exec, down; builds, networks, volumes, health, scale, changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests import engines
from tests.e2e.engine.clients import IMAGE, Ended

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.engine.clients import Daemon

_WEB = "mkdir -p /www; echo from $$(hostname) > /www/index.html; exec httpd -f -p 80 -h /www"
_STACK = f"""\
name: shop
services:
  db:
    image: {IMAGE}
    command: [sh, -c, "echo db is up; touch /ready; exec sleep 9000"]
    healthcheck: {{test: [CMD, test, -e, /ready], interval: 200ms, timeout: 5s, retries: 20}}
    networks: [back]
    volumes: ["data:/data"]
    stop_signal: SIGKILL
  migrate:
    image: {IMAGE}
    command: [sh, -c, "echo migrated >> /data/log"]
    depends_on: {{db: {{condition: service_healthy}}}}
    networks: [back]
    volumes: ["data:/data"]
  web:
    build: {{context: ./web, args: {{WHO: compose}}}}
    depends_on: {{db: {{condition: service_healthy}}, migrate: {{condition: service_completed_successfully}}}}
    environment: {{GREETING: hello}}
    hostname: front
    networks: {{front: {{aliases: [www]}}, back: {{}}}}
    ports: ["8301:80"]
    volumes: ["data:/data:ro", "./conf:/conf:ro"]
    configs: [{{source: settings, target: /settings}}]
    stop_signal: SIGKILL
networks:
  front: {{}}
  back: {{internal: true}}
volumes:
  data: {{}}
configs:
  settings: {{file: ./settings}}
"""
_DOCKERFILE = f'FROM {IMAGE}\nARG WHO\nRUN echo built by $WHO > /built\nCMD ["sh", "-c", "{_WEB.replace("$$", "$")}"]\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose:
    """The plugin in a project's folder."""

    daemon: Daemon
    folder: Path

    def __call__(self, *args: str, check: bool = True, stdin: str = "") -> Ended:
        return self.daemon.docker(
            "compose",
            *args,
            check=check,
            cwd=self.folder,
            stdin=stdin,
            env={"DOCKER_CONFIG": str(self.folder / ".docker")},
        )

    def rows(self, *args: str) -> list[Any]:
        return [json.loads(line) for line in self("ps", "-a", "--format", "json", *args).stdout.splitlines()]


@pytest.fixture
def compose(daemon: Daemon, tmp_path: Path) -> Compose:
    folder = tmp_path / "shop"
    for path, text in {
        "web/Dockerfile": _DOCKERFILE,
        "conf/file": "conf\n",
        "settings": "set\n",
        "compose.yaml": _STACK,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    plugins = folder / ".docker/cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-compose").symlink_to(engines.PLUGINS / "docker-compose")
    return Compose(daemon=daemon, folder=folder)


def test_a_stack_goes_up_is_looked_at_and_goes_down(compose: Compose, daemon: Daemon) -> None:
    compose("up", "-d")
    rows = {row["Service"]: row for row in compose.rows()}
    assert {name: row["State"] for name, row in rows.items()} == {
        "db": "running",
        "web": "running",
        "migrate": "exited",
    }
    assert (rows["db"]["Health"], rows["migrate"]["ExitCode"]) == ("healthy", 0)
    assert daemon.wait_http(8301) == "from front\n"
    assert "db-1  | db is up" in compose("logs", "--no-color", "db").stdout
    assert (
        compose("exec", "-T", "web", "cat", "/built", "/data/log", "/conf/file", "/settings").stdout
        == "built by compose\nmigrated\nconf\nset\n"
    )
    assert (
        compose(
            "exec", "-T", "-e", "A=b", "web", "sh", "-c", "echo $A $GREETING; nslookup db > /dev/null && echo found"
        ).stdout
        == "b hello\nfound\n"
    )
    assert "Read-only" in compose("exec", "-T", "web", "touch", "/data/x", check=False).stderr
    assert sorted(daemon.lines("network", "ls", "--format", "{{.Name}}", "--filter", "type=custom")) == [
        "shop_back",
        "shop_front",
    ]
    assert compose("port", "web", "80").stdout == "0.0.0.0:8301\n"
    assert "sleep 9000" in compose("top", "db").stdout
    compose("down", "-v", "--rmi", "local")
    assert compose.rows() == []
    assert daemon.lines("volume", "ls", "-q") == []
    assert daemon.lines("network", "ls", "-q", "--filter", "type=custom") == []
    assert set(daemon.lines("images", "--format", "{{.Repository}}")) <= {"busybox", "<none>"}


def test_nothing_changed_means_nothing_done_and_a_change_recreates_one(compose: Compose, daemon: Daemon) -> None:
    compose("up", "-d")
    before = {row["Service"]: row["ID"] for row in compose.rows()}
    said = compose("up", "-d")
    assert {row["Service"]: row["ID"] for row in compose.rows()} == before
    assert "Recreate" not in said.stderr
    path = compose.folder / "compose.yaml"
    path.write_text(path.read_text().replace("hello", "changed"))
    compose("up", "-d")
    after = {row["Service"]: row["ID"] for row in compose.rows()}
    assert after["db"] == before["db"]
    assert after["web"] != before["web"]
    assert compose("exec", "-T", "web", "sh", "-c", "echo $GREETING").stdout == "changed\n"
    assert daemon.wait_http(8301) == "from front\n"


def test_scale_stop_start_and_orphans(compose: Compose, daemon: Daemon) -> None:
    compose("up", "-d", "--scale", "db=3", "db")
    assert sorted(row["Name"] for row in compose.rows()) == ["shop-db-1", "shop-db-2", "shop-db-3"]
    compose("up", "-d", "--scale", "db=1", "db")
    assert [row["Name"] for row in compose.rows()] == ["shop-db-1"]
    compose("stop", "-t", "0")
    assert [row["State"] for row in compose.rows()] == ["exited"]
    compose("start", "db")
    compose("restart", "-t", "0", "db")
    compose("pause", "db")
    assert [row["State"] for row in compose.rows()] == ["paused"]
    compose("unpause", "db")
    compose("kill", "db")
    compose("rm", "-f", "db")
    assert daemon.lines("ps", "-aq") == []


def test_run_once_and_copy(compose: Compose, tmp_path: Path) -> None:
    ended = compose("run", "--rm", "-T", "--no-deps", "db", "sh", "-c", "cat; exit 6", stdin="given\n", check=False)
    assert (ended.stdout, ended.returncode) == ("given\n", 6)
    compose("up", "-d", "db")
    (tmp_path / "file").write_text("copied")
    compose("cp", str(tmp_path / "file"), "db:/file")
    assert compose("exec", "-T", "db", "cat", "/file").stdout == "copied"


def test_a_dependency_that_never_gets_healthy_stops_the_rest(compose: Compose) -> None:
    path = compose.folder / "compose.yaml"
    path.write_text(path.read_text().replace("test, -e, /ready", "'false'").replace("retries: 20", "retries: 1"))
    ended = compose("up", "-d", check=False)
    assert ended.returncode != 0
    assert "unhealthy" in ended.stderr
    assert {row["Service"]: row["State"] for row in compose.rows()}["web"] == "created"


def test_build_pull_push_images_and_config(compose: Compose, daemon: Daemon, pushed: str) -> None:
    path = compose.folder / "compose.yaml"
    path.write_text(path.read_text().replace("    build:", f"    image: {pushed}/shop/web:1\n    build:"))
    compose("build", "web")
    compose("push", "web")
    daemon.docker("rmi", f"{pushed}/shop/web:1")
    compose("pull", "web")
    assert daemon.run(f"{pushed}/shop/web:1", "cat", "/built") == "built by compose"
    assert pushed in compose("config", "--images").stdout


def test_waiting_and_events(compose: Compose) -> None:
    compose("up", "-d", "--wait", "db")
    assert compose.rows()[0]["Health"] == "healthy"
    assert "running(1)" in compose("ls").stdout
    assert compose("logs", "--no-log-prefix", "--tail", "1", "db").stdout.endswith("db is up\n")
