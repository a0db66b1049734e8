"""A first manifest: valid as it is, checked by the schema that it names, and never written over anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.console import Console


def test_the_first_manifest_is_valid_and_names_a_schema_that_is_there(console: Console, tmp_path: Path) -> None:
    ran = console("init", "--name", "first")
    assert ran.code == 0
    first = (tmp_path / "stack.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=.declarative/manifest.schema.json"
    assert json.loads((tmp_path / ".declarative/manifest.schema.json").read_text())["title"]
    assert console("validate").out == "valid: stack first with 1 Network, 1 Container\n"
    assert "declarative plan, then declarative apply" in ran.out


def test_a_dockerfile_is_built_and_its_port_published(console: Console, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox:latest\nexpose 9000/tcp\n")
    assert console("init", "-o", "json").json("init")["files"]
    assert console("validate").code == 0
    assert '["8080:9000"]' in (tmp_path / "stack.yaml").read_text()
    assert console("graph", "-o", "json").json("graph")["edges"][0]["to"] == "Image/app"


@pytest.mark.parametrize("name", ["stack.yaml", "declarative.yml"])
def test_nothing_is_overwritten(name: str, console: Console, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    ran = console("init")
    assert ran.code == 1
    assert "is there already" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_another_folder_another_image_no_schema(console: Console, tmp_path: Path) -> None:
    (tmp_path / "Web Shop").mkdir()
    ran = console("init", "Web Shop", "--image", "redis:7", "--no-schema")
    assert ran.code == 0
    assert [path.name for path in (tmp_path / "Web Shop").iterdir()] == ["stack.yaml"]
    text = (tmp_path / "Web Shop/stack.yaml").read_text()
    assert "language-server" not in text
    assert "name: web-shop" in text
    assert console("validate", "-f", "Web Shop").code == 0


def test_what_cannot_be_is_refused_before_anything_is_written(console: Console, tmp_path: Path) -> None:
    assert console("init", "--name", "No Name").code == 1
    assert console("init", "--image", "UPPER:case:twice").code == 1
    assert console("init", "nowhere").code == 1
    assert list(tmp_path.iterdir()) == []
