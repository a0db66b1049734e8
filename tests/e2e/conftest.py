"""What end-to-end tests share: an engine that is empty again after each of them.

The rule that keeps it simple: a scenario asserts itself what the program has removed; what it made by hand, or left because
it failed, goes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engines import Engine


@pytest.fixture(autouse=True)
def _empty_engine(docker_engine: Engine) -> Iterator[None]:
    yield
    docker_engine.clear()
    docker_engine.clear_images()


@pytest.fixture
def reaching(request: pytest.FixtureRequest, registry: str) -> Iterator[Callable[[str], Engine]]:
    """Give what lends the engine of a fixture's name: it reaches the test's registry, and is empty again afterwards."""
    lent: list[Engine] = []

    def lend(name: str) -> Engine:
        engine: Engine = request.getfixturevalue(name)
        lent.append(engine)
        engine.reach(int(registry.rpartition(":")[2]))
        return engine

    yield lend
    for engine in lent:
        engine.clear()
        engine.clear_images()
