"""What is asked ahead of need: what goes out when, what becomes of answers nobody wants, and that it is never taken for news."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from declarative.core.state import Scope
from declarative.dockerapi.client import EngineClient
from declarative.dockerapi.transport import UnixEndpoint
from declarative.drivers.docker import DockerDriver, Surroundings, snapshot
from declarative.drivers.docker.ahead import FRESH_SECONDS, Ahead
from declarative.errors import Failed, Unavailable
from tests.sockets import serving
from tests.unit.drivers.world import World, listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(str(tmp_path / "s")) as server, serving(server):
        yield server
        server.slow.set()


@pytest.fixture
def client(world: World) -> Iterator[EngineClient]:
    with EngineClient(UnixEndpoint(path=str(world.server_address)), timeout=5) as made:
        yield made


@pytest.fixture
def ahead(client: EngineClient) -> Iterator[Ahead]:
    made = Ahead(client)
    yield made
    made.drop()


def until(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_lists_are_asked_for_before_anybody_wants_them(world: World, ahead: Ahead) -> None:
    until(lambda: len(world.asked) == 6)
    filters = "%7B%22label%22%3A%5B%22declarative.stack%22%5D%7D"
    lists = {"/containers/json?all=1", "/images/json", "/networks", f"/volumes?filters={filters}"}
    assert set(world.asked) == {"/_ping", "/info", *lists}
    assert [item["Id"] for item in ahead.listed()][-1] == "id-stranger"
    assert (ahead.lists(), ahead.info()) == (([], [], {"Volumes": None}), {})


def test_a_named_stack_is_inspected_its_own_whole_containers_alone(world: World, ahead: Ahead) -> None:
    until(lambda: ahead._containers.answering)
    ahead.expect("shop")
    ahead.expect("other")  # one stack it is
    until(world.inspected)
    assert world.inspected() == ["/containers/id-shop-web-1/json"]
    assert ahead.inspected(["id-stranger", "id-shop-web-1"]) == [{"Id": "id-stranger"}, {"Id": "id-shop-web-1"}]
    assert sorted(world.inspected()) == ["/containers/id-shop-web-1/json", "/containers/id-stranger/json"]


def test_nothing_waits_for_a_list_that_has_not_come(world: World, client: EngineClient) -> None:
    world.slow.clear()
    ahead = Ahead(client)
    ahead.expect("shop")
    world.slow.set()
    assert not world.inspected()
    assert len(ahead.listed()) == 5
    assert ahead.inspected(["id-shop-web-1"]) == [{"Id": "id-shop-web-1"}]
    ahead.drop()


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/containers/json", None, "does not tell its containers"),
        ("/images/json", {}, "does not tell its images"),
        ("/networks", None, "does not tell its networks"),
        ("/volumes", [], "does not tell its volumes"),
        ("/info", None, "does not tell what it is"),
    ],
)
def test_an_answer_that_is_none_is_never_read_as_an_engine_that_holds_nothing(
    path: str, answer: Any, words: str, world: World, client: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = world.answer
    monkeypatch.setattr(world, "answer", lambda asked: answer if asked.startswith(path) else others(asked))
    ahead = Ahead(client)
    with pytest.raises(Unavailable, match=words):
        snapshot.take(client, Scope(stack="nothing"), buildkit=False, ahead=ahead)
    ahead.drop()


def test_what_went_in_between_is_left_out(world: World, ahead: Ahead) -> None:
    world.gone = {"id-a"}
    assert ahead.inspected(["id-a", "id-b"]) == [{"Id": "id-b"}]


def test_many_go_over_several_connections_and_keep_their_order(world: World, ahead: Ahead) -> None:
    ids = [f"id-{number}" for number in range(500)]
    assert [document["Id"] for document in ahead.inspected(ids)] == ids
    assert len(world.inspected()) == 500


def test_old_answers_are_not_used(world: World, client: EngineClient) -> None:
    now = 0.0
    ahead = Ahead(client, clock=lambda: now)
    until(lambda: len(world.asked) == 6)
    world.containers = []
    assert ahead.fresh
    now = FRESH_SECONDS
    actual = snapshot.take(client, Scope(stack="shop"), buildkit=False, ahead=ahead)
    assert not actual.strangers
    assert world.asked.count("/containers/json?all=1") == 2


def test_a_snapshot_takes_what_was_asked_already(world: World, client: EngineClient) -> None:
    world.containers = [listed("stranger")]
    actual = snapshot.take(client, Scope(stack="shop"), buildkit=False, ahead=Ahead(client))
    assert [stranger.name for stranger in actual.strangers] == ["stranger"]
    assert world.asked.count("/containers/json?all=1") == 1


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_a_snapshot_that_fails_leaves_no_connection_behind(world: World, client: EngineClient) -> None:
    world.refused = "/containers/json"
    with pytest.raises(Failed, match="no"):
        snapshot.take(client, Scope(stack="shop"), buildkit=False)
    assert not client._open - set(client._idle)


def test_the_driver_uses_it_once(world: World) -> None:
    world.containers = [listed("stranger")]
    driver = DockerDriver(UnixEndpoint(path=str(world.server_address)), Surroundings(salt=str))
    assert driver.begin()
    until(lambda: len(world.asked) == 6)
    world.containers = []
    driver.expect("shop")
    assert len(driver.snapshot(Scope(stack="shop")).strangers) == 1
    assert not driver.snapshot(Scope(stack="shop")).strangers
    driver.close()


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_an_engine_that_does_not_answer_at_once_is_left_for_later(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        driver = DockerDriver(UnixEndpoint(path=str(tmp_path / "s")), Surroundings(salt=str), timeout=60)
        begun = time.monotonic()
        assert not driver.begin()
        assert time.monotonic() - begun < 10
        driver.close()


def test_no_engine_is_no_error_yet(tmp_path: Path) -> None:
    driver = DockerDriver(UnixEndpoint(path=str(tmp_path / "s")), Surroundings(salt=str))
    assert not driver.begin()
    driver.expect("shop")
    driver.close()
