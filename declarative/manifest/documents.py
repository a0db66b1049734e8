"""Reads sources into rendered documents: parse, find the Stack, compute what templates may use, render.

The rule that keeps it simple: the Stack is read first, from plain YAML, because it says what templates may use. Its `env` list
and no other part of it is taken as written; its name may use `env` and `git`, its values also `stack`, and the rest everything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.errors import Problem
from declarative.manifest.git import Git
from declarative.manifest.scope import Absent, Environment, Scope, apply_set, merge
from declarative.manifest.sources import Source, read_file
from declarative.manifest.template import RENDERED, Renderer
from declarative.manifest.written import leaf
from declarative.manifest.yaml_nodes import Document, Mapping, Node, Scalar, Sequence, to_plain
from declarative.manifest.yaml_parse import parse
from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping as AnyMapping
    from pathlib import Path

_STACK = "Stack"
_NOT_IN_NAME = re.compile(r"[^a-z0-9_-]")


@record
class Options:
    """What the command line says about templates. Relative paths count from `working_folder`.

    `environ` is the process's environment, from which templates see what the Stack lists; `stack` overrides the Stack's name.
    """

    working_folder: Path
    environ: AnyMapping[str, str] = field(default_factory=dict)
    values_files: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    stack: str | None = None


@record
class Loaded:
    """Rendered documents in the order of the sources, without the Stack's; every problem met, in the order of file and place."""

    documents: tuple[Document, ...]
    stack: Document | None
    stack_name: str
    problems: tuple[Problem, ...]

    def all(self) -> tuple[Document, ...]:
        """Give all documents, the Stack's first."""
        return (self.stack, *self.documents) if self.stack else self.documents


def load(sources: Iterable[Source], options: Options) -> Loaded:
    """Read and render `sources`. Bad input comes back as problems; raises Usage for a `--set` that cannot be applied."""
    return _Loader(tuple(sources), options).load()


