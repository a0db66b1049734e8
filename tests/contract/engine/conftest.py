"""A lab for each test."""

from __future__ import annotations

import contextlib
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


@pytest.fixture(autouse=True)
def _rules_kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the rules of a dockerd of the run from tests of networks, which flush and drop what is there."""
    with netlab.rules_kept() if "test_networks" in request.node.nodeid else contextlib.nullcontext():
        yield


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
