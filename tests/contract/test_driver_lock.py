"""The port's promises about the lock: one holder, a clear refusal, and no lock that needs a person after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from declarative.drivers.docker import lock
from declarative.drivers.docker.driver import DockerDriver
from declarative.drivers.holder import certainly_dead, describe, start_of
from declarative.errors import LockHeld
from tests.engines import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.dockerapi.client import EngineClient
    from tests.contract.bench import Bench

_ROOT = Path(__file__).parents[2]

_HOLD = """
import sys, time, uuid
from declarative.dockerapi.client import EngineClient
from declarative.dockerapi.transport import UnixEndpoint
from declarative.drivers.docker import lock
from declarative.drivers.holder import describe
client = EngineClient(UnixEndpoint(path=sys.argv[1]))
holder = describe(user="ann", command="declarative apply", nonce=uuid.uuid4().hex)
lease = lock.acquire(client, sys.argv[2], timeout=0, holder=holder, beat=float(sys.argv[3]))
print("held", flush=True)
time.sleep(600)
"""

_COUNT = """
import sys, time, uuid
from declarative.dockerapi.client import EngineClient
from declarative.dockerapi.transport import UnixEndpoint
from declarative.drivers.docker import lock
from declarative.drivers.holder import describe
client, path = EngineClient(UnixEndpoint(path=sys.argv[1])), sys.argv[3]
holder = describe(user="ann", command="count", nonce=uuid.uuid4().hex)
print("ready", flush=True)
sys.stdin.readline()
with lock.acquire(client, sys.argv[2], timeout=60, holder=holder) as lease:
    before = open(path).read()
    time.sleep(0.05)
    lease.check()
    open(path, "w").write(before + "x")
