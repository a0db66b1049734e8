"""Turns YAML text into nodes with positions.

The rule that keeps it simple: the C parser of PyYAML delivers events, we build from them one node per event, and every guard
(depth, number of nodes, duplicate keys, tags, YAML 1.2 types) sits where its event is handled. PyYAML's own constructor is never
used: it reads YAML 1.1, lets the last of two equal keys win, and its C form overflows the stack on deep nesting.

A syntax error ends one document; reading resumes at the next `---`, so that all broken documents are told in one run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from declarative.errors import Problem, Span
from declarative.manifest.scalars import resolve
from declarative.manifest.snippets import snippet
from declarative.manifest.suggest import did_you_mean
from declarative.manifest.yaml_nodes import Document, Mapping, Node, Scalar, Sequence, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.manifest.sources import Source
    from declarative.manifest.yaml_nodes import Plain

MOST_PROBLEMS = 100
"""Problems told of one file: nobody reads more, and each costs a snippet."""
DEEPEST = 64
"""Levels of nesting. A manifest needs ten; the walkers of nodes are recursive, and Python's stack is finite."""
MOST_NODES = 500_000
"""Nodes of one document with aliases written out: ten thousand containers of fifty values. An alias bomb has billions."""

# PyYAML built without libyaml has no C parser; its Python twin gives the same events, ten times slower.
_Loader: Callable[[str], Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "<<"
_CORE = "tag:yaml.org,2002:"


TOO_DEEP = (f"the nesting is deeper than {DEEPEST} levels", "no manifest needs that: is it the right file?")
_KEY_REMEDY = "template the value, or call the file *.yaml.j2, which is rendered as a whole"
_TYPES: dict[str, type] = {
    _CORE + "int": int,
    _CORE + "float": float,
    _CORE + "bool": bool,
    _CORE + "null": type(None),
}


class _Stop(Exception):
    """This document cannot be read on; the problem has been noted. `line` (from 0) is where to look for the next one."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Anchor:
    """What an alias stands for: `node` is None as long as the anchored node is not complete."""

    __slots__ = ("height", "node", "size")

    def __init__(self) -> None:
        self.node: Node | None = None
        self.size = 0
        self.height = 0


def parse(source: Source) -> tuple[tuple[Document, ...], tuple[Problem, ...]]:
    """Read all documents of `source`; empty ones are left out. Bad YAML comes back as problems, never as an exception."""
    documents: list[Document] = []
    problems: list[Problem] = []
    first: int | None = 0
    while first is not None:
        builder = _Builder(source, first, documents, problems)
        first = builder.run()
    return tuple(documents), tuple(problems)


def has_marks(text: str) -> bool:
    """Whether `text` holds what a template would act on."""
    return "{{" in text or "{%" in text or "{#" in text


class _Builder:
    """Builds the documents of one source from line `first` (counted from 0) to the end or the first syntax error."""

    def __init__(self, source: Source, first: int, documents: list[Document], problems: list[Problem]) -> None:
        self.source = source
        self.first = first
        self.documents = documents
        self.problems = problems
        self.text = source.text if not first else "".join(source.text.splitlines(keepends=True)[first:])
        self.next: Callable[[], Any]
        self.reset()

    def reset(self) -> None:
        self.anchors: dict[str, _Anchor] = {}
        self.count = 0
        self.deepest = 0
        self.marked = False

    def run(self) -> int | None:
        """Build, and give the line to resume at after a document that cannot be read on, or None at the end."""
        try:
            self.stream()
        except yaml.YAMLError as error:
            resume = self.fault(error)
        except _Stop as stop:
            resume = stop.line
        else:
            return None
        if not self.has_room():
            return None
        from declarative.manifest.yaml_faults import next_document

        return next_document(self.source.text, self.first, resume)

    def fault(self, error: yaml.YAMLError) -> int:
        from declarative.manifest.yaml_faults import explain

        fault = explain(error, self.text)
        line = self.first + fault.line
        told = any(known.span and known.span.line == line and known.remedy == fault.remedy for known in self.problems)
        if not told:
            span = Span(file=self.source.name, line=line, column=fault.column)
            self.problems.append(self.problem(span, fault.text, fault.remedy))
        return self.first + fault.last - 1

    def stream(self) -> None:
        self.next = _Loader(self.text).get_event
        while not isinstance(event := self.next(), StreamEndEvent):
            if isinstance(event, DocumentStartEvent):
                self.document()

    def document(self) -> None:
        self.reset()
        root = self.node(self.next(), 1)
        self.next()
        if isinstance(root, Mapping):
            index = len(self.documents)
            self.documents.append(Document(source=self.source, root=root, index=index, templated=self.marked))
        elif not (isinstance(root, Scalar) and root.text == ""):
            self.complain(root, f"a document must be a mapping, and this is {kind_of(root)}", "start it with `kind:`")

    def node(self, event: Any, depth: int) -> Node:
        """Build the node that `event` starts, with everything below it."""
        self.count += 1
        kind = type(event)
        if self.count > MOST_NODES or depth > DEEPEST:
            self.refuse(event, depth)
        if event.anchor is None:
            return self.scalar(event) if kind is ScalarEvent else self.collection(event, depth)
        return self.alias(event, depth) if kind is AliasEvent else self.anchored(event, depth)

    def scalar(self, event: Any) -> Scalar:
        text = event.value
        start = event.start_mark
        end = event.end_mark
        length = end.column - start.column if end.line == start.line else 1
        value = resolve(text) if event.tag is None and event.implicit[0] else text
        scalar = Scalar(value, self.first + start.line + 1, start.column + 1, text, event.style or "", length)
        if "{" in text and has_marks(text):
            self.marked = True
        if event.tag is not None:
            scalar.value = self.tagged(scalar, event.tag)
        return scalar

    def collection(self, event: Any, depth: int) -> Node:
        self.deepest = max(self.deepest, depth)
        if event.tag is not None and event.tag not in ("!", _CORE + "map", _CORE + "seq"):
            self.complain(self.place(event), f"the tag {_short(event.tag)} is not supported", "leave it out")
        return self.mapping(event, depth) if type(event) is MappingStartEvent else self.sequence(event, depth)

    def sequence(self, event: Any, depth: int) -> Sequence:
        mark = event.start_mark
        items: list[Node] = []
        while type(event := self.next()) is not SequenceEndEvent:
            items.append(self.node(event, depth + 1))
        return Sequence(items, self.first + mark.line + 1, mark.column + 1)

    def mapping(self, event: Any, depth: int) -> Mapping:
        mark = event.start_mark
        mapping = Mapping({}, {}, self.first + mark.line + 1, mark.column + 1)
        merged: list[Node] = []
        while type(event := self.next()) is not MappingEndEvent:
            key = self.key(event, depth)
            value = self.node(self.next(), depth + 1)
            if key is None:
                continue
            name = key.text
            if name == _MERGE and not key.style:
                merged.append(value)
            elif name in mapping.items:
                first = mapping.keys[name].line
                self.complain(key, f"the key `{name}` is there twice, first in line {first}", "remove one of the two")
            else:
                mapping.items[name] = value
                mapping.keys[name] = key
        return self.merge(mapping, merged) if merged else mapping

    def key(self, event: Any, depth: int) -> Scalar | None:
        """Build a key; one that is not text is complained about, and read as text where that can be done."""
        self.count += 1
        if type(event) is ScalarEvent and event.anchor is None:
            key: Node = self.scalar(event)
        else:
            key = self.node(event, depth + 1)
        if not isinstance(key, Scalar):
            self.refuse_key(key)
            return None
        if not isinstance(key.value, str):
            self.complain(key, f"keys are text, and this is {kind_of(key)}", f'quote it: "{key.text}"')
        elif "{" in key.text and has_marks(key.text):
            self.complain(key, "a key cannot be a template", _KEY_REMEDY)
        return key

    def refuse_key(self, key: Node) -> None:
        from declarative.manifest.yaml_faults import QUOTE_IT

        line = self.source.text.splitlines()[key.line - 1]
        if line[key.column - 2 : key.column] == "{{":
            outer = Scalar(None, key.line, key.column - 1, "", length=2)
            self.complain(outer, "YAML reads `{{` as the start of a mapping", QUOTE_IT)
        else:
            self.complain(key, f"keys are text, and this is {kind_of(key)}", "write `key: value`")

    def merge(self, mapping: Mapping, merged: list[Node]) -> Mapping:
        """Put the pairs of `<<` under the mapping's own (YAML merge key, working draft 2005): the first that has a key wins."""
        result = Mapping({}, {}, mapping.line, mapping.column)
        sources = [item for node in merged for item in (node.items if isinstance(node, Sequence) else [node])]
        for source in sources:
            if not isinstance(source, Mapping):
                self.complain(
                    source, f"`<<` merges mappings, and this is {kind_of(source)}", "name a mapping: `<<: *name`"
                )
                continue
            for name, value in source.items.items():
                if name not in result.items:
                    result.items[name] = value
                    result.keys[name] = source.keys[name]
        result.items.update(mapping.items)
        result.keys.update(mapping.keys)
        return result

    def anchored(self, event: Any, depth: int) -> Node:
        anchor = self.anchors[event.anchor] = _Anchor()
        before, self.deepest = self.deepest, depth
        size = self.count - 1
        node: Node = self.scalar(event) if type(event) is ScalarEvent else self.collection(event, depth)
        anchor.node, anchor.size, anchor.height = node, self.count - size, self.deepest - depth
        self.deepest = max(before, self.deepest)
        return node

    def alias(self, event: Any, depth: int) -> Node:
        anchor = self.anchors.get(event.anchor)
        if anchor is None or anchor.node is None:
            text = "stands inside what it names" if anchor else "names nothing that stands above it"
            near = did_you_mean(event.anchor, [name for name, known in self.anchors.items() if known.node])
            place = self.place(event)
            self.complain(
                place, f"the alias *{event.anchor} {text}", near or f"give a value above it the anchor &{event.anchor}"
            )
            return place
        self.count += anchor.size - 1
        self.deepest = max(self.deepest, depth + anchor.height)
        if self.count > MOST_NODES or self.deepest > DEEPEST:
            self.refuse(event, self.deepest)
        return anchor.node

    def tagged(self, scalar: Scalar, tag: str) -> Plain:
        """Type a scalar with an explicit tag: the core schema's own tags, where the text fits them."""
        if tag in ("!", _CORE + "str"):
            return scalar.text
        value = resolve(scalar.text)
        if tag == _CORE + "float" and type(value) is int:
            return float(value)
        expected = _TYPES.get(tag)
        if expected is None:
            self.complain(scalar, f"the tag {_short(tag)} is not supported", "leave it out")
        elif type(value) is not expected:
            self.complain(scalar, f"`{scalar.text}` does not fit the tag {_short(tag)}", "leave the tag out")
        return value

    def refuse(self, event: Any, depth: int) -> NoReturn:
        place = self.place(event)
        if depth > DEEPEST:
            self.complain(place, *TOO_DEEP)
        else:
            text = f"the document has more than {MOST_NODES:,} values, with its aliases written out"
            self.complain(place, text, "use fewer aliases of aliases, or split the document")
        raise _Stop(place.line)

    def place(self, event: Any) -> Scalar:
        mark, end = event.start_mark, event.end_mark
        length = end.column - mark.column if end.line == mark.line else 1
        return Scalar(None, self.first + mark.line + 1, mark.column + 1, "", length=length)

    def complain(self, node: Node, text: str, remedy: str) -> None:
        span = Span(file=self.source.name, line=node.line, column=node.column, length=node.length)
        self.problems.append(self.problem(span, text, remedy))
        if not self.has_room():
            raise _Stop(node.line)

    def problem(self, span: Span, text: str, remedy: str) -> Problem:
        return Problem(subject="", text=text, remedy=remedy, span=span, snippet=snippet(self.source.text, span))

    def has_room(self) -> bool:
        return len(self.problems) < MOST_PROBLEMS


def _short(tag: str) -> str:
    return tag.replace(_CORE, "!!") if tag.startswith(_CORE) else tag
