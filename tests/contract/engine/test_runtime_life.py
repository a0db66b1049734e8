"""Containers at the low level: made, started, ended, signalled, paused; exit codes, memory, refusals; nothing left behind."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from declarative.engine.runtime import oci, sandbox, spawn
from declarative.engine.runtime.sandbox import Resources, Rlimit
from declarative.errors import Conflict, Failed, Invalid, NotFound
from declarative.record import replace
from tests.contract.engine.runtimes import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from declarative.engine.runtime.bundle import Exit
    from tests.contract.engine.runtimes import Machine

MIB = 1 << 20


def test_a_container_passes_through_its_states(box: Machine) -> None:
    made = box.shell("read line; exit 7")
    assert box.runtime.state(made.id).status == "absent"

    pid = box.runtime.create(made, log=box.log(made.id), stdin=True)
    state = box.runtime.state(made.id)
    assert (state.status, state.pid) == ("created", pid)
    attachment = box.runtime.attach(made.id)
    box.runtime.start(made.id)
    assert box.runtime.state(made.id).status == "running"
    box.runtime.pause(made.id)
    assert box.runtime.state(made.id).status == "paused"
    box.runtime.resume(made.id)
    assert box.runtime.state(made.id).status == "running"
    attachment.write(b"go\n")
    attachment.close()
    ended = box.ended(made.id)
    assert (ended.code, ended.oom, ended.lost) == (7, False, False)
    assert abs(ended.at - time.time_ns()) < 60e9
    state = box.runtime.state(made.id)
    assert (state.status, state.exit) == ("stopped", ended)
    assert box.exits == [ended]

    box.drop(made.id)
    assert box.runtime.state(made.id).status == "absent"
    with pytest.raises(NotFound):
        box.runtime.attach(made.id)


def test_nothing_runs_before_start(box: Machine) -> None:
    made = box.shell("echo ran")
    box.runtime.create(made, log=box.log(made.id))
    time.sleep(0.3)
    assert box.logged(made.id) == ""
    box.runtime.start(made.id)
    box.ended(made.id)
    assert box.logged(made.id) == "ran\n"
    with pytest.raises(NotFound):
        box.runtime.start(made.id)


def test_a_name_is_one_containers_alone(box: Machine) -> None:
    made = box.sandbox("sleep", "1000")
    box.start(made)
    with pytest.raises(Conflict):
        box.runtime.create(made, log=None)
    assert box.runtime.state(made.id).status == "running"


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 255", 255), ("kill -9 $$; sleep 9", 137), ("kill -TERM $$", 143)]
)
def test_exit_codes(box: Machine, script: str, code: int) -> None:
    # the first process of a namespace cannot kill itself, so another one is between
    ended = box.ended(box.start(box.shell(f"sh -c '{script}'; exit $?")))
    assert ended.code == code


def test_a_signal_ends_the_first_process(box: Machine) -> None:
    name = box.start(box.shell("trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.1; done"))
    wait_until(lambda: "ready" in box.logged(name), "the trap", PATIENCE_SECONDS)
    box.runtime.kill(name, signal.SIGTERM)
    assert box.ended(name).code == 3
    assert box.logged(name) == "ready\nterm\n"

    killed = box.start(box.sandbox("sleep", "1000"))
    box.runtime.kill(killed)
    assert box.ended(killed).code == 128 + signal.SIGKILL
    with pytest.raises(NotFound):
        box.runtime.kill(killed)


def test_killing_everyone_leaves_no_process(box: Machine) -> None:
    """A container in the machine's process namespace does not end with its first process."""
    fork = "i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i+1)); done; echo ready; wait"
    made = box.shell(fork, namespaces=sandbox.Namespaces(pid="host"))
    name = box.start(made)
    wait_until(lambda: len(box.runtime.pids(name)) >= 21, "its processes", PATIENCE_SECONDS)
    pids = box.runtime.pids(name)
    box.runtime.kill(name, everyone=True)
    assert box.ended(name).code == 137
    box.drop(name)
    assert [pid for pid in pids if _runs(pid)] == []


def test_deleting_ends_what_runs(box: Machine) -> None:
    name = box.start(box.shell("trap '' TERM; sleep 1000 & sleep 1000"))
    pids = box.runtime.pids(name)
    assert pids
    box.drop(name)
    assert [pid for pid in pids if _runs(pid)] == []
    box.runtime.delete(name)  # nothing is there any more


