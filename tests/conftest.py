"""Fixtures for every test: a sandbox around the run, real engines in it, a registry, the command line, and a check for leaks.

The rule that keeps it simple: engines are started once per run, by the first test that asks, and a test removes what it
made. What a file of tests leaves in an engine fails that file; what the run leaves on the machine fails the run.

- `docker_engine`: dockerd 20.10, at the default socket of the sandbox and on the tests' own loopback. A test marked `engine`
  has it without asking.
- `docker26`: dockerd 26.1 in a network of its own (`docker26.http_get(port)`, `docker26.reach(port)`).
- `spare_engine`: a dockerd of the test's own, to kill, pause or fill.
- `embedded_engine`: the embedded engine's daemon in a network of its own, with the base image in it; `spare_embedded`: one of the
  test's own; others (in the tests' network, with options) with `embedded.EmbeddedEngine`.
- `registry`: the address of an empty registry that engine and test share.
- `declarative_cli`: the program under test, against `docker_engine`; `cli_for(engine)` against another.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import settings

from tests import embedded, engines, leaks, sandbox
from tests.base_image import BASE_IMAGE
from tests.cli import Cli, clean_environment
from tests.registry_server import serve_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SANDBOX = pytest.StashKey[sandbox.Sandbox | None]()
_BEFORE = pytest.StashKey[leaks.Traces]()
_LEFT = pytest.StashKey[list[str]]()
_RUNNING = pytest.StashKey[list[engines.Engine]]()
_GRACE_SECONDS = 3.0
_Engine = TypeVar("_Engine", bound=engines.Engine)


# a busy machine is slow, not wrong: pytest-timeout guards against hanging; every run tries the same examples, so that who sees
# a failure sees his own, and DECLARATIVE_EXPLORE=1 has others tried
settings.register_profile("tests", deadline=None, derandomize="DECLARATIVE_EXPLORE" not in os.environ)
settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEFT] = []
    if _only_directs(config):
        return
    config.stash[_SANDBOX] = sandbox.enter()
    config.stash[_RUNNING] = []
    config.stash[_BEFORE] = leaks.look(ours=_expected(config))


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    left = config.stash[_LEFT]
    if not _only_directs(config):
        left += leaks.left_behind(config.stash[_BEFORE], ours=_expected(config))
        leaks.end_processes(left)
    if hasattr(config, "workeroutput"):
        config.workeroutput["left"] = left
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from a worker of pytest-xdist what it left."""
    node.config.stash[_LEFT] += getattr(node, "workeroutput", {}).get("left", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if left := config.stash.get(_LEFT, []):
        terminalreporter.section("left behind: the run fails", red=True)
        for line in left:
            terminalreporter.line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    entered = config.stash.get(_SANDBOX, None)
    if entered is not None:
        sandbox.leave(entered)


def _only_directs(config: pytest.Config) -> bool:
    """Whether tests run in workers of pytest-xdist, each with a sandbox and engines of its own, and none here."""
    return bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")


def _expected(config: pytest.Config) -> list[int]:
    entered = config.stash[_SANDBOX]
    return [entered.way_out.pid] if entered is not None and entered.way_out is not None else []


@pytest.fixture(scope="session")
def docker_engine(pytestconfig: pytest.Config) -> Iterator[engines.Engine]:
    """Start dockerd 20.10 (API 1.41), with the base image in it."""
    with engines.Engine(own_network=False, socket_path=Path("/run/docker.sock")) as engine:
        yield from _known(pytestconfig, engine)


@pytest.fixture(scope="session")
def docker26(pytestconfig: pytest.Config) -> Iterator[engines.Engine]:
    """Start dockerd 26.1 (API 1.45), with the base image in it."""
    with engines.Engine(flavour=engines.DEBIAN_13) as engine:
        yield from _known(pytestconfig, engine)


@pytest.fixture
def spare_engine() -> Iterator[engines.Engine]:
    """Start a dockerd 20.10 for this test alone, in a network of its own; start others with `engines.Engine`."""
    with engines.Engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def embedded_engine(pytestconfig: pytest.Config) -> Iterator[embedded.EmbeddedEngine]:
    """Start the embedded engine, with the base image in it, driven by the stock client of Debian 12."""
    with embedded.EmbeddedEngine() as engine:
        yield from _known(pytestconfig, engine)


@pytest.fixture
def spare_embedded() -> Iterator[embedded.EmbeddedEngine]:
    """Start an embedded engine for this test alone, in a network of its own."""
    with embedded.EmbeddedEngine() as engine:
        yield engine


@pytest.fixture
def engine_url(docker_engine: engines.Engine) -> str:
    """Return the value for DOCKER_HOST."""
    return docker_engine.url


@pytest.fixture(scope="session")
def base_image() -> str:
    """Return the name of an image that every engine here has: busybox."""
    return BASE_IMAGE


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Serve an empty registry and return its address `127.0.0.1:PORT`."""
    with serve_registry(tmp_path / "registry") as address:
        yield address


@pytest.fixture
def cli_for(tmp_path: Path) -> Callable[[engines.Engine], Cli]:
    """Return what makes the program under test for any engine, run in `tmp_path` (which is its HOME too)."""

    def make(engine: engines.Engine) -> Cli:
        environment = clean_environment(tmp_path, docker_host=engine.url, plugins=engines.PLUGINS)
        return Cli(folder=tmp_path, environment=environment)

    return make


@pytest.fixture
def declarative_cli(cli_for: Callable[[engines.Engine], Cli], docker_engine: engines.Engine) -> Cli:
    """Return the program under test against `docker_engine`."""
    return cli_for(docker_engine)


@pytest.fixture(autouse=True)
def _engine_for_the_mark(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("engine") is not None:
        request.getfixturevalue("docker_engine")


@pytest.fixture(scope="module", autouse=True)
def _leaves_engines_clean(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Iterator[None]:
    before = {engine.name: engine.contents() for engine in pytestconfig.stash[_RUNNING]}
    yield
    left = [line for engine in pytestconfig.stash[_RUNNING] for line in _remains(engine, before.get(engine.name))]
    assert not left, f"{request.node.nodeid} left behind: {', '.join(left)}"


def _remains(engine: engines.Engine, before: engines.Contents | None) -> list[str]:
    """List what is in the engine and was not, images aside, then clear it; removals under way are given a moment."""
    left: list[str] = []

    def nothing() -> bool:
        lines = engine.contents() - (before or engines.Contents())
        left[:] = [f"{engine.flavour.name}: {line}" for line in lines if not line.startswith("images ")]
        return not left

    with contextlib.suppress(TimeoutError):
        engines.wait_until(nothing, "removals under way", _GRACE_SECONDS)
    engine.clear()
    return left


def _known(config: pytest.Config, engine: _Engine) -> Iterator[_Engine]:
    config.stash[_RUNNING].append(engine)
    yield engine
    config.stash[_RUNNING].remove(engine)
