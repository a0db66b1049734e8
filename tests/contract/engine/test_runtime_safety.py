"""What a container may not do: it gets nothing that it was not given, and what it was given it gets."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from declarative.engine.runtime import capabilities, kernel, mounts, rootfs, sandbox, users
from declarative.engine.runtime.sandbox import Device, DeviceRule, IdMap, Mount, Namespaces, User
from declarative.errors import Invalid, Unsupported

if TYPE_CHECKING:
    from tests.contract.engine.runtimes import Machine

_SYSTEM: tuple[Mount, ...] = tuple(mounts.bind(path, path, read_only=True) for path in ("/usr", "/lib", "/lib64"))
_SECRET = "secret of the machine"


@pytest.mark.parametrize(
    "attempt",
    [
        "mount -t tmpfs tmpfs /tmp",
        "mount -o remount,rw /sys",
        "mount -o bind /proc /tmp",
        "umount /proc/kcore",
        "echo 1 > /proc/sys/kernel/panic",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "cat /proc/keys | grep -q .",
        "ls /sys/firmware | grep -q .",
        "echo 1 > /sys/kernel/mm/ksm/run",
        "mkdir /sys/fs/cgroup/memory/mine",
        "hostname other",
        "! date -s 2001-01-01 2>&1 | grep -q 'not permitted'",
        "chroot /proc/1/root true && unshare -m true",
        "unshare -m true",
        "unshare -U true",
        "unshare -n true",
        "nsenter -t 1 -m true",
        "insmod /bin/busybox",
        "ip link add name d0 type dummy",
        "ip link set lo down",
        "swapoff -a; swapon /bin/busybox",
        "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk",
        "mknod /tmp/port c 1 4 && head -c 1 /tmp/port",
        "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem",
        "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg",
        "dmesg | grep -q .",
        "setpriv --reset-env true; nice -n -5 true",
        "reboot -f",
        "echo -1000 > /proc/self/oom_score_adj",
    ],
)
def test_a_container_may_not(box: Machine, attempt: str) -> None:
    code, output = box.run(box.shell(f"{attempt} && echo SUCCEEDED"))
    assert "SUCCEEDED" not in output, output
    assert code != 0, output


def test_the_default_is_the_profile_and_the_capabilities_of_docker(box: Machine) -> None:
    _, output = box.run(box.shell("grep -E '^(Seccomp|NoNewPrivs|Cap(Bnd|Eff|Prm|Inh|Amb)):' /proc/self/status"))
    found = {line.split(":")[0]: line.split()[1] for line in output.splitlines()}
    mask = f"{_mask(sandbox.DEFAULT_CAPABILITIES):016x}"
    assert found == {
        "CapInh": "0" * 16,
        "CapPrm": mask,
        "CapEff": mask,
        "CapBnd": mask,
        "CapAmb": "0" * 16,
        "NoNewPrivs": "0",
        "Seccomp": "2",
    }
    assert mask == "00000000a80425fb"  # as dockerd's


def test_another_user_has_no_capability(box: Machine) -> None:
    script = "grep -E '^Cap(Eff|Prm|Bnd)' /proc/self/status; id"
    _, output = box.run(box.shell(script, user=User(uid=1000, gid=1000, additional=(1000, 7))))
    assert (
        output.split()
        == [
            *("CapPrm:", "0" * 16, "CapEff:", "0" * 16, "CapBnd:", "00000000a80425fb"),
            *("uid=1000", "gid=1000", "groups=7,1000"),
        ]
        or "groups=1000,7" in output
    )


def test_dropped_and_added_capabilities(box: Machine) -> None:
    dropped = capabilities.resolve((), ("NET_RAW", "CHOWN"))
    code, output = box.run(box.shell("arping -c 1 -w 1 -I lo 127.0.0.1; chown 1:1 /tmp", capabilities=dropped))
    assert code != 0
    assert output.count("not permitted") == 2, output
    added = capabilities.resolve(("NET_ADMIN",), ())
    assert box.run(box.shell("ip link set lo down", capabilities=added))[0] == 0
    assert capabilities.resolve((), ("all",)) == ()
    with pytest.raises(Invalid, match='invalid CapAdd: unknown capability: "CAP_FLY"'):
        capabilities.resolve(("fly",), ())


def test_system_admin_may_mount_what_is_its_own(box: Machine) -> None:
    """The profile follows the capabilities: mount is allowed by the capability, not by turning the profile off."""
    admin = capabilities.resolve(("SYS_ADMIN",), ())
    made = box.shell("mount -t tmpfs tmpfs /tmp && grep Seccomp: /proc/self/status", capabilities=admin)
    code, output = box.run(made)
    assert (code, output.split()) == (0, ["Seccomp:", "2"])


def test_no_new_privileges_keeps_setuid_programs_down(box: Machine) -> None:
    nobody = User(uid=65534, gid=65534)
    for kept_down, expected in ((False, "0"), (True, "65534")):
        made = box.sandbox("/suid", "-u", user=nobody, no_new_privileges=kept_down, mounts=_SYSTEM)
        program = made.rootfs / "suid"
        program.write_bytes(Path("/usr/bin/id").read_bytes())  # busybox gives its powers up by itself
        program.chmod(0o4755)
        assert box.run(made)[1] == f"{expected}\n"


def test_seccomp_profiles(box: Machine) -> None:
    assert box.run(box.shell("grep Seccomp: /proc/self/status", seccomp="unconfined"))[1].split() == ["Seccomp:", "0"]
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    }
    code, output = box.run(box.shell("mkdir /tmp/a", seccomp=profile))
    assert code != 0
    assert "not supported" in output
    killing = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sync"], "action": "SCMP_ACT_KILL_PROCESS"}]}
    assert "159" in box.run(box.shell("sync; echo $?", seccomp=killing))[1].split()
    with pytest.raises(Invalid, match="defaultAction"):
        box.run(box.sandbox("true", seccomp={"syscalls": []}))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86-64")
def test_the_compiled_profile_is_the_profile(box: Machine) -> None:
    """Kernel answers for system calls that a shell does not make: through Python's ctypes, which is mounted in."""
    script = """import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def ask(*call):
    ctypes.set_errno(0)
    libc.syscall(*map(ctypes.c_long, call))
    return ctypes.get_errno()
print(ask(155, 0, 0), ask(246), ask(435, 0, 0), ask(135, 0x100000), ask(135, 0), ask(41, 38, 5, 0), ask(272, 0x10000000),
      ask(321, 0), ask(298, 0, 0, 0, 0, 0), ask(250, 0, 0, 0, 0), ask(304, -1, 0, 0), ask(39), ask(9999))"""
    code, output = box.run(_with_python(box, script))
    # pivot_root, kexec_load: EPERM. clone3: ENOSYS. personality: EPERM but for known ones. AF_ALG sockets: EPERM.
    # unshare(CLONE_NEWUSER), bpf, perf_event_open, keyctl, open_by_handle_at: EPERM. getpid passes.
    # What is newer than the profile is not there (ENOSYS), so that programs do without it.
    assert (code, output.split()) == (0, ["1", "1", "38", "1", "0", "1", "1", "1", "1", "1", "1", "0", "38"])


