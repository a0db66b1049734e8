"""The machinery of the field tables: shapes that read nodes, fields that name them, records that hold them.

A `Shape` says three things about one sort of value: how a node becomes it, its JSON Schema, and how a person calls it.
The rule that keeps it simple: a shape never stops and never raises for bad input. It complains to the `Reading` and gives `BAD`,
and whoever holds the value leaves it out; a resource is used only if nobody complained.
"""

from __future__ import annotations

import os.path
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from declarative.manifest.suggest import did_you_mean
from declarative.manifest.yaml_nodes import Mapping, Scalar, kind_of
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping as AbstractMapping

    from declarative.errors import Invalid, Problem
    from declarative.manifest.decode_tree import Tree
    from declarative.manifest.yaml_nodes import Document, Node

Schema = dict[str, Any]
"""A JSON Schema, draft 2020-12."""


# A problem that begins so follows its subject as one sentence.
_VERBS = ("is ", "has ", "holds ", "ends ", "begins ", "goes ", "looks ", "cannot ", "names ")


class _Bad:
    """What a shape gives for a node that it complained about."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "BAD"


BAD: Final = _Bad()


@record
class Outside:
    """What a manifest may draw on beside itself, handed in by the command line. For the options see LoadOptions."""

    environ: AbstractMapping[str, str] = field(default_factory=dict)
    home: str = ""
    names_only: bool = False
    secrets: bool = True
    made: frozenset[str] = frozenset()


@record(frozen=False)
class Reading:
    """The reading of one resource: its nodes, what it may draw on, and the complaints so far.

    `as_text`: the numbers that stand for their text, by the id of their node.
    """

    tree: Tree
    subject: str
    outside: Outside
    problems: list[Problem] = field(default_factory=list)
    as_text: set[int] = field(default_factory=set)

    def text_of(self, number: Scalar) -> str:
        """Take a number for text: as it is written."""
        self.as_text.add(id(number))
        return number.text

    def complain(self, node: Node, text: str, remedy: str = "") -> Any:
        """Note what is wrong with `node` (or a key) and give BAD."""
        path, document = self.tree.find(node)
        self.problems.append(document.problem(node, self.subject, f"{path}: {text}" if path else text, remedy))
        return BAD

    def refuse(self, node: Node, error: Invalid) -> Any:
        """Complain with the words of an error that a parser of the value's text raised."""
        joint = " " if error.problem.startswith(_VERBS) else ": "
        return self.complain(node, f"{error.subject}{joint}{error.problem}", error.remedy)

    def wrong(self, node: Node, expected: str, remedy: str = "") -> Any:
        """Complain that `node` has the wrong type."""
        found = kind_of(node)
        if found == "nothing":
            return self.complain(node, f"has no value, expected {expected}", remedy or "write one, or remove the key")
        return self.complain(node, f"expected {expected}, found {found}", remedy)

    def folder(self, node: Node) -> Path:
        """Give the folder that relative paths written in `node` count from."""
        return self.document(node).source.folder

    def shown(self, path: str) -> str:
        """Give a path as a person would write it from where the manifest was named: beside `app/stack.yaml`, `app/conf`."""
        source = self.tree.document.source
        return os.path.normpath(Path(source.name).parent / os.path.relpath(path, source.folder))

    def document(self, node: Node) -> Document:
        """Give the document that `node` is written in; inherited defaults stand in another one."""
        return self.tree.find(node)[1] if self.tree.inherited else self.tree.document


class Shape(ABC):
    """One sort of value."""

    __slots__ = ()

    @abstractmethod
    def decode(self, node: Node, reading: Reading) -> Any:
        """Give the typed value of `node`, or complain and give BAD."""

    @abstractmethod
    def schema(self) -> Schema:
        """Give a JSON Schema that accepts whatever `decode` accepts."""

    @abstractmethod
    def words(self) -> str:
        """Name the sort of value, as in "a list of ports"."""

    def inner(self) -> tuple[Shape, ...]:
        """Give the shapes of which this one is made; `explain` walks down through them."""
        return ()


