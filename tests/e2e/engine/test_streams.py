"""What flows between a client and a program: attach, exec, terminals, half-closed input, large amounts, resizing."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.e2e.engine.clients import FOREVER, IMAGE

if TYPE_CHECKING:
    from tests.e2e.engine.clients import Daemon

_MEGABYTES = 20


def test_input_ends_when_the_client_s_does(daemon: Daemon) -> None:
    assert daemon.docker("run", "-i", "--rm", IMAGE, "sort", stdin="b\na\n").stdout == "a\nb\n"
    daemon.up("web")
    ended = daemon.docker("exec", "-i", "web", "sh", "-c", "cat; sleep 0.2; echo late; exit 7", stdin="x", check=False)
    assert (ended.stdout, ended.returncode) == ("xlate\n", 7)


def test_without_i_there_is_no_input(daemon: Daemon) -> None:
    assert daemon.docker("run", "--rm", IMAGE, "cat", stdin="never read").stdout == ""


def test_large_amounts_go_through_whole_in_both_directions(daemon: Daemon) -> None:
    import hashlib
    import subprocess

    daemon.up("web")
    data = os.urandom(1 << 20) * _MEGABYTES
    for verb in (("exec", "-i", "web"), ("run", "-i", "--rm", IMAGE)):
        ended = subprocess.run(
            daemon.argv(*verb, "cat"),
            check=True,
            input=data,
            capture_output=True,
            env=daemon.environment(),
            timeout=120,
        )
        assert hashlib.sha256(ended.stdout).digest() == hashlib.sha256(data).digest(), verb


def test_exec_runs_as_whom_where_and_with_what_it_is_told(daemon: Daemon) -> None:
    daemon.up("web", "-e", "A=container", "-e", "B=container", "-u", "nobody", "-w", "/var")
    assert daemon.out("exec", "web", "sh", "-c", "id -u; pwd; echo $A") == "65534\n/var\ncontainer"
    options = ("-u", "root:nogroup", "-w", "/etc", "-e", "B=exec", "-e", "C=1")
    assert (
        daemon.out("exec", *options, "web", "sh", "-c", "id -u; id -g; pwd; echo $A $B $C")
        == "0\n65534\n/etc\ncontainer exec 1"
    )


def test_exec_has_a_terminal_s_name_where_it_has_a_terminal(daemon: Daemon) -> None:
    daemon.up("plain")
    daemon.up("tty", "-t")
    daemon.up("named", "-t", "-e", "TERM=vt100")
    assert daemon.sh("tty", "echo $TERM") == ""
    for name, term in {"plain": "xterm", "tty": "xterm", "named": "vt100"}.items():
        with daemon.terminal("exec", "-t", name, "sh", "-c", "echo TERM is $TERM") as terminal:
            assert terminal.finish() == 0
            assert terminal.seen.strip() == f"TERM is {term}"


@pytest.mark.parametrize(
    ("command", "code", "phrase"),
    [
        (("false",), 1, ""),
        (("sh", "-c", "kill -9 $$"), 137, ""),
        (("nosuch",), 126, "executable file not found"),
        (("/etc/passwd",), 126, "permission denied"),
    ],
)
def test_exec_exit_codes(daemon: Daemon, command: tuple[str, ...], code: int, phrase: str) -> None:
    daemon.up("web")
    ended = daemon.docker("exec", "web", *command, check=False)
    assert ended.returncode in {code, code + (code == 126)}
    assert phrase in ended.stdout + ended.stderr


def test_exec_in_the_background_and_in_what_does_not_run(daemon: Daemon) -> None:
    daemon.up("web")
    daemon.docker("exec", "-d", "web", "sh", "-c", "echo done > /file; exec sleep 9000")
    engines.wait_until(
        lambda: daemon.docker("exec", "web", "cat", "/file", check=False).stdout == "done\n", "the file", 10
    )
    assert "sleep 9000" in daemon.sh("web", "ps -o args")
    daemon.docker("stop", "web")
    assert "is not running" in daemon.fails("exec", "web", "true", code=1)


def test_a_daemon_with_more_than_a_thousand_clients_still_waits_for_processes(daemon: Daemon) -> None:
    daemon.up("web")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as clients:
        for _ in range(1100):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(daemon.engine.socket_path))
            client.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        body = {"Cmd": ["sh", "-c", "sleep 0.3; exit 5"], "Tty": True, "AttachStdout": True}
        made = daemon.engine.api("POST", "/containers/web/exec", body)[1]["Id"]
        daemon.engine.api("POST", f"/exec/{made}/start", {"Detach": True, "Tty": True})
        engines.wait_until(
            lambda: daemon.engine.api("GET", f"/exec/{made}/json")[1]["ExitCode"] == 5, "the exit code", 10
        )


def test_exec_with_more_power(daemon: Daemon) -> None:
    daemon.up("web")
    mine, given = (
        int(daemon.out("exec", *options, "web", "grep", "CapEff", "/proc/self/status").split()[1], 16)
        for options in ((), ("--privileged",))
    )
    assert mine != given
    assert mine & given == mine


def test_exec_is_inspected(daemon: Daemon) -> None:
    import json

    daemon.up("web")
    status, made = daemon.engine.api(
        "POST", "/containers/web/exec", {"Cmd": ["sh", "-c", "exit 5"], "AttachStdout": True, "Env": ["A=b"]}
    )
    assert status == 201
    _, before = daemon.engine.api("GET", f"/exec/{made['Id']}/json")
    assert (before["Running"], before["ExitCode"], before["ProcessConfig"]["entrypoint"]) == (False, None, "sh")
    assert daemon.engine.api("POST", f"/exec/{made['Id']}/start", {"Detach": True})[0] == 200
    engines.wait_until(lambda: daemon.engine.api("GET", f"/exec/{made['Id']}/json")[1]["ExitCode"] == 5, "its end", 10)
    assert daemon.engine.api("POST", f"/exec/{made['Id']}/start", {"Detach": True})[0] == 409
    assert daemon.engine.api("GET", "/exec/nosuch/json")[0] == 404
    assert made["Id"] in json.dumps(daemon.inspect("web")["ExecIDs"]) or daemon.inspect("web")["ExecIDs"] is None


def test_an_interactive_terminal(daemon: Daemon) -> None:
    with daemon.terminal("run", "-it", "--rm", "-h", "box", IMAGE, rows=40, columns=100) as terminal:
        terminal.read_until("/ # ")
        terminal.type("tty; stty size; hostname\n")
        assert "/dev/pts/0\r\n40 100\r\nbox\r\n" in terminal.read_until("box\r\n")
        terminal.type("exit 3\n")
        assert terminal.finish() == 3


def test_a_terminal_of_exec_is_resized_and_interrupted(daemon: Daemon) -> None:
    daemon.up("web")
    with daemon.terminal("exec", "-it", "web", "sh", rows=30, columns=90) as terminal:
        terminal.read_until("/ # ")
        terminal.type("stty size\n")
        terminal.read_until("30 90\r\n")
        terminal.resize(51, 132)
        engines.wait_until(lambda: _typed(terminal, "stty size\n", "# ").count("51 132") > 0, "the new size", 20)
        terminal.type("sleep 9001\n")
        engines.wait_until(lambda: "sleep 9001" in daemon.out("top", "web"), "the program to run", 20)
        terminal.type("\x03")  # Ctrl-C
        terminal.read_until("/ # ")
        terminal.type("echo code $?\n")
        terminal.read_until("code 130\r\n/ # ")  # the terminal is the shell's again, which reads what ends it
        terminal.type("\x04")  # Ctrl-D
        terminal.finish()


def _typed(terminal: object, text: str, until: str) -> str:
    from tests.e2e.engine.clients import Terminal

    assert isinstance(terminal, Terminal)
    terminal.type(text)
    return terminal.read_until(until)


def test_a_container_s_terminal_is_resized(daemon: Daemon) -> None:
    script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.1; done"
    with daemon.terminal(
        "run", "-it", "--rm", "--name", "web", IMAGE, "sh", "-c", script, rows=20, columns=70
    ) as terminal:
        terminal.read_until("20 70")
        terminal.resize(45, 111)
        terminal.read_until("45 111")
        daemon.docker("rm", "-f", "web")
        assert terminal.finish() == 137


def test_detach_and_attach_again(daemon: Daemon) -> None:
    with daemon.terminal("run", "-it", "--name", "web", IMAGE) as terminal:
        terminal.read_until("/ # ")
        terminal.type("A=kept\n")
        terminal.read_until("/ # ")
        terminal.type("\x10\x11")  # Ctrl-P Ctrl-Q
        assert terminal.finish() == 0
    assert daemon.state("web") == "running"
    with daemon.terminal("attach", "--detach-keys", "ctrl-a,d", "web") as terminal:
        time.sleep(0.3)
        terminal.type("echo $A again\n")
        terminal.read_until("kept again\r\n")
        terminal.type("\x01d")
        assert "read escape sequence" in terminal.seen if terminal.finish() else True
    assert daemon.state("web") == "running"


def test_two_clients_see_the_same_output(daemon: Daemon) -> None:
    script = "while [ ! -e /go ]; do sleep 0.05; done; echo together; sleep 0.2; exit 4"
    daemon.docker("run", "-d", "--name", "web", IMAGE, "sh", "-c", script)
    one, two = daemon.start("attach", "--no-stdin", "web"), daemon.start("attach", "--no-stdin", "web")
    time.sleep(0.5)
    daemon.sh("web", "touch /go")
    for process in (one, two):
        out, _ = process.communicate(timeout=30)
        assert (out, process.returncode) == (b"together\n", 4)


def test_attach_carries_input_and_signals(daemon: Daemon) -> None:
    script = "trap 'echo hup; exit 6' HUP; read line; echo got $line; while :; do sleep 0.1; done"
    daemon.docker("run", "-d", "-i", "--name", "web", IMAGE, "sh", "-c", script)
    process = daemon.start("attach", "web")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"one\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"got one\n"
    process.send_signal(signal.SIGHUP)
    assert process.stdout.readline() == b"hup\n"
    process.communicate(timeout=30)
    assert process.returncode == 6


def test_start_attached_and_interactive(daemon: Daemon) -> None:
    daemon.docker("create", "-i", "--name", "web", IMAGE, "tr", "a-z", "A-Z")
    assert daemon.docker("start", "-ai", "web", stdin="shout\n").stdout == "SHOUT\n"
    assert daemon.docker("start", "-ai", "web", stdin="again\n").stdout == "AGAIN\n"
    assert daemon.lines("logs", "web") == ["SHOUT", "AGAIN"]


def test_a_client_that_is_killed_leaves_the_program_running(daemon: Daemon) -> None:
    script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
    process = daemon.start("run", "--name", "web", IMAGE, "sh", "-c", script)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    before = int(daemon.lines("logs", "--tail", "1", "web")[0])
    engines.wait_until(lambda: int(daemon.lines("logs", "--tail", "1", "web")[0]) > before, "it to go on", 10)
    numbers = [int(line) for line in daemon.lines("logs", "web")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_reader_that_is_slow_loses_nothing(daemon: Daemon) -> None:
    process = daemon.start("run", "--rm", IMAGE, "seq", "200000", stdin=None)
    time.sleep(1)
    out, _ = process.communicate(timeout=60)
    assert out.split() == [str(number).encode() for number in range(1, 200001)]


def test_a_terminal_is_asked_for_and_there_is_none(daemon: Daemon) -> None:
    assert "the input device is not a TTY" in daemon.fails("run", "-it", "--rm", IMAGE, "true")
    daemon.docker("run", "-d", "-t", "--name", "web", IMAGE, *FOREVER)
    assert daemon.sh("web", "readlink /proc/1/fd/0") == "/dev/pts/0"
    assert daemon.docker("run", "--rm", "-t", IMAGE, "sh", "-c", "echo err >&2").stdout == "err\n"
