"""`declarative engine`: the embedded daemon started, found, ended, by one command or by many at once; and what it prints."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from declarative.cli import engine
from tests import certificates, sockets
from tests.cli import Cli, clean_environment
from tests.engines import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CLIENT = "/usr/bin/docker"
_EMBEDDED = ("--engine", "embedded")  # other tests of a run may have a dockerd at its usual place


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "r"


@pytest.fixture
def cli(tmp_path: Path, root: Path) -> Iterator[Cli]:
    """Return the program on a machine without Docker, its data root in the test's folder."""
    environment = clean_environment(tmp_path, docker_host=None, plugins=tmp_path / "none")
    made = Cli(folder=tmp_path, environment=environment | {"DECLARATIVE_ENGINE_ROOT": str(root)})
    yield made
    made("engine", "stop").expect(0)


def _pid(cli: Cli) -> int:
    pid: int = cli("engine", "start", "-o", "json").expect(0).json()["pid"]
    return pid


def _await_end(pid: int) -> None:
    """Wait for a process that is not our child: once it has ended, its program is a link to nothing."""
    wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"), "the daemon to end", 30)  # noqa: PTH110 - follows links


def _docker(socket: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": f"unix://{socket}"}
    return subprocess.run([_CLIENT, *words], check=False, capture_output=True, text=True, env=environment, timeout=60)


def test_a_daemon_is_started_found_and_ended(cli: Cli, root: Path) -> None:
    socket = root / "run/engine.sock"
    assert "does not run; commands start it" in cli("engine", "status", *_EMBEDDED).expect(1).out
    assert "does not run" in cli("engine", "stop").expect(0).out

    started = cli("engine", "start", "-o", "json").expect(0).json()
    assert started["state"] == "started"
    assert started["address"] == f"unix://{socket}"
    assert socket.stat().st_mode & 0o777 == 0o660
    assert _docker(socket, "version", "--format", "{{.Server.APIVersion}}").stdout == "1.47\n"
    assert cli("engine", "start", "-o", "json").expect(0).json() == started | {"state": "runs already"}

    status = cli("engine", "status", "-o", "json", *_EMBEDDED).expect(0).json()
    assert status["name"] == "declarative"
    assert status["api_version"] == "1.47"
    assert status["builder"] == "own"

    assert "stopped" in cli("engine", "stop").expect(0).out
    assert not socket.exists()
    _await_end(started["pid"])


def test_of_many_starts_at_once_one_daemon_comes(cli: Cli) -> None:
    pids: list[int] = []
    threads = [threading.Thread(target=lambda: pids.append(_pid(cli))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(pids) == 12
    assert len(set(pids)) == 1


def test_after_a_kill_the_next_start_takes_over(cli: Cli, root: Path) -> None:
    first = _pid(cli)
    os.kill(first, signal.SIGKILL)
    _await_end(first)
    assert (root / "run/engine.sock").exists()  # nobody took it away

    assert _pid(cli) != first
    assert _docker(root / "run/engine.sock", "ps").returncode == 0


def test_a_second_daemon_on_the_same_root_says_who_has_it(cli: Cli) -> None:
    pid = _pid(cli)

    ended = cli("engine", "serve").expect(1)
    assert f"the daemon with process id {pid} (at unix://" in ended.err
    assert "serves this data root — stop it first, or use it" in ended.err


def test_a_command_starts_the_engine_it_needs_and_it_goes_when_idle(cli: Cli, root: Path, tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text("apiVersion: declarative/v1\nkind: Volume\nmetadata: {name: data}\n")

    assert "data" in cli("plan", "--engine", "embedded").expect(0).out
    assert cli("engine", "status", "-o", "json", *_EMBEDDED).expect(0).json()["name"] == "declarative"
    arguments = (root / "engine.log").read_text()
    assert "engine serves" in arguments

    cli("engine", "stop").expect(0)
    cli("engine", "start", "--idle-exit", "0.2").expect(0)
    wait_until(lambda: not (root / "run/engine.sock").exists(), "the idle daemon to end", 60)
    assert "engine ends: nothing runs and nobody asks" in (root / "engine.log").read_text()


def test_an_engine_that_does_not_come_up_says_why(cli: Cli, root: Path) -> None:
    root.mkdir()
    (root / "engine.db").write_text("this is no database")

    ended = cli("engine", "start").expect(1)
    assert "the embedded engine does not start: " in ended.err
    assert "the engine's records cannot be used: file is not a database" in ended.err
    assert "engine.log" in ended.err
    (root / "engine.db").unlink()


def test_serving_ends_with_its_terminal_and_takes_options(cli: Cli, root: Path) -> None:
    environment = dict(cli.environment)
    program = subprocess.Popen(
        ["declarative", "engine", "serve", "--log-format", "json", "--host", f"unix://{root}/own.sock"],
        env=environment, cwd=cli.folder, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until((root / "own.sock").exists, "the daemon", 60)
    assert sockets.exchange(sockets.connect_unix(f"{root}/own.sock"), "GET", "/_ping") == (200, "OK")
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=60)

    events = [json.loads(line)["event"] for line in said.splitlines()]
    assert program.returncode == 0
    assert events == ["engine serves", "engine ends", "engine ended"]
    assert not (root / "own.sock").exists()


def test_fsck_finds_a_sound_root_and_a_broken_one(cli: Cli, root: Path) -> None:
    _pid(cli)
    assert "serves this data root — stop it first" in cli("engine", "fsck").expect(1).err
    cli("engine", "stop").expect(0)
    assert cli("engine", "fsck").expect(0).out == "sound\n"

    blob = root / "images/blobs/sha256" / ("ab" * 32)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"not what its name says")
    found = cli("engine", "fsck").expect(0).out
    assert f"blob sha256:{'ab' * 32}: " in found
    assert "1 problem found" in found
    assert cli("engine", "fsck").expect(0).out == "sound\n"


def test_doctor_tries_the_machine_out(cli: Cli) -> None:
    rows = {row["name"]: row for row in cli("doctor", "-o", "json", *_EMBEDDED).json()["checks"]}
    assert rows["engine"]["text"].endswith("does not run now, commands start it")
    for feature in ("runc", "conmon", "nft", "overlayfs", "bridge", "veth", "nf_tables", "cgroups"):
        assert feature in rows["machine"]["text"]


def test_doctor_names_what_is_missing_and_how_to_get_it(cli: Cli, tmp_path: Path) -> None:
    # runc, crun and conmon are covered; the administrators' folders are looked through too, so PATH is not the way
    script = (
        "for program in runc crun conmon; do for folder in /usr/sbin /usr/bin; do "
        "test ! -e $folder/$program || mount --bind /nowhere $folder/$program; done; done; "
        "exec declarative doctor -o json --engine embedded"
    )
    nowhere = tmp_path / "nowhere"
    nowhere.write_text("")
    nowhere.chmod(0o644)
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", script.replace("/nowhere", str(nowhere))],
        env=dict(cli.environment), cwd=tmp_path, check=False, capture_output=True, text=True,
    )  # fmt: skip
    rows = {row["name"]: row for row in json.loads(ended.stdout)["checks"]}

    assert ended.returncode == 1
    assert rows["runc"]["state"] == rows["conmon"]["state"] == "fail"
    assert rows["conmon"]["remedy"] == "apt-get install conmon"


# ---- over TCP


def test_over_tcp_the_stock_client_comes_with_a_certificate(cli: Cli, root: Path, tmp_path: Path) -> None:
    authority = certificates.make_authority(tmp_path / "ca")
    server, client = (
        certificates.issue(authority, tmp_path / "server"),
        certificates.issue(authority, tmp_path / "client"),
    )
    files = [f"--tlscacert={server}/ca.pem", f"--tlscert={server}/cert.pem", f"--tlskey={server}/key.pem"]
    cli("engine", "start", f"--host=unix://{root}/run/engine.sock", "--host=tcp://0.0.0.0:0", *files).expect(0)
    hosts = json.loads((root / "engine.lock").read_text())["hosts"]
    port = next(host for host in hosts if host.startswith("tcp://")).rpartition(":")[2]

    def docker(*words: str, certificate: Path = client) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_HOST": f"tcp://127.0.0.1:{port}",
            "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificate),
        }  # fmt: skip
        return subprocess.run(
            [_CLIENT, *words], check=False, capture_output=True, text=True, env=environment, timeout=60
        )

    assert docker("version", "--format", "{{.Server.APIVersion}}").stdout == "1.47\n"
    assert "Storage Driver: overlayfs" in docker("info").stdout
    other = certificates.make_authority(tmp_path / "other")
    stranger = certificates.issue(other, tmp_path / "stranger")
    (stranger / "ca.pem").write_bytes((client / "ca.pem").read_bytes())
    refused = docker("version", certificate=stranger)
    assert refused.returncode != 0
    assert "APIVersion" not in refused.stdout


def test_the_verb_takes_the_daemons_options() -> None:
    text = subprocess.run(
        [sys.executable, "-m", "declarative.engine", "--help"], capture_output=True, text=True, check=True
    ).stdout
    ours = {name for name, _, _ in engine.DAEMON_OPTIONS} | {"--debug", "--log-format"}
    theirs = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", text, re.MULTILINE)) - {
        "--help",
        "--tlsverify",
        "--fsck",
        "--probe",
    }

    assert ours == theirs


def test_tcp_for_everybody_is_refused(cli: Cli, root: Path) -> None:
    began = time.monotonic()
    ended = cli("engine", "start", "--host=tcp://0.0.0.0:0").expect(1)

    assert "whoever speaks to the daemon is root here" in ended.err
    assert "add --tlscacert, --tlscert and --tlskey" in ended.err
    assert time.monotonic() - began < 50  # it did not wait for what had ended
    assert not (root / "run/engine.sock").exists()
