"""Builds through BuildKit, where `docker buildx` is: secrets, failures, the state before a failed step."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from declarative.cli.connection import _open_context
from declarative.core import actions as do
from declarative.core.resources import BuildSource
from declarative.core.secret import Secret
from declarative.core.state import LABEL_BUILD
from declarative.drivers.docker.plugin import buildx_environment
from declarative.drivers.port import BuildFailed, Streams
from declarative.errors import DeclarativeError, Denied, NotFound, Unavailable, Unsupported
from tests import engines
from tests.contract.bench import docker_bench
from tests.registry_server import free_port, serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from declarative.drivers.port import Progress
    from tests.contract.bench import Bench

_DOCKERFILE = """\
# syntax is BuildKit's own
FROM busybox AS base
ENV A=base
FROM base
ARG WHO=nobody
COPY file /file
RUN --mount=type=secret,id=token test "$(cat /run/secrets/token)" = hush && echo "for $WHO" > /who
"""


@pytest.fixture(params=["docker_engine", "docker26", "embedded_engine"])
def build_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Open a real engine with buildx beside it; the embedded one has no use for it, and gets its context from the driver."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    buildx = buildx_environment(environ, tmp_path, (str(engines.PLUGINS),))
    assert buildx is not None, "no docker buildx: run `bash tests/install-host`"
    plugins = tmp_path / ".docker" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").symlink_to(engines.PLUGINS / "docker-buildx")
    made = docker_bench(request.getfixturevalue(request.param), buildx=buildx, open_context=_open_context)
    yield made
    made.close()


def _action(bench: Bench, folder: Path, dockerfile: str, **fields: object) -> do.BuildImage:
    (folder / "context").mkdir(exist_ok=True)
    (folder / "context" / "file").write_text("content")
    path = folder / "Dockerfile"
    path.write_text(dockerfile)
    given: dict[str, object] = {"bases": ("busybox:latest",), "parts": {"dockerfile": "sha256:x"}, **fields}
    source = BuildSource(context=str(folder / "context"), dockerfile=str(path), **given)  # type: ignore[arg-type]
    references = (f"{bench.stack}/app:1", f"{bench.stack}/app:2")
    return do.BuildImage(source=source, references=references, owner=bench.owner("Image", "app"))


def test_a_build_takes_arguments_secrets_and_labels(build_bench: Bench, tmp_path: Path) -> None:
    secrets, labels = {"token": Secret("hush")}, {"mine": 'a "quoted" $label'}
    action = _action(build_bench, tmp_path, _DOCKERFILE, secrets=secrets, args={"WHO": "ann"}, labels=labels)
    said = build_bench.do(action)
    assert any("RUN --mount" in line for line in said)
    assert not any("hush\n" in line for line in said)
    actual = build_bench.look(references=frozenset(action.references))
    assert actual.engine.buildkit
    assert {actual.references[reference] for reference in action.references} == {
        actual.references[action.references[0]]
    }
    image = actual.images[actual.references[action.references[0]]]
    assert image.labels["mine"] == labels["mine"]
    assert json.loads(image.labels[LABEL_BUILD])["base:busybox:latest"] == actual.references["busybox:latest"]
    assert build_bench.engine is not None
    assert "hush" not in build_bench.engine.docker("history", "--no-trunc", action.references[0]).stdout.replace(
        "= hush", ""
    )
    out = bytearray()
    streams = Streams(stdin=None, stdout=out.extend, stderr=out.extend)
    assert build_bench.driver.run(action.references[0], ["cat", "/who", "/file"], streams) == 0
    assert out == b"for ann\ncontent"


def test_a_failed_step_is_named_with_its_line_and_a_way_into_the_state_before(
    build_bench: Bench, tmp_path: Path
) -> None:
    dockerfile = "FROM busybox\n\n# first\nRUN echo one > /one\n\nRUN echo out; \\\n  exit 3\nRUN never\n"
    action = _action(build_bench, tmp_path, dockerfile)
    with pytest.raises(BuildFailed) as caught:
        build_bench.do(action)
    error = caught.value
    assert error.line == 6
    assert error.place == f"{tmp_path}/Dockerfile:6"
    assert "exit 3" in error.step
    assert error.problem.endswith(("exit code: 3", "code: 3"))  # BuildKit's words, and the classic builder's
    assert "out" in error.output
    assert action.references[0] not in build_bench.look().references
    layer = build_bench.driver.debug_image(action, error, lambda _: None)
    out = bytearray()
    streams = Streams(stdin=None, stdout=out.extend, stderr=out.extend)
    assert build_bench.driver.run(layer, ["cat", "/one"], streams) == 0
    assert out == b"one\n"


def test_a_missing_file_in_copy_fails_at_its_line(build_bench: Bench, tmp_path: Path) -> None:
    action = _action(build_bench, tmp_path, "FROM busybox\nCOPY nowhere /x\n")
    with pytest.raises(BuildFailed) as caught:
        build_bench.do(action)
    assert caught.value.line == 2
    assert "nowhere" in str(caught.value)


def test_an_inline_dockerfile_is_built(build_bench: Bench, tmp_path: Path) -> None:
    action = _action(build_bench, tmp_path, "")
    source = BuildSource(
        context=action.source.context,
        dockerfile="",
        dockerfile_inline="FROM busybox\nCOPY file /in\n",
        bases=("busybox",),
    )
    build_bench.do(do.BuildImage(source=source, references=action.references, owner=action.owner))
    assert action.references[1] in build_bench.look().references


def test_a_base_image_that_cannot_be_had_says_why(build_bench: Bench, tmp_path: Path) -> None:
    gone = f"127.0.0.1:{free_port()}/base:1"
    with pytest.raises(Unavailable):
        build_bench.do(_action(build_bench, tmp_path, f"FROM {gone}\n", bases=(gone,)))
    with serve_registry(tmp_path, htpasswd={"ann": "x"}) as registry:
        build_bench.reach(int(registry.rpartition(":")[2]))
        closed = f"{registry}/base:1"
        with pytest.raises(Denied):
            build_bench.do(_action(build_bench, tmp_path, f"FROM {closed}\n", bases=(closed,)))
    with serve_registry(tmp_path / "open") as registry:
        build_bench.reach(int(registry.rpartition(":")[2]))
        absent = f"{registry}/base:1"
        with pytest.raises(NotFound):
            build_bench.do(_action(build_bench, tmp_path, f"FROM {absent}\n", bases=(absent,)))


def test_closing_the_driver_ends_a_build_that_is_under_way(build_bench: Bench, tmp_path: Path) -> None:
    action = _action(build_bench, tmp_path, "FROM busybox\nRUN echo begun; sleep 300\n")
    driver, errors, begun = build_bench.open(), [], threading.Event()

    def hear(progress: Progress) -> None:
        if "begun" in progress.text and "RUN" not in progress.text:
            begun.set()

    def build() -> None:
        try:
            driver.execute(action, hear)
        except DeclarativeError as error:
            errors.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    assert begun.wait(30)
    driver.close()
    thread.join(20)
    assert not thread.is_alive()
    assert len(errors) == 1
    assert action.references[0] not in build_bench.look().references


def test_without_buildx_a_build_that_needs_it_is_refused(real_bench: Bench, tmp_path: Path) -> None:
    if real_bench.kind == "embedded":  # its one builder knows what BuildKit does
        assert real_bench.look().engine.buildkit
        return
    assert not real_bench.look().engine.buildkit
    needs = ("Dockerfile:7: RUN --mount",)
    with pytest.raises(Unsupported) as caught:
        real_bench.do(_action(real_bench, tmp_path, _DOCKERFILE, needs_buildkit=needs))
    assert "Dockerfile:7" in str(caught.value)
    assert caught.value.remedy == "write the Dockerfile without it"


def test_buildx_is_found_where_docker_looks_for_it(tmp_path: Path) -> None:
    plugin = tmp_path / "config" / "cli-plugins" / "docker-buildx"
    docker = tmp_path / "bin" / "docker"
    environ = {"PATH": f"/nowhere:{docker.parent}", "DOCKER_CONFIG": str(tmp_path / "config")}
    for path in (plugin, docker):
        assert buildx_environment(environ, tmp_path, ()) is None
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\n")
        assert buildx_environment(environ, tmp_path, ()) is None
        path.chmod(0o755)
    assert buildx_environment(environ, tmp_path, ()) == {**environ, "HOME": str(tmp_path)}
    assert buildx_environment({**environ, "DOCKER_CONFIG": ""}, tmp_path, ()) is None
