"""Where the nodes of a resource stand, with the stack's defaults merged under them.

The rule that keeps it simple: nothing is recorded while decoding. The tree is walked only when somebody complains or a difference
is shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.manifest.yaml_nodes import Mapping, Scalar, Sequence
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.manifest.yaml_nodes import Document, Node

_INDEX = re.compile(r"\[([0-9]{1,9})\]\.?")


@record(kw_only=False, eq=False, repr=False)
class Tree:
    """The nodes of one resource. `root` is the document's, or a merged one.

    Of a merged one, `inherited` holds the ids of the nodes taken over from the defaults.
    `defaults` is the document (the Stack) that inherited nodes stand in. Fulfils `core.resources.Places`.
    """

    document: Document
    root: Mapping
    inherited: frozenset[int] = frozenset()
    defaults: Document | None = None
    _paths: dict[int, tuple[str, Document]] = field(default_factory=dict)

    def at(self, path: str) -> str:
        """`file:line` of the field at `path` ("spec.image", "spec.labels.a.b/c"), or of its nearest written parent."""
        mark, _, document = self.walk(path)
        return f"{document.source.name}:{mark.line}"

    def walk(self, path: str) -> tuple[Node, Node, Document]:
        """Follow `path` as far as it is written down: give the node to point at (a key), its value, and their document."""
        mark: Node = self.root
        node: Node = self.root
        document = self.document
        while path:
            below = _descend(node, path)
            if below is None:
                break
            mark, node, path = below
            if self.defaults is not None and id(node) in self.inherited:
                document = self.defaults
        return mark, node, document

    def place_of(self, path: str, item: str = "") -> str:
        """`file:line` of what `place` gives; `path` may end in the item."""
        parent = path.removesuffix(f".{item}")
        document = self.walk(parent)[2]
        return f"{document.source.name}:{self.place(parent, item).line}"

    def place(self, path: str, item: str = "") -> Node:
        """Give the node to complain about for `path`; with `item`, the list's item or the mapping's key that is `item`."""
        mark, node, _ = self.walk(path)
        if isinstance(node, Mapping) and item in node.keys:
            return node.keys[item]
        if isinstance(node, Sequence) and item:
            return next((child for child in node.items if isinstance(child, Scalar) and child.text == item), node)
        return node if isinstance(node, Scalar) else mark

    def find(self, wanted: Node) -> tuple[str, Document]:
        """Give the path ("spec.ports[0]") of a node or key, and the document it is written in; ("", own) if it is in neither."""
        if not self._paths:  # once for all: a wrong file can have a complaint for each of its hundred thousand keys
            self._note_paths(self.root, "", self.document)
        return self._paths.get(id(wanted), ("", self.document))

    def _note_paths(self, node: Node, path: str, document: Document) -> None:
        for name, key, child in _children(node):
            home = self.defaults if self.defaults is not None and id(child) in self.inherited else document
            below = path + (name if not path or name.startswith("[") else f".{name}")
            for found in (child, key):
                if found is not None:
                    self._paths.setdefault(id(found), (below, home))  # an alias stands in several places
            self._note_paths(child, below, home)


def merge(own: Mapping, under: Mapping, taken: set[int]) -> Mapping:
    """Lay `own` over `under`: mappings merge, lists and scalars replace. Ids of nodes taken from `under` are added to `taken`."""
    items = dict(own.items)
    keys = dict(own.keys)
    for name, node in under.items.items():
        mine = items.get(name)
        if mine is None:
            items[name], keys[name] = node, under.keys[name]
            taken.add(id(node))
        elif isinstance(mine, Mapping) and isinstance(node, Mapping):
            items[name] = merge(mine, node, taken)
    return Mapping(items, keys, own.line, own.column, own.length)


def _children(node: Node) -> Iterator[tuple[str, Scalar | None, Node]]:
    if isinstance(node, Mapping):
        for name, child in node.items.items():
            yield name, node.keys[name], child
    elif isinstance(node, Sequence):
        for index, child in enumerate(node.items):
            yield f"[{index}]", None, child


def _descend(node: Node, path: str) -> tuple[Node, Node, str] | None:
    """Give the node to point at (a mapping's key), the node to go on from, and what is left of `path`."""
    if isinstance(node, Mapping):
        return _into_mapping(node, path)
    return _into_sequence(node, path) if isinstance(node, Sequence) else None


def _into_mapping(node: Mapping, path: str) -> tuple[Node, Node, str] | None:
    """Keys may hold dots: the whole path is tried first, then its beginnings, shortest first."""
    ends = [len(path), *(index for index, character in enumerate(path) if character in ".[")]
    for end in ends:
        if path[:end] in node.items:
            return node.keys[path[:end]], node.items[path[:end]], path[end:].removeprefix(".")
    return None


def _into_sequence(node: Sequence, path: str) -> tuple[Node, Node, str] | None:
    index = _INDEX.match(path)
    if index is None:
        return next(((child, child, "") for child in node.items if _names(child, path)), None)
    if int(index[1]) >= len(node.items):
        return None
    child = node.items[int(index[1])]
    return child, child, path[index.end() :]


def _names(item: Node, path: str) -> bool:
    """Whether an item of a list is what a path by name means: `A=1` for "A", `data:/var/lib:ro` for "/var/lib"."""
    if isinstance(item, Scalar):
        return path in (item.text, item.text.partition("=")[0]) or path in item.text.split(":")
    target = item.get("target") if isinstance(item, Mapping) else None
    return isinstance(target, Scalar) and f"{path}.".startswith(f"{target.text.rstrip('/')}.")
