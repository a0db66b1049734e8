"""Reads plain data or YAML text through the real parser, for tests of shapes, tables and schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from declarative.manifest.decode import Outside, Reading
from declarative.manifest.decode_document import Decoded, decode_document
from declarative.manifest.decode_tree import Tree
from declarative.manifest.sources import Source
from declarative.manifest.yaml_parse import parse

if TYPE_CHECKING:
    from declarative.errors import Problem
    from declarative.manifest.decode import Shape
    from declarative.manifest.yaml_nodes import Document

FOLDER = Path(__file__).parents[2] / "cases" / "manifests" / "good" / "every-field"
ENVIRON = {"GIVEN": "given-text", "HOME": "/home/somebody"}
OUTSIDE = Outside(environ=ENVIRON, home="/home/somebody")


def document(data: Any, folder: Path = FOLDER) -> Document:
    """Parse data as the document it is in JSON, which is YAML too; text is taken as YAML."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    documents, problems = parse(Source(name="stack.yaml", text=text, folder=folder))
    assert not problems, problems
    return documents[0]


def decode(shape: Shape, value: Any) -> tuple[Any, list[Problem]]:
    """Decode one value; text beginning with a line break is YAML, anything else data."""
    text = "value:" + value if isinstance(value, str) and value.startswith("\n") else {"value": value}
    read = document(text)
    reading = Reading(tree=Tree(read, read.root), subject="Test/test", outside=OUTSIDE)
    return shape.decode(read.root.items["value"], reading), reading.problems


def decode_data(data: Any, folder: Path = FOLDER) -> tuple[Decoded, list[Problem]]:
    """Decode a whole document."""
    problems: list[Problem] = []
    return decode_document(document(data, folder), OUTSIDE, problems), problems
