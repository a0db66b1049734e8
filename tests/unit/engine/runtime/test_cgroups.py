"""Control groups of version 2 and of machines with both, as folders that say what the kernel's would."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from declarative.engine.runtime import cgroups
from declarative.engine.runtime.cgroups import Cgroups
from declarative.engine.runtime.oci import OciRuntime
from declarative.engine.runtime.once import Once
from declarative.engine.runtime.usage import Transfer, interfaces, system_time, usage
from declarative.errors import Failed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GROUP = "/declarative/c"


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)


@pytest.fixture
def second(tmp_path: Path) -> Cgroups:
    """Give a machine with version 2 alone, and a container's group."""
    _write(
        tmp_path / "declarative/c",
        {
            "cgroup.procs": "",
            "cgroup.events": "populated 1\nfrozen 0\n",
            "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 3\nthrottled_usec 2\n",
            "memory.current": "1000\n",
            "memory.peak": "2000\n",
            "memory.max": "max\n",
            "memory.stat": "anon 10\ninactive_file 20\n",
            "memory.events": "low 0\nmax 7\noom 1\noom_kill 2\n",
            "pids.current": "3\n",
            "pids.max": "50\n",
            "io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\nbroken\n",
        },
    )
    return Cgroups(second=tmp_path)


def test_usage_of_version_2(second: Cgroups) -> None:
    used = usage(second, _GROUP)
    assert second.unified
    assert (used.processor.total, used.processor.user, used.processor.kernel) == (30_000, 20_000, 10_000)
    assert (used.processor.periods, used.processor.throttled, used.processor.throttled_time) == (4, 3, 2000)
    assert (used.memory.usage, used.memory.peak, used.memory.limit, used.memory.failures) == (1000, 2000, 0, 7)
    assert used.memory.details == {"anon": 10, "inactive_file": 20}
    assert (used.processes, used.processes_limit) == (3, 50)
    assert used.block_bytes == (
        Transfer(major=8, minor=0, operation="read", value=1),
        Transfer(major=8, minor=0, operation="write", value=2),
    )
    assert [transfer.value for transfer in used.block_operations] == [3, 4]
    assert second.was_out_of_memory(_GROUP)


