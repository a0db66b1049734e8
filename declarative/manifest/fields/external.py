"""What Network and Volume have in common: they may be somebody else's, and have names of their own in the engine.

The rule that keeps it simple: what is external is named and nothing else is said of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.manifest.decode import Field
from declarative.manifest.decode_scalars import Boolean, Text

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping

EXTERNAL = Field(
    name="external",
    type=Boolean(),
    doc="It exists already and is never changed or removed.",
    example=False,
    default="false",
)


def name_field(example: str) -> Field:
    """Give the field `name` of a kind."""
    return Field(
        name="name",
        type=Text("a name", pattern=r"[a-zA-Z0-9][a-zA-Z0-9_.-]*"),
        doc="The engine's name.",
        example=example,
        default="STACK_NAME; NAME if external",
    )


def check_external(values: dict[str, Any], node: Mapping, reading: Reading) -> bool:
    """Complain about fields beside `external: true`: what is not ours is used, not described."""
    if not values.get("external"):
        return True
    others = [name for name in node.items if name not in {"external", "name"}]
    for name in others:
        reading.complain(node.keys[name], "has no effect on what is external", "remove it, or external")
    return not others
