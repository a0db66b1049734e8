"""`tags`: what it announces is what apply does, in the engine and in a real registry; and it moves nothing itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from declarative.manifest import schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli import Cli
    from tests.engines import Engine

_STACK = """\
apiVersion: declarative/v1
kind: Stack
metadata: {{name: pub}}
spec: {{values: {{version: 1.9.1}}}}
---
apiVersion: declarative/v1
kind: Image
metadata: {{name: app}}
spec:
  repository: {registry}/app
  tags: []
  build:
    context: ctx
    dockerfile_inline: "FROM busybox:latest\\nARG V\\nRUN echo $V > /v\\n"
    args: {{V: "{{{{ values.version }}}}"}}
---
apiVersion: declarative/v1
kind: TagScheme
metadata: {{name: rel}}
spec: {{image: app, version: "{{{{ values.version }}}}", push: true}}
"""


@pytest.fixture
def stack(tmp_path: Path, registry: str) -> Path:
    (tmp_path / "ctx").mkdir()
    file = tmp_path / "stack.yaml"
    file.write_text(_STACK.format(registry=registry))
    return file


@pytest.fixture
def preview(stack: Path, declarative_cli: Cli) -> Callable[..., dict[str, Any]]:
    """Return place → tag → its row, for a version."""

    def look(version: str, *, code: int = 0) -> dict[str, Any]:
        words = ("tags", "-f", stack, "--set", f"version={version}", "--exit-code", "-o", "json")
        document = declarative_cli(*words).expect(code).json()
        schema.validate("tags", document, "tags")
        places = document["schemes"][0]["places"]
        return {place["place"]: {row["tag"]: row for row in place["tags"]} for place in places} | {"": document}

    return look


def test_what_is_announced_happens(
    stack: Path, preview: Callable[..., dict[str, Any]], declarative_cli: Cli, docker_engine: Engine
) -> None:
    first = preview("1.9.1", code=2)
    assert {tag: row["action"] for tag, row in first["registry"].items()} == dict.fromkeys(
        ["1", "1.9", "1.9.1", "latest"], "create"
    )
    assert not [name for name in docker_engine.contents().images if "/app" in name]  # looking moves nothing
    for version in ("1.9.1", "2.0.0"):
        declarative_cli("apply", "-f", stack, "--set", f"version={version}").expect(0)
        settled = preview(version)
        assert settled[""]["in_sync"]
        assert {row["action"] for where in ("engine", "registry") for row in settled[where].values()} == {"keep"}
    backport = preview("1.9.3", code=2)
    for where in ("engine", "registry"):
        rows = backport[where]
        assert {tag: row["action"] for tag, row in rows.items()} == {
            "1": "move", "1.9": "move", "1.9.3": "create", "latest": "hold",
        }  # fmt: skip
        assert (rows["latest"]["version"], rows["latest"]["now_version"]) == ("2.0.0", "2.0.0")
        assert rows["1"]["now_version"] == "1.9.1"
    shown = declarative_cli("tags", "-f", stack, "--set", "version=1.9.3").expect(0).out
    assert "in the registry" in shown
    assert "belongs to 2.0.0" in shown


def test_a_full_tag_that_would_move_is_an_error(
    stack: Path, preview: Callable[..., dict[str, Any]], declarative_cli: Cli
) -> None:
    declarative_cli("apply", "-f", stack).expect(0)
    stack.write_text(stack.read_text().replace("echo $V", "echo other $V"))
    document = preview("1.9.1", code=1)[""]
    assert "1.9.1" in document["errors"][0]["problem"]
    assert document["in_sync"] is False
    allowed = declarative_cli("tags", "-f", stack, "--allow-retag", "rel").expect(0)
    assert "retag allowed" in allowed.out
    assert "did you mean `rel`" in declarative_cli("tags", "-f", stack, "rell").expect(1).err


def test_a_registry_that_is_down_is_an_error_and_not_an_empty_one(
    stack: Path, registry: str, declarative_cli: Cli
) -> None:
    stack.write_text(stack.read_text().replace(registry, "127.0.0.1:1"))
    ended = declarative_cli("tags", "-f", stack, "-o", "json").expect(1)
    assert "127.0.0.1:1" in ended.json()["errors"][0]["subject"] + ended.json()["errors"][0]["problem"]
    declarative_cli("status", "-f", stack, "--exit-code").expect(0)  # which has nothing to do with registries