def test_devices(box: Machine) -> None:
    usual = {
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    }
    assert set(box.run(box.shell("ls /dev"))[1].split()) - {"core"} == usual
    kmsg = Device(path="/dev/given", kind="c", major=1, minor=11, permissions="r", mode=0o600)
    script = "ls -l /dev/given && dd if=/dev/given of=/dev/null bs=8192 count=1 && echo x > /dev/given"
    code, output = box.run(box.shell(script, devices=(kmsg,), capabilities=capabilities.every()))
    assert "1,  11 " in output
    assert "1+0 records in" in output or "0+1 records in" in output, output
    assert (code, "not permitted" in output) == (1, True)
    rule = DeviceRule(kind="c", major=1, minor=11, permissions="rm")
    reading = "mknod /tmp/k c 1 11 && head -c 0 /tmp/k"
    reader = capabilities.resolve(("SYSLOG",), ())
    assert box.run(box.shell(reading, device_rules=(rule,), capabilities=reader)) == (0, "")
    assert box.run(box.shell(reading, capabilities=reader))[0] != 0


def test_a_privileged_container_has_what_it_asks_for(box: Machine) -> None:
    script = "mount -t tmpfs x /tmp && mknod /dev/one c 1 11 && : < /dev/one && mount -o remount,rw /sys"
    script += " && grep Seccomp: /proc/self/status"
    made = box.shell(script, privileged=True, capabilities=capabilities.resolve((), (), privileged=True))
    code, output = box.run(made)
    assert (code, output.split()[:2]) == (0, ["Seccomp:", "0"]), output


