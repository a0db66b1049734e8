"""Containers outlive the daemon, and the next daemon knows what the one before it knew; what must not outlive it, does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from declarative.engine.paths import Paths
from declarative.engine.runtime import logs
from declarative.engine.runtime.logformat import Wanted
from declarative.engine.runtime.rotation import Policy
from declarative.engine.runtime.runtime import Runtime
from declarative.engine.runtime.sandbox import Process
from declarative.errors import NotFound
from declarative.record import replace
from tests.contract.engine.runtimes import ENVIRONMENT, PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.engine.runtime.sandbox import Sandbox
    from tests.contract.engine.runtimes import Machine

_STARTED: list[subprocess.Popen[bytes]] = []
_ROOT = Path(__file__).resolve().parents[3]
_DAEMON = """
import pickle, sys, threading, time
from pathlib import Path
from declarative.engine.paths import Paths
from declarative.engine.runtime.runtime import Runtime
from declarative.engine.runtime.sandbox import Process

folder, only, job = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
runtime = Runtime(Paths(root=folder / "data", run=folder / "run"), only=only)
sandboxes = pickle.load(sys.stdin.buffer)

def tell(word):
    sys.stdout.write(word + "\\n")
    sys.stdout.flush()

if job == "once":
    for made in sandboxes:
        threading.Thread(target=runtime.run_once, args=(made, lambda _, data: tell(data.decode().strip()))).start()
else:
    for made in sandboxes:
        runtime.create(made, log=folder / f"{made.id}.log", stdin=True, leave_stdin_open=True)
        if job != "create":
            runtime.start(made.id)
    if job == "exec":
        process = Process(args=("sleep", "1000"), env=made.env)
        session = runtime.exec(made.id, "left", process, stdin=False)
    tell("ready")
