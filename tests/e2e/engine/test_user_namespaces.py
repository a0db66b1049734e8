"""Containers in user namespaces: root inside, and nobody in particular outside.

A test that takes `remapped` runs on dockerd with `--userns-remap` too, which proves that what it expects is true; but for what
only we do: what is on the disk has the image's ids, whatever a container's are outside.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests import embedded as embedding
from tests import engines
from tests.base_image import BASE_IMAGE
from tests.e2e.engine.clients import FOREVER, IMAGE, Daemon
from tests.e2e.engine.conftest import clear

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FIRST, _SIZE = 300_000, 65536
_DEFAULT = 700_000
_IDS = {"subuid": f"games:{_FIRST}:{_SIZE}\n", "subgid": f"games:{_FIRST}:{_SIZE}\n"}
_OPTIONS = ("--userns-remap=games",)
_MAP = ["0", str(_FIRST), str(_SIZE)]
_WHOLE = ["0", "0", "4294967295"]
_PRIVILEGED = (
    "privileged mode is incompatible with user namespaces.  "
    "You must run the container in the host namespace when running privileged mode"
)
_SHOW_MAP = ("cat", "/proc/self/uid_map")


@pytest.fixture(scope="module", params=["docker26", "embedded"])
def remapped_engine(request: pytest.FixtureRequest) -> Iterator[engines.Engine]:
    """Start an engine all of whose containers get user namespaces."""
    if request.param == "embedded":
        with embedding.EmbeddedEngine(options=_OPTIONS, etc=_IDS) as ours:
            yield ours
    else:
        with engines.Engine(flavour=engines.DEBIAN_13, options=_OPTIONS, etc=_IDS) as dockerd:
            yield dockerd


@pytest.fixture
def remapped(remapped_engine: engines.Engine, tmp_path: Path) -> Iterator[Daemon]:
    """Give such an engine, with nothing in it but the base image."""
    yield Daemon(engine=remapped_engine, home=tmp_path)
    clear(remapped_engine)


ours_alone = pytest.mark.parametrize("remapped_engine", ["embedded"], indirect=True)
"""For what only we promise."""


@pytest.fixture(scope="module")
def plain_engine() -> Iterator[embedding.EmbeddedEngine]:
    """Start ours without the option, on a machine that has subordinate ids to give."""
    lines = f"dockremap:{_DEFAULT}:{_SIZE}\n"
    with embedding.EmbeddedEngine(etc={"subuid": lines, "subgid": lines}) as engine:
        yield engine


@pytest.fixture
def plain(plain_engine: embedding.EmbeddedEngine, tmp_path: Path) -> Iterator[Daemon]:
    yield Daemon(engine=plain_engine, home=tmp_path)
    clear(plain_engine)


def owners(daemon: Daemon, container: str, *paths: str) -> list[str]:
    """Give UID:GID of each path as the container sees it."""
    return daemon.sh(container, f"stat -c %u:%g {' '.join(paths)}").split()


def outside(daemon: Daemon, container: str) -> str:
    """Give the first process's directory in /proc as the machine has it."""
    return f"/proc/{daemon.field(container, '{{.State.Pid}}')}"


