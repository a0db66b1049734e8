"""The judgements of `doctor`, each at both sides of its limit."""

from __future__ import annotations

import json
import os
import shutil
from collections import namedtuple
from typing import TYPE_CHECKING

import pytest

from declarative.cli import checks
from declarative.cli.doctor import docker_config
from declarative.core.state import EngineInfo
from declarative.dockerapi.transport import SshEndpoint, TcpEndpoint, UnixEndpoint
from declarative.drivers.docker.health import Leftover
from declarative.drivers.holder import describe

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.cli.checks import Check
    from tests.unit.cli.console import Console

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's own
SOCKET = UnixEndpoint(path="/run/docker.sock")


def states(found: list[Check]) -> list[tuple[str, str]]:
    return [(check.name, check.state) for check in found]


def credentials(tmp_path: Path, config: object, *, mode: int = 0o600, search: str = "/nowhere") -> list[Check]:
    path = tmp_path / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    path.chmod(mode)
    context = _Context(tmp_path)
    return list(checks.credentials(*docker_config(context), search))  # type: ignore[arg-type] # all that it looks at


class _Context:
    def __init__(self, folder: Path) -> None:
        self.environ = {"DOCKER_CONFIG": str(folder)}
        self.home = folder


def test_credentials(tmp_path: Path) -> None:
    logged_in = {"auths": {"ghcr.io": {"auth": "dTpw"}}}
    assert "ghcr.io" in credentials(tmp_path, logged_in)[0].text
    assert states(credentials(tmp_path, logged_in, mode=0o644)) == [("credentials", "warn")]
    assert states(credentials(tmp_path, {})) == [("credentials", "ok")]
    missing = credentials(tmp_path, {"credsStore": "pass", "credHelpers": {"gcr.io": "gcloud"}})
    assert [check.state for check in missing] == ["fail", "fail"]
    assert "docker-credential-gcloud is not on PATH" in missing[0].text
    assert states(credentials(tmp_path, "{")) == [("credentials", "fail")]


def test_an_installed_helper_is_found(tmp_path: Path) -> None:
    program = tmp_path / "docker-credential-pass"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert states(credentials(tmp_path, {"credsStore": "pass"}, search=str(tmp_path))) == [("credentials", "ok")]


def test_ssh_is_needed_for_an_engine_behind_it(tmp_path: Path) -> None:
    endpoint = SshEndpoint(host="lab", command=("ssh",))
    assert states(list(checks.ways(endpoint, str(tmp_path)))) == [("ssh", "fail")]
    assert list(checks.ways(SOCKET, str(tmp_path))) == []


@pytest.mark.parametrize(
    ("info", "buildx", "state", "word"),
    [
        (EngineInfo(buildkit=True), "v0.13.1", "ok", "v0.13.1"),
        (EngineInfo(buildkit=False), "", "warn", "install"),
        (EngineInfo(buildkit=False), "v0.13.1", "warn", "update the engine"),
        (EngineInfo(buildkit=True), "?", "fail", "does not run"),
        (EngineInfo(name="podman"), "", "ok", "own"),
        (EngineInfo(name="declarative", buildkit=True), "?", "ok", "own"),
    ],
)
def test_builder(info: EngineInfo, buildx: str, state: str, word: str) -> None:
    check = checks.builder(info, lambda: buildx)
    assert check.state == state
    assert word in check.text + check.remedy


def test_clock() -> None:
    assert checks.clock(100.0, 99.0, 101.0).state == "ok"
    assert checks.clock(97.5, 99.0, 101.0).state == "ok"
    behind, ahead = checks.clock(90.0, 99.0, 101.0), checks.clock(161.0, 99.0, 101.0)
    assert (behind.state, behind.text) == ("warn", "the engine's is 9 s behind ours")
    assert (ahead.state, ahead.text) == ("warn", "the engine's is 60 s ahead of ours")


@pytest.mark.parametrize(
    ("free", "total", "state"),
    [
        (10 * 1024**3, 100 * 1024**3, "ok"),
        (10 * 1024**3, 1000 * 1024**3, "warn"),
        (1024**3, 10 * 1024**3, "warn"),
        (200 * 1024**2, 10 * 1024**3, "fail"),
    ],
)
def test_disk(free: int, total: int, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(total, total - free, free))
    assert checks.disk(SOCKET, "/var/lib/docker").state == state
    assert "cannot be seen" in checks.disk(TcpEndpoint(host="far", port=2376), "/var/lib/docker").text


def test_a_data_root_that_cannot_be_seen_is_said_so(tmp_path: Path) -> None:
    check = checks.disk(SOCKET, str(tmp_path / "none"))
    assert (check.state, "cannot be seen" in check.text) == ("ok", True)


def test_warnings_have_a_way_out() -> None:
    lines = ["No swap limit support", "bridge-nf-call-iptables is disabled", "something  new"]
    found = list(checks.warnings(lines))
    assert [check.state for check in found] == ["warn"] * 3
    assert "swapaccount" in found[0].remedy
    assert "sysctl" in found[1].remedy
    assert (found[2].text, found[2].remedy) == ("something new", "see the engine's documentation")


def test_leftovers_of_the_dead_are_told_from_what_is_under_way() -> None:
    ours = describe(user="me", command="doctor", nonce="1")
    dead = {**ours, "pid": "1", "start": "never", "command": "apply"}
    living = {**ours, "pid": str(os.getpid()), "command": "apply"}
    found = [
        Leftover(kind="lock", name="declarative-lock-a", stack="a", holder=dead),
        Leftover(kind="container", name="a-web-1.making", stack="a", holder={}),
        Leftover(kind="lock", name="declarative-lock-b", stack="b", holder=living),
        Leftover(kind="container", name="b-web-1.making", stack="b", holder={}),
    ]
    result = list(checks.leftovers(found, ours))
    assert states(result) == [("leftover", "warn"), ("leftover", "warn"), ("lock", "ok")]
    assert "docker volume rm declarative-lock-a" in result[0].remedy
    assert str(os.getpid()) in result[2].text
    assert states(list(checks.leftovers([], ours))) == [("leftovers", "ok")]


def test_an_engine_that_is_not_there_fails_and_the_rest_is_checked(console: Console, stack: Path) -> None:
    ran = console("doctor", "--engine", "unix:///nowhere.sock", "-o", "json")
    document = ran.json("doctor")
    assert ran.code == 1
    assert document["ok"] is False
    by_name = {check["name"]: check for check in document["checks"]}
    assert by_name["manifests"]["state"] == "ok"
    assert by_name["engine"]["state"] == "fail"
    assert by_name["engine"]["remedy"]
    stack.write_text("kind: [")
    text = console("doctor", "--engine", "unix:///nowhere.sock").out
    assert "fail manifests" in text
    assert "declarative validate" in text


def test_the_engine_verb_knows_its_words(console: Console) -> None:
    assert console("engine", "brew").code == 64