def test_a_read_only_root(box: Machine) -> None:
    script = "touch /new 2>&1; touch /tmp/new && echo tmp; echo x > /dev/null && echo dev"
    made = box.shell(script, readonly_rootfs=True, mounts=(mounts.tmpfs("/tmp"),))  # noqa: S108 - in the container
    assert box.run(made)[1] == "touch: /new: Read-only file system\ntmp\ndev\n"


def test_tmpfs_and_its_options(box: Machine) -> None:
    made = box.shell(
        "grep ' /a ' /proc/mounts; grep ' /b ' /proc/mounts; stat -c %a:%u /a; dd if=/dev/zero of=/a/x bs=1k count=2000",
        mounts=(mounts.tmpfs("/a", "size=1m,mode=1770,uid=5,exec"), mounts.tmpfs("/b", "ro")),
    )
    code, output = box.run(made)
    first, second, owner = output.splitlines()[:3]
    assert "size=1024k" in first
    assert "nosuid,nodev" in first
    assert "noexec" not in first
    assert " ro," in second
    assert "noexec" in second
    assert owner == "1770:5"
    assert (code, "No space left" in output) == (1, True)
    with pytest.raises(Invalid, match=r'invalid tmpfs option \["color=red"\]'):
        mounts.tmpfs("/a", "color=red")


def test_shared_memory_has_its_size(box: Machine) -> None:
    script = "df -k /dev/shm | tail -1; dd if=/dev/zero of=/dev/shm/x bs=1k count=3000 2>&1 | grep -c space"
    words = box.run(box.shell(script, shm_size=2 << 20))[1].split()
    assert (words[1], words[-1]) == ("2048", "1")


def test_binds(box: Machine) -> None:
    shared = box.folder / "shared"
    (shared / "below").mkdir(parents=True)
    rootfs.mount_tmpfs(shared / "below", size=1 << 20)
    (shared / "below/inside").write_text("seen")
    made = box.shell(
        "cat /rw/below/inside; echo new > /rw/new; touch /ro/no; ls /flat/below; touch /ro/below/deep",
        mounts=(
            mounts.bind(shared, "/rw"),
            mounts.bind(shared, "/ro", read_only=True),
            mounts.bind(shared, "/flat", recursive=False),
        ),
    )
    code, output = box.run(made)
    assert "seen" in output
    assert (shared / "new").read_text() == "new\n"
    assert "touch: /ro/no: Read-only file system" in output
    assert code == 0, "what is mounted below a read-only bind stays as it is, as in Docker"


def test_a_shared_bind_shows_what_is_mounted_later(box: Machine) -> None:
    shared = box.folder / "propagated"
    shared.mkdir()
    kernel.mount(shared, shared, "", kernel.MS_BIND)
    kernel.mount("", shared, "", kernel.MS_SHARED)
    (shared / "later").mkdir()
    name = box.start(box.sandbox("sleep", "1000", mounts=(mounts.bind(shared, "/data", propagation="rslave"),)))
    rootfs.mount_tmpfs(shared / "later", size=1 << 20)
    (shared / "later/file").write_text("mounted later")
    assert box.execute(name, "cat", "/data/later/file") == (0, "mounted later")


def test_a_link_in_the_image_does_not_lead_a_mount_out(box: Machine) -> None:
    """The target of a bind is a path in the container, whatever links the image has there."""
    (box.folder / "outside").mkdir()
    (box.folder / "outside/file").write_text(_SECRET)
    (box.folder / "given").mkdir()
    (box.folder / "given/file").write_text("given")
    made = box.shell("cat /data/file /etc/there; ls /run/not")
    made.rootfs.joinpath("data").symlink_to(box.folder / "outside")
    made.rootfs.joinpath("etc/there").symlink_to("../../run/not/there")  # as of Debian's /etc/resolv.conf
    bound = (mounts.bind(box.folder / "given", "/data"), mounts.bind(box.folder / "given/file", "/etc/there"))
    code, output = box.run(_replace(made, mounts=bound))
    assert (code, output) == (0, "givengiventhere\n")
    assert (box.folder / "outside/file").read_text() == _SECRET
    assert not rootfs.is_mounted(box.folder / "outside")


def test_sysctls_and_names(box: Machine) -> None:
    made = box.shell(
        "hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward",
        hostname="box",
        domainname="example.org",
        sysctls={"net.ipv4.ip_forward": "1"},
    )
    assert box.run(made) == (0, "box\nexample.org\n1\n")
    with pytest.raises(Invalid, match="sysctl"):
        box.run(box.sandbox("true", sysctls={"kernel.panic": "5"}))