class _Loader:
    """One run of `load`."""

    def __init__(self, sources: tuple[Source, ...], options: Options) -> None:
        self.sources = sources
        self.options = options
        self.problems: list[Problem] = []
        self.renderer = Renderer()
        self.repositories: dict[Path, Git] = {}

    def load(self) -> Loaded:
        plain = [() if source.is_template else self.parse(source) for source in self.sources]
        stacks = [document for documents in plain for document in documents if _is_stack(document)]
        self.refuse_second(stacks)
        stack = stacks[0] if stacks else None
        scope, name, stack = self.scope(stack)
        documents: list[Document] = []
        for source, parsed in zip(self.sources, plain, strict=True):
            found = self.template(source, scope) if source.is_template else parsed
            documents += [self.render(document, scope) for document in found if not _is_stack(document)]
        problems = [*self.problems, *self.renderer.problems]
        order = (*self.options.values_files, *(source.name for source in self.sources))
        return Loaded(documents=tuple(documents), stack=stack, stack_name=name, problems=_sorted(problems, order))

    def parse(self, source: Source) -> tuple[Document, ...]:
        documents, problems = parse(source)
        self.problems += problems
        return documents

    def refuse_second(self, stacks: list[Document]) -> None:
        for second in stacks[1:]:
            first = stacks[0].span(stacks[0].root)
            self.problems.append(
                second.problem(
                    second.root, "Stack", f"there is a second Stack, the first is at {first}", "keep one of them"
                )
            )

    def template(self, source: Source, scope: Scope) -> tuple[Document, ...]:
        """Render a `*.j2` file and parse it. Its scalars are not templates any more: everything is rendered once."""
        rendered = self.renderer.source(source, self.local(scope, source.folder))
        if rendered is None:
            return ()
        documents = self.parse(rendered)
        for document in documents:
            if _is_stack(document):
                text = "a Stack cannot stand in a template: it says what templates may use"
                self.problems.append(document.problem(document.root, "Stack", text, "move it to a .yaml file"))
        return tuple(replace(document, templated=False) for document in documents)

    def render(self, document: Document, scope: Scope) -> Document:
        return self.renderer.document(document, self.local(scope, document.source.folder))

    def local(self, scope: Scope, folder: Path) -> Scope:
        """Give the scope of a file: `git` is the repository around its folder."""
        git = self.repositories.setdefault(folder, Git(folder, self.options.environ))
        return {**scope, "git": git}

    def scope(self, stack: Document | None) -> tuple[Scope, str, Document | None]:
        """Compute what templates may use, and the Stack with its own templates rendered."""
        scope: Scope = {"env": Environment(_listed(stack), self.options.environ)}
        late = "is not known yet here: the Stack's"
        scope["stack"] = Absent(f"`stack` {late} own name is being read")
        scope["values"] = Absent(f"`values` {late} own values are being read")
        stack = self.part(stack, ("metadata",), scope)
        name = self.name(stack)
        scope["stack"] = {"name": name}
        stack = self.part(stack, ("spec", "values"), scope)
        scope["values"] = self.values(stack)
        if stack is not None:
            # What the parts above gave is plain now, and must not be rendered again.
            stack = self.remaining(stack, scope)
        return scope, name, stack

    def part(self, stack: Document | None, path: tuple[str, ...], scope: Scope) -> Document | None:
        """Render one part of the Stack."""
        if stack is None or not stack.templated:
            return stack
        node = _at(stack, path)
        if node is None:
            return stack
        rendered = self.renderer.node(stack, node, self.local(scope, stack.source.folder))
        return replace(stack, root=_replaced(stack.root, path, rendered))

    def remaining(self, stack: Document, scope: Scope) -> Document:
        for key in stack.root.items:
            if key not in ("metadata", "spec"):
                stack = self.part(stack, (key,), scope) or stack
        spec = stack.root.get("spec")
        for key in spec.items if isinstance(spec, Mapping) else ():
            if key not in ("env", "values"):
                stack = self.part(stack, ("spec", key), scope) or stack
        return replace(stack, templated=False)

    def name(self, stack: Document | None) -> str:
        """Give the stack's name: as on the command line, as in the Stack, or the folder's."""
        node = _at(stack, ("metadata", "name")) if stack else None
        if self.options.stack is not None:
            return self.options.stack
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return node.value
        folder = (
            stack.source.folder if stack else self.sources[0].folder if self.sources else self.options.working_folder
        )
        name = _NOT_IN_NAME.sub("", folder.resolve().name.lower()).lstrip("_-")
        if not name:
            text = f"the stack has no name, and its folder's name ({folder.resolve()}) does not give one"
            self.problems.append(
                Problem(subject="Stack", text=text, remedy="give one with --stack, or in a Stack document")
            )
        return name

    def values(self, stack: Document | None) -> object:
        node = _at(stack, ("spec", "values")) if stack else None
        values = to_plain(node, leaf) if node else {}
        for name in self.options.values_files:
            values = merge(values, self.values_file(name))
        for assignment in self.options.sets:
            values = apply_set(values, assignment)
        return {} if values is None else values

    def values_file(self, name: str) -> object:
        """Read one `--values` file: one mapping, taken literally (it holds values, not templates)."""
        source = read_file(name, self.options.working_folder)
        if isinstance(source, Problem):
            self.problems.append(source)
            return {}
        documents = self.parse(source)
        for extra in documents[1:]:
            text = "a values file holds one document, and this is another"
            self.problems.append(extra.problem(extra.root, "", text, "give each its own file"))
        return to_plain(documents[0].root, leaf) if documents else {}


def _is_stack(document: Document) -> bool:
    kind = document.root.get("kind")
    return isinstance(kind, Scalar) and kind.value == _STACK


def _listed(stack: Document | None) -> list[str]:
    env = _at(stack, ("spec", "env")) if stack else None
    items = env.items if isinstance(env, Sequence) else []
    return [item.value for item in items if isinstance(item, Scalar) and isinstance(item.value, str)]


def _at(document: Document, path: tuple[str, ...]) -> Node | None:
    node: Node | None = document.root
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _replaced(mapping: Mapping, path: tuple[str, ...], node: Node) -> Mapping:
    """Give `mapping` with another node at `path`, sharing all the rest."""
    key, *rest = path
    below = mapping.items[key]
    new = _replaced(below, tuple(rest), node) if rest and isinstance(below, Mapping) else node
    return replace(mapping, items={**mapping.items, key: new})


def _sorted(problems: list[Problem], names: tuple[str, ...]) -> tuple[Problem, ...]:
    """Sort by file, in the order of `names`, then by place; what has no place comes first."""
    order = {name: number for number, name in enumerate(names)}

    def place(problem: Problem) -> tuple[int, int, int]:
        span = problem.span
        return (order.get(span.file.removesuffix(RENDERED), -1), span.line, span.column) if span else (-1, 0, 0)

    return tuple(sorted(problems, key=place))
