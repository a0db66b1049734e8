"""What a table of a kind is: its spec's fields and how a resource is made of them.

The rule that keeps it simple: a kind is one `Table`; decoding, JSON Schema and `explain` know nothing else of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.manifest.decode import Field
from declarative.manifest.decode_collections import Pairs
from declarative.manifest.decode_process import NAME
from declarative.manifest.decode_scalars import Text
from declarative.manifest.decode_secrets import PlainValue
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from declarative.manifest.decode import Record
    from declarative.manifest.decode_tree import Tree

API_VERSION = "declarative/v1"

STACK_NAME = r"[a-z0-9][a-z0-9_-]{0,62}"
STACK_NAME_SAYS = "up to 63 of a-z 0-9 _ -, with a letter or digit at its beginning"

RESOURCE_NAME = Text(
    "a name",
    pattern=rf"(?=.{{1,63}}$){NAME}",
    says="up to 63 of a-z 0-9 . _ -, with a letter or digit at both ends",
)

TEXTS = Pairs(PlainValue(), "names and texts")
LABELS = Pairs(
    PlainValue(),
    "labels, as a map or a list of NAME=VALUE",
    keys=r"(?!declarative\.)[^=\s\0][^=\0]*",
    says="names that begin with `declarative.` are the tool's own",
)


@record
class Head:
    """What stands above the spec."""

    name: str
    labels: Mapping[str, str]
    tree: Tree


@record
class Table:
    """A kind: `make` turns its head and the decoded spec (key → value, absent keys absent) into a resource.

    `spec_required` is false where a document without a spec has a meaning.
    """

    kind: str
    doc: str
    spec: Record
    make: Callable[[Head, dict[str, Any]], Any]
    spec_required: bool = True

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of the spec."""
        return self.spec.fields


def labels_field(of: str) -> Field:
    """Give the field `labels` of a kind."""
    return Field(
        name="labels", type=LABELS, doc=f"Labels put on the {of}, in the engine.", example={"com.example.team": "shop"}
    )


def add_labels(head: Head, values: dict[str, Any]) -> None:
    """Put the head's labels below those of the spec."""
    if head.labels:
        values["labels"] = {**head.labels, **values.get("labels", {})}
