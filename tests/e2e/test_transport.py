"""The client against real engines over their unix socket: documents, streams, uploads, hijacked streams, death and silence."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import socket
import subprocess
import tarfile
import threading
import time
from typing import TYPE_CHECKING

import pytest

from declarative.dockerapi import wire
from declarative.dockerapi.client import EngineClient
from declarative.dockerapi.transport import UnixEndpoint
from declarative.errors import Conflict, Failed, Invalid, NotFound, Unavailable
from tests.recording_proxy import Call, RecordingProxy, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.engines import Engine

pytestmark = pytest.mark.engine


def client_of(engine: Engine, *, timeout: float = 30.0) -> EngineClient:
    return EngineClient(UnixEndpoint(path=str(engine.socket_path)), timeout=timeout)


@pytest.fixture(params=["docker_engine", "docker26"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def client(engine: Engine) -> Iterator[EngineClient]:
    with client_of(engine) as made:
        yield made


@pytest.fixture
def container(client: EngineClient) -> Iterator[Callable[..., str]]:
    """Create containers that are removed after the test."""
    made: list[str] = []

    def create(*command: str, **fields: object) -> str:
        name = f"transport-{os.getpid()}-{len(made)}"
        client.post_json("/containers/create", {"name": name}, {"Image": "busybox", "Cmd": list(command), **fields})
        made.append(name)
        return name

    yield create
    for name in made:
        with contextlib.suppress(NotFound):
            client.delete(f"/containers/{name}", {"force": True})


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _pieces(data: bytes, size: int = 65536) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def test_the_engine_is_known_by_its_ping(docker_engine: Engine, docker26: Engine) -> None:
    with client_of(docker_engine) as old, client_of(docker26) as new:
        assert (old.facts.api, new.facts.api) == ((1, 41), (1, 45))
        assert (old.facts.os, new.facts.builder) == ("linux", "2")
        assert "Docker/20.10" in old.facts.server


def test_documents_come_and_go(client: EngineClient, container: Callable[..., str]) -> None:
    name = container("true", Labels={"transport": "ä & b"})
    found = client.get_json("/containers/json", {"all": True, "filters": {"label": ["transport=ä & b"]}})
    assert [row["Names"] for row in found] == [[f"/{name}"]]
    created = wire.parse_time(client.get_json(f"/containers/{name}/json")["Created"])
    assert created is not None
    assert abs(created.timestamp() - time.time()) < 60
    assert client.delete(f"/containers/{name}") is None
    with pytest.raises(NotFound, match=f"No such container: {name}"):
        client.get_json(f"/containers/{name}/json")


def test_refusals_of_real_engines(client: EngineClient, container: Callable[..., str], engine: Engine) -> None:
    name = container("true")
    with pytest.raises(Conflict, match="already in use by container"):
        client.post_json("/containers/create", {"name": name}, {"Image": "busybox"})
    with pytest.raises(NotFound, match="No such image: nix"):
        client.post_json("/containers/create", body={"Image": "nix"})
    with pytest.raises(Invalid, match="container name"):
        client.post_json("/containers/create", {"name": "not a name"}, {"Image": "busybox"})
    with pytest.raises(Failed, match="executable file not found"):
        client.post_json(f"/containers/{container('nix')}/start")
    assert client.post_json(f"/containers/{name}/start") is None
    assert client.post_json(f"/containers/{name}/wait")["StatusCode"] == 0
    assert engine.api("GET", f"/containers/{name}/json")[0] == 200


def test_a_taken_port_is_a_conflict_with_the_port_in_it(client: EngineClient, container: Callable[..., str]) -> None:
    ports = {"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "18499"}]}}}
    client.post_json(f"/containers/{container('sleep', '60', **ports)}/start")
    with pytest.raises(Conflict, match="port 18499 is already taken by another container"):
        client.post_json(f"/containers/{container('sleep', '60', **ports)}/start")


def test_a_port_taken_by_a_stranger(docker_engine: Engine) -> None:
    """This engine shares the test's network."""
    name = f"transport-{os.getpid()}-stranger"
    with client_of(docker_engine) as client, socket.create_server(("0.0.0.0", 0)) as stranger:  # noqa: S104 - as a publisher would
        port = stranger.getsockname()[1]
        bindings = {"80/tcp": [{"HostPort": str(port)}]}
        body = {"Image": "busybox", "ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PortBindings": bindings}}
        client.post_json("/containers/create", {"name": name}, body)
        try:
            with pytest.raises(Conflict, match=f"port {port} is already in use on the engine's host"):
                client.post_json(f"/containers/{name}/start")
        finally:
            client.delete(f"/containers/{name}", {"force": True})