def test_deleting_a_paused_container(box: Machine) -> None:
    name = box.start(box.sandbox("sleep", "1000"))
    box.runtime.pause(name)
    box.drop(name)
    assert box.exits[0].code == 137
    assert box.runtime.state(name).status == "absent"


def test_deleting_a_created_container(box: Machine) -> None:
    made = box.sandbox("true")
    box.runtime.create(made, log=box.log(made.id))
    box.drop(made.id)
    assert box.exits[0].code == 137


def test_an_end_that_is_noticed_late_is_not_that_of_the_next_one(box: Machine) -> None:
    """The next container of the name was not watched, and killed for having no monitor."""
    go_on = threading.Event()

    def hold_up(_: Exit) -> None:
        go_on.wait(PATIENCE_SECONDS)

    box.runtime.on_exit = hold_up  # the thread that watches
    box.start(box.shell("exit 1"))
    again = box.shell("sleep 1")
    box.start(again)
    monitor = spawn.open_monitor(box.runtime.folder(again.id))
    select.select([monitor], [], [], PATIENCE_SECONDS)
    os.close(monitor)
    threading.Timer(0.3, go_on.set).start()
    box.runtime.delete(again.id)
    again = replace(again, args=("sleep", "1000"))
    box.start(again)
    go_on.set()
    time.sleep(0.5)
    assert box.runtime.state(again.id).status == "running"
    box.runtime.kill(again.id)
    assert box.ended(again.id).code == 137


def test_starting_what_has_ended_does_not_wait_for_ever(box: Machine) -> None:
    made = box.sandbox("true")
    box.runtime.create(made, log=None)
    box.runtime.kill(made.id)
    box.ended(made.id)
    with pytest.raises(NotFound):
        box.runtime.start(made.id)


@pytest.mark.parametrize(
    ("program", "words", "code"),
    [
        ("nowhere", 'exec: "nowhere": executable file not found in $PATH', 127),
        ("/nowhere", "no such file or directory", 127),
        ("/etc/passwd", "permission denied", 126),
    ],
)
def test_a_program_that_cannot_run_is_refused_in_dockers_words(
    box: Machine, program: str, words: str, code: int
) -> None:
    made = box.sandbox(program)
    for refuse in (
        lambda: box.runtime.create(made, log=box.log(made.id)),
        lambda: box.runtime.run_once(made, lambda _stream, _data: pytest.fail("nothing ran")),
    ):
        with pytest.raises(oci.StartRefused) as caught:
            refuse()
        assert words in str(caught.value)
        assert caught.value.code == code
    assert box.runtime.state(made.id).status == "absent"


def test_a_sandbox_without_a_program_is_refused(box: Machine) -> None:
    with pytest.raises(Invalid, match="No command specified"):
        box.runtime.create(box.sandbox(), log=None)


def test_running_out_of_memory_is_told(box: Machine) -> None:
    limit = Resources(memory=16 * MIB, memory_swap=16 * MIB)
    made = box.shell("sh -c 'head -c 64m /dev/zero | tail'; exit 5", resources=limit)
    ended = box.ended(box.start(made))
    assert ended.oom
    whole = box.ended(box.start(box.sandbox("sh", "-c", "exec tail /dev/zero", resources=limit)))
    assert (whole.code, whole.oom) == (137, True)


def test_limits_reach_the_kernel_and_change_while_it_runs(box: Machine) -> None:
    given = Resources(memory=64 * MIB, memory_swap=128 * MIB, nano_cpus=500_000_000, cpu_shares=512, pids=50)
    name = box.start(box.sandbox("sleep", "1000", resources=given))
    wait_until(lambda: box.runtime.usage(name).processes == 1, "the runtime to make way", PATIENCE_SECONDS)
    used = box.runtime.usage(name)
    assert used.memory.limit == 64 * MIB
    assert used.processes_limit == 50
    assert used.memory.usage > 0
    assert _read(box, name, "cpu", "cpu.cfs_quota_us", "cpu.max") == "50000"
    box.runtime.update(name, Resources(memory=32 * MIB, pids=20, nano_cpus=250_000_000))
    used = box.runtime.usage(name)
    assert (used.memory.limit, used.processes_limit) == (32 * MIB, 20)
    assert _read(box, name, "cpu", "cpu.cfs_quota_us", "cpu.max") == "25000"
    box.runtime.update(name, Resources(memory=256 * MIB, memory_swap=-1, pids=-1))
    used = box.runtime.usage(name)
    assert (used.memory.limit, used.processes_limit) == (256 * MIB, 0)
    box.runtime.update(name, Resources(memory=16 * MIB, memory_swap=16 * MIB))
    assert box.runtime.usage(name).memory.limit == 16 * MIB
    with pytest.raises(Failed, match="Cannot update container"):
        box.runtime.update(name, Resources(cpuset_cpus="900"))


