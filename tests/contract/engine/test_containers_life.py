"""The life of containers and what clients see of it: states, attach, exec, logs, listing, changes, by the stock client."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests import engines
from tests.contract.engine.terminals import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.embedded import EmbeddedEngine


@pytest.fixture
def engine(embedded_engine: EmbeddedEngine) -> Iterator[EmbeddedEngine]:
    yield embedded_engine
    embedded_engine.clear()


@pytest.fixture
def sleeper(engine: EmbeddedEngine) -> str:
    engine.docker("run", "-d", "--name", "sleeper", "busybox", "sleep", "1000")
    return "sleeper"


def state(engine: EmbeddedEngine, name: str) -> Any:
    return json.loads(engine.docker("inspect", name).stdout)[0]["State"]


def refused(engine: EmbeddedEngine, *args: str) -> str:
    ended = engine.docker(*args, check=False)
    assert ended.returncode != 0
    return ended.stderr


# ---- states


def test_states_and_refusals(engine: EmbeddedEngine, sleeper: str) -> None:
    assert "container is running: stop the container before removing or force remove" in refused(engine, "rm", sleeper)
    engine.docker("pause", sleeper)
    assert state(engine, sleeper)["Status"] == "paused"
    assert "is already paused" in refused(engine, "pause", sleeper)
    assert "is paused, unpause the container before exec" in refused(engine, "exec", sleeper, "true")
    engine.docker("unpause", sleeper)
    assert "is not paused" in refused(engine, "unpause", sleeper)
    engine.docker("stop", "-t", "0", sleeper)
    assert state(engine, sleeper)["ExitCode"] == 137
    assert "is not running" in refused(engine, "kill", sleeper)
    assert "is not running" in refused(engine, "exec", sleeper, "true")
    engine.docker("start", sleeper)
    engine.docker("rm", "-f", sleeper)
    assert "No such container: sleeper" in refused(engine, "start", sleeper)


def test_start_and_stop_of_what_is_so_already_change_nothing(engine: EmbeddedEngine, sleeper: str) -> None:
    assert engine.api("POST", f"/containers/{sleeper}/start")[0] == 304
    engine.docker("stop", "-t", "0", sleeper)
    assert engine.api("POST", f"/containers/{sleeper}/stop")[0] == 304


def test_stop_signal_and_grace(engine: EmbeddedEngine) -> None:
    script = "trap 'exit 7' INT; trap '' TERM; echo begin; while :; do sleep 0.05; done"
    engine.docker("run", "-d", "--name", "polite", "--stop-signal", "SIGINT", "busybox", "sh", "-c", script)
    engines.wait_until(lambda: "begin" in engine.docker("logs", "polite").stdout, "its traps", 30)
    engine.docker("stop", "polite")
    assert state(engine, "polite")["ExitCode"] == 7
    engine.docker("run", "-d", "--name", "deaf", "--stop-timeout", "1", "busybox", "sh", "-c", script)
    engines.wait_until(lambda: "begin" in engine.docker("logs", "deaf").stdout, "its traps", 30)
    begin = time.monotonic()
    engine.docker("stop", "deaf")
    assert time.monotonic() - begin < 9
    assert state(engine, "deaf")["ExitCode"] == 137


def test_kill_restart_rename(engine: EmbeddedEngine) -> None:
    script = "trap 'echo hup' HUP; echo begin; while :; do sleep 0.05; done"
    engine.docker("run", "-d", "--name", "first", "busybox", "sh", "-c", script)
    engines.wait_until(lambda: "begin" in engine.docker("logs", "first").stdout, "the script", 30)
    engine.docker("kill", "-s", "HUP", "first")
    engines.wait_until(lambda: "hup" in engine.docker("logs", "first").stdout, "the trap", 30)
    before = state(engine, "first")["Pid"]
    engine.docker("rename", "first", "second")
    engine.docker("restart", "-t", "0", "second")
    after = state(engine, "second")
    assert after["Status"] == "running"
    assert after["Pid"] != before
    assert "No such container: first" in refused(engine, "logs", "first")


def test_wait_gives_the_code(engine: EmbeddedEngine) -> None:
    engine.docker("run", "-d", "--name", "soon", "busybox", "sh", "-c", "sleep 0.5; exit 9")
    assert engine.docker("wait", "soon").stdout == "9\n"
    assert engine.docker("wait", "soon").stdout == "9\n"


def test_events_tell_the_life(engine: EmbeddedEngine) -> None:
    environment = {"PATH": engine.flavour.path, "HOME": str(engine.folder), "DOCKER_HOST": engine.url}
    argv = [engine.flavour.docker, "events", "--format", "{{.Action}}", "--filter", "type=container"]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as listener:
        time.sleep(0.5)
        engine.docker("run", "--rm", "--name", "told", "busybox", "true")
        assert listener.stdout is not None
        seen = [listener.stdout.readline().strip() for _ in range(5)]
        listener.kill()
    assert seen == ["create", "attach", "start", "die", "destroy"]


# ---- attach and terminals


def test_a_terminal_is_one_and_has_its_size(engine: EmbeddedEngine) -> None:
    with Terminal(engine, "run", "--rm", "-it", "--name", "tty", "busybox", "sh") as terminal:
        terminal.read_until("# ")
        terminal.type("stty size; echo do''ne\n")
        terminal.read_until("24 80")
        terminal.read_until("done")
        terminal.resize(50, 133)
        terminal.client.send_signal(28)  # SIGWINCH
        time.sleep(0.3)
        terminal.type("stty size\n")
        terminal.read_until("50 133")
        terminal.type("exit 5\n")
        assert terminal.ends() == 5


def test_detach_keys_let_the_client_go(engine: EmbeddedEngine) -> None:
    with Terminal(engine, "run", "-it", "--name", "kept", "--detach-keys", "ctrl-x,x", "busybox", "sh") as terminal:
        terminal.read_until("# ")
        terminal.type("echo on''e\n")
        terminal.read_until("one")
        terminal.type("\x18x")
        terminal.ends()
    assert state(engine, "kept")["Status"] == "running"
    with Terminal(engine, "attach", "kept") as terminal:
        time.sleep(1)  # the client makes its terminal raw first, and drops what was typed before
        terminal.type("echo tw''o\n")
        terminal.read_until("two")
        terminal.type("exit 4\n")
        assert terminal.ends() == 4


def test_several_clients_see_the_same(engine: EmbeddedEngine) -> None:
    engine.docker("run", "-di", "--name", "shown", "busybox", "sh", "-c", "read go; seq 1 20000")
    outputs: list[str] = []

    def look() -> None:
        outputs.append(engine.docker("attach", "--no-stdin", "shown").stdout)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    engine.docker("attach", "shown", stdin="go\n")
    for thread in threads:
        thread.join()
    assert [output.split() for output in outputs] == [[str(number) for number in range(1, 20001)]] * 3


def test_start_with_input(engine: EmbeddedEngine) -> None:
    engine.docker("create", "-i", "--name", "cat", "busybox", "cat")
    assert engine.docker("start", "-ai", "cat", stdin="through\n").stdout == "through\n"
    assert state(engine, "cat")["ExitCode"] == 0


# ---- exec


def test_exec(engine: EmbeddedEngine, sleeper: str) -> None:
    ended = engine.docker("exec", sleeper, "sh", "-c", "echo out; echo err >&2; exit 6", check=False)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("out\n", "err\n", 6)
    script = 'echo "$(id -u) $(pwd) $A"'
    assert (
        engine.docker("exec", "-u", "nobody", "-w", "/etc", "-e", "A=b", sleeper, "sh", "-c", script).stdout
        == "65534 /etc b\n"
    )
    assert engine.docker("exec", "-i", sleeper, "cat", stdin="in\n").stdout == "in\n"
    engine.docker("exec", "-d", sleeper, "touch", "/made")
    engines.wait_until(
        lambda: engine.docker("exec", sleeper, "ls", "/made", check=False).returncode == 0, "the file", 30
    )
    assert "executable file not found" in engine.docker("exec", sleeper, "nosuch", check=False).stdout


def test_exec_on_a_terminal(engine: EmbeddedEngine, sleeper: str) -> None:
    with Terminal(engine, "exec", "-it", sleeper, "sh") as terminal:
        terminal.read_until("# ")
        terminal.type("stty size; tty\n")
        terminal.read_until("24 80")
        terminal.read_until("/dev/pts/")
        terminal.type("exit 3\n")
        assert terminal.ends() == 3


def test_exec_is_gone_with_its_container(engine: EmbeddedEngine, sleeper: str) -> None:
    environment = {"PATH": engine.flavour.path, "HOME": str(engine.folder), "DOCKER_HOST": engine.url}
    argv = [engine.flavour.docker, "exec", sleeper, "sleep", "500"]
    with subprocess.Popen(argv, env=environment) as client:
        engines.wait_until(lambda: "sleep 500" in engine.docker("top", sleeper).stdout, "the process", 30)
        engine.docker("kill", sleeper)
        assert client.wait(20) == 137


# ---- logs


def test_logs(engine: EmbeddedEngine) -> None:
    engine.docker(
        "run",
        "--name",
        "talker",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3 4; do echo o$i; echo e$i >&2; sleep 0.05; done",
    )
    ended = engine.docker("logs", "talker")
    assert (ended.stdout.split(), ended.stderr.split()) == (["o1", "o2", "o3", "o4"], ["e1", "e2", "e3", "e4"])
    assert (
        len(engine.docker("logs", "--tail", "3", "talker").stdout.split())
        + len(engine.docker("logs", "--tail", "3", "talker").stderr.split())
        == 3
    )
    stamped = engine.docker("logs", "-t", "talker").stdout.splitlines()
    third = stamped[2].split()[0]
    assert engine.docker("logs", "--since", third, "talker").stdout.split() == ["o3", "o4"]
    assert engine.docker("logs", "--until", third, "talker").stdout.split() == ["o1", "o2", "o3"]


def test_logs_are_followed_to_the_end(engine: EmbeddedEngine) -> None:
    engine.docker(
        "run", "-d", "--name", "long", "busybox", "sh", "-c", "for i in $(seq 300); do echo $i; sleep 0.01; done"
    )
    followed = engine.docker("logs", "-f", "long").stdout
    assert followed.split() == [str(number) for number in range(1, 301)]


def test_logs_rotate_and_lose_nothing_to_a_follower(engine: EmbeddedEngine) -> None:
    options = ["-d", "--name", "much", "--log-opt", "max-size=100k", "--log-opt", "max-file=3"]
    script = (
        "i=0; while [ $i -lt 40000 ]; do echo line-$i; i=$((i+1)); [ $((i % 4000)) = 0 ] && sleep 0.3; done; sleep 1"
    )
    engine.docker("run", *options, "busybox", "sh", "-c", script)
    followed = engine.docker("logs", "-f", "much").stdout.split()
    assert followed[-1] == "line-39999"
    first = int(followed[0].partition("-")[2])
    assert followed == [f"line-{number}" for number in range(first, 40000)]
    kept = engine.docker("logs", "much").stdout.split()
    assert 0 < len(kept) < 40000
    assert kept[-1] == "line-39999"


# ---- lists


def test_ps_filters(engine: EmbeddedEngine) -> None:
    engine.docker(
        "run", "-d", "--name", "one", "-l", "k=v", "-p", "8090:80", "-v", "vol:/data", "busybox", "sleep", "1000"
    )
    engine.docker("network", "create", "net")
    engine.docker("run", "-d", "--name", "two", "--network", "net", "--expose", "99", "busybox", "sleep", "1000")
    engine.docker("run", "--name", "three", "busybox", "sh", "-c", "exit 3", check=False)

    def names(*filters: str) -> set[str]:
        options = [word for text in filters for word in ("-f", text)]
        return set(engine.docker("ps", "-a", "--format", "{{.Names}}", *options).stdout.split())

    assert names() == {"one", "two", "three"}
    assert (
        names("label=k")
        == names("label=k=v")
        == names("volume=vol")
        == names("volume=/data")
        == names("publish=8090")
        == {"one"}
    )
    assert names("network=net") == names("expose=99") == {"two"}
    assert names("status=exited") == names("exited=3") == {"three"}
    assert names("status=running", "name=o") == {"one", "two"}
    assert names("before=two") == {"one"}
    assert names("since=two") == {"three"}
    assert names("ancestor=busybox") == {"one", "two", "three"}
    assert names("ancestor=nothing") == set()
    short = engine.docker("ps", "-q", "-f", "name=^one$").stdout.strip()
    assert names(f"id={short}") == {"one"}
    assert engine.docker("ps", "--format", "{{.Names}}").stdout.split() == ["two", "one"]
    assert engine.docker("ps", "-l", "--format", "{{.Names}} {{.Status}}").stdout.startswith("three Exited (3)")
    assert "invalid filter" in refused(engine, "ps", "-f", "nonsense=1")


def test_sizes_and_prune(engine: EmbeddedEngine, sleeper: str) -> None:
    engine.docker("run", "--name", "big", "busybox", "dd", "if=/dev/zero", "of=/file", "bs=1000", "count=1000")
    assert engine.docker("ps", "-as", "-f", "name=big", "--format", "{{.Size}}").stdout.startswith("1MB (virtual 2.9")
    pruned = engine.docker("container", "prune", "-f").stdout
    assert "Total reclaimed space: 1MB" in pruned
    assert engine.contents().containers == {sleeper}


def test_top_and_stats(engine: EmbeddedEngine, sleeper: str) -> None:
    rows = engine.docker("top", sleeper).stdout.splitlines()
    assert rows[0].split()[:3] == ["UID", "PID", "PPID"]
    assert rows[1].endswith("sleep 1000")
    assert engine.docker("top", sleeper, "-o", "pid,comm").stdout.splitlines()[1].split()[1] == "sleep"
    shown = engine.docker("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.MemUsage}}", sleeper).stdout
    assert shown.startswith("sleeper 1 ")
    assert "0B /" not in shown


# ---- changes


def test_diff_shows_what_was_added_changed_deleted(engine: EmbeddedEngine) -> None:
    script = (
        "echo x > /etc/new; echo y >> /etc/passwd; rm /etc/group; mkdir -p /a/b; rm -r /var; mkdir /var; chmod 700 /tmp"
    )
    engine.docker("run", "--name", "changed", "busybox", "sh", "-c", script)
    found = set(engine.docker("diff", "changed").stdout.splitlines())
    assert found == {"C /etc", "A /etc/new", "C /etc/passwd", "D /etc/group", "A /a", "A /a/b", "C /var", "C /tmp"}
    assert engine.docker("run", "--rm", "busybox", "cat", "/etc/group").stdout  # the image is as it was


def test_commit(engine: EmbeddedEngine) -> None:
    engine.docker("run", "--name", "source", "busybox", "sh", "-c", "echo kept > /file; rm /etc/group")
    changes = ["-c", 'CMD ["cat", "/file"]', "-c", "ENV A=b", "-c", "LABEL x=y"]
    made = engine.docker("commit", *changes, "-m", "why", "-a", "who", "source", "made:1").stdout.strip()
    assert engine.docker("run", "--rm", "made:1").stdout == "kept\n"
    assert engine.docker("run", "--rm", "made:1", "ls", "/etc/group", check=False).returncode == 1
    image = json.loads(engine.docker("image", "inspect", "made:1").stdout)[0]
    assert (image["Id"], image["Author"], image["Comment"]) == (made, "who", "why")
    assert "A=b" in image["Config"]["Env"]
    assert image["Config"]["Labels"] == {"x": "y"}
    assert "is not a valid change command" in refused(engine, "commit", "-c", "RUN ls", "source")
    engine.docker("rmi", "made:1")


def test_export_is_the_whole_root(engine: EmbeddedEngine, sleeper: str, tmp_path: Path) -> None:
    engine.docker("exec", sleeper, "sh", "-c", "echo here > /new")
    archive = tmp_path / "root.tar"
    engine.docker("export", "-o", str(archive), sleeper)
    listed = subprocess.run(["tar", "-tf", archive], capture_output=True, text=True, check=True).stdout.split()
    assert {"new", "bin/busybox", "etc/passwd"} <= set(listed)
    assert not [name for name in listed if name.startswith(("proc/", "sys/")) and name not in {"proc/", "sys/"}]


def test_an_image_in_use_stays(engine: EmbeddedEngine, sleeper: str) -> None:
    assert "is using" in refused(engine, "rmi", "busybox")
    assert engine.docker("exec", sleeper, "true").returncode == 0
