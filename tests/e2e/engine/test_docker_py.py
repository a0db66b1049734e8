"""The Python SDK (docker-py) against a daemon: what a program does with it, from images to volumes."""

from __future__ import annotations

import gc
import io
import itertools
import tarfile
import threading
import time
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import docker.types
import pytest

from tests import engines
from tests.e2e.engine.clients import IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.engine.clients import Daemon

# docker-py leaves sockets of streams to the garbage collector
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_FOREVER = ["sleep", "9000"]


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Any]:
    made = docker.DockerClient(base_url=daemon.url, timeout=60)
    yield made
    made.close()
    del made
    gc.collect()


def run(client: Any, **options: Any) -> Any:
    given = {"command": _FOREVER, "detach": True, "stop_signal": "KILL", **options}
    return client.containers.run(IMAGE, **given)


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_it_meets_the_daemon(client: Any) -> None:
    assert client.ping() is True
    assert client.version()["Os"] == "linux"
    assert client.info()["Driver"]
    assert client.df()["Images"]


def test_it_finds_no_swarm(client: Any) -> None:
    assert client.swarm.attrs == {}
    assert client.api.leave_swarm(force=True)


def test_running_to_the_end(client: Any) -> None:
    assert client.containers.run(IMAGE, ["echo", "hello"], remove=True) == b"hello\n"
    assert client.containers.run(IMAGE, "sh -c 'echo out; echo err >&2'", remove=True, stderr=True).count(b"\n") == 2
    with pytest.raises(docker.errors.ContainerError) as caught:
        client.containers.run(IMAGE, ["sh", "-c", "echo oh >&2; exit 3"], remove=True)
    assert (caught.value.exit_status, caught.value.stderr) == (3, b"oh\n")
    with pytest.raises(docker.errors.ImageNotFound):
        client.api.create_container("nosuch:1")
    streamed = client.containers.run(IMAGE, ["seq", "3"], stream=True, detach=False)
    assert b"".join(streamed) == b"1\n2\n3\n"


def test_the_life_of_a_container(client: Any) -> None:
    made = run(
        client, name="web", environment={"A": "b"}, labels={"l": "m"}, mem_limit="64m", hostname="box", tty=False
    )
    assert (made.name, made.status) == ("web", "created")
    made.reload()
    assert (made.status, made.labels, made.image.tags) == ("running", {"l": "m"}, [IMAGE])
    assert client.containers.get("web").id == made.id
    assert [c.name for c in client.containers.list(filters={"label": "l=m"})] == ["web"]
    made.pause()
    made.reload()
    assert made.status == "paused"
    made.unpause()
    made.restart(timeout=0)
    made.rename("new")
    made.update(mem_limit="80m", memswap_limit="160m")
    made.stop()
    assert made.wait()["StatusCode"] == 137
    made.start()
    made.kill()
    assert made.wait(condition="not-running")["StatusCode"] == 137
    made.remove(v=True)
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("new")


def test_logs(client: Any) -> None:
    made = run(client, command=["sh", "-c", "echo out; sleep 0.1; echo err >&2; sleep 0.2; echo last"])
    assert list(made.logs(stream=True, follow=True)) == [b"out\n", b"err\n", b"last\n"]
    assert made.logs(stdout=True, stderr=False) == b"out\nlast\n"
    assert made.logs(tail=1) == b"last\n"
    assert made.logs(timestamps=True).split()[0].endswith(b"Z")
    assert made.logs(since=int(time.time()) + 100) == b""


def test_exec(client: Any) -> None:
    made = run(client)
    assert made.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True) == (4, (b"out\n", b"err\n"))
    assert made.exec_run("id -u", user="nobody").output == b"65534\n"
    assert made.exec_run("sh -c 'echo $A; pwd'", environment={"A": "b"}, workdir="/tmp").output == b"b\n/tmp\n"
    _, stream = made.exec_run(["seq", "1000"], stream=True)
    assert b"".join(stream).split() == [str(number).encode() for number in range(1, 1001)]
    _, pairs = made.exec_run(["sh", "-c", "echo o; sleep 0.2; echo e >&2"], stream=True, demux=True)
    assert list(pairs) == [(b"o\n", None), (None, b"e\n")]
    made.exec_run(["touch", "/made"], detach=True)
    engines.wait_until(lambda: made.exec_run(["test", "-e", "/made"]).exit_code == 0, "the file", 10)


