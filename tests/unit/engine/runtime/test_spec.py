"""The OCI configuration of a sandbox: what is in it, and what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from declarative.engine.runtime import capabilities, mounts, seccomp
from declarative.engine.runtime.limits import limits
from declarative.engine.runtime.sandbox import (
    Device,
    DeviceRate,
    DeviceRule,
    DeviceWeight,
    IdMap,
    Mount,
    Namespaces,
    Process,
    Resources,
    Rlimit,
    Sandbox,
    User,
)
from declarative.engine.runtime.spec import Host, process_spec, runtime_spec
from declarative.errors import Invalid

_MACHINE = seccomp.Machine(architecture="x86_64", kernel=(6, 1))
_FIRST = Host(machine=_MACHINE, unified=False)
_SECOND = Host(machine=_MACHINE, unified=True)


def _spec(host: Host = _FIRST, **fields: Any) -> dict[str, Any]:
    args = fields.pop("args", ("sh",))
    document = runtime_spec(Sandbox(id="c", args=args, rootfs=Path("/root"), **fields), host)
    assert json.loads(json.dumps(document)) == document, "is plain JSON"
    return document


def _kinds(document: dict[str, Any]) -> dict[str, str | None]:
    return {entry["type"]: entry.get("path") for entry in document["linux"]["namespaces"]}


def test_the_least_sandbox() -> None:
    document = _spec()
    assert document["ociVersion"].startswith("1.0")
    assert document["process"]["args"] == ["sh"]
    assert document["process"]["user"] == {"uid": 0, "gid": 0}
    assert document["root"] == {"path": "/root", "readonly": False}
    assert [mount["destination"] for mount in document["mounts"]] == [
        *("/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"),  # noqa: S108
    ]
    assert _kinds(document) == dict.fromkeys(("mount", "network", "pid", "ipc", "uts"))
    assert _kinds(_spec(_SECOND)) == dict.fromkeys(("mount", "network", "pid", "ipc", "uts", "cgroup"))
    assert document["linux"]["cgroupsPath"] == "/declarative/c"
    assert document["linux"]["resources"] == {"devices": [{"allow": False, "access": "rwm"}]}
    assert "/proc/kcore" in document["linux"]["maskedPaths"]
    assert "/proc/sys" in document["linux"]["readonlyPaths"]
    assert document["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert not {"hostname", "hooks", "annotations"} & document.keys()


def test_a_program_is_needed() -> None:
    with pytest.raises(Invalid, match="No command specified"):
        _spec(args=())


def test_the_process() -> None:
    process = _spec(
        user=User(uid=5, gid=6, additional=(6, 7)),
        env=("A=b",),
        cwd="/w",
        terminal=True,
        no_new_privileges=True,
        rlimits=(Rlimit(name="RLIMIT_CORE", soft=-1, hard=-1),),
        oom_score_adj=-7,
        apparmor="docker-default",
        init=Path("/usr/bin/tini-static"),
    )["process"]
    assert process["user"] == {"uid": 5, "gid": 6, "additionalGids": [6, 7]}
    assert (process["env"], process["cwd"], process["terminal"]) == (["A=b"], "/w", True)
    assert process["args"] == ["/sbin/docker-init", "--", "sh"]
    assert process["capabilities"]["effective"] == []
    assert len(process["capabilities"]["bounding"]) == 14
    assert process["capabilities"]["inheritable"] == []
    assert process["rlimits"] == [{"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1}]
    assert (process["noNewPrivileges"], process["oomScoreAdj"]) == (True, -7)
    assert process["apparmorProfile"] == "docker-default"


def test_an_init_is_bound_in() -> None:
    bound = _spec(init=Path("/usr/bin/tini-static"))["mounts"][-1]
    assert (bound["source"], bound["destination"]) == ("/usr/bin/tini-static", "/sbin/docker-init")
    assert "ro" in bound["options"]


def test_namespaces() -> None:
    document = _spec(
        hostname="h",
        namespaces=Namespaces(
            network=Path("/run/netns/c"), pid="host", ipc=Path("/proc/7/ns/ipc"), uts="host", cgroup="private"
        ),
    )
    assert _kinds(document) == {"mount": None, "network": "/run/netns/c", "ipc": "/proc/7/ns/ipc", "cgroup": None}
    assert "hostname" not in document, "it would be the machine's"
    assert _kinds(_spec(_SECOND, privileged=True)).keys() == {"mount", "network", "pid", "ipc", "uts"}


def test_the_machines_ipc_is_its_shared_memory_too() -> None:
    found = {mount["destination"]: mount for mount in _spec(namespaces=Namespaces(ipc="host"))["mounts"]}
    assert found["/dev/shm"]["source"] == "/dev/shm"  # noqa: S108
    own = Mount(target="/dev/shm", source="/elsewhere", options=("rbind",))  # noqa: S108
    found = {mount["destination"]: mount for mount in _spec(mounts=(own,))["mounts"]}
    assert found["/dev/shm"]["source"] == "/elsewhere"  # noqa: S108


def test_mounts_are_in_mounting_order() -> None:
    wanted = tuple(mounts.bind("/src", target) for target in ("/a/b/c", "/a", "/z", "/a/b"))
    targets = [mount["destination"] for mount in _spec(mounts=wanted)["mounts"]][7:]
    assert targets.index("/a") < targets.index("/a/b") < targets.index("/a/b/c")
    device = [mount["destination"] for mount in _spec(mounts=(mounts.bind("/dev", "/dev"),))["mounts"]]
    assert device == ["/proc", "/sys", "/sys/fs/cgroup", "/dev"]


def test_privileged_opens_everything_but_keeps_a_profile_that_was_asked_for() -> None:
    document = _spec(privileged=True, capabilities=capabilities.KNOWN)
    assert document["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert document["linux"]["maskedPaths"] == document["linux"]["readonlyPaths"] == []
    assert "seccomp" not in document["linux"]
    for mount in document["mounts"]:
        assert "ro" not in mount["options"]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    assert _spec(privileged=True, seccomp=profile)["linux"]["seccomp"] == profile
    assert "seccomp" not in _spec(seccomp="unconfined")["linux"]


def test_devices_and_rules() -> None:
    linux = _spec(
        devices=(
            Device(path="/dev/fuse", kind="c", major=10, minor=229, permissions="rw", mode=0o660, gid=7),
            Device(path="/dev/pipe", kind="p", major=0, minor=0),
        ),
        device_rules=(DeviceRule(kind="b", major=8, permissions="r"), DeviceRule(kind="a", allow=False)),
    )["linux"]
    assert linux["devices"][0] == {
        "path": "/dev/fuse", "type": "c", "fileMode": 0o660, "major": 10, "minor": 229, "uid": 0, "gid": 7,
    }  # fmt: skip
    assert "major" not in linux["devices"][1]
    assert linux["resources"]["devices"] == [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        {"allow": True, "access": "r", "type": "b", "major": 8},
        {"allow": False, "access": "rwm", "type": "a"},
    ]


def test_names_sysctls_ids_and_propagation() -> None:
    maps = (IdMap(inside=0, outside=1000, size=10),)
    document = _spec(
        hostname="h",
        domainname="example.org",
        sysctls={"net.ipv4.ip_forward": "1"},
        uid_maps=maps,
        gid_maps=maps,
        namespaces=Namespaces(network=Path("/netns")),
        mounts=(mounts.bind("/s", "/t", propagation="rshared"),),
        shm_size=1 << 20,
    )
    assert document["hostname"] == "h"
    assert document["linux"]["sysctl"] == {"net.ipv4.ip_forward": "1", "kernel.domainname": "example.org"}
    assert document["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 10}]
    assert document["linux"]["rootfsPropagation"] == "shared"
    assert "user" in _kinds(document)
    found = {mount["destination"]: mount for mount in document["mounts"]}
    assert found["/sys"]["type"] == "bind", "its namespace cannot mount that of another's network"
    assert "size=1048576" in found["/dev/shm"]["options"]  # noqa: S108
    assert _spec(mounts=(mounts.bind("/s", "/t", propagation="slave"),))["linux"]["rootfsPropagation"] == "rslave"


def test_a_further_process() -> None:
    document = process_spec(Process(args=("id",), user=User(uid=1, gid=2), cwd="/tmp", env=("A=1",)))  # noqa: S108
    assert (document["args"], document["user"], document["cwd"]) == (["id"], {"uid": 1, "gid": 2}, "/tmp")  # noqa: S108


class TestLimits:
    """`linux.resources`."""

    def test_what_is_not_limited_is_not_mentioned(self) -> None:
        assert limits(Resources(), unified=False) == {}
        assert limits(Resources(pids=-1, oom_kill_disable=False, memory_swappiness=-1), unified=False) == {}

    def test_everything(self) -> None:
        given = Resources(
            memory=1, memory_swap=-1, memory_reservation=3, memory_swappiness=0, oom_kill_disable=True,
            cpu_shares=4, cpu_quota=5, cpu_period=6, cpu_realtime_period=7, cpu_realtime_runtime=8,
            cpuset_cpus="0", cpuset_mems="1", pids=9, blkio_weight=10,
            blkio_device_weights=(DeviceWeight(major=8, minor=0, weight=11),),
            read_bytes=(DeviceRate(major=8, minor=0, rate=12),), write_operations=(DeviceRate(major=8, minor=1, rate=13),),
        )  # fmt: skip
        document = limits(given, unified=False)
        assert document["memory"] == {
            "limit": 1,
            "swap": -1,
            "reservation": 3,
            "swappiness": 0,
            "disableOOMKiller": True,
        }
        assert document["cpu"] == {
            "shares": 4, "quota": 5, "period": 6, "realtimePeriod": 7, "realtimeRuntime": 8, "cpus": "0", "mems": "1",
        }  # fmt: skip
        assert document["pids"] == {"limit": 9}
        assert document["blockIO"] == {
            "weight": 10,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 11}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 12}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 1, "rate": 13}],
        }
        assert limits(given, unified=True)["memory"] == {"limit": 1, "swap": -1, "reservation": 3}

    def test_processors_are_a_quota(self) -> None:
        assert limits(Resources(nano_cpus=1_500_000_000), unified=True)["cpu"] == {"quota": 150_000, "period": 100_000}


class TestTmpfs:
    """`--tmpfs PATH:OPTIONS`."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", "nosuid,nodev,noexec"),
            ("exec,rw", "nosuid,nodev,exec,rw"),
            ("size=64m,mode=1777,uid=3", "nosuid,nodev,noexec,size=64m,mode=1777,uid=3"),
            ("suid,dev,exec,nosuid", "dev,exec,nosuid"),
            ("rw,ro", "nosuid,nodev,noexec,ro"),
            ("mode=700,mode=755,nr_inodes=5", "nosuid,nodev,noexec,mode=755,nr_inodes=5"),
        ],
    )
    def test_the_last_word_counts(self, text: str, expected: str) -> None:
        assert ",".join(mounts.tmpfs("/t", text).options) == expected

    @pytest.mark.parametrize("text", ["size=much", "colour", "mode=", "size=1x", "exec=1"])
    def test_what_is_no_option_is_refused_in_dockers_words(self, text: str) -> None:
        with pytest.raises(Invalid, match=r"invalid tmpfs option \[\"" + text.split(",", maxsplit=1)[0]):
            mounts.tmpfs("/t", text)


