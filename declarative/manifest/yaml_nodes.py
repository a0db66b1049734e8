"""What a parsed YAML text is: nodes that know where they stand, and the document that holds them.

The rule that keeps it simple: a node is three lists of plain slots and never changes after it is built (aliases share nodes).
Positions are two ints, counted from 1; a `Span` and a snippet are made only when somebody complains. The classes are
plain slotted records.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

from declarative.errors import Problem, Span
from declarative.manifest.snippets import snippet
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.manifest.sources import Source

Plain: TypeAlias = "str | int | float | bool | None"
"""What a scalar may be."""


TEMPLATED = "{"
"""The style of what a template gave: how it is quoted in the text says nothing of its type."""


@record(frozen=False, kw_only=False, eq=False)
class Scalar:
    """A leaf. `value` is typed by the YAML 1.2 core schema; `text` is what was written (`1.10`, `0444`), without its quotes.

    `style` is `""` (plain), `'`, `"`, `|` or `>`, or `TEMPLATED`. `length` is in characters, 1 where the scalar spans lines.
    """

    value: Plain
    line: int
    column: int
    text: str
    style: str = ""
    length: int = 1


@record(frozen=False, kw_only=False, eq=False)
class Sequence:
    """A list of nodes. `items` is in the order of the text."""

    items: list[Node]
    line: int
    column: int
    length: int = 1


@record(frozen=False, kw_only=False, eq=False)
class Mapping:
    """A mapping with text keys, in the order of the text: `items` gives the values, `keys` the keys as they stand in the text."""

    items: dict[str, Node]
    keys: dict[str, Scalar]
    line: int
    column: int
    length: int = 1

    def get(self, key: str) -> Node | None:
        """Give the value under `key`, or None where there is no such key."""
        return self.items.get(key)


Node: TypeAlias = Scalar | Sequence | Mapping


@record
class Document:
    """One YAML document of one source. `root` is always a mapping; `index` counts from 0 within the source.

    `templated` says that some scalar still holds `{{`, `{%` or `{#` to be rendered.
    """

    source: Source
    root: Mapping
    index: int = 0
    templated: bool = False

    def span(self, node: Node) -> Span:
        """Say where `node` stands."""
        return Span(file=self.source.name, line=node.line, column=node.column, length=node.length)

    def problem(self, node: Node, subject: str, text: str, remedy: str = "") -> Problem:
        """Complain about `node`, with its place and the offending lines."""
        span = self.span(node)
        return Problem(subject=subject, text=text, remedy=remedy, span=span, snippet=snippet(self.source.text, span))


def to_plain(node: Node, leaf: Callable[[Scalar], Plain] = attrgetter("value")) -> object:
    """Strip the positions: the node as `dict`, `list`, `str`, `int`, `float`, `bool` and None. `leaf` gives a scalar's value."""
    if isinstance(node, Scalar):
        return leaf(node)
    if isinstance(node, Sequence):
        return [to_plain(item, leaf) for item in node.items]
    return {key: to_plain(value, leaf) for key, value in node.items.items()}


def kind_of(node: Node) -> str:
    """Name the type of `node` as a person would: "text", "a number", "true or false", "nothing", "a list", "a mapping"."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return "true or false"
    return "text" if isinstance(node.value, str) else "a number"
