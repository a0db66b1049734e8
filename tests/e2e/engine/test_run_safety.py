"""`docker run`: a container gets nothing that it was not given. Each power is there when asked for, and missing when not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.engine.clients import IMAGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.engine.clients import Daemon

_DEFAULT = 0x00000000A80425FB  # the fourteen that Docker gives
_NET_ADMIN, _CHOWN, _SYS_TIME = 1 << 12, 1 << 0, 1 << 25
_CAPS = "grep CapEff /proc/self/status"


def caps(daemon: Daemon, *options: str) -> int:
    return int(daemon.run(*options, IMAGE, "sh", "-c", _CAPS).split()[1], 16)


def test_capabilities(daemon: Daemon) -> None:
    assert caps(daemon) == _DEFAULT
    assert caps(daemon, "--cap-add", "NET_ADMIN", "--cap-drop", "CAP_CHOWN") == (_DEFAULT | _NET_ADMIN) & ~_CHOWN
    assert caps(daemon, "--cap-drop", "ALL") == 0
    assert caps(daemon, "--cap-drop", "ALL", "--cap-add", "sys_time") == _SYS_TIME
    assert caps(daemon, "-u", "nobody") == 0
    everything = caps(daemon, "--cap-add", "ALL")
    assert everything > _DEFAULT
    assert caps(daemon, "--privileged") == everything
    assert "CAP_NOSUCH" in daemon.fails("run", "--rm", "--cap-add", "NOSUCH", IMAGE, "true", code=125)


def test_what_a_container_may_not_do(daemon: Daemon) -> None:
    attempts = {
        "mount": "mount -t tmpfs none /tmp",
        "sysctl": "echo 1 > /proc/sys/kernel/panic",
        "trigger": "echo b > /proc/sysrq-trigger",
        "sys": "echo 1 > /sys/kernel/mm/ksm/run || touch /sys/x",
        "node": "mknod /disk b 8 0 && head -c 1 /disk",
        "kcore": "head -c 1 /proc/kcore | grep -q .",
        "keys": "grep -q . /proc/keys",
        "cgroup": "mkdir /sys/fs/cgroup/pids/x || test ! -e /sys/fs/cgroup/pids && mkdir /sys/fs/cgroup/x",
        "unshare": "unshare -m true",
        "route": "ip link set lo down",
        "chroot out": "for p in /proc/[0-9]*; do test -e $p/root/var/lib/dpkg && exit 0; done; exit 1",
    }
    script = "; ".join(f"({attempt}) >/dev/null 2>&1 && echo {name!r}" for name, attempt in attempts.items())
    assert daemon.run(IMAGE, "sh", "-c", f"{script}; true") == ""


def test_masked_paths_are_empty_and_read_only_ones_do_not_change(daemon: Daemon) -> None:
    masked = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug"]
    script = " ".join(f"cat {path} 2>/dev/null | wc -c;" for path in masked)
    assert set(daemon.run(IMAGE, "sh", "-c", script).split()) == {"0"}
    assert daemon.run(IMAGE, "sh", "-c", "ls /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v :; true") == ""
    assert "Read-only" in daemon.fails("run", "--rm", IMAGE, "sh", "-c", "echo 1 > /proc/sys/vm/swappiness")


def test_privileged_gets_the_machine(daemon: Daemon) -> None:
    script = "mount -t tmpfs none /tmp && echo mounted; test -e /dev/loop-control && echo devices; touch /sys/x 2>&1; echo end"
    seen = daemon.run("--privileged", IMAGE, "sh", "-c", script)
    assert seen.startswith("mounted\ndevices\n")
    assert "Read-only" not in seen


def test_no_new_privileges(daemon: Daemon) -> None:
    script = "grep NoNewPrivs /proc/self/status"
    assert daemon.run(IMAGE, "sh", "-c", script).split() == ["NoNewPrivs:", "0"]
    assert daemon.run("--security-opt", "no-new-privileges", IMAGE, "sh", "-c", script).split()[1] == "1"
    assert daemon.run("--security-opt", "no-new-privileges=true", IMAGE, "sh", "-c", script).split()[1] == "1"


def test_seccomp_filters_unless_it_is_told_not_to(daemon: Daemon, tmp_path: Path) -> None:
    script = "grep -w Seccomp /proc/self/status"
    assert daemon.run(IMAGE, "sh", "-c", script).split()[1] == "2"
    assert daemon.run("--security-opt", "seccomp=unconfined", IMAGE, "sh", "-c", script).split()[1] == "0"
    (tmp_path / "profile.json").write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}'
    )
    said = daemon.fails("run", "--rm", "--security-opt", f"seccomp={tmp_path}/profile.json", IMAGE, "mkdir", "/x")
    assert "Operation not permitted" in said


def test_read_only(daemon: Daemon) -> None:
    script = "touch /x 2>&1; touch /tmp/y && echo tmp; touch /dev/shm/z && echo shm; touch /etc/hosts 2>&1; true"
    seen = daemon.run("--read-only", "--tmpfs", "/tmp", IMAGE, "sh", "-c", script)
    assert seen.splitlines() == [
        "touch: /x: Read-only file system",
        "tmp",
        "shm",
        "touch: /etc/hosts: Read-only file system",
    ]
    assert daemon.docker("run", "--name", "web", "--read-only", IMAGE, "true").returncode == 0
    assert daemon.lines("diff", "web") == []


def test_namespaces_of_the_machine_and_of_another_container(daemon: Daemon) -> None:
    def spaces(*options: str) -> dict[str, str]:
        shown = daemon.run(*options, IMAGE, "sh", "-c", "cd /proc/self/ns; for n in *; do echo $n $(readlink $n); done")
        return dict(line.split() for line in shown.splitlines())

    daemon.up("web", "--ipc", "shareable")
    machine = {kind: daemon.enter("readlink", f"/proc/self/ns/{kind}").stdout.strip() for kind in ("pid", "ipc", "uts")}
    web = {kind: daemon.sh("web", f"readlink /proc/1/ns/{kind}") for kind in ("pid", "ipc", "net", "uts")}
    own = spaces()
    assert all(own[kind] not in {machine[kind], web[kind]} for kind in machine)
    assert spaces("--pid", "host")["pid"] == machine["pid"]
    assert spaces("--ipc", "host")["ipc"] == machine["ipc"]
    assert spaces("--uts", "host")["uts"] == machine["uts"]
    joined = spaces("--pid", "container:web", "--ipc", "container:web", "--network", "container:web")
    assert {kind: joined[kind] for kind in ("pid", "ipc", "net")} == {kind: web[kind] for kind in ("pid", "ipc", "net")}


def test_what_cannot_be_shared_is_refused(daemon: Daemon) -> None:
    daemon.up("private", "--ipc", "private")
    assert "non-shareable IPC" in daemon.fails("run", "--rm", "--ipc", "container:private", IMAGE, "true", code=125)
    assert "No such container: ghost" in daemon.fails(
        "run", "--rm", "--pid", "container:ghost", IMAGE, "true", code=125
    )


def test_a_shared_process_namespace_shows_the_other_s_processes(daemon: Daemon) -> None:
    daemon.up("web")
    assert "sleep 9000" in daemon.run("--pid", "container:web", IMAGE, "ps", "-o", "args")


def test_user_namespace_of_the_machine_can_be_asked_for(daemon: Daemon) -> None:
    assert daemon.run("--userns", "host", IMAGE, "cat", "/proc/self/uid_map").split() == ["0", "0", "4294967295"]


def test_control_groups_are_seen_read_only_and_no_other_s(daemon: Daemon) -> None:
    rows = [line.split(" - ") for line in daemon.run(IMAGE, "grep", " - cgroup", "/proc/self/mountinfo").splitlines()]
    assert rows
    assert all(where.split()[5].startswith("ro,") for where, _ in rows)


@pytest.mark.parametrize("option", ["apparmor=unconfined", "label=disable", "systempaths=unconfined"])
def test_other_security_options(daemon: Daemon, option: str) -> None:
    script = "grep -c ' /proc/sys ' /proc/self/mountinfo"
    ended = daemon.docker("run", "--rm", "--security-opt", option, IMAGE, "sh", "-c", script, check=False)
    assert ended.stdout == ("0\n" if option == "systempaths=unconfined" else "1\n")


def test_an_option_that_nobody_knows_is_refused(daemon: Daemon) -> None:
    said = daemon.fails("run", "--rm", "--security-opt", "nosuch=thing", IMAGE, "true", code=125)
    assert "nosuch" in said
