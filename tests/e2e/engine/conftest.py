"""The daemons that stock clients are tried on.

A test that takes `daemon` runs on dockerd 26.1, which proves that what it expects is true, and on the embedded engine, which has
to do the same.

- `daemon`: both, one after the other; `embedded`: the embedded engine alone, for what only we promise.
- `spare`: an embedded engine of the test's own, to kill; `spare_daemon`: one of each.
- `pushed`: the address of an empty registry that the daemon and the test reach under the same name.

The rule that keeps it simple: an engine is empty when a test begins, so names may be plain; what a test leaves is removed here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests import embedded as embedding
from tests import engines
from tests.base_image import BASE_IMAGE
from tests.e2e.engine.clients import Daemon
from tests.registry_server import serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FIXTURES = {"docker26": "docker26", "embedded": "embedded_engine"}
_GRACE_SECONDS = 10.0


@pytest.fixture(autouse=True)
def _empty_engine() -> None:
    """Take the place of the fixture of the folder above, which would start a dockerd 20.10 for every test here."""


@pytest.fixture(params=["docker26", "embedded"])
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    """Give a daemon with nothing in it but the base image."""
    made = Daemon(engine=request.getfixturevalue(_FIXTURES[request.param]), home=tmp_path)
    clear(made.engine)  # tests of other folders have it too
    yield made
    clear(made.engine)


@pytest.fixture
def embedded(embedded_engine: embedding.EmbeddedEngine, tmp_path: Path) -> Iterator[Daemon]:
    """Give the embedded engine with nothing in it but the base image."""
    clear(embedded_engine)  # as above
    yield Daemon(engine=embedded_engine, home=tmp_path)
    clear(embedded_engine)


@pytest.fixture
def spare(spare_embedded: embedding.EmbeddedEngine, tmp_path: Path) -> Daemon:
    """Give an embedded engine of the test's own."""
    return Daemon(engine=spare_embedded, home=tmp_path)


@pytest.fixture(params=["docker26", "embedded"])
def spare_daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    """Give a daemon of the test's own."""
    own = embedding.EmbeddedEngine() if request.param == "embedded" else engines.Engine(flavour=engines.DEBIAN_13)
    with own as engine:
        yield Daemon(engine=engine, home=tmp_path)


@pytest.fixture
def pushed(daemon: Daemon, tmp_path: Path) -> Iterator[str]:
    """Serve an empty registry and give its address, which the daemon reaches too."""
    with serve_registry(tmp_path / "registry") as address:
        daemon.engine.reach(int(address.rpartition(":")[2]))
        yield address


def clear(engine: engines.Engine) -> None:
    """Remove what a test left; AssertionError where that does not work, for the next test would fail of it."""
    ends = time.monotonic() + _GRACE_SECONDS
    while True:
        held = engine.contents()
        if not (held.containers or held.networks or held.volumes):
            break
        assert time.monotonic() < ends, f"{engine.flavour.name}: does not go away: {held}"
        engine.clear()
    if held.images != {BASE_IMAGE}:
        engine.clear_images()
