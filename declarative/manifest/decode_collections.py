"""Shapes made of shapes: lists, maps, and values that have a short and a long form.

The rule that keeps it simple: which form a value has is told by its node's type alone, never by trying one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.manifest.decode import BAD, Schema, Shape
from declarative.manifest.decode_scalars import Match, lazy_match
from declarative.manifest.yaml_nodes import Mapping, Scalar, Sequence
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Node


class ListOf(Shape):
    """A list. `key` names what may occur once only (the item itself by default, None where repeats are fine).

    `sort` is for lists whose order carries no meaning; `single` lets a scalar stand for a list of one. An item that decodes
    to a list (a range of ports) is spread out.
    """

    __slots__ = ("item", "key", "name", "single", "sort")

    def __init__(
        self,
        item: Shape,
        name: str,
        *,
        sort: bool = False,
        single: bool = False,
        key: Callable[[Any], Any] | None = lambda item: item,
    ) -> None:
        self.item = item
        self.name = name
        self.sort = sort
        self.single = single
        self.key = key

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give a tuple."""
        if type(node) is not Sequence:
            if self.single and type(node) is Scalar and node.value is not None:
                value = self.item.decode(node, reading)
                return BAD if value is BAD else tuple(value) if isinstance(value, list) else (value,)
            one = type(node) is Scalar and node.value is not None
            return reading.wrong(node, self.name, f"write it as a list: [{node.text}]" if one else "")  # type: ignore[union-attr]
        decode = self.item.decode
        values: list[Any] = []
        for child in node.items:
            value = decode(child, reading)
            if type(value) is list:
                values += value
            elif value is not BAD:
                values.append(value)
        if len(values) > 1:
            self._refuse_repeats(values, node, reading)
            if self.sort:
                values.sort()
        return tuple(values)

    def _refuse_repeats(self, values: list[Any], node: Sequence, reading: Reading) -> None:
        key = self.key
        if key is None or len({key(value) for value in values}) == len(values):
            return
        first: dict[Any, Node] = {}
        for mark, place in self._marks(key, node, reading):
            if mark in first:
                line = first[mark].line
                reading.complain(place, f"`{mark}` is here twice", f"remove one; the first is in line {line}")
            first.setdefault(mark, place)

    def _marks(self, key: Callable[[Any], Any], node: Sequence, reading: Reading) -> Iterator[tuple[Any, Node]]:
        """Give each value's mark with its item. They are decoded once more for it, what is wrong was said the first time."""
        again = replace(reading, problems=[])
        for child in node.items:
            value = self.item.decode(child, again)
            for part in value if type(value) is list else () if value is BAD else (value,):
                yield key(part), child

    def schema(self) -> Schema:
        """Give an array, or one item too."""
        array: Schema = {"type": "array", "items": self.item.schema()}
        return {"anyOf": [array, self.item.schema()]} if self.single else array

    def words(self) -> str:
        """Its name."""
        return self.name

    def inner(self) -> tuple[Shape, ...]:
        """Give the shape of the items."""
        return (self.item,)


