"""`docker run` and what it can ask for, by the stock client on the embedded engine."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests import engines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.embedded import EmbeddedEngine


@pytest.fixture
def engine(embedded_engine: EmbeddedEngine) -> Iterator[EmbeddedEngine]:
    yield embedded_engine
    embedded_engine.clear()


def run(engine: EmbeddedEngine, *args: str) -> str:
    return engine.docker("run", "--rm", *args).stdout


def inspected(engine: EmbeddedEngine, name: str) -> Any:
    return json.loads(engine.docker("inspect", name).stdout)[0]


def test_output_error_and_code_come_back(engine: EmbeddedEngine) -> None:
    ended = engine.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 42", check=False)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("out\n", "err\n", 42)
    assert engine.contents().containers == frozenset()


def test_input_goes_in_and_ends(engine: EmbeddedEngine) -> None:
    text = "".join(f"line {number}\n" for number in range(50_000))
    ended = engine.docker("run", "--rm", "-i", "busybox", "sha256sum", stdin=text)
    import hashlib

    assert ended.stdout.split()[0] == hashlib.sha256(text.encode()).hexdigest()


def test_large_output_is_whole(engine: EmbeddedEngine) -> None:
    out = run(engine, "busybox", "seq", "200000")
    assert out.splitlines() == [str(number) for number in range(1, 200_001)]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["nosuch"], 127, 'exec: "nosuch": executable file not found in $PATH'),
        (["/etc/passwd"], 126, "permission denied"),
        (["/nosuch"], 127, "no such file or directory"),
    ],
)
def test_what_cannot_be_run_says_so(engine: EmbeddedEngine, command: list[str], code: int, words: str) -> None:
    ended = engine.docker("run", "--name", "bad", "busybox", *command, check=False)
    assert ended.returncode == code
    assert words in ended.stderr
    state = inspected(engine, "bad")["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", code)
    assert words in state["Error"]


def test_a_refused_option_is_125(engine: EmbeddedEngine) -> None:
    ended = engine.docker("run", "--rm", "--memory", "1m", "busybox", "true", check=False)
    assert ended.returncode == 125
    assert "Minimum memory limit allowed is 6MB" in ended.stderr
    assert engine.contents().containers == frozenset()


def test_environment_directory_user(engine: EmbeddedEngine, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("FROM_FILE=1\n# no\n")
    script = 'echo "$A|$FROM_FILE|$(pwd)|$(id -u):$(id -g)|$HOME|$(hostname)"'
    options = ["-e", "A=b c", "--env-file", str(file), "-w", "/var/deep/er", "-u", "nobody", "-h", "me"]
    assert run(engine, *options, "busybox", "sh", "-c", script) == "b c|1|/var/deep/er|65534:65534|/|me\n"


def test_labels_entrypoint_cidfile(engine: EmbeddedEngine, tmp_path: Path) -> None:
    cid = tmp_path / "cid"
    engine.docker(
        "run", "-d", "--name", "one", "--cidfile", str(cid), "-l", "a=b", "--entrypoint", "sleep", "busybox", "1000"
    )
    document = inspected(engine, "one")
    assert document["Id"] == cid.read_text()
    assert document["Config"]["Labels"] == {"a": "b"}
    assert (document["Path"], document["Args"]) == ("sleep", ["1000"])


def test_limits_reach_the_control_group(engine: EmbeddedEngine) -> None:
    options = [
        "-d",
        "--name",
        "limited",
        "--memory",
        "64m",
        "--pids-limit",
        "33",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "512",
    ]
    engine.docker("run", *options, "busybox", "sleep", "1000")
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us"
    script += " 2>/dev/null || (cd /sys/fs/cgroup; cat memory.max pids.max; cut -d' ' -f1 cpu.max)"
    assert engine.docker("exec", "limited", "sh", "-c", script).stdout.split() == ["67108864", "33", "50000"]
    engine.docker("update", "--memory", "32m", "--memory-swap", "64m", "--cpus", "0.25", "limited")
    assert engine.docker("exec", "limited", "sh", "-c", script).stdout.split() == ["33554432", "33", "25000"]
    host = inspected(engine, "limited")["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (32 << 20, 64 << 20, 250_000_000)


def test_out_of_memory_is_told(engine: EmbeddedEngine) -> None:
    script = "x=a; while true; do x=$x$x; done"
    options = ["--name", "fat", "-m", "8m", "--memory-swap", "8m"]
    ended = engine.docker("run", *options, "busybox", "sh", "-c", script, check=False)
    state = inspected(engine, "fat")["State"]
    assert (ended.returncode, state["OOMKilled"], state["ExitCode"]) == (137, True, 137)


def test_ulimits_sysctls_shm(engine: EmbeddedEngine) -> None:
    options = ["--ulimit", "nofile=100:200", "--sysctl", "net.ipv4.ip_forward=0", "--shm-size", "8m"]
    script = "ulimit -Sn; ulimit -Hn; cat /proc/sys/net/ipv4/ip_forward; df -k /dev/shm | tail -1 | awk '{print $2}'"
    assert run(engine, *options, "busybox", "sh", "-c", script).split() == ["100", "200", "0", "8192"]


def test_capabilities_and_privileges(engine: EmbeddedEngine) -> None:
    script = "grep -e CapEff -e NoNewPrivs /proc/self/status | awk '{print $2}'"
    default, _ = run(engine, "busybox", "sh", "-c", script).split()
    assert int(default, 16) == 0xA80425FB  # Docker's fourteen
    options = ["--cap-drop", "all", "--cap-add", "NET_ADMIN", "--security-opt", "no-new-privileges"]
    assert run(engine, *options, "busybox", "sh", "-c", script).split() == ["0000000000001000", "1"]
    everything = int(run(engine, "--privileged", "busybox", "sh", "-c", script).split()[0], 16)
    assert everything & 0xA80425FB == 0xA80425FB
    assert everything.bit_count() > 30


def test_read_only_tmpfs_init_device(engine: EmbeddedEngine) -> None:
    script = (
        "touch /x 2>&1; touch /t/x && echo fine; cat /proc/1/comm; ls /dev/extra; df -k /t | tail -1 | awk '{print $2}'"
    )
    options = ["--read-only", "--tmpfs", "/t:size=64k", "--init", "--device", "/dev/null:/dev/extra"]
    out = run(engine, *options, "busybox", "sh", "-c", script).splitlines()
    assert "Read-only file system" in out[0]
    assert out[1] == "fine"
    assert "init" in out[2] or "tini" in out[2]
    assert out[3:] == ["/dev/extra", "64"]


def test_namespaces_are_shared_on_request(engine: EmbeddedEngine) -> None:
    engine.docker("run", "-d", "--name", "donor", "--ipc", "shareable", "-h", "donor", "busybox", "sleep", "1234")
    assert "sleep 1234" in run(engine, "--pid", "container:donor", "busybox", "ps")
    assert "sleep 1234" in run(engine, "--pid", "host", "busybox", "ps")
    engine.docker("exec", "donor", "sh", "-c", "echo shared > /dev/shm/file")
    assert run(engine, "--ipc", "container:donor", "busybox", "cat", "/dev/shm/file") == "shared\n"  # noqa: S108
    addresses = "ip -4 -o addr show eth0 | awk '{print $4}'"
    own = engine.docker("exec", "donor", "sh", "-c", addresses).stdout
    assert (
        run(engine, "--network", "container:donor", "busybox", "sh", "-c", f"{addresses}; hostname") == f"{own}donor\n"
    )
    assert run(engine, "--network", "none", "busybox", "sh", "-c", "ls /sys/class/net") == "lo\n"


def test_links_and_hosts(engine: EmbeddedEngine) -> None:
    engine.docker("run", "-d", "--name", "db-1", "--expose", "5432", "busybox", "sleep", "1000")
    address = inspected(engine, "db-1")["NetworkSettings"]["IPAddress"]
    out = run(engine, "--link", "db-1:db", "--add-host", "far:1.2.3.4", "busybox", "sh", "-c", "cat /etc/hosts; env")
    assert f"{address}\tdb " in out
    assert "1.2.3.4\tfar" in out
    assert f"DB_PORT_5432_TCP_ADDR={address}" in out


def test_published_ports(engine: EmbeddedEngine) -> None:
    options = ["-d", "--name", "web", "-p", "127.0.0.1:8085:80", "-p", "8081-8082:81-82"]
    engine.docker("run", *options, "busybox", "httpd", "-f", "-h", "/etc")
    assert engine.http_get(8085, "/passwd")[0] == 200
    assert "80/tcp -> 127.0.0.1:8085" in engine.docker("port", "web").stdout
    row = engine.docker("ps", "--format", "{{.Ports}}").stdout
    assert "127.0.0.1:8085->80/tcp" in row
    assert "0.0.0.0:8081->81/tcp" in row
    assert "0.0.0.0:8082->82/tcp" in row
    taken = engine.docker("run", "-d", "--name", "late", "-p", "127.0.0.1:8085:80", "busybox", "true", check=False)
    assert taken.returncode == 125
    assert "Bind for 127.0.0.1:8085 failed: port is already allocated" in taken.stderr
    assert inspected(engine, "late")["State"]["Status"] == "created"


def test_networks_addresses_aliases(engine: EmbeddedEngine) -> None:
    engine.docker("network", "create", "--subnet", "10.77.0.0/24", "lab")
    options = ["-d", "--name", "a", "--network", "lab", "--network-alias", "alpha", "--ip", "10.77.0.9"]
    engine.docker("run", *options, "--name", "aa", "busybox", "sleep", "1000")
    assert "10.77.0.9" in run(engine, "--network", "lab", "busybox", "nslookup", "alpha")
    engine.docker("network", "create", "other")
    engine.docker("network", "connect", "--alias", "second", "other", "aa")
    networks = inspected(engine, "aa")["NetworkSettings"]["Networks"]
    assert sorted(networks) == ["lab", "other"]
    assert (
        run(engine, "--network", "other", "busybox", "ping", "-c", "1", "-W", "5", "second").count("1 packets received")
        == 1
    )
    engine.docker("network", "disconnect", "lab", "aa")
    assert sorted(inspected(engine, "aa")["NetworkSettings"]["Networks"]) == ["other"]


def test_volumes_get_the_images_content_once(engine: EmbeddedEngine) -> None:
    engine.docker(
        "run",
        "--name",
        "maker",
        "busybox",
        "sh",
        "-c",
        "mkdir /data; echo a > /data/f; chown 65534:65534 /data /data/f; chmod 711 /data",
    )
    engine.docker("commit", "-c", "VOLUME /data", "maker", "seeded")
    show = "stat -c '%u:%g %a' /data; stat -c %u /data/f; cat /data/f"
    assert run(engine, "-v", "named:/data", "seeded", "sh", "-c", f"{show}; echo b > /data/f").split() == [
        "65534:65534",
        "711",
        "65534",
        "a",
    ]
    assert run(engine, "-v", "named:/data", "seeded", "cat", "/data/f") == "b\n"
    assert run(engine, "--mount", "type=volume,source=bare,target=/data,volume-nocopy", "seeded", "ls", "/data") == ""
    assert run(engine, "seeded", "cat", "/data/f") == "a\n"
    assert engine.contents().volumes == {"named", "bare"}  # the anonymous one went with --rm
    ended = engine.docker("volume", "rm", "named", check=False)
    assert ended.returncode == 0
    engine.docker("rm", "maker")
    engine.docker("rmi", "seeded")


def test_binds(engine: EmbeddedEngine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here\n")
    assert run(
        engine, "-v", f"{tmp_path}:/b:ro", "busybox", "sh", "-c", "cat /b/file; touch /b/x 2>&1 || true"
    ).splitlines() == [
        "here",
        "touch: /b/x: Read-only file system",
    ]
    run(engine, "-v", f"{tmp_path}/made:/b", "busybox", "touch", "/b/x")
    assert (tmp_path / "made/x").exists()
    ended = engine.docker(
        "run", "--rm", "--mount", f"type=bind,source={tmp_path}/not,target=/b", "busybox", "true", check=False
    )
    assert ended.returncode == 125
    assert f"bind source path does not exist: {tmp_path}/not" in ended.stderr
    assert not (tmp_path / "not").exists()


def test_volumes_from(engine: EmbeddedEngine) -> None:
    engine.docker("run", "--name", "keeper", "-v", "/keep", "busybox", "sh", "-c", "echo kept > /keep/f")
    script = "cat /keep/f; touch /keep/x 2>&1 || true"
    out = run(engine, "--volumes-from", "keeper:ro", "busybox", "sh", "-c", script)
    assert out.startswith("kept\n")
    assert "Read-only" in out
    engine.docker("rm", "-v", "keeper")
    assert engine.contents().volumes == frozenset()


def test_names_conflict(engine: EmbeddedEngine) -> None:
    first = engine.docker("create", "--name", "same", "busybox").stdout.strip()
    ended = engine.docker("create", "--name", "same", "busybox", check=False)
    assert f'Conflict. The container name "/same" is already in use by container "{first}"' in ended.stderr
    made_up = engine.docker("create", "busybox").stdout.strip()
    assert re.fullmatch(r"/[a-z]+_[a-z]+\d*", inspected(engine, made_up)["Name"])


def test_restart_policy_counts(engine: EmbeddedEngine) -> None:
    engine.docker("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "false")
    engines.wait_until(
        lambda: inspected(engine, "again")["State"]["Status"] == "exited", "the policy to be exhausted", 30
    )
    document = inspected(engine, "again")
    assert (document["RestartCount"], document["State"]["ExitCode"]) == (2, 1)


def test_restart_always_until_stopped(engine: EmbeddedEngine) -> None:
    engine.docker("run", "-d", "--name", "loop", "--restart", "always", "busybox", "sh", "-c", "sleep 0.1")
    engines.wait_until(lambda: inspected(engine, "loop")["RestartCount"] >= 2, "restarts", 30)
    engine.docker("stop", "-t", "1", "loop")
    count = inspected(engine, "loop")["RestartCount"]
    assert inspected(engine, "loop")["State"]["Status"] == "exited"
    import time

    time.sleep(1.5)
    assert inspected(engine, "loop")["RestartCount"] == count


def test_health(engine: EmbeddedEngine) -> None:
    check = ["--health-cmd", "test -e /well", "--health-interval", "300ms", "--health-retries", "2"]
    engine.docker("run", "-d", "--name", "sick", *check, "busybox", "sleep", "1000")

    def status() -> str:
        return str(inspected(engine, "sick")["State"]["Health"]["Status"])

    assert status() == "starting"
    engines.wait_until(lambda: status() == "unhealthy", "the check to fail twice", 30)
    assert "(unhealthy)" in engine.docker("ps", "--format", "{{.Status}}").stdout
    engine.docker("exec", "sick", "touch", "/well")
    engines.wait_until(lambda: status() == "healthy", "the check to pass", 30)
    assert engine.docker("ps", "-q", "-f", "health=healthy").stdout.strip()
    log = inspected(engine, "sick")["State"]["Health"]["Log"]
    assert len(log) <= 5
    assert log[-1]["ExitCode"] == 0


def test_seccomp_profile(engine: EmbeddedEngine, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(
        json.dumps(
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
            }
        )
    )
    ended = engine.docker("run", "--rm", "--security-opt", f"seccomp={profile}", "busybox", "mkdir", "/x", check=False)
    assert "Operation not permitted" in ended.stderr
    assert run(
        engine, "--security-opt", "seccomp=unconfined", "busybox", "grep", "Seccomp:", "/proc/self/status"
    ).split() == ["Seccomp:", "0"]
    assert run(engine, "busybox", "grep", "Seccomp:", "/proc/self/status").split() == ["Seccomp:", "2"]


def test_logs_of_none_are_refused(engine: EmbeddedEngine) -> None:
    engine.docker("run", "--name", "mute", "--log-driver", "none", "busybox", "echo", "x")
    assert "configured logging driver does not support reading" in engine.docker("logs", "mute", check=False).stderr
    ended = engine.docker("run", "--rm", "--log-driver", "gelf", "busybox", "true", check=False)
    assert 'error looking up logging plugin gelf: plugin "gelf" not found' in ended.stderr


def test_a_client_killed_by_a_signal_passes_it_on(engine: EmbeddedEngine) -> None:
    script = "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    environment = {"PATH": engine.flavour.path, "HOME": str(engine.folder), "DOCKER_HOST": engine.url}
    argv = [engine.flavour.docker, "run", "--rm", "busybox", "sh", "-c", script]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        client.terminate()
        assert client.stdout.read() == "got\n"
    assert client.returncode == 3
