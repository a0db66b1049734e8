"""`docker run`: what a container may use. The kernel is asked, not the daemon: control groups of version 1 and 2 alike."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.e2e.engine.clients import FOREVER, IMAGE

if TYPE_CHECKING:
    from tests.e2e.engine.clients import Daemon

_ONE_GROUP = os.path.exists("/sys/fs/cgroup/cgroup.controllers")  # noqa: PTH110 - a fact about the machine, asked once


def group_file(controller: str, first: str, second: str) -> str:
    """Write the shell command that reads a control group's file from inside the container."""
    return f"cat /sys/fs/cgroup/{second}" if _ONE_GROUP else f"cat /sys/fs/cgroup/{controller}/{first}"


def test_memory_and_its_relatives(daemon: Daemon) -> None:
    daemon.up("web", "-m", "64m", "--memory-reservation", "32m", "--memory-swap", "96m", "--oom-score-adj", "300")
    host = daemon.inspect("web")["HostConfig"]
    assert (host["Memory"], host["MemoryReservation"], host["MemorySwap"]) == (64 << 20, 32 << 20, 96 << 20)
    read = group_file("memory", "memory.limit_in_bytes", "memory.max")
    assert daemon.sh("web", read) == str(64 << 20)
    soft = group_file("memory", "memory.soft_limit_in_bytes", "memory.low")
    assert daemon.sh("web", soft) == str(32 << 20)
    assert daemon.sh("web", "cat /proc/1/oom_score_adj") == "300"


def test_swap_is_twice_the_memory_where_only_that_is_said(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "web", "-m", "64m", IMAGE)
    assert daemon.inspect("web")["HostConfig"]["MemorySwap"] == 128 << 20


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        (("-m", "1m"), "Minimum memory limit allowed is 6MB"),
        (("-m", "64m", "--memory-swap", "32m"), "Minimum memoryswap limit should be larger than memory limit"),
        (("--memory-swap", "32m"), "You should always set the Memory limit when using Memoryswap limit"),
        (("-m", "64m", "--memory-reservation", "128m"), "Minimum memory limit can not be less than memory reservation"),
        (("--cpus", "9999"), "Range of CPUs is from 0.01 to"),
        (("--cpuset-cpus", "200"), "Requested CPUs are not available"),
        (("--cpus", "1", "--cpu-quota", "1000"), "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (("--restart", "sometimes"), "invalid restart policy: unknown policy 'sometimes'"),
        (("--restart", "always:3"), "invalid restart policy: maximum retry count can only be used with 'on-failure'"),
    ],
)
def test_limits_that_make_no_sense_are_refused(daemon: Daemon, options: tuple[str, ...], phrase: str) -> None:
    assert phrase.lower() in daemon.fails("create", *options, IMAGE).lower()
    assert daemon.lines("ps", "-aq") == []


def test_what_eats_too_much_is_killed_and_said_to_be(daemon: Daemon) -> None:
    eater = "x=a; while :; do x=$x$x; done"
    ended = daemon.docker(
        "run", "--name", "eats", "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", eater, check=False
    )
    assert ended.returncode == 137
    state = daemon.inspect("eats")["State"]
    assert (state["OOMKilled"], state["ExitCode"], state["Status"]) == (True, 137, "exited")


def test_a_child_that_eats_too_much_is_killed_and_that_is_told_at_once(daemon: Daemon) -> None:
    script = "tail /dev/zero; echo on; exec sleep 9000"
    daemon.docker("run", "-d", "--name", "eats", "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", script)
    daemon.wait_log("eats", "on")
    engines.wait_until(lambda: daemon.field("eats", "{{.State.OOMKilled}}") == "true", "it to be told", 10)
    assert daemon.field("eats", "{{.State.Status}}") == "running"
    chosen = ("--filter", "event=oom", "--filter", f"container={daemon.field('eats', '{{.Id}}')}")
    soon = f"{time.time() + 1:.0f}"
    assert daemon.lines("events", "--since", "60s", "--until", soon, *chosen, "--format", "{{.Action}}")[0] == "oom"
    daemon.docker("restart", "-t", "0", "eats")


