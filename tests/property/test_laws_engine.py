"""The laws again, on real daemons: chains of random manifests, each applied to it and to the engine in memory side by side.

Before every apply both print the same plan; after it both are in sync. `DECLARATIVE_LAWS=10` takes ten times as many.
The rule that keeps it simple: a chain has a stack of its own, and nothing is shrunk: a minute of real containers is dear.
"""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from declarative.core.plan_text import plan_text
from declarative.dockerapi.transport import UnixEndpoint
from declarative.drivers.docker import DockerDriver, Surroundings
from tests.contract.bench import inline_context
from tests.property.law_worlds import World
from tests.property.manifest_strategies import RICH, RICH_DOCKERFILE, Document, Engine, stacks, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines import Engine as RealEngine

_CHAINS = max(1, int(18 * float(os.environ.get("DECLARATIVE_LAWS", "1"))))
_LENGTH = 4
_REAL = Engine(registry=False, privileged=False)
_count = 0


@pytest.fixture(scope="module", params=["docker_engine", "embedded_engine"])
def engine(request: pytest.FixtureRequest) -> RealEngine:
    """Give dockerd 20.10, and after it the embedded engine: both see the same chains."""
    made: RealEngine = request.getfixturevalue(request.param)
    return made


@pytest.fixture(scope="module")
def driver(engine: RealEngine) -> Iterator[DockerDriver]:
    engine.docker("build", "-t", RICH, "-", stdin=RICH_DOCKERFILE)
    around = Surroundings(salt=lambda: uuid.uuid4().hex, open_context=inline_context)
    made = DockerDriver(UnixEndpoint(path=str(engine.socket_path)), around)
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="laws-") as name:
        yield Path(name)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(
    max_examples=_CHAINS,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(chain=st.lists(stacks(_REAL), min_size=_LENGTH, max_size=_LENGTH))
def test_the_real_engine_plans_and_ends_as_the_one_in_memory(
    driver: DockerDriver, engine: RealEngine, folder: Path, chain: list[list[Document]]
) -> None:
    global _count  # noqa: PLW0603 - hypothesis calls anew
    _count += 1
    real = World(folder=folder, stack=f"law{_count}", real=driver)
    memory = World(folder=folder, stack=f"law{_count}")
    try:
        for documents in chain:
            planned, simulated = real.look(documents)[0], memory.look(documents)[0]
            try:
                assert _plain(plan_text(planned)) == _plain(plan_text(simulated))
                real.converge(documents)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{text_of(documents)}") from error
            memory.converge(documents)
    finally:
        engine.clear()


def _plain(text: str) -> list[str]:
    """Take out what an engine makes up: ids, and the addresses of networks that state none."""
    text = re.sub(r"sha256:[0-9a-f]{64}|\b[0-9a-f]{12}\b", "ID", text)
    return re.sub(r"(spec\.(?:subnet|gateway)): (?:172|10\.20[12]|10\.89)\.[0-9./]+", r"\1: CHOSEN", text).splitlines()
