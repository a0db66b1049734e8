"""A lab for each test."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.contract.engine import netlab, runtimes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Give a folder with a short path: sockets' paths are limited."""
    folder = Path(tempfile.mkdtemp(prefix="n-", dir="/run"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def lab(scratch: Path) -> Iterator[netlab.Lab]:
    """Open the networks of an engine; at the end the machine has to be as it was."""
    with netlab.lab(scratch) as made:
        yield made


@pytest.fixture(params=["crun", "runc"])
def box(scratch: Path, request: pytest.FixtureRequest) -> Iterator[runtimes.Machine]:
    """Open a runtime of containers; at the end nothing of it may be left."""
    with runtimes.machine(scratch, only=request.param) as made:
        yield made
