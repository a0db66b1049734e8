"""The fields of a Volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.resources import Volume, VolumeSpec
from declarative.manifest.decode import Field, Record
from declarative.manifest.decode_scalars import Boolean, Text
from declarative.manifest.fields.network import ENGINE_NAME, check_external
from declarative.manifest.fields.table import TEXTS, Head, Table, labels_field

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping


def _check(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    check_external(values, node, reading)
    return values


def _make(head: Head, values: dict[str, Any]) -> Volume:
    if head.labels and not values.get("external"):
        values["labels"] = {**head.labels, **values.get("labels", {})}
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
            Field(
                name="external",
                type=Boolean(),
                doc="It exists already and is never changed or removed.",
                example=False,
                default="false",
            ),
            Field(
                name="name",
                type=ENGINE_NAME,
                doc="The engine's name.",
                example="shop-data",
                default="STACK_NAME; NAME if external",
            ),
        ),
        _check,
        {"driver_opts": "did you mean `options`?"},
    ),
    make=_make,
    spec_required=False,
)