def test_many_inspects_at_once(client: EngineClient, container: Callable[..., str]) -> None:
    names = [container("true") for _ in range(3)]
    paths = [f"/containers/{name}/json" for name in [*names, "nix"]] * 40
    found = client.get_many(paths)
    assert [row and row["Name"] for row in found] == [*(f"/{name}" for name in names), None] * 40


def test_attach_carries_both_ways(client: EngineClient, container: Callable[..., str]) -> None:
    script = "cat; echo error >&2; sleep 1; echo late; exit 7"
    opened = {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
    name = container("sh", "-c", script, **opened)
    query = {"stream": True, "stdin": True, "stdout": True, "stderr": True}
    content = os.urandom(3_000_000)
    with client.hijack(f"/containers/{name}/attach", query) as stream:
        client.post_json(f"/containers/{name}/start")

        def write() -> None:
            for piece in _pieces(content):
                stream.write(piece)
            stream.close_write()

        writer = threading.Thread(target=write)
        writer.start()
        frames = list(stream.frames())
        writer.join()
    assert b"".join(frame.data for frame in frames if frame.stream == "stdout") == content + b"late\n"
    assert b"".join(frame.data for frame in frames if frame.stream == "stderr") == b"error\n"
    assert client.post_json(f"/containers/{name}/wait")["StatusCode"] == 7


def test_exec_with_and_without_a_terminal(client: EngineClient, container: Callable[..., str]) -> None:
    name = container("sleep", "60")
    client.post_json(f"/containers/{name}/start")
    for tty, end in ((False, b"\n"), (True, b"\r\n")):
        wanted = {"AttachStdout": True, "AttachStderr": True, "Tty": tty, "Cmd": ["echo", "hi"]}
        made = client.post_json(f"/containers/{name}/exec", body=wanted)
        with client.hijack(f"/exec/{made['Id']}/start", body={"Detach": False, "Tty": tty}, framed=not tty) as stream:
            assert b"".join(frame.data for frame in stream.frames()) == b"hi" + end
        assert client.get_json(f"/exec/{made['Id']}/json")["ExitCode"] == 0


def test_archives_go_in_and_come_out(client: EngineClient, container: Callable[..., str]) -> None:
    name = container("true")
    content = os.urandom(2_000_000)
    client.put(f"/containers/{name}/archive", {"path": "/"}, _pieces(_tar({"put": content})))
    packed = client.head(f"/containers/{name}/archive", {"path": "/put"})["x-docker-container-path-stat"]
    stat = json.loads(base64.b64decode(packed))
    assert (stat["name"], stat["size"]) == ("put", 2_000_000)
    got = b"".join(client.stream_bytes(f"/containers/{name}/archive", {"path": "/put"}))
    with tarfile.open(fileobj=io.BytesIO(got)) as archive:
        member = archive.extractfile("put")
        assert member is not None
        assert member.read() == content
    with pytest.raises(NotFound, match="nix"):
        client.put(f"/containers/{name}/archive", {"path": "/nix"}, _pieces(b"\0" * 50_000_000))
    with pytest.raises(NotFound, match="nix"):
        client.head(f"/containers/{name}/archive", {"path": "/nix"})


def test_a_build_streams_and_its_failure_is_typed(client: EngineClient) -> None:
    good = _tar({"Dockerfile": b"FROM busybox\nRUN echo built\n"})
    tag = f"transport-{os.getpid()}:1"
    headers = {"Content-Type": "application/x-tar"}
    lines = list(client.stream_lines("POST", "/build", {"t": tag}, body=_pieces(good), headers=headers))
    try:
        assert "built\n" in [line.get("stream") for line in lines]
    finally:
        client.delete(f"/images/{tag}")
    bad = _tar({"Dockerfile": b"FROM busybox\nRUN echo unauthorized && exit 3\n"})
    with pytest.raises(Failed, match="returned a non-zero code: 3"):
        list(client.stream_lines("POST", "/build", {"rm": True, "forcerm": True}, body=_pieces(bad), headers=headers))


def test_an_image_that_no_registry_has(client: EngineClient, engine: Engine, registry: str) -> None:
    engine.reach(int(registry.rpartition(":")[2]))
    with pytest.raises(NotFound, match="the registry has no such image"):
        list(client.stream_lines("POST", "/images/create", {"fromImage": f"{registry}/nix", "tag": "1"}))
    with socket.create_server(("127.0.0.1", 0)) as made:
        port = made.getsockname()[1]
    with pytest.raises(Unavailable, match="connection refused"):
        list(client.stream_lines("POST", "/images/create", {"fromImage": f"localhost:{port}/nix", "tag": "1"}))


def test_events_come_while_they_happen(client: EngineClient, container: Callable[..., str]) -> None:
    events = client.stream_lines("GET", "/events", {"filters": {"type": ["container"], "event": ["create"]}})
    name = container("true")
    assert next(events)["Actor"]["Attributes"]["name"] == name


# ---- engines that die, hang, and come back


def test_an_engine_that_stops_answering_is_told_in_time(spare_engine: Engine) -> None:
    with client_of(spare_engine, timeout=0.5) as client:
        client.get_json("/info")
        spare_engine.pause()
        started = time.monotonic()
        with pytest.raises(Unavailable, match=r"does not answer \(0\.5 s\)"):
            client.get_json("/info")
        with pytest.raises(Unavailable, match=r"does not answer \(0\.5 s\)"):
            client.post_json("/containers/prune")
        assert time.monotonic() - started < 5
        spare_engine.resume()
        assert client.get_json("/containers/json") == []


def test_an_engine_killed_in_the_middle_and_started_again(spare_engine: Engine) -> None:
    with client_of(spare_engine) as client:
        client.post_json("/containers/create", {"name": "long"}, {"Image": "busybox", "Cmd": ["sleep", "60"]})
        client.post_json("/containers/long/start")
        caught: list[BaseException] = []

        def wait() -> None:
            try:
                client.post_json("/containers/long/wait")
            except Unavailable as error:
                caught.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.5)
        spare_engine.kill()
        thread.join(10)
        assert "the engine went away" in str(caught[0])
        with pytest.raises(Unavailable, match="no engine listens on it"):
            client.get_json("/info")
        spare_engine.start_daemon()
        assert client.get_json("/containers/long/json")["Name"] == "/long"


