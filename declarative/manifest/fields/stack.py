"""The fields of the Stack document: what holds for all resources of a stack, and for their templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.manifest.decode import Field, Record, Schema, Shape
from declarative.manifest.decode_collections import ListOf
from declarative.manifest.decode_scalars import Integer, Text
from declarative.manifest.fields.container import CONTAINER, HINTS, SHARED
from declarative.manifest.fields.table import Head, Table
from declarative.manifest.yaml_nodes import Mapping

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Node


class _Values(Shape):
    """Free data for templates."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Check that it is a mapping; templates have read it already."""
        return node if type(node) is Mapping else reading.wrong(node, self.words())

    def schema(self) -> Schema:
        """Any object."""
        return {"type": "object"}

    def words(self) -> str:
        """Say what it is."""
        return "a map of values"


class _Defaults(Record):
    """Fields of containers, none of them required; checked here once, so that a fault is reported in one place."""

    __slots__ = ()

    def __init__(self) -> None:
        fields = tuple(_optional(entry) for entry in CONTAINER.fields if entry.name != "container_name")
        hints = {**HINTS, "container_name": "a name cannot be the default of several containers"}
        super().__init__("defaults of containers and jobs", fields, None, hints)


def _optional(entry: Field) -> Field:
    from declarative.record import replace

    return replace(entry, required=False)


DEFAULTS = _Defaults()
JOB_DEFAULTS = frozenset(entry.name for entry in SHARED)
"""The defaults that a Job takes; the others are a Container's alone."""


def _make(head: Head, values: dict[str, Any]) -> dict[str, Any]:
    del head
    return values


STACK = Table(
    kind="Stack",
    doc="What holds for the whole stack. Optional, and at most one; its name defaults to the folder's.",
    spec=Record(
        "a stack's spec",
        (
            Field(
                name="values",
                type=_Values(),
                doc="Data for templates, as {{ values.NAME }}; --values and --set lay over it.",
                example={"version": "1.9.2"},
                null=True,
            ),
            Field(
                name="env",
                type=ListOf(Text("the name of a variable", pattern=r"[A-Za-z_][A-Za-z0-9_]*"), "a list of names"),
                doc="Environment variables that templates may read, as {{ env.NAME }}.",
                example=["BUILD_NUMBER"],
            ),
            Field(
                name="defaults",
                type=DEFAULTS,
                doc="Laid under the spec of every Container and Job: maps merge, lists and scalars replace.",
                example={"restart": "unless-stopped"},
            ),
            Field(name="engine", type=Text("an engine"), doc="As --engine.", example="docker", default="auto"),
            Field(
                name="max_deletes",
                type=Integer(),
                doc="How many objects one apply may remove.",
                example=5,
                default="half of the stack, at least 5",
            ),
        ),
        None,
        {"name": "it stands under metadata", "version": "write values: {version: …}"},
    ),
    make=_make,
    spec_required=False,
)