def test_exec_over_a_socket(client: Any) -> None:
    made = run(client)
    _, wrapped = made.exec_run(["tr", "a-z", "A-Z"], stdin=True, socket=True, tty=False)
    wire = wrapped._sock
    wire.sendall(b"shout\n")
    wire.shutdown(1)
    wire.settimeout(20)
    seen = b"".join(iter(lambda: wire.recv(4096), b""))
    wrapped.close()
    wire.close()
    assert seen == b"\x01\0\0\0\0\0\0\x06SHOUT\n"


def test_attach(client: Any) -> None:
    made = client.containers.create(IMAGE, ["sh", "-c", "read a; echo got $a"], stdin_open=True)
    wrapped = made.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    wire = wrapped._sock
    made.start()
    wire.sendall(b"word\n")
    wire.settimeout(20)
    seen = b""
    while b"got word\n" not in seen:
        seen += wire.recv(4096)
    assert seen == b"\x01\0\0\0\0\0\0\x09got word\n"
    assert made.wait()["StatusCode"] == 0
    wrapped.close()
    wire.close()
    assert made.logs() == b"got word\n"


def test_archives_go_in_and_out(client: Any) -> None:
    made = run(client)
    assert made.put_archive("/tmp", archive(file="content"))
    assert made.exec_run(["cat", "/tmp/file"]).output == b"content"
    chunks, stat = made.get_archive("/tmp/file")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        assert tar.extractfile("file").read() == b"content"  # type: ignore[union-attr]
    assert (stat["name"], stat["size"]) == ("file", 7)
    assert {"Path": "/tmp/file", "Kind": 1} in made.diff()
    with pytest.raises(docker.errors.NotFound):
        made.get_archive("/nosuch")
    with tarfile.open(fileobj=io.BytesIO(b"".join(made.export()))) as tar:
        assert "tmp/file" in tar.getnames()


def test_networks(client: Any) -> None:
    pool = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet="10.88.0.0/24", gateway="10.88.0.1")])
    net = client.networks.create("back", driver="bridge", ipam=pool, labels={"a": "b"})
    made = run(client, name="web", network="back")
    other = run(client, name="other")
    net.connect(other, aliases=["db"], ipv4_address="10.88.0.77")
    net.reload()
    assert {c.name for c in net.containers} == {"web", "other"}
    assert b"10.88.0.77" in made.exec_run(["nslookup", "db"]).output
    net.disconnect(other)
    other.reload()
    assert list(other.attrs["NetworkSettings"]["Networks"]) == ["bridge"]
    assert [n.name for n in client.networks.list(filters={"label": "a=b"})] == ["back"]
    with pytest.raises(docker.errors.APIError, match="active endpoints"):
        net.remove()
    made.remove(force=True)
    assert client.networks.prune()["NetworksDeleted"] == ["back"]


def test_ports(client: Any, daemon: Daemon) -> None:
    serve = ["sh", "-c", "mkdir /www; echo hi > /www/index.html; exec httpd -f -p 80 -h /www"]
    made = run(client, command=serve, ports={"80/tcp": 8200, "53/udp": None})
    assert daemon.wait_http(8200) == "hi\n"
    made.reload()
    assert made.ports["80/tcp"][0]["HostPort"] == "8200"
    assert int(made.ports["53/udp"][0]["HostPort"]) > 0


def test_volumes(client: Any) -> None:
    volume = client.volumes.create("data", labels={"a": "b"})
    mounts = [docker.types.Mount("/m", "data"), docker.types.Mount("/t", None, type="tmpfs", tmpfs_size=1 << 20)]
    made = run(client, mounts=mounts, volumes={"data": {"bind": "/v", "mode": "ro"}})
    assert made.exec_run(["sh", "-c", "echo x > /m/file; cat /v/file; df -k /t | tail -1"]).output.split()[:3] == [
        b"x",
        b"tmpfs",
        b"1024",
    ]
    with pytest.raises(docker.errors.APIError, match="in use"):
        volume.remove()
    made.remove(force=True)
    assert [v.name for v in client.volumes.list()] == ["data"]
    volume.remove()
    assert client.volumes.prune()["VolumesDeleted"] in (None, [])


def test_images(client: Any, tmp_path: Any) -> None:
    image = client.images.get(IMAGE)
    assert image.tag("app", tag="1")
    assert "app:1" in client.images.get("app:1").tags
    saved = b"".join(client.images.get("app:1").save(named=True))
    client.images.remove("app:1")
    (loaded,) = client.images.load(saved)
    assert loaded.tags == [IMAGE, "app:1"] or set(loaded.tags) == {IMAGE, "app:1"}
    assert [i.short_id for i in client.images.list(name="app")] == [image.short_id]
    assert image.history()[0]["CreatedBy"] == "tests/base_image.py"
    made = run(client)
    committed = made.commit("app", tag="2", message="m", author="a", conf={"Labels": {"x": "y"}})
    assert committed.labels["x"] == "y"
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("nosuch:1")
    assert tmp_path.exists()


