"""No namespace, link, mount, control group, process or rule is left over: after use, after each failure, and over many rounds."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.e2e.engine import outages
from tests.e2e.engine.clients import FOREVER, IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.engine.clients import Daemon


@pytest.fixture
def watched(embedded: Daemon) -> Iterator[Daemon]:
    """Give the engine, and compare what the kernel has of it before and after the test."""
    before = outages.used(embedded)
    yield embedded
    embedded.engine.clear()
    assert outages.settled(embedded, before) == []


FAILURES = {
    "no program": ("run", "--rm", IMAGE, "/nosuch"),
    "not executable": ("run", "--name", "bad", IMAGE, "/etc/passwd"),
    "no user": ("run", "-u", "ghost", IMAGE, "true"),
    "no bind source": ("run", "--mount", "type=bind,src=/nosuch,dst=/x", IMAGE, "true"),
    "a mount over a file": ("run", "-v", "/tmp:/etc/passwd", IMAGE, "true"),
    "no device": ("run", "--device", "/dev/nosuch", IMAGE, "true"),
    "a sysctl that is refused": ("run", "--sysctl", "vm.swappiness=1", IMAGE, "true"),
    "a port that is taken": ("run", "-p", "9200:80", "-p", "9200:80", "--name", "twice", IMAGE, "true"),
    "an address out of range": ("run", "--network", "small", "--ip", "10.1.1.1", IMAGE, "true"),
    "no network": ("run", "--network", "nosuch", IMAGE, "true"),
    "no container's network": ("run", "--network", "container:nosuch", IMAGE, "true"),
    "a failing build": ("build", "--no-cache", "-", "FROM busybox\nRUN echo x > /x; exit 3\n"),
    "no image to build on": ("build", "-", "FROM 127.0.0.1:1/nosuch\nRUN true\n"),
    "killed for memory": ("run", "--rm", "-m", "8m", IMAGE, "sh", "-c", "x=a; while :; do x=$x$x; done"),
    "killed": ("run", "--rm", "--init", IMAGE, "sh", "-c", "kill -9 $$"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_leaves_nothing(watched: Daemon, name: str) -> None:
    watched.docker("network", "create", "--subnet", "10.66.0.0/24", "small")
    argv, stdin = FAILURES[name], None
    if argv[0] == "build":
        argv, stdin = argv[:-1], argv[-1]
    for _ in range(2):
        watched.fails(*argv, stdin=stdin)
        watched.docker("rm", "-f", "bad", "twice", check=False)


def test_a_port_that_was_taken_is_free_again(watched: Daemon) -> None:
    watched.up("one", "-p", "9201:80")
    watched.fails("run", "--name", "two", "-p", "9202:80", "-p", "9201:80", IMAGE, "true")
    watched.docker("rm", "-f", "one")
    watched.up("three", "-p", "9201:80", "-p", "9202:80")


def test_fifty_lives_one_after_the_other_and_at_once(watched: Daemon) -> None:
    watched.docker("network", "create", "back")
    watched.run(IMAGE, "true")
    files = outages.open_files(watched)

    def live(number: int) -> None:
        assert watched.run(
            "--network", "back", "-p", "80", "-v", "/anon", "-m", "32m", IMAGE, "echo", str(number)
        ) == str(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(live, range(50)))
    deadline = time.monotonic() + 10
    while outages.open_files(watched) > files + 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert outages.open_files(watched) <= files + 5


def test_exec_sessions_leave_nothing(watched: Daemon) -> None:
    watched.up("web")
    watched.sh("web", "true")
    before, files = outages.count(watched), outages.open_files(watched)
    for number in range(10):
        assert watched.sh("web", f"echo {number}") == str(number)
    watched.docker("exec", "-d", "web", "sleep", "0.2")
    watched.fails("exec", "web", "nosuch")
    with watched.terminal("exec", "-it", "web", "sh") as terminal:
        terminal.read_until("# ")
        terminal.type("exit\n")
        terminal.finish()
    assert outages.settled(watched, before) == []
    engines.wait_until(lambda: outages.open_files(watched) <= files + 3, "their descriptors to be closed", 10)


def _made(daemon: Daemon, *args: str) -> str:
    """Make a further process in `web` that nobody has started yet; its id."""
    body = {"Cmd": list(args), "AttachStdout": True}
    _, made = daemon.engine.api("POST", "/containers/web/exec", body)
    return str(made["Id"])


def _runtimes(daemon: Daemon) -> list[str]:
    return [line for line in outages.count(daemon).processes if " exec --process " in line]


def test_what_is_made_and_never_started_leaves_nothing(watched: Daemon) -> None:
    watched.up("web")
    before, files = outages.count(watched), outages.open_files(watched)
    for _ in range(30):
        _made(watched, "true")
    engines.wait_until(lambda: bool(_runtimes(watched)), "the runtimes that wait", 4)
    assert len(_runtimes(watched)) <= 8
    assert outages.settled(watched, before) == []
    assert outages.open_files(watched) <= files + 3


def test_what_was_prepared_ends_with_the_daemon(spare: Daemon) -> None:
    spare.up("web")
    _made(spare, "true")
    engines.wait_until(lambda: bool(_runtimes(spare)), "the runtime that waits", 10)
    outages.crash(spare)
    engines.wait_until(lambda: not _runtimes(spare), "its end", 10)
    outages.restart(spare)
    assert spare.sh("web", "echo well") == "well"


def test_what_was_prepared_for_an_earlier_run_is_not_used(watched: Daemon) -> None:
    watched.up("web")
    made = _made(watched, "touch", "/tmp/done")
    time.sleep(0.5)
    watched.docker("restart", "-t", "0", "web")
    watched.engine.api("POST", f"/exec/{made}/start", {"Detach": True})
    engines.wait_until(
        lambda: watched.docker("exec", "web", "test", "-f", "/tmp/done", check=False).returncode == 0, "it", 10
    )


def test_clients_that_are_killed_leave_nothing(watched: Daemon, tmp_path: Path) -> None:
    watched.up("web", command=("sh", "-c", "while :; do echo x; sleep 0.05; done"))
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN sleep 30\n")
    before = outages.count(watched)
    files = outages.open_files(watched)
    asked = (("logs", "-f", "web"), ("attach", "web"), ("stats", "web"), ("events",), ("wait", "web"))
    asked = (*asked, ("exec", "web", "sleep", "1"), ("build", "--no-cache", str(tmp_path)))  # type: ignore[assignment]
    processes = [watched.start(*words) for words in asked]
    time.sleep(1)
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert outages.settled(watched, before) == []
    deadline = time.monotonic() + 20
    while outages.open_files(watched) > files + 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert outages.open_files(watched) <= files + 3


def test_networks_come_and_go(watched: Daemon) -> None:
    for number in range(10):
        watched.docker("network", "create", f"net{number}")
    watched.up("web", *(part for number in range(10) for part in ("--network", f"net{number}")))
    for number in range(0, 10, 2):
        watched.docker("network", "disconnect", f"net{number}", "web")
        watched.docker("network", "rm", f"net{number}")
    watched.docker("rm", "-f", "web")
    watched.docker("network", "prune", "-f")


def test_what_stopped_takes_nothing_of_the_kernel(watched: Daemon) -> None:
    before = outages.count(watched)
    watched.docker("create", "--name", "created", "-p", "9203:80", "-v", "data:/v", IMAGE)
    watched.up("stopped", "-p", "9204:80", "-v", "data:/v", "--tmpfs", "/t")
    watched.docker("stop", "stopped")
    assert outages.settled(watched, before) == []
    assert FOREVER