def test_namespaces_are_joined_by_path(box: Machine) -> None:
    first = box.start(
        box.shell("ip addr add 10.9.9.9/32 dev lo; hostname; exec sleep 1000", capabilities=("CAP_NET_ADMIN",))
    )
    pid = box.runtime.state(first).pid
    joined = Namespaces(**{kind: Path(f"/proc/{pid}/ns/{kind[:3]}") for kind in ("network", "pid", "ipc", "uts")})
    code, output = box.run(box.shell("ip addr show lo; ps; hostname", namespaces=joined, hostname=""))
    assert code == 0
    assert "10.9.9.9/32" in output
    assert "sleep 1000" in output
    assert output.endswith(f"{first}\n")


def test_the_machines_namespaces_on_request(box: Machine) -> None:
    shown = "for n in net pid ipc uts; do readlink /proc/self/ns/$n; done"
    all_hosts = Namespaces(network="host", pid="host", ipc="host", uts="host")
    _, output = box.run(box.shell(shown, namespaces=all_hosts, hostname=""))
    assert output.split() == [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("net", "pid", "ipc", "uts")]
    _, own = box.run(box.shell(shown))
    assert not set(own.split()) & set(output.split())


@pytest.mark.parametrize("box", ["runc"], indirect=True)
def test_a_user_namespace(box: Machine) -> None:
    maps = (IdMap(inside=0, outside=200_000, size=65536),)
    made = box.shell("id -u; cat /proc/self/uid_map; touch /tmp/mine", uid_maps=maps, gid_maps=maps)
    for path in (made.rootfs, made.rootfs / "tmp"):
        os.chown(path, 200_000, 200_000)
    for path in (box.folder, *list(made.rootfs.parents)[: len(made.rootfs.parents) - len(box.folder.parents)]):
        path.chmod(0o711)  # the container's root is another there
    code, output = box.run(made)
    assert (code, output.split()) == (0, ["0", "0", "200000", "65536"])
    upper = box.folder / "roots" / made.id / "upper/tmp/mine"
    assert (upper.stat().st_uid, upper.stat().st_gid) == (200_000, 200_000)


def test_a_user_namespace_is_never_left_to_crun(box: Machine) -> None:
    """It would give the machine's /dev/null away; crun was mended in 2025 alone."""
    maps = (IdMap(inside=0, outside=200_000, size=65536),)
    made = box.sandbox("sleep", "1000", uid_maps=maps, gid_maps=maps)
    for path in (box.folder, *list(made.rootfs.parents)[: len(made.rootfs.parents) - len(box.folder.parents)]):
        path.chmod(0o711)
    os.chown(made.rootfs, 200_000, 200_000)
    if box.runtime.oci.kind == "crun":
        with pytest.raises(Unsupported, match="install runc"):
            box.start(made)
    else:
        box.start(made)
    assert Path("/dev/null").stat().st_uid == 0


def test_the_machines_null_device_is_given_to_nobody(box: Machine) -> None:
    """Crun gives standard streams to the process's user (containers/crun#1845)."""
    user = User(uid=1234, gid=1234)
    name = box.start(box.sandbox("sleep", "1000"))
    assert box.execute(name, "sh", "-c", "id -u; cat", user=user) == (0, "1234\n")
    assert box.run(box.shell("id -u; cat", user=user)) == (0, "1234\n")
    made = box.shell("id -u; cat", user=user)
    if box.runtime.oci.kind == "crun":
        with pytest.raises(Unsupported, match="install runc"):
            box.start(made)
    else:
        assert box.ended(box.start(made)).code == 0
    assert box.ended(box.start(box.shell("id -u", user=user), stdin=True)).code == 0
    assert Path("/dev/null").stat().st_uid == 0


def test_processes_of_a_session_are_confined_too(box: Machine) -> None:
    name = box.start(box.sandbox("sleep", "1000"))
    code, output = box.execute(
        name, "sh", "-c", "grep -E '^(Seccomp|CapEff):' /proc/self/status; mount -t tmpfs x /tmp"
    )
    assert code != 0
    assert output.split()[:4] == ["CapEff:", "00000000a80425fb", "Seccomp:", "2"]
    assert box.execute(name, "sh", "-c", "pwd; id -u", cwd="/tmp", user=User(uid=7, gid=7)) == (0, "/tmp\n7\n")  # noqa: S108
    assert box.execute(name, "sh", "-c", "exit 41")[0] == 41