def test_usage_of_version_1(tmp_path: Path) -> None:
    names = ("cpu", "cpuacct", "memory", "pids", "blkio", "freezer")
    groups = Cgroups(first={name: tmp_path / name for name in names}, second=tmp_path / "unified")
    _write(tmp_path / "cpuacct/declarative/c", {
        "cpuacct.usage": "900\n", "cpuacct.stat": "user 3\nsystem 4\n", "cpuacct.usage_percpu": "400 500 \n",
    })  # fmt: skip
    _write(tmp_path / "cpu/declarative/c", {"cpu.stat": "nr_periods 1\nnr_throttled 2\nthrottled_time 3\n"})
    _write(tmp_path / "memory/declarative/c", {
        "memory.usage_in_bytes": "5\n", "memory.max_usage_in_bytes": "6\n", "memory.failcnt": "7\n",
        "memory.limit_in_bytes": "9223372036854771712\n", "memory.stat": "total_inactive_file 1\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    })  # fmt: skip
    _write(tmp_path / "blkio/declarative/c", {
        "blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n",
    })  # fmt: skip
    used = usage(groups, _GROUP)
    assert not groups.unified
    assert (used.processor.total, used.processor.user, used.processor.kernel) == (900, 30_000_000, 40_000_000)
    assert (used.processor.each, used.processor.throttled_time) == ((400, 500), 3)
    assert (used.memory.usage, used.memory.peak, used.memory.limit, used.memory.failures) == (5, 6, 0, 7)
    assert [(one.operation, one.value) for one in used.block_bytes] == [("read", 10), ("write", 20), ("total", 30)]
    assert not groups.was_out_of_memory(_GROUP)


def test_what_is_not_there_counts_nothing(tmp_path: Path) -> None:
    used = usage(Cgroups(second=tmp_path), "/no/such")
    assert (used.processor.total, used.memory.usage, used.processes, used.block_bytes) == (0, 0, 0, ())
    assert Cgroups(second=tmp_path).pids("/no/such") == ()
    Cgroups(second=tmp_path).remove("/no/such")


def test_freezing_in_version_2(second: Cgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = second.folders(_GROUP)[0]
    asked = iter([False, False, True])
    monkeypatch.setattr(Cgroups, "is_frozen", lambda *_: next(asked))
    second.freeze(_GROUP, frozen=True)
    assert (folder / "cgroup.freeze").read_text() == "1"
    monkeypatch.setattr(Cgroups, "is_frozen", lambda *_: True)
    monkeypatch.setattr(cgroups, "_PATIENCE_SECONDS", 0.05)
    with pytest.raises(Failed, match="does not thaw"):
        second.freeze(_GROUP, frozen=False)
    with pytest.raises(Failed, match="cannot freeze"):
        second.freeze("/no/such", frozen=True)


def test_frozen_is_what_the_kernel_says(second: Cgroups) -> None:
    folder = second.folders(_GROUP)[0]
    assert not second.is_frozen(_GROUP)
    (folder / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    assert second.is_frozen(_GROUP)


def test_killing_in_version_2_is_one_word(second: Cgroups) -> None:
    (second.folders(_GROUP)[0] / "cgroup.kill").write_text("")
    second.kill(_GROUP)
    assert (second.folders(_GROUP)[0] / "cgroup.kill").read_text() == "1"


def test_signals_go_to_every_process_also_below(second: Cgroups) -> None:
    folder = second.folders(_GROUP)[0]
    processes = [subprocess.Popen(["sleep", "1000"]) for _ in range(3)]
    (folder / "cgroup.procs").write_text(f"{processes[0].pid}\n")
    _write(folder / "nested/deeper", {"cgroup.procs": f"{processes[1].pid}\n{processes[2].pid}\n"})
    assert second.pids(_GROUP) == tuple(sorted(process.pid for process in processes))
    second.kill(_GROUP, signal.SIGTERM)
    assert [process.wait() for process in processes] == [-signal.SIGTERM] * 3


@pytest.fixture
def bystander(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give a process of the machine: it is in the top group, as everything is that is in no other."""
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    _write(tmp_path, {"cgroup.procs": f"0\n{process.pid}\n"})
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("group", ["", "/", "//"])
def test_the_whole_machine_is_no_group(second: Cgroups, group: str, bystander: subprocess.Popen[bytes]) -> None:
    for act in (second.kill, second.pids, second.remove, second.folders, second.counting, second.let_fork):
        with pytest.raises(Failed, match="empty"):
            act(group)
    with pytest.raises(Failed, match="empty"):
        second.freeze(group, frozen=True)
    assert bystander.poll() is None


def test_processes_that_cannot_be_seen_are_not_taken_for_our_own(second: Cgroups) -> None:
    (second.folders(_GROUP)[0] / "cgroup.procs").write_text("0\n0\n")
    assert second.pids(_GROUP) == ()


def test_a_run_whose_daemon_was_killed_over_writing_its_group(
    second: Cgroups, tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    (tmp_path / "cgroup.kill").write_text("")
    _write(tmp_path / "once/1-0/run", {"cgroup": ""})
    runtime = OciRuntime(kind="runc", program=tmp_path / "program", root=tmp_path / "runc")
    Once([runtime], second, lambda _: "", tmp_path / "once").sweep()
    assert list((tmp_path / "once").iterdir()) == []
    assert (tmp_path / "cgroup.kill").read_text() == ""
    assert bystander.poll() is None


def test_groups_are_removed_from_below(tmp_path: Path) -> None:
    (tmp_path / "declarative/c/nested/deeper").mkdir(parents=True)
    Cgroups(second=tmp_path).remove(_GROUP)
    assert [path.name for path in tmp_path.rglob("*")] == ["declarative"]


def test_leaving_a_session_or_a_service(tmp_path: Path) -> None:
    groups = Cgroups(
        first={"memory": tmp_path / "memory", "name=systemd": tmp_path / "systemd"}, second=tmp_path / "unified"
    )
    own = "4:memory:/user.slice\n1:name=systemd:/user.slice/session-3.scope\n0::/user.slice/session-3.scope\n"
    cgroups.settle(groups, "/declarative/engine", own)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("cgroup.procs")) == [
        "systemd/declarative/engine/cgroup.procs",
        "unified/declarative/engine/cgroup.procs",
    ]
    assert (tmp_path / "unified/declarative/engine/cgroup.procs").read_text() == str(os.getpid())


def test_at_the_top_there_is_nothing_to_leave(tmp_path: Path) -> None:
    cgroups.settle(Cgroups(second=tmp_path), "/declarative/engine", "0::/\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("first", "own", "found"),
    [
        ({"cpu": "cpu", "freezer": "freezer"}, "6:freezer:/a/b\n1:cpu:/\n0::/a\n", "freezer/a/b"),
        ({"cpu": "cpu"}, "0::/a\n2:cpu,cpuacct:/\n", "cpu"),
        ({}, "0::/a/b\n", "a/b"),
    ],
)
def test_this_process_s_own_group(tmp_path: Path, first: dict[str, str], own: str, found: str) -> None:
    groups = Cgroups(first={name: tmp_path / place for name, place in first.items()}, second=tmp_path)
    assert cgroups.own_group(groups, own) == tmp_path / found
    assert cgroups.own_group(Cgroups(), own) is None


def test_a_hybrid_machine_has_both_versions(tmp_path: Path) -> None:
    assert not Cgroups(second=tmp_path).hybrid
    assert not Cgroups(first={"memory": tmp_path / "memory"}).hybrid
    assert Cgroups(first={"memory": tmp_path / "memory"}, second=tmp_path).hybrid


def test_the_machines_own_numbers() -> None:
    assert system_time() > 0
    assert all(one.name != "lo" for one in interfaces(os.getpid()))
    assert interfaces(1 << 22) == ()
