"""A version that one engine has published, on another engine: what is published is run there, and nothing is made twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli import Cli
    from tests.engines import Engine

_STACK = """\
apiVersion: declarative/v1
kind: Image
metadata: {{name: app}}
spec:
  repository: {registry}/app
  build: {{context: ctx, dockerfile_inline: "FROM busybox:latest\\nRUN echo 1 > /v\\n"}}
---
apiVersion: declarative/v1
kind: TagScheme
metadata: {{name: rel}}
spec: {{image: app, version: 1.9.1, push: true}}
---
apiVersion: declarative/v1
kind: Container
metadata: {{name: web}}
spec: {{image: {{scheme: rel, track: "1"}}, command: [sleep, "9000"]}}
"""


@pytest.fixture
def stack(tmp_path: Path, registry: str) -> Path:
    (tmp_path / "ctx").mkdir()
    file = tmp_path / "stack.yaml"
    file.write_text(_STACK.format(registry=registry))
    return file


@pytest.fixture(params=["docker26", "embedded_engine"])
def other(request: pytest.FixtureRequest, reaching: Callable[[str], Engine]) -> Engine:
    return reaching(request.param)


@pytest.mark.parametrize("has_base", [True, False])
def test_what_is_published_is_run_on_another_engine(
    stack: Path,
    registry: str,
    declarative_cli: Cli,
    docker_engine: Engine,
    cli_for: Callable[[Engine], Cli],
    other: Engine,
    *,
    has_base: bool,
) -> None:
    words = ("-f", stack, "--stack", "pair")
    first = declarative_cli("apply", *words, "-o", "json").expect(0).json()
    assert first["summary"]["build"] == 1
    if not has_base:
        other.docker("rmi", "busybox:latest")
    there = cli_for(other)
    summary = there("apply", *words, "-o", "json").expect(0).json()["summary"]
    assert (summary.get("build", 0), summary["pull"]) == (0, 1)
    look = ("image", "inspect", "-f", "{{.Id}}", f"{registry}/app:1")
    assert other.docker(*look).stdout == docker_engine.docker(*look).stdout
    for cli in (there, declarative_cli):
        cli("plan", *words, "--exit-code").expect(0)
    stack.write_text(stack.read_text().replace("echo 1", "echo 2"))
    assert "published already, with other content" in there("plan", *words).expect(1).err


_ON_BASE = """\
apiVersion: declarative/v1
kind: Image
metadata: {name: base}
spec: {repository: pair/base, tags: ["1"], build: {context: ctx, dockerfile_inline: "FROM busybox:latest\\nRUN date > /made\\n"}}
---
"""


def test_a_base_that_is_built_there_again_is_the_same(
    stack: Path,
    declarative_cli: Cli,
    docker_engine: Engine,
    cli_for: Callable[[Engine], Cli],
    other: Engine,
) -> None:
    """That a base has another id changes nothing on it: neither is what was published refused, nor anything replaced."""
    stack.write_text(
        _ON_BASE + stack.read_text().replace("FROM busybox:latest\\nRUN echo 1", "FROM pair/base:1\\nRUN echo 1")
    )
    words = ("-f", stack, "--stack", "pair")
    declarative_cli("apply", *words).expect(0)
    there = cli_for(other)
    summary = there("apply", *words, "-o", "json").expect(0).json()["summary"]
    assert (summary["build"], summary["pull"]) == (1, 1)
    there("plan", *words, "--exit-code").expect(0)

    def bases() -> list[str]:
        return [
            engine.docker("image", "inspect", "-f", "{{.Id}}", "pair/base:1").stdout
            for engine in (docker_engine, other)
        ]

    here, before = bases()
    assert here != before
    web = other.docker("ps", "-q", "--filter", "name=web").stdout
    other.docker("rmi", "-f", "pair/base:1")
    other.docker("builder", "prune", "-af")
    summary = there("apply", *words, "-o", "json").expect(0).json()["summary"]
    assert summary == {"build": 1}
    assert bases()[1] != before
    assert other.docker("ps", "-q", "--filter", "name=web").stdout == web
    there("plan", *words, "--exit-code").expect(0)
    stack.write_text(stack.read_text().replace("date > /made", "date > /when"))
    assert "published already, with other content" in there("plan", *words).expect(1).err


def test_what_is_pulled_is_published_at_once(registry: str, declarative_cli: Cli, docker_engine: Engine) -> None:
    given, mirrored = f"{registry}/given:1", f"{registry}/mirrored"
    docker_engine.docker("tag", "busybox:latest", given)
    docker_engine.docker("push", "-q", given)
    docker_engine.docker("rmi", given)
    head = "apiVersion: declarative/v1\nkind:"
    text = f"{head} Image\nmetadata: {{name: app}}\nspec: {{pull: '{given}'}}\n---\n"
    text += f"{head} TagScheme\nmetadata: {{name: rel}}\nspec: {{image: app, version: 7.0.1, push: true, "
    text += f"repository: '{mirrored}'}}\n"
    declarative_cli("apply", "-f", "-", "--stack", "mirror", stdin=text).expect(0)
    declarative_cli("plan", "-f", "-", "--stack", "mirror", "--exit-code", stdin=text).expect(0)
    assert {f"{mirrored}:7", f"{mirrored}:7.0.1"} <= docker_engine.contents().images
