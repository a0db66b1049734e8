"""Renders templates: the scalars of a document, or a whole `*.j2` file.

The rule that keeps it simple: everything is rendered exactly once. What a template gives is plain data and never looked at as a
template again, so a value that holds `{{` stays what it is, and nothing that comes from a value, the environment or git can
inject an expression.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.errors import Problem, Span
from declarative.manifest.scope import TemplateFault
from declarative.manifest.snippets import snippet
from declarative.manifest.sources import Source, is_text
from declarative.manifest.written import WrittenFloat, WrittenInt
from declarative.manifest.yaml_nodes import TEMPLATED, Document, Mapping, Node, Scalar, Sequence
from declarative.manifest.yaml_parse import DEEPEST, MOST_NODES, has_marks
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.manifest.sandbox import Sandbox
    from declarative.manifest.scope import Scope

RENDERED = " (rendered)"
"""Added to the name of a `*.j2` file where a place in its rendered text is meant."""


class Renderer:
    """Renders the templates of one run. `problems` collects what went wrong."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._made = 0
        self._kept: Sandbox | None = None

    @property
    def _sandbox(self) -> Sandbox:
        # jinja2 takes 40 ms to import, so it is imported for the first template, and most stacks have none.
        if self._kept is None:
            from declarative.manifest.sandbox import Sandbox

            self._kept = Sandbox()
        return self._kept

    def source(self, source: Source, scope: Scope) -> Source | None:
        """Render a whole file; None where that failed. The result is named `FILE (rendered)`."""
        try:
            text = self._sandbox.text(source.text, scope)
            _check_text(text)
        except TemplateFault as fault:
            column = _column(source.text, fault)
            self._complain(
                source, Span(file=source.name, line=fault.line, column=column, length=max(1, len(fault.name))), fault
            )
            return None
        return Source(name=source.name + RENDERED, text=text, folder=source.folder)

    def document(self, document: Document, scope: Scope) -> Document:
        """Render every scalar of a document; a scalar that fails is reported and kept as it is."""
        if not document.templated:
            return document
        root = self.node(document, document.root, scope)
        return replace(document, root=root, templated=False) if isinstance(root, Mapping) else document

    def node(self, document: Document, node: Node, scope: Scope, depth: int = 1) -> Node:
        """Render `node` and everything below it; what holds no template is given back as it is, not copied."""
        if isinstance(node, Scalar):
            if isinstance(node.value, str) and "{" in node.value and has_marks(node.value):
                return self._scalar(document, node, node.value, scope, depth)
            return node
        if isinstance(node, Sequence):
            items = [self.node(document, item, scope, depth + 1) for item in node.items]
            same = all(new is old for new, old in zip(items, node.items, strict=True))
            return node if same else replace(node, items=items)
        pairs = {key: self.node(document, item, scope, depth + 1) for key, item in node.items.items()}
        same = all(new is old for new, old in zip(pairs.values(), node.items.values(), strict=True))
        return node if same else replace(node, items=pairs)

    def _scalar(self, document: Document, scalar: Scalar, text: str, scope: Scope, depth: int) -> Node:
        try:
            return self._to_node(self._sandbox.value(text, scope), scalar, depth)
        except TemplateFault as fault:
            # The text of a `|` block starts in the line below its mark, and keeps its lines; other styles fold them.
            line = scalar.line + fault.line if scalar.style == "|" and fault.line else scalar.line
            span = (
                document.span(scalar) if line == scalar.line else Span(file=document.source.name, line=line, column=1)
            )
            self._complain(document.source, span, fault)
            return scalar

    def _to_node(self, value: object, at: Scalar, depth: int) -> Node:
        """Turn plain data into nodes that all stand where the expression stands."""
        self._made += 1
        if self._made > MOST_NODES or depth > DEEPEST:
            raise TemplateFault(
                "the templates give too many or too deeply nested values", "is this the value you meant?"
            )
        if isinstance(value, dict):
            return self._to_mapping(value, at, depth)
        if isinstance(value, list):
            return Sequence([self._to_node(item, at, depth + 1) for item in value], at.line, at.column, at.length)
        if isinstance(value, str):
            _check_text(value)
            return Scalar(value, at.line, at.column, value, TEMPLATED, at.length)
        if isinstance(value, WrittenInt | WrittenFloat):
            return Scalar(+value, at.line, at.column, str(value), TEMPLATED, at.length)  # the plus makes it plain
        number = value if isinstance(value, bool | int | float) else None
        from declarative.manifest.scalar_write import write

        return Scalar(number, at.line, at.column, write(number), TEMPLATED, at.length)

    def _to_mapping(self, value: dict[object, object], at: Scalar, depth: int) -> Mapping:
        mapping = Mapping({}, {}, at.line, at.column, at.length)
        for key, item in value.items():
            if not isinstance(key, str):
                raise TemplateFault(
                    f"the expression gives a mapping with the key {key!r}, and keys are text", "make the keys text"
                )
            _check_text(key)
            if has_marks(key):
                raise TemplateFault(
                    f"the expression gives a mapping with the key `{key}`", "a key cannot hold a template"
                )
            mapping.keys[key] = Scalar(key, at.line, at.column, key, TEMPLATED, at.length)
            mapping.items[key] = self._to_node(item, at, depth + 1)
        return mapping

    def _complain(self, source: Source, span: Span, fault: TemplateFault) -> None:
        shown = snippet(source.text, span)
        self.problems.append(Problem(subject="", text=fault.text, remedy=fault.remedy, span=span, snippet=shown))


def _check_text(text: str) -> None:
    """Refuse what only an escape in an expression can make: half a character, which no engine keeps."""
    if not is_text(text):
        raise TemplateFault("the template gives text with half a surrogate pair", "write the character itself")


def _column(text: str, fault: TemplateFault) -> int:
    """Find the column of the name that a fault is about, as jinja2 knows lines only; 0 where it cannot be told."""
    lines = text.splitlines()
    if not fault.name or not 1 <= fault.line <= len(lines):
        return 0
    found = re.search(rf"\b{re.escape(fault.name)}\b", lines[fault.line - 1])
    return found.start() + 1 if found else 0
