"""The engines that the contract suite runs on. Each test of the driver's port runs on all of them, and means the same on each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.bench import Bench, docker_bench, memory_bench

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIXTURES = {"docker20": "docker_engine", "docker26": "docker26", "embedded": "embedded_engine"}


def _opened(kind: str, request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = memory_bench() if kind == "memory" else docker_bench(request.getfixturevalue(_FIXTURES[kind]))
    yield made
    made.close()


@pytest.fixture(params=["memory", "docker20", "docker26", "embedded"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Open an engine behind the driver's port."""
    yield from _opened(request.param, request)


@pytest.fixture(params=["docker20", "docker26", "embedded"])
def real_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Open a real engine, for what needs programs that run."""
    yield from _opened(request.param, request)