def test_processes_are_limited(box: Machine) -> None:
    script = "i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i+1)); done"
    code, output = box.run(box.shell(script, resources=Resources(pids=10)))
    assert code != 0
    assert "can't fork" in output


def test_ulimits_and_oom_score(box: Machine) -> None:
    limits = (Rlimit(name="RLIMIT_NOFILE", soft=111, hard=222),)
    made = box.shell("ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj", rlimits=limits, oom_score_adj=500)
    assert box.run(made) == (0, "111\n222\n500\n")
    # the monitor protects itself from the kernel's choice; what it starts is not protected
    name = box.start(box.shell("cat /proc/self/oom_score_adj"))
    box.ended(name)
    assert box.logged(name).split() == [Path("/proc/self/oom_score_adj").read_text().strip()]


def test_an_init_reaps_and_forwards(box: Machine) -> None:
    script = "trap 'exit 9' TERM; sh -c 'sleep 0.1 & exec true'; cat /proc/1/comm; while :; do sleep 0.1; done"
    name = box.start(box.shell(script, init=oci.find_init()))
    wait_until(lambda: box.logged(name) != "", "the first line", PATIENCE_SECONDS)
    assert box.logged(name) == "docker-init\n"
    box.runtime.kill(name, signal.SIGTERM)
    assert box.ended(name).code == 9


def test_a_monitor_that_is_killed_leaves_no_container(box: Machine) -> None:
    name = box.start(box.sandbox("sleep", "1000"))
    pids = box.runtime.pids(name)
    os.kill(int((box.runtime.folder(name) / spawn.MONITOR_FILE).read_text()), signal.SIGKILL)
    ended = box.ended(name)
    assert (ended.code, ended.lost) == (137, True)
    wait_until(lambda: not any(map(_runs, pids)), "the process to end")
    assert box.runtime.state(name).status == "stopped"


def test_a_monitor_is_in_a_session_of_its_own(box: Machine) -> None:
    name = box.start(box.sandbox("sleep", "1000"))
    monitor = int((box.runtime.folder(name) / spawn.MONITOR_FILE).read_text())
    assert os.getsid(monitor) == monitor
    assert os.getpgid(monitor) == monitor
    parent = int(Path(f"/proc/{monitor}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent != os.getpid()


def test_many_at_once(box: Machine) -> None:
    codes: dict[str, int] = {}

    def live(number: int) -> None:
        made = box.shell(f"echo out; exit {number}", name=f"many{number}")
        codes[made.id] = box.ended(box.start(made)).code

    threads = [threading.Thread(target=live, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == {f"many{number}": number for number in range(12)}
    assert sorted(ended.id for ended in box.exits) == sorted(codes)


def test_a_long_run_root_does_not_matter(box: Machine, scratch: Path) -> None:
    """A socket's name has 107 bytes at most; a folder's may have more."""
    made = box.shell("read line; echo $line", name="n" * 64)
    assert len(f"{scratch}/run/containers/{made.id}/attach") > 90
    box.runtime.create(made, log=box.log(made.id), stdin=True)
    with box.runtime.attach(made.id) as attachment:
        box.runtime.start(made.id)
        attachment.write(b"hello\n")
        chunk = attachment.read()
        assert chunk is not None
        assert chunk.data == b"hello\n"
    box.ended(made.id)


def _read(box: Machine, name: str, controller: str, first: str, second: str) -> str:
    groups = box.runtime.cgroups
    folder = groups.folder(controller, f"{box.group}/{name}")
    assert folder is not None
    return (folder / (second if groups.unified else first)).read_text().split()[0]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
