"""Explains a field: what `declarative explain Container.spec.healthcheck.interval` prints.

The rule that keeps it simple: everything shown is in the field tables; a path is followed through lists, maps and short forms to
the mapping that has the next name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.errors import Usage
from declarative.manifest.decode import Field, Record, Shape
from declarative.manifest.decode_collections import MapOf, Pairs
from declarative.manifest.decode_document import API_VERSION_FIELD, KIND_FIELD, METADATA
from declarative.manifest.fields import TABLES
from declarative.manifest.fields.table import API_VERSION, Table
from declarative.manifest.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WIDTH = 100


def explain(path: str = "") -> str:
    """Give the explanation of a kind ("Container") or a field ("Container.spec.ports", "Container.ports"), ending in a newline.

    Without a path, list the kinds. Raises Usage for what does not exist.
    """
    if not path:
        return _kinds()
    kind, *names = path.replace("[]", "").split(".")
    table = _table(kind)
    if not names:
        return _kind(table)
    field, way = _find(table, names, path)
    return _field(table, field, way)


def paths() -> Iterator[str]:
    """Give every path that `explain` knows, for completion and tests: "Container.spec.ports.target"."""
    for table in TABLES.values():
        yield table.kind
        for field in _head(table):
            yield from _below(field, table.kind)


def _below(field: Field, prefix: str) -> Iterator[str]:
    path = f"{prefix}.{field.name}"
    yield path
    for record in _records(field.type):
        for inner in record.fields:
            yield from _below(inner, path)


def _table(kind: str) -> Table:
    for table in TABLES.values():
        if table.kind.lower() == kind.lower():
            return table
    raise Usage(
        f"explain {kind}", "there is no such kind", did_you_mean(kind, TABLES) or f"kinds are {', '.join(TABLES)}"
    )


def _head(table: Table) -> tuple[Field, ...]:
    """Give the fields above the spec, and the spec itself."""
    metadata = Field(name="metadata", type=METADATA, doc="Name and labels.", required=table.kind != "Stack")
    spec = Field(name="spec", type=table.spec, doc=table.doc, required=table.spec_required)
    return (API_VERSION_FIELD, KIND_FIELD, metadata, spec)


def _find(table: Table, names: Sequence[str], path: str) -> tuple[Field, str]:
    """Follow the names; a first one that only the spec has means the spec's."""
    head = Record("document", _head(table))
    known = {field.name for field in head.fields}
    way = list(names) if names[0] in known else ["spec", *names]
    shape: Shape = head
    field: Field | None = None
    for index, name in enumerate(way):
        found = _step(shape, name)
        if found is None and field is not None and _is_map(shape):
            continue  # a free key, as the name of a network
        if found is None:
            candidates = [entry.name for record in _records(shape) for entry in record.fields]
            shown = ".".join([table.kind, *way[:index]])
            remedy = did_you_mean(name, candidates) or (
                f"there are {', '.join(candidates)}" if candidates else "it has no fields"
            )
            raise Usage(f"explain {path}", f"{shown} has no field `{name}`", remedy)
        field, shape = found, found.type
    if field is None:
        raise Usage(f"explain {path}", "names no field", f"try {table.kind}.spec")
    return field, ".".join(way)


def _step(shape: Shape, name: str) -> Field | None:
    return next((field for record in _records(shape) for field in record.fields if field.name == name), None)


def _records(shape: Shape) -> Iterator[Record]:
    """Give the mappings with known keys that a value may be or be made of."""
    if isinstance(shape, Record):
        yield shape
        return
    for inner in shape.inner():
        yield from _records(inner)


def _is_map(shape: Shape) -> bool:
    """Whether keys of a value may be free, as the names of networks are."""
    if isinstance(shape, Record):
        return False
    return isinstance(shape, MapOf | Pairs) or any(_is_map(inner) for inner in shape.inner())


def _kinds() -> str:
    lines = [f"Kinds of {API_VERSION}:", ""]
    lines += _columns([(table.kind, table.doc) for table in TABLES.values()])
    lines += ["", "declarative explain KIND shows the fields of one, declarative explain KIND.spec.FIELD a field."]
    return "\n".join(lines) + "\n"


def _kind(table: Table) -> str:
    lines = [f"KIND:     {table.kind} ({API_VERSION})", "", *_wrap(table.doc, "  "), "", "FIELDS of spec:"]
    return "\n".join([*lines, *_fields(table.fields)]) + "\n"


def _field(table: Table, field: Field, way: str) -> str:
    required = ", required" if field.required else ""
    lines = [f"KIND:     {table.kind} ({API_VERSION})", f"FIELD:    {way} <{field.type.words()}{required}>", ""]
    lines += _wrap(field.doc, "  ")
    if field.default:
        lines += ["", f"DEFAULT:  {field.default}"]
    if field.example is not None:
        lines += ["", "EXAMPLE:", *(f"  {line}" for line in _yaml({field.name: field.example}))]
    seen: dict[str, Field] = {}
    for record in _records(field.type):
        for inner in record.fields:
            seen.setdefault(inner.name, inner)
    if seen:
        lines += ["", "FIELDS:", *_fields(tuple(seen.values()))]
    return "\n".join(lines) + "\n"


def _fields(fields: tuple[Field, ...]) -> list[str]:
    return _columns(
        [(f"{field.name}{' *' if field.required else ''}", f"<{field.type.words()}> {field.doc}") for field in fields]
    )


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows) + 2
    lines = []
    for name, text in rows:
        first, *rest = _wrap(text, "", _WIDTH - width - 2)
        lines += [f"  {name:<{width}}{first}", *(f"  {'':<{width}}{line}" for line in rest)]
    return lines


def _wrap(text: str, indent: str, width: int = _WIDTH) -> list[str]:
    lines = [indent]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > width and lines[-1].strip():
            lines.append(indent)
        lines[-1] += word if lines[-1] == indent else f" {word}"
    return lines


def _yaml(example: dict[str, Any]) -> list[str]:
    import yaml

    return str(yaml.safe_dump(example, sort_keys=False, allow_unicode=True)).splitlines()