class MapOf(Shape):
    """A mapping with free keys. `keys` is the pattern of a key, `says` puts it in words; `null` makes a value of nothing."""

    __slots__ = ("_match", "item", "keys", "name", "null", "says")

    def __init__(
        self, item: Shape, name: str, *, keys: str = "", says: str = "", null: Callable[[], Any] | None = None
    ) -> None:
        self.item = item
        self.name = name
        self.keys = keys
        self.says = says
        self.null = null
        self._match: Match | None = lazy_match(keys, self) if keys else None

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give a dict, in the order of the text."""
        if type(node) is not Mapping:
            return reading.wrong(node, self.name)
        decode, match, null = self.item.decode, self._match, self.null
        values: dict[str, Any] = {}
        for key, child in node.items.items():
            if match is not None and match(key) is None:
                reading.complain(node.keys[key], f"`{key}` cannot be a key here", self.says)
                continue
            if null is not None and type(child) is Scalar and child.value is None:
                values[key] = null()
                continue
            value = decode(child, reading)
            if value is not BAD:
                values[key] = value
        return values

    def schema(self) -> Schema:
        """Give an object with additional properties."""
        item = self.item.schema()
        made: Schema = {
            "type": "object",
            "additionalProperties": {"anyOf": [item, {"type": "null"}]} if self.null else item,
        }
        if self.keys:
            made["propertyNames"] = {"pattern": f"^(?:{self.keys})$"}
        return made

    def words(self) -> str:
        """Its name."""
        return self.name

    def inner(self) -> tuple[Shape, ...]:
        """Give the shape of the values."""
        return (self.item,)


class ByShape(Shape):
    """A value with several forms, told apart by the type of the node."""

    __slots__ = ("mapping", "name", "scalar", "sequence")

    def __init__(
        self, name: str, *, scalar: Shape | None = None, sequence: Shape | None = None, mapping: Shape | None = None
    ) -> None:
        self.name = name
        self.scalar = scalar
        self.sequence = sequence
        self.mapping = mapping

    def decode(self, node: Node, reading: Reading) -> Any:
        """Decode by the form that the node has."""
        form = self.scalar if type(node) is Scalar else self.sequence if type(node) is Sequence else self.mapping
        if form is None:
            return reading.wrong(node, self.name)
        return form.decode(node, reading)

    def schema(self) -> Schema:
        """Any of the forms."""
        return {"anyOf": [form.schema() for form in self.inner()]}

    def words(self) -> str:
        """Its name."""
        return self.name

    def inner(self) -> tuple[Shape, ...]:
        """Give the forms."""
        return tuple(form for form in (self.scalar, self.sequence, self.mapping) if form is not None)


class Pairs(Shape):
    """Names and texts, as a mapping or as a list of `NAME=VALUE` (Compose: list_or_dict). `item` decodes a value.

    A number or truth in it counts as the text that was written.
    """

    __slots__ = ("_match", "item", "keys", "name", "says")

    def __init__(self, item: Shape, name: str, *, keys: str = r"[^=\s\0][^=\0]*", says: str = "") -> None:
        self.item = item
        self.name = name
        self.keys = keys
        self.says = says or "a name has no = and does not begin with a blank"
        self._match: Match = lazy_match(keys, self)

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give a dict, in the order of the text."""
        if type(node) is Mapping:
            return self._mapping(node, reading)
        if type(node) is Sequence:
            return self._sequence(node, reading)
        return reading.wrong(node, self.name)

    def _mapping(self, node: Mapping, reading: Reading) -> dict[str, Any]:
        decode, match = self.item.decode, self._match
        values: dict[str, Any] = {}
        for key, child in node.items.items():
            if match(key) is None:
                reading.complain(node.keys[key], f"`{key}` cannot be a name", self.says)
                continue
            value = decode(child, reading)
            if value is not BAD:
                values[key] = value
        return values

    def _sequence(self, node: Sequence, reading: Reading) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for child in node.items:
            if type(child) is not Scalar or type(child.value) is not str:
                reading.wrong(child, "NAME=VALUE")
                continue
            key, mark, value = child.value.partition("=")
            if not mark:
                way = f"write {key}=VALUE"
                if isinstance(self.item, ByShape):
                    way += f", or as a map {{{key}: {{secret: {{env: {key}}}}}}} to pass a variable on"
                reading.complain(child, f"`{key}` has no value", way)
            elif self._match(key) is None:
                reading.complain(child, f"`{key}` cannot be a name", self.says)
            elif key in values:
                reading.complain(child, f"`{key}` is here twice", "remove one")
            else:
                values[key] = value
        return values

    def schema(self) -> Schema:
        """Give an object, or an array of strings."""
        named = {"type": "object", "additionalProperties": self.item.schema()}
        named["propertyNames"] = {"pattern": f"^(?:{self.keys})$"}
        return {"anyOf": [named, {"type": "array", "items": {"type": "string", "pattern": "="}}]}

    def words(self) -> str:
        """Its name."""
        return self.name

    def inner(self) -> tuple[Shape, ...]:
        """Give the shape of the values."""
        return (self.item,)
