"""The embedded engine's daemon as the tool sees it, where there is none, or somebody else's."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import TYPE_CHECKING

import pytest

from declarative.cli import embedded
from declarative.dockerapi.places import Places, places
from declarative.errors import Conflict, Denied

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def where(tmp_path: Path) -> Places:
    made = places(tmp_path / "r")
    made.run.mkdir(parents=True)
    return made


@pytest.fixture
def held(where: Places) -> Iterator[int]:
    """Hold the lock of the data root, as a daemon would."""
    fd = os.open(where.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield fd
    os.close(fd)


def test_without_a_daemon_nobody_answers_runs_or_is_stopped(where: Places) -> None:
    assert not embedded.answers(where.socket)
    assert embedded.running(where) is None
    assert not embedded.stop(where)
    where.lock.write_text('{"pid": 1, "hosts": ["unix:///gone"]}')  # of one that was killed: nobody holds it
    assert embedded.running(where) is None


def test_what_a_holder_says_is_believed_while_it_holds(where: Places, held: int) -> None:
    os.write(held, b'{"pid": 7, "hosts": ["unix:///s", "tcp://127.0.0.1:1"]}\n')

    assert embedded.running(where) == embedded.Running(pid=7, hosts=("unix:///s", "tcp://127.0.0.1:1"))


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"pid": "x", "hosts": []}', b'{"pid": 7}'])
def test_a_holder_that_has_said_nothing_yet_is_somebody(
    where: Places, held: int, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.write(held, said)
    monkeypatch.setattr(embedded, "_SAID_SECONDS", 0.05)

    assert embedded.running(where) == embedded.Running(pid=0, hosts=())
    with pytest.raises(Conflict, match="its daemon is starting or ending — try again"):
        embedded.stop(where)


def test_only_root_can_start_it(where: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(Denied) as caught:
        embedded.ensure(where, {}, "no docker or podman socket at /run/docker.sock")
    assert str(caught.value) == (
        "engine: the embedded engine does not run, and only root can start it "
        "(no docker or podman socket at /run/docker.sock) — use sudo, or name another engine with --engine"
    )
    with pytest.raises(Denied, match="only root can start it — use sudo"):
        embedded.ensure(where, {}, "--engine")


def test_one_that_answers_is_taken_by_whoever_may_connect(where: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(where.socket))
        listener.listen()
        assert not embedded.ensure(where, {}, "--engine")


def test_the_daemons_program_is_found_from_anywhere() -> None:
    argv, extra = embedded.command(["--probe"])

    assert argv[1:] == ["-P", "-m", "declarative.engine", "--probe"]
    assert set(extra) <= {"PYTHONPATH"}
