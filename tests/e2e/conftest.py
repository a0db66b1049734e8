"""What end-to-end tests share: an engine that is empty again after each of them.

The rule that keeps it simple: a scenario asserts itself what the program has removed; what it made by hand, or left because
it failed, goes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines import Engine


@pytest.fixture(autouse=True)
def _empty_engine(docker_engine: Engine) -> Iterator[None]:
    yield
    docker_engine.clear()
    docker_engine.clear_images()