def archive(*files: tuple[str, int, int]) -> bytes:
    """Pack files that are owned by UID, GID."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, uid, gid in files:
            entry = tarfile.TarInfo(name)
            entry.uid, entry.gid, entry.size = uid, gid, 3
            tar.addfile(entry, io.BytesIO(b"abc"))
    return packed.getvalue()


def packed_owners(data: bytes) -> dict[str, tuple[int, int]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name.strip("/"): (entry.uid, entry.gid) for entry in tar}


def put(daemon: Daemon, container: str, path: str, data: bytes) -> tuple[int, str]:
    """Unpack an archive in a container, its ids and all, as `docker cp` does."""
    status, said = daemon.engine.api("PUT", f"/containers/{container}/archive?path={path}", data)
    return status, str(said)


def taken(daemon: Daemon, container: str, path: str) -> dict[str, tuple[int, int]]:
    """Give the owners of what `docker cp` takes out."""
    process = daemon.start("cp", f"{container}:{path}", "-")
    data, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return packed_owners(data)


def exported(daemon: Daemon, container: str, tmp_path: Path) -> dict[str, tuple[int, int]]:
    daemon.docker("export", "-o", str(tmp_path / "export.tar"), container)
    return packed_owners((tmp_path / "export.tar").read_bytes())


# ---- who is who


def test_info_says_so(remapped: Daemon) -> None:
    assert "name=userns" in json.loads(remapped.out("info", "-f", "{{json .SecurityOptions}}"))


def test_root_inside_is_a_subordinate_id_outside(remapped: Daemon) -> None:
    remapped.up("web")
    assert remapped.sh("web", "id -u; cat /proc/self/uid_map /proc/self/gid_map").split() == ["0", *_MAP, *_MAP]
    process = outside(remapped, "web")
    assert remapped.enter("cat", f"{process}/uid_map").stdout.split() == _MAP
    status = remapped.enter("grep", "-E", "^[UG]id:", f"{process}/status").stdout.split()
    assert status == ["Uid:", *[str(_FIRST)] * 4, "Gid:", *[str(_FIRST)] * 4]
    assert remapped.run("-u", "nobody", IMAGE, "id", "-u") == "65534"


def test_the_image_keeps_its_owners(remapped: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {IMAGE}\nRUN mkdir /web && echo 1 > /web/f && chown -R 33:44 /web && chmod 4755 /web/f\n"
    )
    remapped.docker("build", "-q", "-t", "owned", str(tmp_path))
    remapped.up("web", image="owned")
    assert owners(remapped, "web", "/", "/etc", "/etc/passwd", "/tmp", "/web/f") == [*["0:0"] * 4, "33:44"]
    assert remapped.sh("web", "stat -c %a /web/f") == "4755"


def test_what_root_writes(remapped: Daemon) -> None:
    remapped.up("web", "--tmpfs", "/scratch")
    remapped.sh("web", "echo 1 > /new; chown 5:6 /new; rm /etc/group; echo x >> /etc/passwd; mkdir -p /a/b; ln -s x /l")
    assert owners(remapped, "web", "/new", "/etc/passwd", "/a/b") == ["5:6", "0:0", "0:0"]
    assert {"A /new", "D /etc/group", "C /etc/passwd", "A /a/b"} <= set(remapped.lines("diff", "web"))
    remapped.sh(
        "web", "touch /dev/shm/x /scratch/x; echo 9.9.9.9 nine >> /etc/hosts; echo > /dev/null; echo n > /etc/hostname"
    )
    assert owners(remapped, "web", "/dev", "/dev/shm", "/scratch", "/scratch/x", "/etc/hosts") == ["0:0"] * 5
    assert "9.9.9.9" in remapped.sh("web", "cat /etc/hosts")


@ours_alone
def test_nothing_on_the_disk_has_the_ids_outside(remapped: Daemon) -> None:
    remapped.up("web", "-v", "data:/data")
    remapped.sh("web", "echo 1 > /new; chown 5:6 /new; touch /data/f /etc/passwd; cp /etc/passwd /x")
    folder = f"{remapped.engine.folder}/data"
    found = remapped.enter(
        "find", folder, "-xdev", "(", "-uid", "+65535", "-o", "-gid", "+65535", ")", "-printf", "%f\n"
    ).stdout
    assert set(found.split()) <= {
        "hosts",
        "hostname",
        "resolv.conf",
        "rootfs",
    }  # what it may write to, and where its root is
    assert remapped.enter("stat", "-c", "%u", f"{folder}/volumes/data/_data/f").stdout == "0\n"


def test_streams_can_be_opened_again(remapped: Daemon) -> None:
    script = "echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin"
    for user in ("root", "nobody"):
        ended = remapped.docker("run", "--rm", "-i", "-u", user, IMAGE, "sh", "-c", script, stdin="in")
        assert (ended.stdout, ended.stderr) == ("out\nin", "err\n")
    remapped.up("web")
    for user in ("root", "nobody"):
        ended = remapped.docker("exec", "-i", "-u", user, "web", "sh", "-c", script, stdin="in")
        assert (ended.stdout, ended.stderr) == ("out\nin", "err\n")


def test_terminals(remapped: Daemon) -> None:
    script = "test -t 0 && echo hi > /dev/tty; stat -c %u:%g /dev/console"
    with remapped.terminal("run", "--rm", "-t", IMAGE, "sh", "-c", script) as terminal:
        assert terminal.finish() == 0
        assert terminal.seen.split() == ["hi", "0:5"]
    remapped.up("web")
    with remapped.terminal("exec", "-it", "web", "sh", "-c", "tty; echo hi > /dev/tty; read end") as terminal:
        assert terminal.read_until("hi").split() == ["/dev/pts/0", "hi"]
        terminal.type("\n")
        assert terminal.finish() == 0


def test_health_checks(remapped: Daemon) -> None:
    remapped.up("web", "--health-cmd", "test $(id -u) = 0 && touch /healthy", "--health-interval", "200ms")
    remapped.wait_for("web", "{{.State.Health.Status}}", "healthy")
    assert owners(remapped, "web", "/healthy") == ["0:0"]


# ---- files in and out


def test_copying_keeps_the_ids_inside(remapped: Daemon, tmp_path: Path) -> None:
    remapped.up("web", "-v", "data:/data", "--tmpfs", "/scratch")
    files = archive(("root", 0, 0), ("deep/er/file", 7, 8), ("last", 65535, 65535))
    for place in ("/", "/data", "/scratch")[: 3 if remapped.ours else 2]:  # dockerd does not come at a tmpfs
        assert put(remapped, "web", place, files) == (200, "")
        paths = [f"{place.rstrip('/')}/{name}" for name in ("root", "deep", "deep/er/file", "last")]
        assert owners(remapped, "web", *paths) == ["0:0", "0:0", "7:8", "65535:65535"]
        if remapped.ours:  # dockerd gives the ids outside
            assert list(taken(remapped, "web", paths[2]).values()) == [(7, 8)]
    assert remapped.sh("web", "cat /deep/er/file /data/root") == "abcabc"
    (tmp_path / "mine").write_bytes(files)
    remapped.docker("cp", str(tmp_path / "mine"), "web:/mine")
    remapped.docker("cp", "web:/mine", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == files
    assert put(remapped, "web", "/", archive(("far", 65536, 0)))[0] == 500


def test_copying_into_and_out_of_a_stopped_one(remapped: Daemon) -> None:
    remapped.up("web", "-v", "data:/data")
    remapped.docker("stop", "web")
    for place in ("/", "/data"):
        assert put(remapped, "web", place, archive(("deep/er/file", 7, 8))) == (200, "")
        if remapped.ours:
            assert list(taken(remapped, "web", f"{place}/deep/er/file").values()) == [(7, 8)]
    remapped.docker("start", "web")
    assert (
        owners(remapped, "web", "/deep/er/file", "/data/deep/er/file", "/deep", "/data/deep")
        == ["7:8"] * 2 + ["0:0"] * 2
    )


def test_images_and_archives_have_the_ids_inside(remapped: Daemon, tmp_path: Path) -> None:
    remapped.up("web")
    remapped.sh("web", "echo 1 > /new; chown 5:6 /new; mkdir /d; chmod 4755 /new")
    remapped.docker("commit", "web", "made")
    assert remapped.run("made", "stat", "-c", "%u:%g %a", "/new", "/d").splitlines() == ["5:6 4755", "0:0 755"]
    running = exported(remapped, "web", tmp_path)
    remapped.docker("stop", "web")
    for found in (running, exported(remapped, "web", tmp_path)):
        assert (found["new"], found["d"], found["etc/passwd"]) == ((5, 6), (0, 0), (0, 0))
        assert max(max(pair) for pair in found.values()) <= 65535


@ours_alone
def test_an_image_made_so_is_one_for_everybody(remapped: Daemon) -> None:
    remapped.up("web")
    remapped.sh("web", "echo 1 > /new; chown 5:6 /new")
    remapped.docker("commit", "web", "made")
    shown = remapped.run("--userns", "host", "made", "sh", "-c", "stat -c %u:%g /new /etc; cat /proc/self/uid_map")
    assert shown.split() == ["5:6", "0:0", *_WHOLE]


# ---- volumes and binds


def test_volumes_are_the_containers(remapped: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN mkdir /data && echo 1 > /data/f && chown -R 33:44 /data\n")
    remapped.docker("build", "-q", "-t", "filled", str(tmp_path))
    remapped.up("web", "-v", "data:/data", "-v", "/own", image="filled")
    assert owners(remapped, "web", "/data", "/data/f", "/own") == ["33:44", "33:44", "0:0"]
    remapped.sh("web", "echo 2 > /data/g; echo 3 > /own/h; chown 5:6 /data/g")
    remapped.up("other", "--volumes-from", "web", "-v", "data:/again:ro")
    assert owners(remapped, "other", "/data/g", "/own/h", "/again/g") == ["5:6", "0:0", "5:6"]
    assert "Read-only" in remapped.fails("exec", "other", "touch", "/again/x")
    remapped.docker("restart", "web")
    assert owners(remapped, "web", "/data/g", "/own/h") == ["5:6", "0:0"]


@ours_alone
def test_a_volume_looks_the_same_in_the_hosts_user_namespace(remapped: Daemon) -> None:
    remapped.run("-v", "data:/data", IMAGE, "sh", "-c", "mkdir /data/sub; echo 1 > /data/sub/f; chown 5:6 /data/sub/f")
    assert remapped.run("--userns", "host", "-v", "data:/data", IMAGE, "stat", "-c", "%u:%g", "/data/sub/f") == "5:6"
    subpath = "type=volume,source=data,target=/f,volume-subpath=sub/f"
    assert remapped.run("--mount", subpath, IMAGE, "stat", "-c", "%u:%g", "/f") == "5:6"


@ours_alone
def test_volumes_of_other_file_systems(remapped: Daemon) -> None:
    remapped.docker("volume", "create", "-d", "local", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    assert remapped.run("-v", "memory:/m", IMAGE, "sh", "-c", "touch /m/f && stat -c %u /m /m/f").split() == ["0", "0"]
    lower = f"o=lowerdir={remapped.engine.folder}:{remapped.home}"
    remapped.docker(
        "volume", "create", "-d", "local", "-o", "type=overlay", "-o", "device=overlay", "-o", lower, "layered"
    )
    assert remapped.run("-v", "layered:/m", IMAGE, "stat", "-c", "%u", "/m") == "65534"  # it maps no ids: as it is


def test_folders_of_the_host_are_as_they_are(remapped: Daemon, tmp_path: Path) -> None:
    (tmp_path / "roots").mkdir(mode=0o755)
    (tmp_path / "roots/file").write_text("readable\n")
    (tmp_path / "roots/secret").touch(mode=0o600)
    (tmp_path / "mine").mkdir()
    os.chown(tmp_path / "mine", _FIRST + 5, _FIRST + 6)
    remapped.up("web", "-v", f"{tmp_path}/roots:/roots", "-v", f"{tmp_path}/mine:/mine", "-v", f"{tmp_path}/made:/made")
    assert owners(remapped, "web", "/roots", "/roots/file", "/mine", "/made") == ["65534:65534"] * 2 + ["5:6", "0:0"]
    assert remapped.sh("web", "cat /roots/file") == "readable"
    for script in ("touch /roots/x", "echo > /roots/file", "rm /roots/file", "chmod 777 /roots", "chown 0 /roots/file"):
        assert "not permitted" in (said := remapped.fails("exec", "web", "sh", "-c", script)) or "denied" in said, (
            script
        )
    assert "denied" in remapped.fails("exec", "web", "cat", "/roots/secret")
    remapped.sh("web", "touch /mine/x /made/x; cp /bin/busybox /made/su; chmod 4755 /made/su")
    written = [(path.stat().st_uid, path.stat().st_gid) for path in (tmp_path / "mine/x", tmp_path / "made/su")]
    assert written == [(_FIRST, _FIRST)] * 2


# ---- what is not possible


def successes(daemon: Daemon, attempts: dict[str, str], *options: str) -> str:
    """Make every attempt in one container; give the names of those that succeed, a line each."""
    script = "; ".join(f'({attempt}) >/dev/null 2>&1 && echo "{name}"' for name, attempt in attempts.items())
    return daemon.run(*options, IMAGE, "sh", "-c", f"{script}; true")


def test_what_root_inside_may_not_do(remapped: Daemon, tmp_path: Path) -> None:
    (tmp_path / "held").write_text("held\n")
    attempts = {
        "node": "mknod /node c 1 3",
        "disk": "mknod /disk b 254 0",
        "machine's node": "chmod 777 /dev/null || chown 1 /dev/null",
        "mount": "mount -t tmpfs none /tmp",
        "bind": "echo x >> /held",
        "remove": "umount /held && rm /held",
        "sysctl": "echo 1 > /proc/sys/kernel/panic",
        "trigger": "echo b > /proc/sysrq-trigger",
        "map": "echo '0 0 4294967295' > /proc/self/uid_map",
        "groups": "echo allow > /proc/self/setgroups",
        "far": "touch /far && chown 65536 /far",
        "hostname": "hostname other",
        "new namespace": "unshare -m true || unshare -U true",
        "machine's memory": "head -c 1 /proc/kcore | grep -q .",
        "cgroup": "echo 1 > /sys/fs/cgroup/pids/cgroup.procs || mkdir /sys/fs/cgroup/pids/x",
        "log": "dmesg",
        "oom": "echo -1000 > /proc/self/oom_score_adj",
    }
    assert successes(remapped, attempts, "-v", f"{tmp_path}/held:/held") == ""
    assert (tmp_path / "held").read_text() == "held\n"


def test_not_even_with_every_capability(remapped: Daemon, tmp_path: Path) -> None:
    (tmp_path / "held").write_text("held\n")
    attempts = {
        "node": "mknod /node c 1 3",
        "bind": "echo x >> /held",
        "sysctl": "mount -o remount,rw /proc/sys; echo 1 > /proc/sys/kernel/panic",
        "map": "echo '0 0 4294967295' > /proc/self/uid_map",
        "devices": "mount -t devtmpfs none /tmp",
        "disk": "mount -t ext4 /dev/vda /tmp || mount -t ext4 /dev/sda /tmp",
    }
    options = ("--cap-add", "ALL", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined")
    assert successes(remapped, attempts, *options, "-v", f"{tmp_path}/held:/held") == ""
    assert remapped.run(*options, IMAGE, "sh", "-c", "mount -t tmpfs none /tmp && echo inside") == "inside"


def test_a_setuid_program_makes_nobody_the_machines_root(remapped: Daemon) -> None:
    remapped.up("web")
    remapped.sh("web", "mkdir /up; cp /bin/busybox /up/su; chmod 4755 /up/su")
    with remapped.terminal("exec", "-it", "-u", "nobody", "web", "/up/su") as terminal:
        terminal.read_until("assword")
        script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | grep -qx '/up/su ' && grep Uid: $p/status; done; true"
        seen = remapped.enter("sh", "-c", script).stdout.split()
        assert seen == ["Uid:", str(_FIRST + 65534), *[str(_FIRST)] * 3]
        terminal.type("wrong\n")
        assert terminal.finish() == 1


@ours_alone
def test_the_folder_of_a_volume_is_for_root_alone(remapped: Daemon) -> None:
    remapped.run("-v", "data:/data", IMAGE, "sh", "-c", "cp /bin/busybox /data/up; chmod 4755 /data/up")
    assert remapped.enter("stat", "-c", "%a", f"{remapped.engine.folder}/data/volumes/data").stdout == "700\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--privileged",),
            _PRIVILEGED,
        ),
        (("--network", "host"), "cannot share the host's network namespace when user namespaces are enabled"),
        (("--pid", "host"), "cannot share the host PID namespace when user namespaces are enabled"),
    ],
)
def test_what_does_not_go_together(remapped: Daemon, options: tuple[str, ...], words: str) -> None:
    assert words in remapped.fails("run", "--rm", *options, IMAGE, "true", code=125)
    assert remapped.run("--userns", "host", *options, IMAGE, *_SHOW_MAP).split() == _WHOLE


# ---- with others


def test_who_joins_a_container_joins_its_user_namespace(remapped: Daemon) -> None:
    remapped.up("web", "--ipc", "shareable")
    space = remapped.sh("web", "readlink /proc/self/ns/user")
    script = (
        "readlink /proc/self/ns/user; cat /proc/self/uid_map; touch /x /dev/shm/x && ping -c 1 127.0.0.1 > /dev/null"
    )
    for options in (("--network",), ("--pid",), ("--ipc",), ("--network", "--pid", "--ipc")):
        joins = [word for option in options for word in (option, "container:web")]
        assert remapped.run(*joins, IMAGE, "sh", "-c", script).split() == [space, *_MAP]
    assert remapped.run(IMAGE, "readlink", "/proc/self/ns/user") != space
    assert "sleep 9000" in remapped.run("--userns", "host", "--pid", "container:web", IMAGE, "ps", "-o", "args")


@ours_alone
def test_whom_one_cannot_join(remapped: Daemon) -> None:
    remapped.up("hosts", "--userns", "host")
    said = remapped.fails("run", "--rm", "--network", "container:hosts", IMAGE, "true")
    assert "in the host's user namespace — run this one with --userns=host too" in said
    remapped.up("one")
    remapped.up("two")
    said = remapped.fails("run", "--rm", "--network", "container:one", "--pid", "container:two", IMAGE, "true")
    assert "different user namespaces" in said
    assert remapped.lines("ps", "-q", "--no-trunc") == remapped.lines("ps", "-aq", "--no-trunc")


def test_networks(remapped: Daemon) -> None:
    remapped.docker("network", "create", "lan")
    remapped.up("web", "--network", "lan", "-p", "8099:80", command=("httpd", "-f", "-p", "80", "-h", "/etc"))
    assert "root" in remapped.wait_http(8099, "/passwd")
    assert "root" in remapped.run("--network", "lan", IMAGE, "wget", "-qO-", "http://web/passwd")
    assert "1 packets received" in remapped.run("--network", "lan", IMAGE, "ping", "-c", "1", "web")
    assert remapped.field("web", "{{.NetworkSettings.Networks.lan.IPAddress}}") in remapped.run(
        "--network", "lan", IMAGE, "nslookup", "-type=a", "web", "127.0.0.11"
    )
    assert remapped.run("--network", "none", IMAGE, "ls", "/sys/class/net") == "lo"
    assert (
        remapped.run("--cap-add", "NET_ADMIN", IMAGE, "sh", "-c", "ip link set lo down; ip addr add 10.9.9.9/32 dev lo")
        == ""
    )
    given = ("--sysctl", "net.ipv4.ip_unprivileged_port_start=700", "--sysctl", "net.ipv4.ip_forward=1")
    shown = ("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/net/ipv4/ip_forward")
    assert remapped.run(*given, IMAGE, *shown).split() == ["700", "1"]
    remapped.docker("network", "disconnect", "lan", "web")
    remapped.docker("network", "connect", "lan", "web")
    assert "root" in remapped.run("--network", "lan", IMAGE, "wget", "-qO-", "http://web/passwd")


def test_limits_and_the_rest(remapped: Daemon) -> None:
    options = ("-m", "64m", "--pids-limit", "50", "--cpus", "1", "--ulimit", "nofile=300:400", "--init", "-h", "here")
    script = "ulimit -n; hostname; pwd; stat -c %u .; cat /proc/self/oom_score_adj"
    seen = remapped.run(*options, "--oom-score-adj", "500", "-w", "/new/dir", IMAGE, "sh", "-c", script)
    assert seen.split() == ["300", "here", "/new/dir", "0", "500"]
    seen = remapped.run("--read-only", "--tmpfs", "/tmp", IMAGE, "sh", "-c", "touch /x 2>&1; touch /tmp/y && echo tmp")
    assert seen.splitlines() == ["touch: /x: Read-only file system", "tmp"]


# ---- over time


def test_a_restart_keeps_it(remapped: Daemon) -> None:
    remapped.up("web", "-v", "data:/data")
    remapped.sh("web", "echo 1 > /new; chown 5:6 /new /data")
    remapped.docker("restart", "web")
    assert owners(remapped, "web", "/new", "/data", "/etc") == ["5:6", "5:6", "0:0"]
    assert remapped.sh("web", "cat /proc/self/uid_map").split() == _MAP


@ours_alone
def test_a_daemon_that_comes_back_goes_on_with_it(remapped: Daemon, tmp_path: Path) -> None:
    engine = remapped.engine
    assert isinstance(engine, embedding.EmbeddedEngine)
    remapped.up("web", "-v", "data:/data", "-p", "8098:80", command=("httpd", "-f", "-p", "80", "-h", "/etc"))
    remapped.up("again", "--restart", "always")
    place = engine.run / "mapped" / "mapped-left" / "0"  # as of one that was killed over a start
    remapped.enter("mkdir", "-p", str(place))
    remapped.enter("mount", "--bind", f"{engine.root}/volumes/data/_data", str(place))
    remapped.sh("web", "echo kept > /data/f; echo 1 > /new; chown 5:6 /new")
    engine.kill()
    engine.start_daemon()
    assert not place.parent.exists()
    assert remapped.sh("web", "cat /data/f; cat /proc/self/uid_map").split() == ["kept", *_MAP]
    assert put(remapped, "web", "/", archive(("put", 7, 8))) == (200, "")
    assert owners(remapped, "web", "/new", "/put") == ["5:6", "7:8"]
    assert exported(remapped, "web", tmp_path)["put"] == (7, 8)
    assert "root" in remapped.wait_http(8098, "/passwd")
    remapped.docker("restart", "-t", "0", "web", "again")
    assert owners(remapped, "web", "/new", "/put", "/data/f") == ["5:6", "7:8", "0:0"]
    assert remapped.sh("again", "cat /proc/self/uid_map").split() == _MAP
    remapped.docker("rm", "-f", "web", "again")
    assert remapped.run("-v", "data:/data", IMAGE, "cat", "/data/f") == "kept"
    assert list((engine.run / "mapped").iterdir()) == []


# ---- one container alone


def create(daemon: Daemon, name: str, mode: str, **host: object) -> tuple[int, str]:
    body = {"Image": BASE_IMAGE, "Cmd": list(FOREVER), "HostConfig": {"UsernsMode": mode, **host}}
    status, said = daemon.engine.api("POST", f"/containers/create?name={name}", body)
    return status, str(said)


def test_one_container_can_ask_for_it(plain: Daemon) -> None:
    assert plain.run(IMAGE, *_SHOW_MAP).split() == _WHOLE
    assert "name=userns" not in plain.out("info", "-f", "{{.SecurityOptions}}")
    assert create(plain, "web", "private", Binds=["data:/data"])[0] == 201
    plain.docker("start", "web")
    assert plain.sh("web", "touch /data/f /f; cat /proc/self/uid_map").split() == ["0", str(_DEFAULT), str(_SIZE)]
    assert plain.field("web", "{{.HostConfig.UsernsMode}}") == "private"
    assert plain.run("--volumes-from", "web", IMAGE, "stat", "-c", "%u", "/data/f") == "0"
    assert plain.run("--network", "container:web", IMAGE, *_SHOW_MAP).split() == _WHOLE
    status, said = create(plain, "wrong", "private", Privileged=True)
    assert (status, "privileged mode is incompatible with user namespaces." in said) == (400, True)
    assert create(plain, "wrong", "other")[0] == 400


def test_docker_py_can_ask_for_it(plain: Daemon) -> None:
    docker = pytest.importorskip("docker")
    client = docker.DockerClient(base_url=plain.url)
    try:
        made = client.containers.run(BASE_IMAGE, list(_SHOW_MAP), userns_mode="private", remove=True)
    except docker.errors.APIError as error:  # the library itself knows "host" alone
        pytest.fail(str(error))
    except ValueError:
        made = None
    finally:
        client.close()
    assert made is None or made.split() == [b"0", str(_DEFAULT).encode(), str(_SIZE).encode()]


def test_a_machine_without_ids_to_give(embedded: Daemon) -> None:
    status, said = create(embedded, "web", "private")
    assert status == 400
    assert "/etc/subuid has no line for dockremap — add one: echo dockremap:165536:65536 >> /etc/subuid" in said
    assert embedded.lines("ps", "-aq") == []


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("default", "/etc/subuid has no line for dockremap — add one: echo dockremap:165536:65536 >> /etc/subuid"),
        ("root", "root cannot be mapped to itself"),
        ("games:nosuch", "there is no group nosuch"),
    ],
)
def test_a_daemon_that_cannot_does_not_start(option: str, told: str) -> None:
    engine = embedding.EmbeddedEngine(options=(f"--userns-remap={option}",), etc=_IDS)
    with pytest.raises(RuntimeError, match="ended at once") as caught, engine:
        pass
    assert told in str(caught.value)


def test_what_was_made_mapped_stays_mapped_without_the_option(tmp_path: Path) -> None:
    lines = {name: text + f"dockremap:{_DEFAULT}:{_SIZE}\n" for name, text in _IDS.items()}
    with embedding.EmbeddedEngine(options=_OPTIONS, etc=lines) as engine:
        daemon = Daemon(engine=engine, home=tmp_path)
        daemon.up("web")
        daemon.sh("web", "echo 1 > /new; chown 5:6 /new")
        engine.stop_daemon()
        engine.options = ()
        engine.start_daemon()
        assert daemon.sh("web", "cat /proc/self/uid_map").split() == _MAP
        daemon.docker("restart", "web")
        assert daemon.sh("web", "cat /proc/self/uid_map").split() == ["0", str(_DEFAULT), str(_SIZE)]
        assert owners(daemon, "web", "/new", "/etc") == ["5:6", "0:0"]
