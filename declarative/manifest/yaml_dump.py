"""Writes nodes as YAML text: what `render` prints.

The rule that keeps it simple: one canonical form, block style, two spaces, and the law that reading and rendering the text again
gives the same nodes. So a number keeps the text it was written with, a string is quoted wherever some YAML reader could take it
for something else, and a string that holds `{{` is written as the template that gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.manifest.scalar_write import is_printable, quote, write
from declarative.manifest.scalars import resolve
from declarative.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence
from declarative.manifest.yaml_parse import has_marks

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_KEY = 500
"""Characters of a key written as `key:`. YAML 1.2.2 section 7.4.2 allows 1024, escapes included; beyond, `? key` is written."""
_ESCAPES = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\x85": "\\x85", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def to_yaml(roots: Iterable[Mapping]) -> str:
    """Write documents, separated by `---`. Ends with a line break; no documents give the empty text."""
    return "---\n".join("".join(f"{line}\n" for line in _lines(root)) for root in roots)


def escaped(text: str) -> str:
    """Write `text` as a template that renders to it: `{{` and its like inside a string of jinja2."""
    return '{{ "' + text.translate(_ESCAPES) + '" }}'


def _lines(node: Node) -> list[str]:
    """Write a node that starts a line of its own."""
    if isinstance(node, Mapping) and node.items:
        return [line for key, value in node.items.items() for line in _pair(key, value)]
    if isinstance(node, Sequence) and node.items:
        return [line for item in node.items for line in _item(item)]
    return [_inline(node)]


def _pair(key: str, value: Node) -> list[str]:
    head = quote(key) + ":"
    before: list[str] = []
    if len(head) > _LONGEST_KEY:
        before, head = [f"? {head[:-1]}"], ":"
    if isinstance(value, Mapping | Sequence) and value.items:
        return [*before, head, *_indented(_lines(value))]
    block = _block(value)
    if block:
        return [*before, f"{head} {block[0]}", *_indented(block[1:])]
    return [*before, f"{head} {_inline(value)}"]


def _item(item: Node) -> list[str]:
    first, *rest = _block(item) or _lines(item)
    return [f"- {first}", *_indented(rest)]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" if line else "" for line in lines]


def _inline(node: Node) -> str:
    if isinstance(node, Mapping):
        return "{}"
    if isinstance(node, Sequence):
        return "[]"
    value = node.value
    if isinstance(value, str):
        return quote(escaped(value) if has_marks(value) else value)
    known = resolve(node.text)
    return node.text if node.text and type(known) is type(value) and known == value else write(value)


def _block(node: Node) -> list[str]:
    """Write text of several lines as a `|` block, the first line being its mark; [] where another form is needed."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or "\n" not in node.value:
        return []
    text = node.value
    lines = text.removesuffix("\n").split("\n")
    first = next((line for line in lines if line), "")
    if not first or first[0] in " \t" or has_marks(text) or not is_printable(text):
        return []
    if not lines[-1]:
        return ["|+", *lines]
    return ["|" if text.endswith("\n") else "|-", *lines]
