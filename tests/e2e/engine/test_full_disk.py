"""The disk below the data root is full: what makes room still works, no end of a container is lost, and all goes on with room.

The rule that keeps it simple: not one byte is free while anything is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.e2e.engine import outages
from tests.e2e.engine.clients import IMAGE, Daemon
from tests.embedded import EmbeddedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DISK = "40m"


@pytest.fixture(params=["docker26", "embedded"])
def small_daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    """Give a daemon whose disk is small."""
    own = (
        EmbeddedEngine(disk=_DISK)
        if request.param == "embedded"
        else engines.Engine(flavour=engines.DEBIAN_13, disk=_DISK)
    )
    with own as engine:
        yield Daemon(engine=engine, home=tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Daemon]:
    """Give the embedded engine on a small disk."""
    with EmbeddedEngine(disk=_DISK) as engine:
        yield Daemon(engine=engine, home=tmp_path)


def fill(daemon: Daemon) -> None:
    data = daemon.engine.folder / "data"
    daemon.enter("sh", "-c", f"cat /dev/zero > {data}/filler", check=False)
    assert daemon.enter("df", "--output=avail", str(data)).stdout.split()[-1] == "0"


def empty(daemon: Daemon) -> None:
    (daemon.engine.folder / "data" / "filler").unlink()


def test_what_makes_room_works_without_any(small_daemon: Daemon) -> None:
    small_daemon.docker("build", "-q", "-t", "built:1", "-", stdin=f"FROM {IMAGE}\nRUN echo x > /x\n")
    small_daemon.docker("tag", "built:1", "built:2")
    small_daemon.docker("volume", "create", "data")
    small_daemon.docker("network", "create", "back")
    small_daemon.up("web")
    small_daemon.up("other")
    small_daemon.docker("create", "--name", "created", IMAGE)
    fill(small_daemon)
    assert small_daemon.out("info", "-f", "{{.Containers}}") == "3"
    assert small_daemon.fails("run", "--rm", IMAGE, "true")
    for words in (
        ("exec", "web", "true"),
        ("stop", "web"),
        ("rm", "web"),
        ("rm", "-f", "other", "created"),
        ("volume", "rm", "data"),
        ("network", "rm", "back"),
        ("rmi", "built:1"),
        ("rmi", "built:2"),
        ("system", "prune", "-af", "--volumes"),
    ):
        small_daemon.docker(*words)
    assert small_daemon.lines("ps", "-aq") == []
    assert small_daemon.lines("images", "-aq") == []


def test_no_end_is_forgotten_and_restart_policies_go_on(small: Daemon) -> None:
    small.docker("run", "-d", "--name", "ends", IMAGE, "sh", "-c", "sleep 2; exit 7")
    small.docker("run", "-d", "--name", "again", "--restart", "always", IMAGE, "sh", "-c", "sleep 2; exit 3")
    fill(small)
    assert small.out("wait", "ends") == "7"
    small.wait_for("again", "{{.State.Status}}", "restarting")
    outages.crash(small)
    outages.restart(small)
    assert small.field("ends", "{{.State.Status}} {{.State.ExitCode}}") == "exited 7"
    outages.machine(small).stop_daemon()
    outages.restart(small)
    small.docker("rm", "ends")
    empty(small)
    small.wait_for("again", "{{.State.Status}}", "running")


def test_an_end_without_a_restart_of_the_daemon(small: Daemon) -> None:
    small.docker("run", "-d", "--name", "again", "--restart", "always", IMAGE, "sh", "-c", "sleep 1; exit 3")
    fill(small)
    small.wait_for("again", "{{.State.Status}}", "restarting")
    empty(small)
    small.wait_for("again", "{{.State.Status}}", "running")
