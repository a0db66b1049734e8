"""The fields of a Volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.resources import Volume, VolumeSpec
from declarative.manifest.decode import Field, Record
from declarative.manifest.decode_scalars import Text
from declarative.manifest.fields.external import EXTERNAL, check_external, name_field
from declarative.manifest.fields.table import TEXTS, Head, Table, add_labels, labels_field

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping


def _check(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    check_external(values, node, reading)
    return values


def _make(head: Head, values: dict[str, Any]) -> Volume:
    if not values.get("external"):
        add_labels(head, values)
    return Volume(name=head.name, spec=VolumeSpec(**values), places=head.tree)


VOLUME = Table(
    kind="Volume",
    doc="A volume. Its data is never removed without --delete-volumes.",
    spec=Record(
        "a volume's spec",
        (
            Field(name="driver", type=Text("a driver"), doc="Volume driver.", example="local", default="local"),
            Field(
                name="options",
                type=TEXTS,
                doc="The driver's options.",
                example={"type": "tmpfs", "device": "tmpfs"},
            ),
            labels_field("volume"),
            EXTERNAL,
            name_field("shop-data"),
        ),
        _check,
        {"driver_opts": "did you mean `options`?"},
    ),
    make=_make,
    spec_required=False,
)
