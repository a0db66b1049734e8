"""`build`: the build steps alone, what a failed one says, and a shell in the state before it; with both builders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from declarative.manifest import schema

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli import Cli
    from tests.engines import Engine

_STACK = """\
apiVersion: declarative/v1
kind: Stack
metadata: {name: mason}
---
apiVersion: declarative/v1
kind: Image
metadata: {name: base}
spec: {build: {context: ctx, dockerfile_inline: "FROM busybox:latest\\nRUN echo first > /first\\n"}}
---
apiVersion: declarative/v1
kind: Image
metadata: {name: app}
spec: {build: {context: ctx}}
---
apiVersion: declarative/v1
kind: Image
metadata: {name: other}
spec: {pull: "busybox:latest"}
---
apiVersion: declarative/v1
kind: Container
metadata: {name: web}
spec: {image: {image: app}, networks: [far]}
---
apiVersion: declarative/v1
kind: Network
metadata: {name: far}
spec: {external: true}
"""
_DOCKERFILE = """\
FROM mason/base
ENV COLOUR=blue
RUN echo good > /good
RUN echo these are its words; \\
    {last}
CMD ["sh"]
"""


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    (tmp_path / "ctx").mkdir()
    (tmp_path / "ctx/Dockerfile").write_text(_DOCKERFILE.format(last="true"))
    file = tmp_path / "stack.yaml"
    file.write_text(_STACK)
    return file


@pytest.fixture(params=["buildkit", "classic"])
def builder(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Return the environment for one of the builders: without plugins there is no BuildKit."""
    return {} if request.param == "buildkit" else {"DOCKER_CONFIG": str(tmp_path / "none")}


def test_build_builds_what_needs_it_and_nothing_else(
    stack: Path, builder: dict[str, str], declarative_cli: Cli, docker_engine: Engine
) -> None:
    shown = declarative_cli("build", "-f", stack, "app", "--dry-run", "-o", "json", env=builder).expect(0).json()
    schema.validate("plan", shown, "plan")
    assert [(step["action"], step["name"]) for step in shown["steps"]] == [("build", "base"), ("build", "app")]
    # the network that the container wants is not there, and that is no matter
    report = declarative_cli("build", "-f", stack, "--exit-code", "-o", "json", env=builder).expect(2).json()
    schema.validate("report", report, "report")
    held = docker_engine.contents()
    assert {"mason/app:latest", "mason/base:latest"} <= held.images
    assert (held.containers, held.networks, held.volumes) == (frozenset(), frozenset(), frozenset())
    declarative_cli("build", "-f", stack, "--exit-code", env=builder).expect(0)


def test_a_failed_build_says_where_and_opens_a_shell_before_it(
    stack: Path, builder: dict[str, str], declarative_cli: Cli, docker_engine: Engine
) -> None:
    (stack.parent / "ctx/Dockerfile").write_text(_DOCKERFILE.format(last="exit 3"))
    failed = declarative_cli("build", "-f", stack, env=builder).expect(1)
    assert "RUN echo these are its words" in failed.err.splitlines()[0]
    assert "ctx/Dockerfile:4)" in failed.err.splitlines()[0]
    assert "build --debug" in failed.err.splitlines()[0]
    assert "these are its words\n" in failed.err
    before = docker_engine.api("GET", "/images/json?all=1")[1]
    debugged = declarative_cli(
        "build", "-f", stack, "app", "--debug", stdin="cat /good; echo $COLOUR; exit 5", env=builder
    ).expect(1)
    assert debugged.out.endswith("good\nblue\n")
    assert docker_engine.contents().containers == frozenset()
    assert {row["Id"] for row in docker_engine.api("GET", "/images/json?all=1")[1]} == {row["Id"] for row in before}


def test_a_state_that_is_a_base_image_is_not_taken_away(
    stack: Path, builder: dict[str, str], declarative_cli: Cli, docker_engine: Engine
) -> None:
    stack.write_text(_STACK.replace("mason/base", "busybox:latest"))
    (stack.parent / "ctx/Dockerfile").write_text("FROM busybox:latest\nRUN false\n")
    before = docker_engine.contents().images
    ended = declarative_cli("build", "-f", stack, "app", "--debug", stdin="echo here", env=builder).expect(1)
    assert ended.out.endswith("here\n")
    assert docker_engine.contents().images == before
    declarative_cli("build", "-f", stack, "app", "--debug", "-o", "json", env=builder).expect(64)


def test_a_plan_is_not_saved_where_a_build_would_read_it(stack: Path, declarative_cli: Cli) -> None:
    stack.write_text(_STACK.partition("---\napiVersion: declarative/v1\nkind: Container")[0])
    told = declarative_cli("plan", "-f", stack, "--out", "ctx/plan.json").expect(64).err
    assert "would be part of the build context of Image/base" in told
    assert not (stack.parent / "ctx/plan.json").exists()
    (stack.parent / "ctx/.dockerignore").write_text("plan.json\n")
    for place in ("ctx/plan.json", "plan.json"):
        declarative_cli("plan", "-f", stack, "--out", place).expect(0)
    declarative_cli("apply", "ctx/plan.json").expect(0)


def test_what_is_not_built_cannot_be_named(stack: Path, declarative_cli: Cli) -> None:
    assert "did you mean `app`" in declarative_cli("build", "-f", stack, "ap").expect(1).err
    assert "is not built" in declarative_cli("build", "-f", stack, "other").expect(1).err
    declarative_cli("build", "-f", stack, "--target", "container/web").expect(64)