time.sleep(1000)
"""


@pytest.fixture
def later(box: Machine) -> Iterator[list[Runtime]]:
    """Give a list for the daemons that come later: they are closed at the end, before `box` looks at what is left."""
    assert box.exits == []
    opened: list[Runtime] = []
    yield opened
    for daemon in _STARTED:
        if daemon.returncode is None:
            _kill(daemon)
    _STARTED.clear()
    for runtime in opened:
        runtime.close()


def test_a_container_goes_on_without_its_daemon(box: Machine, later: list[Runtime]) -> None:
    """It logs, takes input, and ends; the next daemon attaches, resizes, signals and hears of the end."""
    made = box.shell(
        "i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); sleep 0.02; done; read line; echo got $line; exit 6"
    )
    _die_after(box, "start", [made])
    next_one = _next(box, later)
    assert [(state.id, state.status) for state in next_one.adopt()] == [(made.id, "running")]
    client = next_one.attach(made.id)
    wait_until(lambda: "\n99\n" in box.logged(made.id), "its output", PATIENCE_SECONDS)
    client.write(b"typed\n")
    ended = next_one.wait(made.id, PATIENCE_SECONDS)
    assert ended is not None
    assert ended.code == 6
    client.close()
    assert box.logged(made.id) == "".join(f"{n}\n" for n in range(100)) + "got typed\n"
    next_one.delete(made.id)


def test_what_ended_meanwhile_is_known(box: Machine, later: list[Runtime]) -> None:
    codes = {f"m{code}": code for code in (0, 3, 137)}
    made = [
        box.shell(f"sleep 0.3; exit {code}" if code != 137 else "sleep 0.3; exec tail /dev/zero", name=name)
        for name, code in codes.items()
    ]
    from declarative.engine.runtime.sandbox import Resources

    made[-1] = replace(made[-1], resources=Resources(memory=16 << 20, memory_swap=16 << 20))
    _die_after(box, "start", made)
    time.sleep(1)
    next_one = _next(box, later)
    heard: list[object] = []
    next_one.on_exit = heard.append
    wait_until(lambda: {state.status for state in next_one.adopt()} == {"stopped"}, "the ends", PATIENCE_SECONDS)
    states = {state.id: state.exit for state in next_one.adopt()}
    assert {name: ended.code for name, ended in states.items() if ended} == codes
    assert {name for name, ended in states.items() if ended and ended.oom} == {"m137"}
    assert {name: next_one.wait(name, 1) for name in codes} == states
    for name in codes:
        next_one.delete(name)


def test_a_container_that_waits_to_be_started_still_waits(box: Machine, later: list[Runtime]) -> None:
    made = box.shell("echo started; exit 2")
    _die_after(box, "create", [made])
    next_one = _next(box, later)
    assert [state.status for state in next_one.adopt()] == ["created"]
    next_one.start(made.id)
    ended = next_one.wait(made.id, PATIENCE_SECONDS)
    assert ended is not None
    assert ended.code == 2
    assert box.logged(made.id) == "started\n"


def test_a_follower_after_the_change_of_daemons_misses_nothing(box: Machine, later: list[Runtime]) -> None:
    """With rotation: the first daemon leaves it, the next takes it up."""
    made = box.shell("i=0; while [ $i -lt 60 ]; do seq $((i*2000+1)) $((i*2000+2000)); sleep 0.05; i=$((i+1)); done")
    _die_after(box, "start", [made])
    next_one = _next(box, later)
    next_one.adopt()
    next_one.rotate_log(made.id, box.log(made.id), Policy(max_size=1 << 20, max_files=1000))
    over = threading.Event()
    next_one.on_exit = lambda _: over.set()
    numbers = b"".join(logs.read_log(box.log(made.id), Wanted(framed=False), ended=over.is_set)).split()
    assert [int(number) for number in numbers] == list(range(1, 120001))
    assert len(logs.files(box.log(made.id))) > 2


def test_fifty_containers(box: Machine, later: list[Runtime]) -> None:
    made = [box.shell("while :; do echo tick; sleep 0.2; done", name=f"f{number}") for number in range(50)]
    _die_after(box, "start", made)
    next_one = _next(box, later)
    assert {state.status for state in next_one.adopt()} == {"running"}
    before = {one.id: box.log(one.id).stat().st_size for one in made}
    wait_until(
        lambda: all(box.log(one.id).stat().st_size > before[one.id] for one in made), "every log", PATIENCE_SECONDS
    )
    for one in made:
        next_one.kill(one.id)
    assert {ended.code for one in made if (ended := next_one.wait(one.id, PATIENCE_SECONDS))} == {137}
    for one in made:
        next_one.delete(one.id)


def test_a_session_does_not_outlive_its_daemon(box: Machine, later: list[Runtime]) -> None:
    made = box.sandbox("sleep", "1000")
    _die_after(box, "exec", [made])
    next_one = _next(box, later)
    assert len(next_one.pids(made.id)) == 2
    next_one.adopt()
    wait_until(lambda: len(next_one.pids(made.id)) == 1, "the session's process to end")
    assert list((box.folder / "run/exec").iterdir()) == []
    again = next_one.exec(made.id, "left", Process(args=("true",), env=ENVIRONMENT), stdin=False)
    assert again.wait(PATIENCE_SECONDS) == 0
    again.close()


def test_runs_of_the_engines_own_end_with_it(box: Machine, later: list[Runtime]) -> None:
    """Also those whose program ignores signals, or which the runtime is just making."""
    made = [
        box.shell("trap '' TERM INT HUP; echo here; sleep 1000 & sleep 1000", name=f"o{number}") for number in range(4)
    ]
    daemon = _daemon(box, "once", made)
    assert daemon.stdout is not None
    assert [daemon.stdout.readline() for _ in made] == [b"here\n"] * 4
    groups = [one.cgroup for one in made]
    wait_until(
        lambda: all(len(box.runtime.cgroups.pids(group)) >= 2 for group in groups), "their processes", PATIENCE_SECONDS
    )
    _kill(daemon)
    wait_until(lambda: not any(map(box.runtime.cgroups.pids, groups)), "their processes to end", PATIENCE_SECONDS)

    daemon = _daemon(box, "once", made)
    time.sleep(0.05)
    _kill(daemon)
    wait_until(lambda: not any(map(box.runtime.cgroups.pids, groups)), "their processes to end", PATIENCE_SECONDS)
    time.sleep(1)
    assert not any(map(box.runtime.cgroups.pids, groups))
    _next(box, later).adopt()
    assert [
        folder for folder in (box.folder / "run/once").iterdir() if not folder.name.startswith(f"{os.getpid()}-")
    ] == []


def test_the_next_daemon_sweeps_what_nobody_ended(box: Machine, later: list[Runtime]) -> None:
    """The keeper was killed together with the daemon, as a service manager does."""
    made = box.shell("echo here; sleep 1000")
    daemon = _daemon(box, "once", [made])
    assert daemon.stdout is not None
    assert daemon.stdout.readline() == b"here\n"
    for task in Path(f"/proc/{daemon.pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            os.kill(int(child), signal.SIGSTOP)  # the keeper, and the runtime
    _kill(daemon)
    assert box.runtime.cgroups.pids(made.cgroup)
    _next(box, later).adopt()
    assert not box.runtime.cgroups.pids(made.cgroup)
    assert not any(folder.exists() for folder in box.runtime.cgroups.folders(made.cgroup))
    for process in _stopped(box.folder):
        os.kill(process, signal.SIGKILL)


def test_a_container_whose_daemon_was_killed_over_writing_its_group(box: Machine, later: list[Runtime]) -> None:
    """What has no group is nowhere: above all it is not everywhere, where an empty name would lead."""
    folder = box.folder / "run/containers/half"
    folder.mkdir()
    (folder / "cgroup").touch()
    after = _next(box, later)
    assert [(state.id, state.status) for state in after.adopt()] == [("half", "stopped")]
    for act in (after.pids, after.pause, after.usage):
        with pytest.raises(NotFound):
            act("half")
    after.delete("half")
    assert not folder.exists()


def _stopped(folder: Path) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        try:
            if os.fsencode(folder) in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except (OSError, ValueError):
            continue
    return found


def _daemon(box: Machine, job: str, made: list[Sandbox]) -> subprocess.Popen[bytes]:
    import pickle

    daemon = subprocess.Popen(
        [sys.executable, "-c", _DAEMON, str(box.folder), box.runtime.oci.kind, job],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    _STARTED.append(daemon)
    assert daemon.stdin is not None
    daemon.stdin.write(pickle.dumps(made))
    daemon.stdin.close()
    return daemon


def _die_after(box: Machine, job: str, made: list[Sandbox]) -> None:
    """Have a daemon start containers, and kill it."""
    daemon = _daemon(box, job, made)
    assert daemon.stdout is not None
    assert daemon.stdout.readline() == b"ready\n"
    _kill(daemon)


def _kill(daemon: subprocess.Popen[bytes]) -> None:
    daemon.kill()
    daemon.wait()
    assert daemon.stdout is not None
    daemon.stdout.close()


def _next(box: Machine, later: list[Runtime]) -> Runtime:
    later.append(Runtime(Paths(root=box.folder / "data", run=box.folder / "run"), only=box.runtime.oci.kind))
    return later[-1]
