"""The port's promises about engines in trouble: no proper answer is Unavailable, never "absent", and nothing is half made."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from typing import TYPE_CHECKING

import pytest

from declarative.core import actions as do
from declarative.core.resources import FileEntry, Port, RootfsSource
from declarative.core.state import Scope
from declarative.dockerapi.client import WriteOnReadOnlyClient
from declarative.dockerapi.transport import UnixEndpoint
from declarative.drivers.docker import DockerDriver, Surroundings
from declarative.drivers.holder import describe
from declarative.errors import DeclarativeError, Failed, Unavailable
from tests import engines
from tests.contract.bench import container, docker_bench, memory_bench

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines import Engine

_SCOPE = Scope(stack="any")


def _holder() -> dict[str, str]:
    return describe(user="ann", command="apply", nonce="n")


def test_an_engine_that_is_down_is_unavailable_by_its_address() -> None:
    driver = DockerDriver(UnixEndpoint(path="/nowhere/docker.sock"), Surroundings(salt=lambda: "00"))
    for ask in (
        lambda: driver.snapshot(_SCOPE),
        lambda: driver.lock("any", timeout=0, holder=_holder()),
        lambda: driver.observe("any", ["x"]),
        driver.stacks,
        lambda: driver.execute(do.StartContainer(name="x"), lambda _: None),
        lambda: driver.execute(do.RemoveContainer(name="x"), lambda _: None),
    ):
        with pytest.raises(Unavailable) as caught:
            ask()
        assert "/nowhere/docker.sock" in str(caught.value)
    driver.close()


def test_a_driver_opened_for_reading_cannot_write(docker_engine: Engine) -> None:
    endpoint = UnixEndpoint(path=str(docker_engine.socket_path))
    driver = DockerDriver(endpoint, Surroundings(salt=lambda: "00"), read_only=True)
    driver.snapshot(_SCOPE)
    for write in (
        lambda: driver.lock("any", timeout=0, holder=_holder()),
        lambda: driver.execute(do.RemoveVolume(name="x"), lambda _: None),
        lambda: driver.execute(do.StartContainer(name="x"), lambda _: None),
    ):
        with pytest.raises(WriteOnReadOnlyClient):
            write()
    driver.close()


def test_an_engine_that_dies_in_the_middle_is_unavailable_and_what_it_did_is_seen_later(spare_engine: Engine) -> None:
    bench = docker_bench(spare_engine)
    stubborn = ("sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    name = bench.start(container(command=stubborn, stop_signal="SIGTERM", stop_grace_period=30_000_000_000))
    errors: list[BaseException] = []

    def stop() -> None:
        try:
            bench.do(do.StopContainer(name=name))
        except DeclarativeError as error:
            errors.append(error)

    thread = threading.Thread(target=stop)
    thread.start()
    time.sleep(1)
    spare_engine.kill()
    thread.join(20)
    assert [type(error) for error in errors] == [Unavailable]
    with pytest.raises(Unavailable):
        bench.look()
    spare_engine.start_daemon()
    assert set(bench.look().containers) == {name}
    bench.close()


def test_an_engine_that_stops_answering_is_unavailable_after_the_timeout(spare_engine: Engine) -> None:
    endpoint = UnixEndpoint(path=str(spare_engine.socket_path))
    driver = DockerDriver(endpoint, Surroundings(salt=lambda: "00"), timeout=1.0)
    driver.snapshot(_SCOPE)
    spare_engine.pause()
    try:
        for ask in (lambda: driver.snapshot(_SCOPE), lambda: driver.observe("any", ["x"])):
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                ask()
            assert time.monotonic() - begun < 10
    finally:
        spare_engine.resume()
    driver.snapshot(_SCOPE)
    driver.close()


def test_a_full_disk_fails_what_is_stored_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "big.tar"
    with tarfile.open(path, "w") as packed:
        member = tarfile.TarInfo("big")
        member.size = 60_000_000
        packed.addfile(member, io.BytesIO(bytes(member.size)))
    with engines.Engine(disk="24m") as engine:
        bench = docker_bench(engine)
        source, references = RootfsSource(path=str(path), digest="sha256:x"), (f"{bench.stack}/root:1",)
        with pytest.raises(Failed) as caught:
            bench.do(do.ImportImage(source=source, references=references, owner=bench.owner("Image", "root")))
        assert "disk is full" in str(caught.value)
        assert "free space" in caught.value.remedy
        assert references[0] in str(caught.value)
        assert references[0] not in bench.look().references
        bench.close()


def test_a_crash_between_two_changes_in_memory_is_seen_as_it_was_left() -> None:
    bench = memory_bench()
    assert bench.memory is not None
    points: list[str] = []
    bench.memory.hook = points.append
    name = bench.start()
    assert points == [
        f"before CreateContainer {name}",
        f"after CreateContainer {name}",
        f"before StartContainer {name}",
        f"after StartContainer {name}",
    ]

    def die(point: str) -> None:
        if point.startswith("before Stop"):
            raise KeyboardInterrupt

    bench.memory.hook = die
    with pytest.raises(KeyboardInterrupt):
        bench.do(do.StopContainer(name=name))
    assert bench.see(name).state == "running"


def test_many_threads_share_a_driver(docker_engine: Engine) -> None:
    bench = docker_bench(docker_engine)
    errors: list[BaseException] = []

    def make(number: int) -> None:
        spec = container(files=(FileEntry(target="/etc/x", content=b"x"),), ports=(Port(target=80),))
        try:
            name = bench.create(spec, of=f"c{number}")
            bench.do(do.StartContainer(name=name))
            bench.do(do.RemoveContainer(name=name, volumes=True))
        except DeclarativeError as error:
            errors.append(error)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert bench.look().containers == {}
    bench.close()
