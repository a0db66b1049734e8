"""Containers outlive the daemon; a machine that comes back starts what restart policies ask for; nothing is left half done."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import engines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.embedded import EmbeddedEngine


@pytest.fixture
def engine(spare_embedded: EmbeddedEngine) -> Iterator[EmbeddedEngine]:
    yield spare_embedded
    spare_embedded.clear()


def inspected(engine: EmbeddedEngine, name: str) -> Any:
    return json.loads(engine.docker("inspect", name).stdout)[0]


def state(engine: EmbeddedEngine, name: str) -> Any:
    return inspected(engine, name)["State"]


def bring_back(engine: EmbeddedEngine) -> None:
    engine.kill()
    engine.start_daemon()


def test_containers_go_on_without_a_daemon(engine: EmbeddedEngine) -> None:
    script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
    for number in range(5):
        engine.docker("run", "-d", "--name", f"c{number}", "busybox", "sh", "-c", script)
    engine.docker("run", "-d", "--name", "web", "-p", "8091:80", "busybox", "httpd", "-f", "-h", "/etc")
    engine.docker("run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 1; exit 17")
    engine.docker("run", "-d", "--name", "again", "--restart", "always", "busybox", "sh", "-c", "sleep 1; exit 1")
    pids = {name: state(engine, name)["Pid"] for name in ("c0", "c1", "c2", "c3", "c4", "web")}
    engine.kill()
    for _ in range(15):
        assert engine.http_get(8091, "/passwd")[0] == 200  # the port is served by the kernel's rules, not by the daemon
        time.sleep(0.1)
    engine.start_daemon()
    assert {name: state(engine, name)["Pid"] for name in pids} == pids
    assert engine.http_get(8091, "/passwd")[0] == 200
    ended = state(engine, "ends")
    assert (ended["Status"], ended["ExitCode"]) == ("exited", 17)
    engines.wait_until(lambda: inspected(engine, "again")["RestartCount"] >= 1, "the policy to go on", 30)
    for number in range(5):
        lines = engine.docker("logs", f"c{number}").stdout.split()
        assert lines == [str(count) for count in range(1, len(lines) + 1)]
        assert len(lines) > 50
    assert engine.docker("exec", "c0", "echo", "alive").stdout == "alive\n"
    engine.docker("stop", "-t", "0", "c0")
    assert state(engine, "c0")["ExitCode"] == 137


def test_the_codes_of_those_that_end_while_the_daemon_is_killed_are_known(
    engine: EmbeddedEngine, tmp_path: Path
) -> None:
    codes = {f"c{code}": code for code in range(1, 31)}
    for name, code in codes.items():
        script = f"until [ -e /go/now ]; do sleep 0.1; done; sleep {code / 50}; exit {code}"
        engine.docker("run", "-d", "--name", name, "-v", f"{tmp_path}:/go", "busybox", "sh", "-c", script)
    for _ in range(4):
        (tmp_path / "now").touch()
        engines.wait_until(lambda: state(engine, "c9")["Status"] == "exited", "some to end", 30)
        bring_back(engine)
        engine.docker("wait", *codes)
        assert {name: state(engine, name)["ExitCode"] for name in codes} == codes
        (tmp_path / "now").unlink()
        engine.docker("start", *codes)


@pytest.mark.parametrize("known", ["nothing of it", "its end"])
def test_a_run_counts_once_whatever_the_killed_daemon_had_recorded(engine: EmbeddedEngine, known: str) -> None:
    engine.docker(
        "create", "--name", "job", "-v", "data:/data", "busybox", "sh", "-c", "echo x >> /data/f; sleep 1; exit 7"
    )
    before = recorded(engine)
    engine.docker("start", "job")
    started = recorded(engine)
    engine.kill()
    time.sleep(1.5)
    ended = {**started, "status": "exited", "pid": 0, "exit_code": 7, "finished": time.time_ns()}
    record(engine, before if known == "nothing of it" else ended)
    engine.start_daemon()

    assert (state(engine, "job")["Status"], state(engine, "job")["ExitCode"]) == ("exited", 7)
    assert state(engine, "job")["FinishedAt"] >= state(engine, "job")["StartedAt"] > "2"
    engine.docker("start", "-a", "job", check=False)
    assert engine.docker("run", "--rm", "-v", "data:/data", "busybox", "cat", "/data/f").stdout == "x\nx\n"


def recorded(engine: EmbeddedEngine) -> Any:
    """Give the state in the record of the only container."""
    with sqlite3.connect(engine.root / "engine.db") as database:
        return json.loads(database.execute("SELECT state FROM containers").fetchone()[0])


def record(engine: EmbeddedEngine, state: Any) -> None:
    with sqlite3.connect(engine.root / "engine.db") as database:
        database.execute("UPDATE containers SET state = ?", (json.dumps(state),))


def test_health_and_pause_go_on(engine: EmbeddedEngine) -> None:
    check = ["--health-cmd", "test -e /well", "--health-interval", "300ms", "--health-retries", "1"]
    engine.docker("run", "-d", "--name", "sick", *check, "busybox", "sleep", "1000")
    engine.docker("run", "-d", "--name", "still", "busybox", "sleep", "1000")
    engine.docker("pause", "still")
    bring_back(engine)
    assert state(engine, "still")["Status"] == "paused"
    engine.docker("unpause", "still")
    engine.docker("exec", "sick", "touch", "/well")
    engines.wait_until(lambda: state(engine, "sick")["Health"]["Status"] == "healthy", "the check", 30)


def test_networks_are_as_before(engine: EmbeddedEngine) -> None:
    engine.docker("network", "create", "lab")
    engine.docker("run", "-d", "--name", "aa", "--network", "lab", "busybox", "sleep", "1000")
    before = inspected(engine, "aa")["NetworkSettings"]["Networks"]
    bring_back(engine)
    assert inspected(engine, "aa")["NetworkSettings"]["Networks"] == before
    assert engine.docker("run", "--rm", "--network", "lab", "busybox", "ping", "-c1", "-W5", "aa").returncode == 0


def test_auto_remove_of_what_ended_meanwhile(engine: EmbeddedEngine) -> None:
    engine.docker("run", "-d", "--rm", "--name", "short", "-v", "/anon", "busybox", "sleep", "0.5")
    engine.kill()
    time.sleep(1)
    engine.start_daemon()
    assert engine.contents().containers == frozenset()
    assert engine.contents().volumes == frozenset()


def test_a_reboot_starts_what_policies_ask_for(engine: EmbeddedEngine) -> None:
    for name, policy in (
        ("always", "always"),
        ("unless", "unless-stopped"),
        ("failing", "on-failure"),
        ("never", "no"),
    ):
        engine.docker(
            "run", "-d", "--name", name, "--restart", policy, "-v", f"{name}:/data", "busybox", "sleep", "1000"
        )
    engine.docker("run", "-d", "--name", "stopped", "--restart", "unless-stopped", "busybox", "sleep", "1000")
    engine.docker("stop", "-t", "0", "stopped")
    engine.docker("run", "-d", "--name", "autogone", "--rm", "busybox", "sleep", "1000")
    engine.docker("exec", "always", "sh", "-c", "echo kept > /file")
    reboot(engine)
    for name in ("always", "unless", "failing"):
        engines.wait_until(lambda name=name: state(engine, name)["Status"] == "running", f"{name} to be started", 30)  # type: ignore[misc]
    assert state(engine, "never")["Status"] == "exited"
    assert state(engine, "stopped")["Status"] == "exited"
    assert "autogone" not in engine.contents().containers
    assert engine.docker("exec", "always", "cat", "/file").stdout == "kept\n"
    assert engine.docker("exec", "always", "ping", "-c1", "-W5", "127.0.0.1").returncode == 0


def reboot(engine: EmbeddedEngine) -> None:
    """End every process, mount and network of the engine, and start the daemon on what is on the disk."""
    engine.kill()
    for pid in inside(engine):
        os.kill(pid, signal.SIGKILL)
    engines.wait_until(lambda: not inside(engine), "every process to end", 30)
    shell = f"""
        grep -o '{engine.folder}[^ ]*' /proc/self/mounts | sort -r | while read point; do umount -l "$point"; done
        rm -rf {engine.run}
        for link in $(ls /sys/class/net); do [ $link = lo ] || ip link del $link; done
        nft flush ruleset
    """
    subprocess.run([*engine._inside(), "sh", "-c", shell], check=True, capture_output=True)
    subprocess.run(
        [
            "find",
            *map(str, Path("/sys/fs/cgroup").glob(f"*/{engine.name}")),
            "-depth",
            "-type",
            "d",
            "-exec",
            "rmdir",
            "{}",
            ";",
        ],
        check=False,
        capture_output=True,
    )
    engine.start_daemon()


def inside(engine: EmbeddedEngine) -> list[int]:
    """Give the processes of the engine's process namespace, those that hold it aside."""
    first = engine._process_1()
    kept = {first, *engines.children(first)}
    namespace = Path(f"/proc/{first}/ns/pid").readlink()
    found = []
    for folder in Path("/proc").iterdir():
        try:
            inside_it = folder.name.isdigit() and (folder / "ns/pid").readlink() == namespace
            if inside_it and int(folder.name) not in kept and " Z " not in (folder / "stat").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_killed_at_any_time_nothing_is_left_half(engine: EmbeddedEngine) -> None:
    """The daemon is killed while containers are made, started, stopped and removed; then all goes, and nothing stays."""
    for pause in (0.02, 0.05, 0.08, 0.11, 0.15, 0.2, 0.3, 0.4):
        workers = [threading.Thread(target=churn, args=(engine,)) for _ in range(3)]
        for worker in workers:
            worker.start()
        time.sleep(pause)
        engine.kill()
        for worker in workers:
            worker.join()
        engine.start_daemon()
        for name in sorted(engine.contents().containers):
            document = inspected(engine, name)
            assert document["State"]["Status"] in {"created", "running", "exited"}
            assert engine.docker("rm", "-f", "-v", name, check=False).returncode == 0
    assert remains(engine) == []