"""


def _us(command: str = "declarative apply") -> dict[str, str]:
    return describe(user="bob", command=command, nonce=uuid.uuid4().hex)


def _elsewhere() -> dict[str, str]:
    return {**_us(), "host": "far", "boot": "another", "nonce": uuid.uuid4().hex}


def _client(bench: Bench) -> EngineClient:
    assert isinstance(bench.driver, DockerDriver)
    return bench.driver.client


def _run(bench: Bench, script: str, *args: str) -> subprocess.Popen[str]:
    assert bench.engine is not None
    argv = [sys.executable, "-c", script, str(bench.engine.socket_path), bench.stack, *args]
    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, cwd=_ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() in {"held\n", "ready\n"}
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _locks(bench: Bench) -> set[str]:
    return {name for name in bench.hand.volumes() if bench.stack in name}


def test_the_lock_is_held_by_one_and_given_back(bench: Bench) -> None:
    with bench.driver.lock(bench.stack, timeout=0, holder=_us()) as lease:
        lease.check()
        assert bench.look().leftovers != ()
        with pytest.raises(LockHeld) as caught:
            bench.open().lock(bench.stack, timeout=0, holder=_us())
        assert str(os.getpid()) in str(caught.value)
        assert "bob" in str(caught.value)
        with bench.open().lock(bench.stack + "x", timeout=0, holder=_us()):
            pass
    assert bench.look().leftovers == ()
    assert _locks(bench) == set()
    with bench.driver.lock(bench.stack, timeout=0, holder=_us()):
        pass


def test_a_waiter_gets_the_lock_when_it_is_given_back(bench: Bench) -> None:
    lease = bench.driver.lock(bench.stack, timeout=0, holder=_us())
    timer = threading.Timer(0.4, lambda: lease.__exit__(None, None, None))
    timer.start()
    begun = time.monotonic()
    with bench.open().lock(bench.stack, timeout=20, holder=_us()) as mine:
        mine.check()
        assert 0.3 < time.monotonic() - begun < 10
    timer.join()


def test_a_dead_holder_of_this_machine_loses_the_lock_at_once(bench: Bench) -> None:
    dead = {**_us(), "start": "1"}  # our pid, but of an earlier process
    assert certainly_dead(dead, _us())
    lease = bench.driver.lock(bench.stack, timeout=0, holder=dead)
    with bench.open().lock(bench.stack, timeout=0, holder=_us()) as mine:
        mine.check()
        with pytest.raises(LockHeld):
            lease.check()
        lease.__exit__(None, None, None)
        mine.check()
    assert _locks(bench) == set()


def test_a_killed_apply_leaves_no_lock_that_needs_a_person(real_bench: Bench) -> None:
    process = _run(real_bench, _HOLD, "0.05")
    wait_until(lambda: any(".beat-" in name for name in _locks(real_bench)), "a life sign", 10)
    with pytest.raises(LockHeld) as caught:
        real_bench.driver.lock(real_bench.stack, timeout=0.3, holder=_us())
    assert "ann" in str(caught.value)
    assert str(process.pid) in str(caught.value)
    assert "declarative apply" in str(caught.value)
    os.kill(process.pid, signal.SIGKILL)
    _end(process)
    begun = time.monotonic()
    with real_bench.driver.lock(real_bench.stack, timeout=0, holder=_us()) as lease:
        lease.check()
        assert time.monotonic() - begun < 5
        assert {name for name in _locks(real_bench) if ".beat-" in name} == set()
    assert _locks(real_bench) == set()


def test_a_zombie_has_lost_its_lock(real_bench: Bench) -> None:
    process = _run(real_bench, _HOLD, "60")
    os.kill(process.pid, signal.SIGKILL)  # nobody waits for it yet
    wait_until(lambda: start_of(process.pid) is None, "the process to end", 5)
    with real_bench.driver.lock(real_bench.stack, timeout=0, holder=_us()):
        pass
    _end(process)


def test_many_who_find_the_same_dead_holder_get_the_lock_one_after_another(real_bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("")
    dead = _run(real_bench, _HOLD, "60")
    counters = [_run(real_bench, _COUNT, str(path)) for _ in range(6)]
    _end(dead)
    for counter in counters:
        assert counter.stdin is not None
        counter.stdin.write("go\n")
        counter.stdin.flush()
    assert [counter.wait(60) for counter in counters] == [0] * 6
    for counter in counters:
        _end(counter)
    assert path.read_text() == "x" * 6
    assert _locks(real_bench) == set()


def test_whoever_died_while_breaking_a_lock_is_broken_too(real_bench: Bench) -> None:
    client, dead, breaker = _client(real_bench), {**_us(), "start": "1"}, {**_us(), "start": "1"}
    lock._create(client, real_bench.stack, lock.lock_name(real_bench.stack), dead)
    marker = f"{lock.lock_name(real_bench.stack)}.break-{dead['nonce']}"
    lock._create(client, real_bench.stack, marker, breaker)
    with real_bench.driver.lock(real_bench.stack, timeout=0, holder=_us()) as lease:
        lease.check()
    assert _locks(real_bench) == set()


def test_a_holder_elsewhere_is_believed_while_it_gives_signs_of_life(real_bench: Bench) -> None:
    client = _client(real_bench)
    lease = lock.acquire(client, real_bench.stack, timeout=0, holder=_elsewhere(), beat=0.1)
    with pytest.raises(LockHeld) as caught:
        lock.acquire(client, real_bench.stack, timeout=3, holder=_us(), stale=1.5)
    assert "far" in str(caught.value)
    lease.check()
    lease._released.set()  # it goes silent, as if its machine had died
    lease._thread.join()
    begun = time.monotonic()
    with lock.acquire(client, real_bench.stack, timeout=30, holder=_us(), stale=1.5) as mine:
        assert time.monotonic() - begun >= 1.4
        mine.check()
        with pytest.raises(LockHeld):
            lease.check()
    assert _locks(real_bench) == set()


def test_breaking_a_lock_that_changed_hands_changes_nothing(real_bench: Bench) -> None:
    client, ours = _client(real_bench), _us()
    stale: Mapping[str, str] = _elsewhere()
    with lock.acquire(client, real_bench.stack, timeout=0, holder=ours) as lease:
        lock._break(client, real_bench.stack, lock.lock_name(real_bench.stack), stale, _us())
        lease.check()
    assert _locks(real_bench) == set()


def test_the_lock_sweeps_containers_that_are_half_made(real_bench: Bench) -> None:
    name = real_bench.create(name=real_bench.name() + ".making")
    whole = real_bench.create(of="whole")
    assert name in real_bench.look().leftovers
    assert set(real_bench.look().containers) == {whole}
    with real_bench.driver.lock(real_bench.stack, timeout=0, holder=_us()):
        pass
    assert real_bench.look().leftovers == ()
    assert set(real_bench.look().containers) == {whole}


def test_a_process_is_told_by_pid_and_start() -> None:
    ours = _us()
    assert not certainly_dead(ours, ours)
    assert certainly_dead({**ours, "start": "1"}, ours)
    assert certainly_dead({**ours, "pid": "4194305"}, ours)  # above the largest pid there is
    assert not certainly_dead({**ours, "start": "1", "boot": "x"}, ours)
    assert not certainly_dead({**ours, "start": "1", "pidns": "x"}, ours)
    assert not certainly_dead({}, ours)