@record
class Field:
    """One key of a mapping in a manifest. `name`, `type` and `doc` are shown by `explain` and editors; `example` must decode.

    `default` says in words what holds where the key is absent.
    `null`: the key may be written without a value, and means then what it means when absent.
    """

    name: str
    type: Shape
    doc: str
    example: Any = None
    required: bool = False
    default: str = ""
    since: str = "1"
    null: bool = False


class Record(Shape):
    """A mapping with known keys. `make` gets the decoded values by key, the node and the reading."""

    __slots__ = ("_known", "fields", "hints", "make", "name", "required")

    def __init__(
        self,
        name: str,
        fields: tuple[Field, ...],
        make: Callable[[dict[str, Any], Mapping, Reading], Any] | None = None,
        hints: AbstractMapping[str, str] | None = None,
    ) -> None:
        """Name it as in "a health check"; `hints` maps keys that people try to what they should do instead."""
        self.name = name
        self.fields = fields
        self.make = make if make is not None else _as_is
        self.hints = hints or {}
        self.required = tuple(entry.name for entry in fields if entry.required)
        self._known = {entry.name: _decoder(entry) for entry in fields}

    def decode(self, node: Node, reading: Reading) -> Any:
        """Decode every key, complain about each unknown and each missing one, then make the value."""
        if type(node) is not Mapping:
            return reading.wrong(node, self.name)
        complaints = len(reading.problems)
        values: dict[str, Any] = {}
        known = self._known
        for key, child in node.items.items():
            decode = known.get(key)
            if decode is None:
                self._unknown(key, node, reading)
                continue
            value = decode(child, reading)
            if value is not BAD:
                values[key] = value
        for name in self.required:
            if name not in node.items:
                reading.complain(node, f"lacks `{name}`", f"add {name}: {_brief(self.field(name))}")
        # A value is made of sound parts only: what the maker would say about the rest is already said.
        return self.make(values, node, reading) if len(reading.problems) == complaints else BAD

    def field(self, name: str) -> Field:
        """Give the field called `name`; raises KeyError."""
        for entry in self.fields:
            if entry.name == name:
                return entry
        raise KeyError(name)

    def _unknown(self, key: str, node: Mapping, reading: Reading) -> None:
        remedy = self.hints.get(key) or did_you_mean(key, self._known)
        if not remedy:
            remedy = f"known here: {', '.join(self._known)}" if len(self._known) <= 10 else "remove it"
        reading.complain(node.keys[key], "unknown key", remedy)

    def schema(self) -> Schema:
        """Give an object without additional properties."""
        made: Schema = {
            "type": "object",
            "properties": {entry.name: field_schema(entry) for entry in self.fields},
            "additionalProperties": False,
        }
        if self.required:
            made["required"] = list(self.required)
        return made

    def words(self) -> str:
        """Its name."""
        return self.name

    def inner(self) -> tuple[Shape, ...]:
        """Give the shapes of its fields."""
        return tuple(entry.type for entry in self.fields)


def field_schema(entry: Field) -> Schema:
    """Give the schema of a field with what editors show of it."""
    made = entry.type.schema()
    if entry.null:
        made = {"anyOf": [made, {"type": "null"}]}
    made = {"description": f"{entry.doc} Default: {entry.default}." if entry.default else entry.doc, **made}
    if entry.example is not None:
        made["examples"] = [entry.example]
    return made


def _decoder(entry: Field) -> Callable[[Node, Reading], Any]:
    """Give what decodes a field. Nothing written where that is allowed is left out, as BAD is, but without a complaint."""
    decode = entry.type.decode
    if not entry.null:
        return decode
    return lambda node, reading: BAD if type(node) is Scalar and node.value is None else decode(node, reading)


def _as_is(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    del node, reading
    return values


def _brief(entry: Field) -> str:
    return str(entry.example) if isinstance(entry.example, (str, int)) else "…"