class TestSeccomp:
    """Docker's format made into OCI's."""

    def _allowed(
        self, given: tuple[str, ...] = (), architecture: str = "x86_64", kernel: tuple[int, int] = (6, 1)
    ) -> set[str]:
        machine = seccomp.Machine(architecture=architecture, kernel=kernel)
        profile = seccomp.resolve(seccomp.default_profile(), given, machine)
        return {
            name
            for rule in profile["syscalls"]
            if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args")
            for name in rule["names"]
        }

    def test_rules_follow_capabilities(self) -> None:
        assert not self._allowed() & {"mount", "bpf", "reboot", "chroot", "clone3", "unshare", "setns"}
        assert self._allowed(("CAP_SYS_ADMIN",)) >= {"mount", "bpf", "clone3", "unshare", "setns"}
        assert "chroot" in self._allowed(("CAP_SYS_CHROOT",))
        assert "reboot" in self._allowed(("CAP_SYS_BOOT",))

    def test_rules_follow_the_machine(self) -> None:
        assert "arch_prctl" in self._allowed()
        assert "arch_prctl" not in self._allowed(architecture="aarch64")
        assert "ptrace" in self._allowed(kernel=(4, 8))
        assert "ptrace" not in self._allowed(kernel=(4, 7))

    def test_architectures_and_default(self) -> None:
        profile = seccomp.resolve(seccomp.default_profile(), (), _MACHINE)
        assert profile["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
        clone3 = [rule for rule in profile["syscalls"] if "clone3" in rule["names"]]
        assert clone3 == [{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]
        assert all(rule.keys() <= {"names", "action", "args", "errnoRet"} for rule in profile["syscalls"])

    def test_a_profile_of_ocis_comes_through(self) -> None:
        profile = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": []}],
        }
        expected = profile | {"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}
        assert seccomp.resolve(profile, (), _MACHINE) == expected
        old = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "mkdir", "action": "SCMP_ACT_ERRNO"}]}
        assert seccomp.resolve(old, (), _MACHINE)["syscalls"][0]["names"] == ["mkdir"]

    @pytest.mark.parametrize(
        "profile",
        [
            {},
            {"syscalls": []},
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {"names": []}},
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": ["mkdir"]},
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ERRNO"}]},
            {"defaultAction": "A", "architectures": ["B"], "archMap": [{"architecture": "C"}]},
        ],
    )
    def test_what_is_no_profile_is_refused(self, profile: dict[str, Any]) -> None:
        with pytest.raises(Invalid):
            seccomp.resolve(profile, (), _MACHINE)