# ---- the recording proxy, which other tests stand on


def test_the_proxy_records_and_tells_reading_from_writing(docker_engine: Engine, tmp_path: Path) -> None:
    assert docker_engine.socket_path is not None
    with (
        RecordingProxy(docker_engine.socket_path, tmp_path / "proxy.sock") as proxy,
        EngineClient(UnixEndpoint(path=str(proxy.path))) as client,
    ):
        client.get_many(["/info"] * 100)
        assert proxy.writes == []
        assert [str(call) for call in proxy.calls] == ["GET /_ping"] + ["GET /info"] * 100
        client.post_json("/containers/prune", {"filters": {"label": ["nobody"]}})
        assert [str(call) for call in proxy.writes] == ["POST /containers/prune"]


@pytest.mark.parametrize("moment", ["before", "after", "half"])
def test_the_proxy_cuts_before_and_after(moment: str, docker_engine: Engine, tmp_path: Path) -> None:
    name = f"transport-{os.getpid()}-{moment}"

    def cut(call: Call) -> Verdict:
        if call.path != "/volumes/create":
            return Verdict.PASS
        return Verdict.HALF if moment == "half" else Verdict.CUT

    assert docker_engine.socket_path is not None
    with (
        RecordingProxy(docker_engine.socket_path, tmp_path / "proxy.sock") as proxy,
        EngineClient(UnixEndpoint(path=str(proxy.path))) as client,
    ):
        setattr(proxy, "before" if moment == "before" else "after", cut)
        with pytest.raises(Unavailable, match="the engine went away"):
            client.post_json("/volumes/create", body={"Name": name})
        status, _ = docker_engine.api("DELETE", f"/volumes/{name}")
        assert status == (404 if moment == "before" else 204)


def test_the_proxy_ends_a_call_whose_caller_was_killed(docker_engine: Engine, tmp_path: Path) -> None:
    """As without it: a build whose client dies is given up by the engine."""
    assert docker_engine.socket_path is not None
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN sleep 300\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_BUILDKIT": "0"}

    def running() -> int:
        return len(docker_engine.api("GET", "/containers/json")[1])

    with RecordingProxy(docker_engine.socket_path, tmp_path / "proxy.sock") as proxy:
        argv = ["docker", "--host", proxy.url, "build", "--rm", "--force-rm", str(tmp_path)]
        with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as build:
            _wait(lambda: running() == 1)
            build.kill()
        _wait(lambda: running() == 0)
    for row in docker_engine.api("GET", "/containers/json?all=1")[1]:
        docker_engine.api("DELETE", f"/containers/{row['Id']}?force=1")


def _wait(holds: Callable[[], bool], seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)
