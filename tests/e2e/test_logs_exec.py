"""`logs` and `exec` on a real engine: merged output, exit codes, input, and a real terminal at a pty."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from fcntl import ioctl
from typing import TYPE_CHECKING

import pytest

from declarative.manifest import schema
from tests.cli import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli import Cli
    from tests.engines import Engine

_STACK = """\
apiVersion: declarative/v1
kind: Container
metadata: {name: web}
spec:
  image: busybox:latest
  replicas: 2
  command: [sh, -c, "echo out; echo err >&2; sleep 86400"]
  stop_signal: SIGKILL
---
apiVersion: declarative/v1
kind: Job
metadata: {name: once}
spec: {image: "busybox:latest", command: [sh, -c, "printf 'no line end'"]}
"""


@pytest.fixture
def stack(tmp_path: Path, declarative_cli: Cli) -> Path:
    folder = tmp_path / "talk"
    folder.mkdir()
    (folder / "stack.yaml").write_text(_STACK)
    declarative_cli("apply", cwd=folder).expect(0)
    return folder


def test_logs_are_merged_and_named(stack: Path, declarative_cli: Cli) -> None:
    ended = declarative_cli("logs", cwd=stack).expect(0)
    lines = ended.out.splitlines()
    assert sorted(lines) == [
        "once-1 | no line end",
        "web-1  | err",
        "web-1  | out",
        "web-2  | err",
        "web-2  | out",
    ]
    assert "\x1b" not in ended.out  # no colours where nobody looks
    # one alone is bare, and can be cut
    assert declarative_cli("logs", "web-2", "--tail", "1", cwd=stack).expect(0).out in {"err\n", "out\n"}
    timed = declarative_cli("logs", "-t", "once", cwd=stack).expect(0).out
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z no line end\n", timed)
    assert declarative_cli("logs", "--since", "2099-01-01T00:00:00Z", cwd=stack).expect(0).out == ""
    assert "web" in declarative_cli("logs", "wbe", cwd=stack).expect(1).err
    # as one document
    document = declarative_cli("logs", "-o", "json", cwd=stack).expect(0).json()
    schema.validate("logs", document, "logs")
    assert {(line["container"], line["stream"]) for line in document["lines"]} >= {
        ("talk-web-1", "stdout"),
        ("talk-web-2", "stderr"),
    }


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Let children have SIGINT as a shell in the foreground gives it; a run in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_following_shows_new_lines_until_ctrl_c(stack: Path, declarative_cli: Cli, docker_engine: Engine) -> None:
    following = declarative_cli.start("logs", "-f", "web-1", "--tail", "0", cwd=stack)
    try:
        assert following.stdout is not None
        time.sleep(0.7)  # it has to be at the end before something new comes
        docker_engine.docker("exec", "talk-web-1", "sh", "-c", "echo news > /proc/1/fd/1")
        assert select.select([following.stdout], [], [], 10)[0]
        assert os.read(following.stdout.fileno(), 100) == b"news\n"
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=10)
        assert (following.returncode, err) == (130, b"")
    finally:
        following.kill()
        following.communicate()
    # following ends with the container
    assert declarative_cli("logs", "-f", "once", cwd=stack, seconds=20).expect(0).out == "no line end\n"


def test_exec_passes_input_output_settings_and_the_exit_code(stack: Path, declarative_cli: Cli) -> None:
    ended = declarative_cli(
        "exec", "web", "--", "sh", "-c", "cat; echo to-err >&2; exit 7", cwd=stack, stdin=b"in\0put"
    )
    assert (ended.code, ended.out, ended.err) == (7, "in\0put", "to-err\n")
    big = b"x" * 3_000_000
    assert declarative_cli("exec", "web-2", "wc", "-c", cwd=stack, stdin=big).expect(0).out.strip() == "3000000"
    # user, folder and variables
    script = "id -un; pwd; echo $A; echo $OURS"
    ended = declarative_cli(
        "exec", "-u", "nobody", "-w", "/etc", "-e", "A=1 2", "-e", "OURS", "web", "--", "sh", "-c", script,
        cwd=stack, env={"OURS": "mine"},
    ).expect(0)  # fmt: skip
    assert ended.out == "nobody\n/etc\n1 2\nmine\n"
    # where nothing runs, one line
    assert "exited" in declarative_cli("exec", "once", "--", "ls", cwd=stack).expect(1).err
    assert "no such container" in declarative_cli("exec", "db", "--", "ls", cwd=stack).expect(1).err
    absent = declarative_cli("exec", "web", "--", "no-such-program", cwd=stack)
    assert absent.code in {126, 127}


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Return both ends of a terminal of 33 rows and 99 columns: a person's, and the program's."""
    ours, theirs = pty.openpty()
    ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


@pytest.fixture
def shell(
    stack: Path, declarative_cli: Cli, terminal: tuple[int, int]
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Return what starts a shell in web-1 at the terminal."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [PROGRAM, "exec", "web-1", "--", "sh"],
            stdin=terminal[1], stdout=terminal[1], stderr=terminal[1], cwd=stack,
            env={**declarative_cli.environment, "TERM": "xterm"}, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_exec_at_a_terminal_is_interactive(
    shell: Callable[[], subprocess.Popen[bytes]], terminal: tuple[int, int]
) -> None:
    ours, _ = terminal
    process = shell()
    _read_until(ours, b"# ")
    assert not termios.tcgetattr(ours)[3] & termios.ICANON
    os.write(ours, b"stty size\r")
    assert b"33 99" in _read_until(ours, b"99")
    ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 55, 0, 0))
    time.sleep(1)
    os.write(ours, b"stty size\r")
    assert b"44 55" in _read_until(ours, b"44 55")
    os.write(ours, b"sleep 60\r")
    time.sleep(0.5)
    os.write(ours, b"\x03")  # Ctrl-C goes to the program
    _read_until(ours, b"# ")
    os.write(ours, b"exit 9\r")
    assert process.wait(20) == 9
    assert termios.tcgetattr(ours)[3] & termios.ICANON  # ours again
    # also where we are ended from outside
    while select.select([ours], [], [], 0.2)[0]:
        os.read(ours, 4096)
    process = shell()
    _read_until(ours, b"# ")
    process.terminate()
    assert process.wait(20) == 130
    assert termios.tcgetattr(ours)[3] & termios.ICANON


def _read_until(number: int, text: bytes, seconds: float = 15) -> bytes:
    ends, found = time.monotonic() + seconds, b""
    while text not in found:
        left = ends - time.monotonic()
        assert left > 0, found
        assert select.select([number], [], [], left)[0], found
        found += os.read(number, 4096)
    return found
