"""Decodes one document: its head, then its spec by the table of its kind, with the stack's defaults laid under it.

The rule that keeps it simple: a document is decoded alone. What it says about others is checked by `resolve`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from declarative.manifest.decode import BAD, Field, Outside, Reading, Record
from declarative.manifest.decode_scalars import Enum
from declarative.manifest.decode_tree import Tree, merge
from declarative.manifest.fields import TABLES
from declarative.manifest.fields.container import OWN_NAMESPACE
from declarative.manifest.fields.job import ENDLESS
from declarative.manifest.fields.stack import JOB_DEFAULTS
from declarative.manifest.fields.table import (
    API_VERSION,
    LABELS,
    RESOURCE_NAME,
    STACK_NAME,
    STACK_NAME_SAYS,
    Head,
    Table,
)
from declarative.manifest.suggest import did_you_mean
from declarative.manifest.yaml_nodes import Mapping, Scalar
from declarative.record import field, record

if TYPE_CHECKING:
    from declarative.errors import Problem
    from declarative.manifest.yaml_nodes import Document

API_VERSION_FIELD = Field(
    name="apiVersion",
    type=Enum(API_VERSION, instead={"v1": API_VERSION, "apps/v1": API_VERSION}),
    doc="Version of the manifest's format.",
    example=API_VERSION,
    required=True,
)
KIND_FIELD = Field(
    name="kind",
    type=Enum(
        *TABLES, instead={"Service": "Container", "Deployment": "Container", "Pod": "Container", "CronJob": "Job"}
    ),
    doc="Kind of resource.",
    example="Container",
    required=True,
)
NAME_FIELD = Field(name="name", type=RESOURCE_NAME, doc="Name of the resource, unique within its kind.", example="web")
LABELS_FIELD = Field(
    name="labels",
    type=LABELS,
    doc="Labels put on the engine's object, where the kind has one; spec.labels wins over them.",
    example={"com.example.team": "shop"},
)
METADATA = Record("metadata", (NAME_FIELD, LABELS_FIELD), None, {"namespace": "names are per stack; remove it"})
_KEYS = frozenset({"apiVersion", "kind", "metadata", "spec"})


@record(frozen=False)
class Decoded:
    """What became of a document. `resource` is None where something is wrong with it; `stated` are the keys of its spec.

    `extra` are decoded values that a resource has no place for (version_from).
    """

    kind: str
    name: str
    tree: Tree
    reading: Reading
    resource: Any = None
    stated: frozenset[str] = frozenset()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """Name it for messages."""
        return self.reading.subject


@record
class Defaults:
    """The Stack's `defaults` and the document that they stand in."""

    node: Mapping
    document: Document

    def under(self, document: Document) -> Tree:
        """Lay them under the spec of a Container or a Job."""
        spec = document.root.get("spec")
        if not isinstance(spec, Mapping):
            return Tree(document, document.root)
        node = _fitting(self.node, spec, is_job=_text(document.root.get("kind")) == "Job")
        taken: set[int] = set()
        merged = merge(spec, node, taken)
        root = document.root
        whole = Mapping({**root.items, "spec": merged}, root.keys, root.line, root.column, root.length)
        return Tree(document, whole, frozenset(taken), self.document)


def _fitting(node: Mapping, spec: Mapping, *, is_job: bool) -> Mapping:
    """Leave out of the defaults what cannot go with the spec: it states something else in its place, or is a job."""
    out = {"image"} if "image" in spec.items else set()
    if "networks" in spec.items:
        out.add("network_mode")
    if "network_mode" in spec.items:
        out.add("networks")
        if _text(spec.items["network_mode"]).startswith(("container:", "service:")):
            out |= OWN_NAMESPACE
    if is_job:
        out |= node.items.keys() - JOB_DEFAULTS
        if _text(node.get("restart")) in ENDLESS:
            out.add("restart")
    left = {name: child for name, child in node.items.items() if name not in out}
    return Mapping(left, node.keys, node.line, node.column)


def decode_document(
    document: Document, outside: Outside, problems: list[Problem], defaults: Defaults | None = None
) -> Decoded:
    """Decode a document; what is wrong with it is added to `problems`."""
    root = document.root
    kind = _text(root.get("kind"))
    tree = defaults.under(document) if defaults is not None and kind in {"Container", "Job"} else Tree(document, root)
    metadata = root.get("metadata")
    name = _text(metadata.get("name")) if isinstance(metadata, Mapping) else ""
    subject = "/".join(filter(None, (kind, name))) or "document"
    reading = Reading(tree=tree, subject=subject, outside=outside, problems=problems)
    decoded = Decoded(kind=kind, name=name, tree=tree, reading=reading)
    before = len(problems)
    table = _head(root, kind, reading)
    if table is None:
        return decoded
    labels = _metadata(root, table, reading)
    values = _spec(tree.root, table, reading)
    # The places in a merged tree (anchors, defaults) may have been complained about; only a sound document is made.
    if len(problems) == before and values is not BAD:
        decoded.stated = frozenset(values)
        decoded.extra = {"version_from": values.get("version_from")}
        decoded.resource = table.make(Head(name=name, labels=labels, tree=tree), values)
    return decoded


def _text(node: object) -> str:
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else ""


def _head(root: Mapping, kind: str, reading: Reading) -> Table | None:
    """Check the keys of the document and give its table; None where its kind is not known."""
    for key in root.items.keys() - _KEYS:
        reading.complain(root.keys[key], "unknown key", _misplaced(key, kind))
    for entry in (API_VERSION_FIELD, KIND_FIELD):
        node = root.get(entry.name)
        if node is None:
            reading.complain(root, f"lacks `{entry.name}`", f"add {entry.name}: {entry.example}")
        else:
            entry.type.decode(node, reading)
    return TABLES.get(kind)


def _misplaced(key: str, kind: str) -> str:
    if kind in TABLES and any(entry.name == key for entry in TABLES[kind].fields):
        return "it stands under spec"
    if key in {"name", "labels"}:
        return "it stands under metadata"
    return did_you_mean(key, sorted(_KEYS)) or "a document has apiVersion, kind, metadata and spec"


def _metadata(root: Mapping, table: Table, reading: Reading) -> dict[str, str]:
    node = root.get("metadata")
    is_stack = table.kind == "Stack"
    if node is None:
        if not is_stack:
            reading.complain(root, "lacks `metadata`", "add metadata: {name: …}")
        return {}
    values = METADATA.decode(node, reading)
    if values is BAD:
        return {}
    if "name" not in values and not is_stack:
        reading.complain(node, "lacks `name`", "add name: the resource's name")
    if is_stack and "name" in values and re.fullmatch(STACK_NAME, values["name"]) is None:
        reading.complain(reading.tree.place("metadata.name"), "is not a name of a stack", STACK_NAME_SAYS)
    labels: dict[str, str] = values.get("labels", {})
    return labels


def _spec(root: Mapping, table: Table, reading: Reading) -> Any:
    node = root.get("spec")
    absent = node is None or (isinstance(node, Scalar) and node.value is None)
    if not absent:
        assert node is not None  # noqa: S101 - said by `absent`, which mypy cannot see
        return table.spec.decode(node, reading)
    if not table.spec_required:
        return {}
    needed = ", ".join(table.spec.required) or "its fields"
    return reading.complain(root if node is None else node, "lacks `spec`", f"add spec with {needed}")