def test_build(client: Any, tmp_path: Any) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {IMAGE}\nARG A\nCOPY file /file\nRUN echo $A >> /file\nLABEL test=sdk\n"
    )
    (tmp_path / "file").write_text("content\n")
    image, lines = client.images.build(path=str(tmp_path), tag="app:1", buildargs={"A": "arg"}, rm=True)
    assert client.containers.run("app:1", ["cat", "/file"], remove=True) == b"content\narg\n"
    assert any("Successfully built" in line.get("stream", "") for line in lines)
    assert image.labels == {"test": "sdk"}
    with pytest.raises(docker.errors.BuildError, match="returned a non-zero code: 5"):
        client.images.build(fileobj=io.BytesIO(f"FROM {IMAGE}\nRUN exit 5\n".encode()), rm=True)


def test_push_and_pull(client: Any, pushed: str) -> None:
    client.images.get(IMAGE).tag(f"{pushed}/app", tag="1")
    lines = list(client.images.push(f"{pushed}/app", tag="1", stream=True, decode=True))
    (digest,) = [line["aux"]["Digest"] for line in lines if "aux" in line]
    assert client.images.get_registry_data(f"{pushed}/app:1").id == digest
    client.images.remove(f"{pushed}/app:1")
    pulled = client.images.pull(f"{pushed}/app", tag="1")
    assert pulled.attrs["RepoDigests"] == [f"{pushed}/app@{digest}"]
    with pytest.raises(docker.errors.APIError):
        client.images.pull(f"{pushed}/nosuch", tag="1")


def test_events(client: Any) -> None:
    seen: list[str] = []
    stream = client.events(decode=True, filters={"type": "container", "event": ["start", "die"]})

    def listen() -> None:
        seen.extend(event["Action"] for event in itertools.islice(stream, 2))

    listener = threading.Thread(target=listen)
    listener.start()
    time.sleep(0.3)
    client.containers.run(IMAGE, ["true"], remove=True)
    listener.join(20)
    stream.close()
    assert seen == ["start", "die"]


def test_stats_and_top(client: Any) -> None:
    made = run(client)
    engines.wait_until(lambda: made.stats(stream=False)["memory_stats"].get("usage", 0) > 0, "memory in use", 20)
    rows = made.stats(stream=True, decode=True)
    assert len(list(itertools.islice(rows, 2))) == 2
    rows.close()
    assert "sleep 9000" in made.top()["Processes"][0][-1]


def test_health(client: Any) -> None:
    check = {"test": ["CMD", "true"], "interval": 100_000_000}
    made = run(client, healthcheck=check)

    def healthy() -> bool:
        made.reload()
        return bool(made.health == "healthy")

    engines.wait_until(healthy, "health", 20)


def test_every_option_it_knows(client: Any) -> None:
    made = run(
        client, cap_add=["NET_ADMIN"], cap_drop=["CHOWN"], cpu_shares=512, cpuset_cpus="0", dns=["9.9.9.9"], domainname="a.test",
        extra_hosts={"a": "1.2.3.4"}, group_add=["5"], init=True, ipc_mode="private", nano_cpus=500_000_000, oom_score_adj=10,
        pids_limit=50, privileged=False, read_only=True, restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
        security_opt=["no-new-privileges"], shm_size="8m", sysctls={"net.ipv4.ip_forward": "1"}, tmpfs={"/t": "size=1m"},
        user="0:0", working_dir="/tmp", ulimits=[docker.types.Ulimit(name="nofile", soft=100, hard=200)],
        log_config=docker.types.LogConfig(config={"max-size": "1m"}),
    )  # fmt: skip
    made.reload()
    assert made.status == "running"
    assert made.exec_run(["sh", "-c", "ulimit -n; pwd; cat /proc/sys/net/ipv4/ip_forward"]).output == b"100\n/tmp\n1\n"


def test_a_label_of_none_is_an_empty_one(client: Any) -> None:
    made = client.containers.create(IMAGE, labels={"empty": None, "full": "x"})
    network = client.networks.create("labelled", labels={"empty": None})
    volume = client.volumes.create("labelled", labels={"empty": None})
    assert made.labels == {"empty": "", "full": "x"}
    assert network.attrs["Labels"] == volume.attrs["Labels"] == {"empty": ""}