def test_who_joins_is_as_likely_to_be_killed_and_in_the_same_groups(daemon: Daemon) -> None:
    options = ("--oom-score-adj", "300", "--group-add", "5", "--group-add", "7")
    daemon.docker("run", "-d", "--name", "web", *options, IMAGE, *FOREVER)
    assert daemon.sh("web", "cat /proc/self/oom_score_adj") == "300"
    assert daemon.out("exec", "-u", "2:3", "web", "id", "-G") == "3 5 7"


def test_processors(daemon: Daemon) -> None:
    daemon.up("web", "--cpus", "1.5", "-c", "512", "--cpuset-cpus", "0")
    host = daemon.inspect("web")["HostConfig"]
    assert (host["NanoCpus"], host["CpuShares"], host["CpusetCpus"]) == (1_500_000_000, 512, "0")
    if _ONE_GROUP:
        assert daemon.sh("web", "cat /sys/fs/cgroup/cpu.max") == "150000 100000"
    else:
        assert daemon.sh("web", "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us") == "150000"
        assert daemon.sh("web", "cat /sys/fs/cgroup/cpu/cpu.shares") == "512"
    assert daemon.sh("web", "grep Cpus_allowed_list /proc/self/status").split() == ["Cpus_allowed_list:", "0"]


def test_processes(daemon: Daemon) -> None:
    daemon.up("web", "--pids-limit", "20")
    assert daemon.sh("web", group_file("pids", "pids.max", "pids.max")) == "20"
    said = daemon.docker("exec", "web", "sh", "-c", "for i in $(seq 40); do sleep 1 & done; wait", check=False)
    assert "can't fork" in said.stderr
    assert daemon.inspect("web")["HostConfig"]["PidsLimit"] == 20


def test_ulimits_sysctls_and_shared_memory(daemon: Daemon) -> None:
    options = ("--ulimit", "nofile=123:456", "--ulimit", "core=0", "--sysctl", "net.ipv4.ip_unprivileged_port_start=7")
    more = ("--sysctl", "kernel.msgmax=4321", "--shm-size", "32m")
    script = "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
    script += " /proc/sys/kernel/msgmax; df -k /dev/shm | tail -1"
    seen = daemon.run(*options, *more, IMAGE, "sh", "-c", script).splitlines()
    assert seen[:5] == ["123", "456", "0", "7", "4321"]
    assert seen[5].split()[:2] == ["shm", "32768"]
    assert daemon.run(IMAGE, "sh", "-c", "df -k /dev/shm | tail -1").split()[1] == "65536"


def test_a_sysctl_of_the_whole_machine_is_refused(daemon: Daemon) -> None:
    said = daemon.fails("run", "--rm", "--sysctl", "kernel.hostname=x", IMAGE, "true", code=125)
    assert "kernel.hostname" in said
    assert "vm.swappiness" in daemon.fails("run", "--rm", "--sysctl", "vm.swappiness=1", IMAGE, "true", code=125)


