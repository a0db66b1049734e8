"""What runtimes say when they refuse, in the words that clients of Docker look for."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from declarative.engine.runtime.oci import HANDOVER, OciRuntime, refusal
from declarative.errors import NotFound

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

_HEAD = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "
)


@pytest.mark.parametrize(
    ("said", "program", "words", "code"),
    [
        (
            (
                'time="2026-01-01T00:00:00Z" level=error msg="runc create failed: unable to start container process: '
                'exec: \\"no\\": executable file not found in $PATH"'
            ),
            "no",
            'unable to start container process: exec: "no": executable file not found in $PATH',
            127,
        ),
        (
            "executable file `no` not found in $PATH: No such file or directory",
            "no",
            'unable to start container process: exec: "no": executable file not found in $PATH',
            127,
        ),
        (
            "executable file `/no` not found in $PATH: No such file or directory",
            "/no",
            'unable to start container process: exec: "/no": stat /no: no such file or directory',
            127,
        ),
        (
            "warning of no matter\nopen executable: Permission denied",
            "/etc/passwd",
            'unable to start container process: exec: "/etc/passwd": permission denied',
            126,
        ),
        (
            "chdir `/x`: Permission denied",
            "sh",
            'unable to start container process: chdir to cwd ("/x") set in config.json failed: permission denied',
            126,
        ),
        ("something else", "sh", "something else", 128),
        ("", "sh", "the runtime gave no reason", 128),
    ],
)
def test_refusals(said: str, program: str, words: str, code: int) -> None:
    error = refusal(said, (program,))
    assert str(error) == f"{_HEAD}{words}: unknown"
    assert error.code == code


@pytest.mark.parametrize("kind", ["runc", "crun"])
def test_letting_go_is_a_byte_through_a_pipe(tmp_path: Path, kind: Literal["runc", "crun"]) -> None:
    runtime = OciRuntime(kind=kind, program=tmp_path / "program", root=tmp_path)
    (tmp_path / "c").mkdir()
    pipe = tmp_path / "c/exec.fifo"
    os.mkfifo(pipe)
    assert runtime.is_waiting("c")
    passed = threading.Event()
    ready = threading.Event()

    def wait() -> None:
        if kind == "runc":
            ready.set()
            with pipe.open("wb") as file:
                file.write(b"0")
        else:
            descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
            ready.set()
            os.set_blocking(descriptor, True)
            while not os.read(descriptor, 1):
                pass
            os.close(descriptor)
        passed.set()

    process = threading.Thread(target=wait)
    process.start()
    ready.wait()
    runtime.let_go("c", lambda: True)
    process.join(20)
    assert passed.is_set()
    assert not runtime.is_waiting("c")
    with pytest.raises(NotFound):
        runtime.let_go("c", lambda: True)


@pytest.mark.parametrize("kind", ["runc", "crun"])
def test_nobody_waits_for_one_that_has_died(tmp_path: Path, kind: Literal["runc", "crun"]) -> None:
    runtime = OciRuntime(kind=kind, program=tmp_path / "program", root=tmp_path)
    (tmp_path / "c").mkdir()
    os.mkfifo(tmp_path / "c/exec.fifo")
    with pytest.raises(NotFound):
        runtime.let_go("c", lambda: False)


def test_a_runtime_ends_when_its_terminal_was_taken(tmp_path: Path) -> None:
    place = tmp_path / "console"
    with socket.socket(socket.AF_UNIX) as console:
        console.bind(str(place))
        ended = _hand_over(tmp_path, "exit 3", "--console-socket", str(place), "name")
        assert ended.wait(10) == 3
        waits = _hand_over(tmp_path, "exit 0", "--console-socket", str(place), "name")
        with pytest.raises(subprocess.TimeoutExpired):
            waits.wait(0.5)
        place.unlink()
        assert waits.wait(10) == 0
    assert _hand_over(tmp_path, "exit 0", "name").wait(10) == 0


def _hand_over(folder: Path, script: str, *arguments: str) -> subprocess.Popen[bytes]:
    file = folder / "handover"
    file.write_bytes(HANDOVER)
    return subprocess.Popen(["sh", str(file), "sh", "-c", script, "exec", *arguments])