class TestUsers:
    """`--user`, looked up in the image."""

    @pytest.mark.parametrize(
        ("text", "groups", "expected"),
        [
            ("", (), User(uid=0, gid=0, additional=(0,), home="/root")),
            ("root", (), User(uid=0, gid=0, additional=(0,), home="/root")),
            ("web", (), User(uid=33, gid=33, additional=(33, 7, 8), home="/var/www")),
            ("33", (), User(uid=33, gid=33, additional=(33, 7, 8), home="/var/www")),
            ("web:disk", (), User(uid=33, gid=6, additional=(6,), home="/var/www")),
            ("web", ("disk", "77"), User(uid=33, gid=33, additional=(33, 7, 8, 6, 77), home="/var/www")),
            ("1234", (), User(uid=1234, gid=0, additional=(0,), home="/")),
            ("1234:99", (), User(uid=1234, gid=99, additional=(99,), home="/")),
        ],
    )
    def test_names_and_numbers(self, tmp_path: Path, text: str, groups: tuple[str, ...], expected: User) -> None:
        _etc(tmp_path)
        assert users.resolve_user(tmp_path, text, groups) == expected

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("nobody-here", "unable to find user nobody-here: no matching entries in passwd file"),
            ("web:none", "unable to find group none: no matching entries in group file"),
            ("4294967296", "uids and gids must be in range"),
            ("-1", "uids and gids must be in range"),
        ],
    )
    def test_what_is_not_there(self, tmp_path: Path, text: str, words: str) -> None:
        _etc(tmp_path)
        with pytest.raises(Invalid, match=words):
            users.resolve_user(tmp_path, text)

    @pytest.mark.parametrize("openat2", [True, False])
    def test_a_link_does_not_lead_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, openat2: bool) -> None:
        if not openat2:
            _forget_openat2(monkeypatch)
        (tmp_path / "passwd").write_text("spy:x:1:1::/:\n")
        root = tmp_path / "root"
        (root / "etc").mkdir(parents=True)
        for target in (tmp_path / "passwd", Path("../../passwd"), Path("/../../passwd")):
            (root / "etc/passwd").symlink_to(target)
            with pytest.raises(Invalid, match="unable to find user spy"):
                users.resolve_user(root, "spy")
            (root / "etc/passwd").unlink()
        (root / "real").write_text("fine:x:5:5::/:\n")
        (root / "etc/passwd").symlink_to("/link")
        (root / "link").symlink_to("etc/../../../real")
        assert users.resolve_user(root, "fine").uid == 5
        (root / "real").unlink()
        (root / "real").symlink_to("link")
        with pytest.raises(Invalid, match="unable to find user fine"):
            users.resolve_user(root, "fine")

    def test_a_pipe_in_the_place_of_the_file_holds_nobody_up(self, tmp_path: Path) -> None:
        (tmp_path / "etc").mkdir()
        os.mkfifo(tmp_path / "etc/passwd")
        (tmp_path / "etc/group").mkdir()
        assert users.resolve_user(tmp_path, "5:5").uid == 5


def _etc(root: Path) -> None:
    (root / "etc").mkdir()
    lines = ["root:x:0:0:root:/root:/bin/sh", "broken", "# web:x:9:9::/:", "web:x:33:33:www:/var/www:/bin/sh", ""]
    (root / "etc/passwd").write_text("\n".join(lines))
    (root / "etc/group").write_text("root:x:0:\nweb:x:33:\ndisk:x:6:games\nlp:x:7:web\nmail:x:8:games,web\n:::\n")


def _forget_openat2(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(38, "no such call")

    monkeypatch.setattr("declarative.engine.runtime.kernel.openat2", refuse)


def _mask(names: tuple[str, ...]) -> int:
    return sum(1 << capabilities.KNOWN.index(name) for name in names)


def _replace(made: sandbox.Sandbox, **changes: object) -> sandbox.Sandbox:
    from declarative.record import replace

    return replace(made, **changes)


def _with_python(box: Machine, script: str) -> sandbox.Sandbox:
    """Describe a container that runs a Python script, with the machine's Python."""
    return box.sandbox("/usr/bin/python3", "-I", "-S", "-c", script, mounts=_SYSTEM)
