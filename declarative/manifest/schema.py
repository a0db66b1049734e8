"""JSON Schemas (draft 2020-12): those of manifests, made from the field tables, and access to all that are shipped.

The rule that keeps it simple: `schemas/` holds what `generate` gives, and a test fails when it does not. Schemas of JSON
outputs are written by hand beside them. A schema may be looser than the decoder, never stricter; wherever a value may
stand, so may a template.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.errors import Invalid, NotFound
from declarative.manifest.decode import Schema, field_schema
from declarative.manifest.decode_document import API_VERSION_FIELD, LABELS_FIELD, METADATA, NAME_FIELD
from declarative.manifest.fields import TABLES
from declarative.manifest.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable

    from declarative.manifest.fields.table import Table

DRAFT = "https://json-schema.org/draft/2020-12/schema"
# A name, not an address: nothing is fetched, editors are given the file.
_ID = "urn:declarative:v1:"
_TEMPLATE: Schema = {"$ref": "#/$defs/template"}
_TEMPLATE_DEFINITION: Schema = {"type": "string", "pattern": "\\{\\{|\\{%", "description": "A template."}
MANIFEST = "manifest"


def kind_schema(table: Table) -> Schema:
    """Give the schema of a document of one kind."""
    return _whole(table.kind.lower(), f"{table.kind}: {table.doc}", _document(table))


def manifest_schema() -> Schema:
    """Give the schema of a document of any kind, as editors want it: the kind decides about the rest."""
    kinds = {"enum": list(TABLES), "description": "Kind of resource."}
    made: Schema = {
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {"apiVersion": field_schema(API_VERSION_FIELD), "kind": kinds},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}}, "then": {"$ref": f"#/$defs/{kind}"}} for kind in TABLES
        ],
    }
    whole = _whole(MANIFEST, "A document of a manifest.", made)
    whole["$defs"] |= _shared({kind: _document(table) for kind, table in TABLES.items()})
    return whole


def generate() -> dict[str, str]:
    """Give file name → text of every schema that follows from the field tables."""
    schemas = {MANIFEST: manifest_schema(), **{table.kind.lower(): kind_schema(table) for table in TABLES.values()}}
    return {f"{name}.schema.json": dumps(schema) for name, schema in schemas.items()}


def dumps(schema: Schema) -> str:
    """Write a schema as it is checked in."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def names() -> list[str]:
    """Name every schema that is shipped: kinds in lower case, "manifest", and the JSON outputs."""
    return sorted(file.name.removesuffix(".schema.json") for file in _folder().iterdir() if file.name.endswith(".json"))


def text(name: str) -> str:
    """Give the text of a shipped schema; raises NotFound."""
    file = _folder() / f"{name.lower()}.schema.json"
    if not name.replace("-", "").isalnum() or not file.is_file():
        known = names()
        raise NotFound(f"schema {name}", "there is none", did_you_mean(name, known) or f"there are {', '.join(known)}")
    return file.read_text(encoding="utf-8")


def validate(name: str, document: object, subject: str) -> None:
    """Check a JSON document (a saved plan, an output) against a shipped schema; raises Invalid with the first fault."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(json.loads(text(name))).iter_errors(document))
    if error is not None:
        where = error.json_path.removeprefix("$").removeprefix(".") or "the document"
        remedy = f"it must be as `declarative schema {name}` says"
        raise Invalid(subject, f"{where}: {error.message}"[:500], remedy)


def _folder() -> Traversable:
    from importlib.resources import files

    return files("declarative") / "schemas"


def _whole(name: str, title: str, schema: Schema) -> Schema:
    return {
        "$schema": DRAFT,
        "$id": _ID + name,
        "title": title,
        **schema,
        "$defs": {"template": _TEMPLATE_DEFINITION},
    }


def _document(table: Table) -> Schema:
    is_stack = table.kind == "Stack"
    metadata = METADATA.schema() if is_stack else {**METADATA.schema(), "required": ["name"]}
    metadata["properties"] = {"name": field_schema(NAME_FIELD), "labels": field_schema(LABELS_FIELD)}
    required = ["apiVersion", "kind"] if is_stack else ["apiVersion", "kind", "metadata"]
    spec = table.spec.schema()
    if table.spec_required:
        required.append("spec")
    else:
        spec = {"anyOf": [spec, {"type": "null"}]}
    return {
        "type": "object",
        "description": table.doc,
        "required": required,
        "properties": {
            "apiVersion": field_schema(API_VERSION_FIELD),
            "kind": {"const": table.kind},
            "metadata": _with_templates(metadata),
            "spec": _with_templates(spec),
        },
        "additionalProperties": False,
    }


def _shared(documents: dict[str, Schema]) -> Schema:
    """Move what several kinds have in common (the fields of Container, Job and the Stack's defaults) to definitions."""
    moved: Schema = {}
    specs = (documents["Container"]["properties"]["spec"], documents["Job"]["properties"]["spec"], _defaults(documents))
    first = specs[0]["properties"]
    for name, schema in list(first.items()):
        if sum(spec["properties"].get(name) == schema for spec in specs) > 1:
            moved[f"container.{name}"] = schema
    for spec in specs:
        own = spec["properties"]
        for name in own:
            if own[name] == moved.get(f"container.{name}"):
                own[name] = {"$ref": f"#/$defs/container.{name}"}
    return moved | documents


def _defaults(documents: dict[str, Schema]) -> Schema:
    spec = documents["Stack"]["properties"]["spec"]["anyOf"][0]
    found: Schema = spec["properties"]["defaults"]["anyOf"][0]
    return found


def _with_templates(schema: Any) -> Any:
    """Let a template stand for every property, item and value below."""
    if isinstance(schema, list):
        return [_with_templates(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    made = {}
    for key, value in schema.items():
        if key in {"examples", "enum", "const", "required", "propertyNames"}:
            made[key] = value
        elif key == "properties":
            made[key] = {name: _or_template(_with_templates(below)) for name, below in value.items()}
        elif key in {"items", "additionalProperties"} and isinstance(value, dict):
            made[key] = _or_template(_with_templates(value))
        elif key == "prefixItems":
            made[key] = [_or_template(_with_templates(below)) for below in value]
        else:
            made[key] = _with_templates(value)
    return made


def _or_template(schema: Schema) -> Schema:
    if _takes_any_text(schema):
        return schema
    shown: Schema = {key: schema[key] for key in ("description", "examples") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in shown}
    if set(rest) == {"anyOf"}:
        return {**shown, "anyOf": [*rest["anyOf"], _TEMPLATE]}
    return {**shown, "anyOf": [rest, _TEMPLATE]}


def _takes_any_text(schema: Schema) -> bool:
    kinds: Iterable[str] = schema.get("type", ())
    return ("string" in ([kinds] if isinstance(kinds, str) else kinds)) and "pattern" not in schema
