"""Shapes of `env_file`: one path, or a list of paths with options. Gives the variables that the files hold.

The rule that keeps it simple: what is wrong in a file is complained about with the file's own lines.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from declarative.errors import Problem, Span
from declarative.manifest.decode import BAD, Field, Record, Schema, Shape
from declarative.manifest.decode_collections import ByShape, ListOf
from declarative.manifest.decode_scalars import Boolean, Enum
from declarative.manifest.decode_secrets import FilePath, read_bytes
from declarative.manifest.snippets import snippet

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping, Node


_PATH = FilePath("the path of an env file")


class EnvFile(Shape):
    """One env file: its path, as text. Gives its variables."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give the variables as a list of (name, value), so that a list of files stays in order."""
        path = _PATH.decode(node, reading)
        return BAD if path is BAD else read_env_file(Path(path), node, reading)

    def schema(self) -> Schema:
        """Text."""
        return {"type": "string", "minLength": 1}

    def words(self) -> str:
        """Say what it is."""
        return "the path of an env file"


def read_env_file(path: Path, node: Node, reading: Reading) -> Any:
    """Give the (name, value) pairs of the file at `path`, or complain with the file's own lines."""
    content = read_bytes(path, node, reading)
    if not isinstance(content, bytes):
        return BAD
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return reading.complain(node, f"{path} is not UTF-8 text", "save it as UTF-8")
    from declarative.manifest.dotenv import parse_env

    values, faults = parse_env(text)
    for fault in faults:
        before = text[: fault.offset]
        line, column = before.count("\n") + 1, fault.offset - (before.rfind("\n") + 1) + 1
        span = Span(file=reading.shown(str(path)), line=line, column=column)
        problem = Problem(
            subject=reading.subject, text=fault.text, remedy=fault.remedy, span=span, snippet=snippet(text, span)
        )
        reading.problems.append(problem)
    return BAD if faults else tuple(values.items())


def _long(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    path = Path(values["path"])
    with suppress(OSError):  # which reading it tells
        if not values.get("required", True) and not path.exists():
            return ()
    return read_env_file(path, node.items["path"], reading)


_LONG = Record(
    "an env file",
    (
        Field(name="path", type=FilePath(), doc="Path of the file.", example="./app.env", required=True),
        Field(name="required", type=Boolean(), doc="Whether the file must be there.", example=False, default="true"),
        Field(name="format", type=Enum("compose"), doc="How it is written.", example="compose", default="compose"),
    ),
    _long,
)

ENV_FILES = ListOf(
    ByShape("a path, or {path, required}", scalar=EnvFile(), mapping=_LONG),
    "a path, or a list of paths",
    single=True,
    key=None,
)
