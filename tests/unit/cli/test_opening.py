"""Which engine a verb asks, where one is asked before the manifests that may name another are read."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.sockets import serving
from tests.unit.cli.console import Console
from tests.unit.drivers.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NETWORK = "apiVersion: declarative/v1\nkind: Network\nmetadata: {name: front}\n"
STACK = "---\napiVersion: declarative/v1\nkind: Stack\nmetadata: {{name: shop}}\nspec: {{engine: 'unix://{path}'}}\n"
LIST = "/containers/json?all=1"


@contextmanager
def _served(path: Path) -> Iterator[World]:
    with World(str(path)) as server:
        server.containers = []
        with serving(server):
            yield server


@pytest.fixture
def near(tmp_path: Path) -> Iterator[World]:
    with _served(tmp_path / "near.sock") as server:
        yield server


@pytest.fixture
def far(tmp_path: Path) -> Iterator[World]:
    with _served(tmp_path / "far.sock") as server:
        yield server


@pytest.fixture
def console(tmp_path: Path, near: World) -> Console:
    (tmp_path / "shop").mkdir()
    return Console(
        folder=tmp_path / "shop", environ={"DOCKER_HOST": f"unix://{near.server_address!s}", "HOME": str(tmp_path)}
    )


@pytest.mark.parametrize("verb", ["plan", "drift"])
def test_the_engine_is_asked_once_for_what_there_is(console: Console, near: World, verb: str) -> None:
    (console.folder / "stack.yaml").write_text(NETWORK)
    ran = console(verb)
    assert ran.code == 0, ran.err
    assert near.asked.count(LIST) == 1


def test_the_engine_that_the_stack_names_is_the_one(console: Console, near: World, far: World) -> None:
    (console.folder / "stack.yaml").write_text(NETWORK + STACK.format(path=far.server_address))
    near.slow.clear()  # its answer would be waited for if anybody wanted it
    ran = console("plan")
    near.slow.set()
    assert ran.code == 0, ran.err
    assert far.asked.count(LIST) == 1


def test_the_command_line_beats_the_stack(console: Console, near: World, far: World) -> None:
    (console.folder / "stack.yaml").write_text(NETWORK + STACK.format(path=near.server_address))
    ran = console("plan", "--engine", f"unix://{far.server_address!s}")
    assert ran.code == 0, ran.err
    assert far.asked.count(LIST) == 1
    assert not near.asked


@pytest.mark.filterwarnings("error::ResourceWarning")
@pytest.mark.usefixtures("near")
def test_what_is_wrong_with_the_manifests_is_told_and_nothing_is_left_open(console: Console) -> None:
    (console.folder / "stack.yaml").write_text(NETWORK.replace("Network", "Netwrok"))
    ran = console("plan")
    assert ran.code == 1
    assert "Netwrok" in ran.err


def test_manifests_are_judged_before_an_engine_that_is_not_there(tmp_path: Path) -> None:
    console = Console(folder=tmp_path, environ={"DOCKER_HOST": "unix:///nowhere.sock", "HOME": str(tmp_path)})
    (tmp_path / "stack.yaml").write_text(NETWORK.replace("Network", "Netwrok"))
    assert "Netwrok" in console("plan").err
    (tmp_path / "stack.yaml").write_text(NETWORK)
    assert "there is no such socket" in console("plan").err


@pytest.mark.parametrize("verb", ["validate", "init"])
def test_a_folder_that_may_not_be_looked_into_is_an_error_and_no_crash(verb: str, tmp_path: Path) -> None:
    ran = Console(folder=tmp_path / ("n" * 300))(verb)
    assert ran.code == 1
    assert "cannot be read: file name too long" in ran.err


def test_nor_is_a_docker_configuration(tmp_path: Path) -> None:
    console = Console(folder=tmp_path, environ={"DOCKER_CONFIG": str(tmp_path / ("n" * 300))})
    (tmp_path / "stack.yaml").write_text(
        "apiVersion: declarative/v1\nkind: Image\nmetadata: {name: app}\nspec: {pull: a.example.com/app, policy: always}\n"
    )
    with _served(tmp_path / "s") as engine:
        ran = console("plan", "--stack", "shop", "--engine", f"unix://{engine.server_address!s}")
    assert ran.code == 1
    assert "config.json: cannot be read: file name too long" in ran.err
