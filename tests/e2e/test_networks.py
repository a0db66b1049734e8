"""What becomes of containers whose networks change, on a new dockerd and on the embedded engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli import Cli
    from tests.engines import Engine

_HEAD = "apiVersion: declarative/v1\n"


@pytest.fixture(params=["docker26", "embedded_engine"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Give dockerd 26.1, and after it the embedded engine."""
    made: Engine = request.getfixturevalue(request.param)
    yield made
    made.clear()
    made.clear_images()


@pytest.fixture
def declarative_cli(cli_for: Callable[[Engine], Cli], engine: Engine) -> Cli:
    """Return the program under test against that engine."""
    return cli_for(engine)


def network(name: str, spec: str = "{}") -> str:
    return f"---\n{_HEAD}kind: Network\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def web(networks: str) -> str:
    spec = f"  image: busybox\n  command: [sleep, '1000']\n  networks: {networks}\n  update: {{monitor: 100ms}}\n"
    return f"{_HEAD}kind: Container\nmetadata: {{name: web}}\nspec:\n{spec}"


def attached(engine: Engine) -> set[str]:
    return set(json.loads(engine.docker("inspect", "nets-web-1").stdout)[0]["NetworkSettings"]["Networks"])


def test_a_container_starts_again_once_the_network_it_was_made_on_is_gone(
    declarative_cli: Cli, engine: Engine, tmp_path: Path
) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / "stack.yaml").write_text(web(f"[{name}]") + network(name))
        declarative_cli("apply", "--stack", "nets").expect(0)
        assert attached(engine) == {f"nets_{name}"}
        engine.docker("restart", "--time=0", "nets-web-1")


def test_a_container_leaves_a_network_that_stays_in_place_and_is_replaced_when_that_goes(
    declarative_cli: Cli, engine: Engine, tmp_path: Path
) -> None:
    stack = tmp_path / "stack.yaml"

    def apply(text: str) -> str:
        stack.write_text(text)
        declarative_cli("apply", "--stack", "nets").expect(0)
        assert declarative_cli("plan", "--stack", "nets").expect(0).out.startswith("nets: in sync")
        return engine.docker("inspect", "--format", "{{.Id}}", "nets-web-1").stdout

    first = apply(web("[one]") + network("one") + network("two"))
    moved = apply(web("[two]") + network("one") + network("two"))
    assert moved == first
    engine.docker("restart", "--time=0", "nets-web-1")
    assert attached(engine) == {"nets_two"}

    assert apply(web("[two]") + network("two")) != first
    engine.docker("restart", "--time=0", "nets-web-1")
    assert attached(engine) == {"nets_two"}


def test_a_network_that_cannot_be_made_anew_stays_as_it_was(
    declarative_cli: Cli, engine: Engine, tmp_path: Path
) -> None:
    stack, taken = tmp_path / "stack.yaml", "{subnet: 10.79.1.0/24}"
    stack.write_text(web("[one]") + network("one") + network("two", taken))
    declarative_cli("apply", "--stack", "nets").expect(0)
    before = engine.docker("network", "inspect", "--format", "{{json .IPAM.Config}}", "nets_one").stdout
    stack.write_text(web("[one]") + network("one", taken) + network("two", taken))
    failed = declarative_cli("apply", "--stack", "nets").expect(1)

    assert "Network/one: " in failed.err
    assert "; the old one is back" in failed.err
    assert engine.docker("network", "inspect", "--format", "{{json .IPAM.Config}}", "nets_one").stdout == before
    assert attached(engine) == {"nets_one"}
    stack.write_text(web("[one]") + network("one") + network("two", taken))
    assert declarative_cli("apply", "--stack", "nets", "--exit-code").expect(0).out.startswith("nets: in sync")