def churn(engine: EmbeddedEngine) -> None:
    for _ in range(3):
        ended = engine.docker("run", "-d", "-v", "/anon", "-p", "80", "busybox", "sleep", "1000", check=False)
        if ended.returncode == 0:
            engine.docker("rm", "-f", "-v", ended.stdout.strip(), check=False)


def remains(engine: EmbeddedEngine) -> list[str]:
    """Give what is left of containers: folders, mounts, namespaces, control groups, links, processes."""
    ends = time.monotonic() + 10
    while True:
        found = [f"folder {path.name}" for path in (engine.root / "containers").iterdir()]
        found += [f"bundle {path.name}" for path in (engine.run / "containers").iterdir()]
        found += [f"namespace {path.name}" for path in (engine.run / "netns").iterdir()]
        found += [f"group {path}" for path in Path("/sys/fs/cgroup").glob(f"*/{engine.name}/*") if path.is_dir()]
        shell = f"grep -o '{engine.folder}/[^ ]*/rootfs' /proc/self/mounts; ls /sys/class/net | grep veth"
        found += subprocess.run(
            [*engine._inside(), "sh", "-c", shell], check=False, capture_output=True, text=True
        ).stdout.split()
        daemon = set(engine.daemon_pids())
        found += [f"process {pid}" for pid in inside(engine) if pid not in daemon]
        if not found or time.monotonic() > ends:
            return found
        time.sleep(0.2)