def test_update_changes_a_running_container_in_place(daemon: Daemon) -> None:
    made = daemon.up("web", "-m", "64m")
    daemon.docker(
        "update",
        "-m",
        "80m",
        "--memory-swap",
        "200m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "33",
        "--restart",
        "always",
        "web",
    )
    assert daemon.sh("web", group_file("memory", "memory.limit_in_bytes", "memory.max")) == str(80 << 20)
    assert daemon.sh("web", group_file("pids", "pids.max", "pids.max")) == "33"
    host = daemon.inspect("web")["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["RestartPolicy"]["Name"]) == (80 << 20, 500_000_000, "always")
    assert daemon.field("web", "{{.Id}} {{.State.Running}} {{.RestartCount}}") == f"{made} true 0"
    assert "Cannot update" in daemon.fails("update", "--memory-swap", "1m", "web")
    daemon.docker("stop", "web")
    daemon.docker("update", "-m", "90m", "web")
    daemon.docker("start", "web")
    assert daemon.sh("web", group_file("memory", "memory.limit_in_bytes", "memory.max")) == str(90 << 20)


def test_devices_and_who_may_use_them(daemon: Daemon) -> None:
    script = "echo x > /dev/mine && echo written; echo y > /dev/full; ls -l /dev/mine"
    ended = daemon.docker("run", "--rm", "--device", "/dev/null:/dev/mine", IMAGE, "sh", "-c", script, check=False)
    assert ended.stdout.startswith("written\ncrw")
    reading = daemon.docker(
        "run", "--rm", "--device", "/dev/loop-control:/dev/mine:r", IMAGE, "sh", "-c", ": > /dev/mine", check=False
    )
    assert "Operation not permitted" in reading.stderr
    assert "error gathering device information" in daemon.fails("run", "--device", "/dev/nosuch", IMAGE, "true")


def test_device_rules_let_a_node_be_used_that_is_made_later(daemon: Daemon) -> None:
    script = "mknod /fuse c 10 229 && (: < /fuse) && echo opened"
    assert daemon.run("--device-cgroup-rule", "c 10:229 rmw", IMAGE, "sh", "-c", script) == "opened"
    ended = daemon.docker("run", "--rm", IMAGE, "sh", "-c", script, check=False)
    assert "opened" not in ended.stdout


def test_the_devices_of_every_container(daemon: Daemon) -> None:
    wanted = ["fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout"]
    seen = daemon.run(IMAGE, "ls", "/dev").split()
    assert [name for name in seen if name != "core"] == [*wanted, "tty", "urandom", "zero"]
    assert (
        daemon.run(IMAGE, "sh", "-c", "head -c 4 /dev/urandom | wc -c; cat /dev/null; stat -c %a /dev/shm") == "4\n1777"
    )


def test_a_log_that_is_kept_small(daemon: Daemon) -> None:
    line = "echo line $i of a log that is kept small"
    script = f"for i in $(seq 60000); do {line}; [ $((i % 5000)) -ne 0 ] || sleep 0.3; done"
    daemon.docker(
        "run", "--name", "web", "--log-opt", "max-size=50k", "--log-opt", "max-file=2", IMAGE, "sh", "-c", script
    )
    lines = daemon.lines("logs", "web")
    assert lines[-1] == "line 60000 of a log that is kept small"
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(numbers[0], 60001))
    assert 300 < len(numbers) < 30000  # what comes between two looks at the size is kept too
    assert daemon.lines("logs", "--tail", "2", "web") == lines[-2:]


def test_no_log_at_all(daemon: Daemon) -> None:
    daemon.docker("run", "--name", "web", "--log-driver", "none", IMAGE, "echo", "hello")
    assert "configured logging driver does not support reading" in daemon.fails("logs", "web")


def test_stop_timeout_and_signal(daemon: Daemon) -> None:
    script = "trap 'echo hup; exit 3' HUP; trap '' TERM; while :; do sleep 0.1; done"
    daemon.docker(
        "run", "-d", "--name", "web", "--stop-signal", "HUP", "--stop-timeout", "1", IMAGE, "sh", "-c", script
    )
    daemon.docker("stop", "web")
    assert daemon.field("web", "{{.State.ExitCode}}") == "3"
    daemon.docker("run", "-d", "--name", "deaf", "--stop-timeout", "1", IMAGE, "sh", "-c", script)
    daemon.docker("stop", "deaf")
    assert daemon.field("deaf", "{{.State.ExitCode}}") == "137"
    assert daemon.field("deaf", "{{.Config.StopTimeout}}") == "1"


def test_other_limits_are_kept(daemon: Daemon) -> None:
    options = (
        "--cpu-period",
        "50000",
        "--cpu-quota",
        "25000",
        "--runtime",
        "runc",
        "--isolation",
        "default",
        "-m",
        "64m",
    )
    daemon.docker("create", "--name", "web", *options, "--memory-swappiness", "5", IMAGE, *FOREVER)
    host = daemon.inspect("web")["HostConfig"]
    assert (host["CpuPeriod"], host["CpuQuota"], host["Runtime"]) == (50000, 25000, "runc")
    assert "unknown or invalid runtime name: nosuch" in daemon.fails("create", "--runtime", "nosuch", IMAGE)
