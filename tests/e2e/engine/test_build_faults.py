"""Builds in trouble: the daemon killed, the disk full, the client gone; and what is left of them.

The rule that keeps it simple: after the trouble the same build is asked for again, and has to succeed.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.e2e.engine.clients import Daemon
from tests.embedded import EmbeddedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import Popen


def context(folder: Path, dockerfile: str, **files: bytes) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return str(folder)


def wait_for_line(process: Popen[bytes], line: bytes) -> None:
    assert process.stdout is not None
    while (found := process.stdout.readline()).strip() != line:
        assert found, "the build ended before"


def left(daemon: Daemon) -> list[str]:
    """List what a build leaves only while it runs: folders, mounts, namespaces, containers of the runtime."""
    engine = daemon.engine
    assert isinstance(engine, EmbeddedEngine)
    found = [str(path) for path in (engine.root / "build" / "work").iterdir()]
    found += [str(path) for path in (engine.run / "netns").iterdir()]
    mounts = daemon.enter("cat", "/proc/self/mounts").stdout
    return found + [line for line in mounts.splitlines() if f"{engine.root}/build" in line]


def processes(daemon: Daemon) -> str:
    return daemon.enter("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout.replace("sh -c cat", "")


def test_a_daemon_killed_in_a_build_leaves_nothing_that_the_next_does_not_clear(spare: Daemon, tmp_path: Path) -> None:
    where = context(tmp_path / "c", "FROM busybox\nRUN echo kept > /kept\nRUN echo begun; sleep 4321\n")
    process = spare.start("build", where, stdin=None)
    wait_for_line(process, b"begun")
    spare.engine.kill()
    process.communicate(timeout=30)
    assert process.returncode != 0
    engines.wait_until(lambda: "sleep 4321" not in processes(spare), "the step to end with the daemon", 20)

    spare.engine.start_daemon()
    assert left(spare) == []
    again = context(tmp_path / "c", "FROM busybox\nRUN echo kept > /kept\nRUN echo done\n")
    out = spare.docker("build", "-t", "again", again).stdout
    assert out.count("Using cache") == 1
    assert spare.run("again", "cat", "/kept") == "kept"
    assert left(spare) == []


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.15, 0.3, 0.6])
def test_a_daemon_killed_at_any_time_starts_again_and_builds(spare: Daemon, tmp_path: Path, seconds: float) -> None:
    steps = "".join(f"RUN echo {number} > /f{number}\nCOPY x /x{number}\n" for number in range(6))
    where = context(tmp_path / "c", f"FROM busybox\n{steps}", x=b"x" * 100_000)
    process = spare.start("build", where, stdin=None)
    time.sleep(seconds)
    spare.engine.kill()
    process.communicate(timeout=30)

    spare.engine.start_daemon()
    spare.docker("build", "-t", "again", where)
    assert spare.run("again", "cat", "/f5") == "5"
    assert spare.run("again", "sh", "-c", "wc -c < /x5") == "100000"
    assert left(spare) == []


def test_a_client_that_goes_while_it_sends_or_waits(spare: Daemon, tmp_path: Path) -> None:
    where = context(tmp_path / "c", "FROM busybox\nRUN echo begun; sleep 4322\n", big=os.urandom(30_000_000))
    sending = spare.start("build", where, stdin=None)
    time.sleep(0.2)
    os.kill(sending.pid, signal.SIGKILL)
    sending.communicate()
    waiting = spare.start("build", where, stdin=None)
    wait_for_line(waiting, b"begun")
    os.kill(waiting.pid, signal.SIGKILL)
    waiting.communicate()

    engines.wait_until(lambda: not left(spare) and "sleep 4322" not in processes(spare), "the builds to end", 20)
    spare.docker("build", "-", stdin="FROM busybox\nRUN true\n")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Daemon]:
    """Give an engine whose disk holds 48 MB."""
    with EmbeddedEngine(disk="48m") as engine:
        yield Daemon(engine=engine, home=tmp_path)


def test_a_full_disk_fails_the_build_and_nothing_else(small: Daemon, tmp_path: Path) -> None:
    big = context(tmp_path / "big", "FROM busybox\nCOPY big /big\n", big=os.urandom(60_000_000))
    assert "disk full" in small.fails("build", big)

    half = context(tmp_path / "half", "FROM busybox\nCOPY half /1\nCOPY half /2\n", half=os.urandom(17_000_000))
    assert "disk full" in small.fails("build", half)
    assert "No space left on device" in small.fails(
        "build", "-", stdin="FROM busybox\nRUN dd if=/dev/zero of=/zero bs=1M count=100\n"
    )
    small.docker("builder", "prune", "-af")

    small.docker("build", "-t", "after", "-", stdin="FROM busybox\nRUN echo well > /w\n")
    assert small.run("after", "cat", "/w") == "well"
    assert left(small) == []
