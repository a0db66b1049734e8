"""From what `-f` names to `Desired`: the one way in for every command.

The rule that keeps it simple: each stage adds to one list of problems and the next goes on with what is sound; at the end
there is either a `Desired` or an `InvalidManifest` with everything that is wrong.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, BinaryIO

from declarative.errors import InvalidManifest, Problem, Usage
from declarative.manifest.decode import Outside
from declarative.manifest.decode_document import Decoded, Defaults, decode_document
from declarative.manifest.documents import Options, load
from declarative.manifest.fields.table import STACK_NAME, STACK_NAME_SAYS
from declarative.manifest.resolve import Known, resolve, warnings_of
from declarative.manifest.sources import read_sources
from declarative.manifest.yaml_nodes import Mapping
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Mapping as AbstractMapping
    from pathlib import Path

    from declarative.core.resources import Desired
    from declarative.manifest.documents import Loaded as Rendered
    from declarative.manifest.yaml_nodes import Document


@record
class LoadOptions:
    """What the command line hands in. `environ` is the process's environment; `stack` overrides the stack's name ("" not).

    `names_only` is for verbs that ask which resources there are and no more (logs, exec, destroy): secrets, env files, build
    contexts, archives and versions are not read, so that nothing has to be there for it, and their values are empty.
    Without `secrets` only these are left out: a pipeline checks and draws manifests without having them. `made` are Images that
    are there already: what they were built or imported of is not read.
    """

    working_folder: Path
    environ: AbstractMapping[str, str] = field(default_factory=dict)
    home: str = ""
    values_files: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    stack: str = ""
    stdin: BinaryIO | None = None
    names_only: bool = False
    secrets: bool = True
    made: frozenset[str] = frozenset()


@record
class StackSettings:
    """What the Stack document says to the tool itself. `engine` is "" where it does not."""

    name: str
    engine: str = ""
    max_deletes: int | None = None


@record
class Loaded:
    """All that was read. `documents` are rendered, the Stack first; secrets stand in them as where they come from.

    `as_text`: the ids of those of their nodes that are numbers and stand for text: the tag 1.20.
    """

    desired: Desired
    stack: StackSettings
    documents: tuple[Document, ...]
    as_text: frozenset[int] = frozenset()
    warnings: tuple[Problem, ...] = ()


def load_stack(files: Iterable[str], options: LoadOptions, named: Callable[[str], None] | None = None) -> Loaded:
    """Read, render, check and resolve what `files` (the `-f` arguments) name. `named` hears the stack's name once it is known.

    Raises InvalidManifest with every problem of all files; Usage for a `--set` that cannot be applied.
    """
    stdin = options.stdin if options.stdin is not None else sys.stdin.buffer
    sources, problems = read_sources(files, stdin=stdin, working_folder=options.working_folder)
    rendered = load(
        sources,
        Options(
            working_folder=options.working_folder,
            environ=options.environ,
            values_files=options.values_files,
            sets=options.sets,
            stack=options.stack or None,
        ),
    )
    if named is not None and rendered.stack_name:
        named(rendered.stack_name)
    return resolve_documents(rendered, options, problems)


def resolve_documents(rendered: Rendered, options: LoadOptions, before: Iterable[Problem] = ()) -> Loaded:
    """Decode and resolve documents that are rendered already (from files, or from the history). Raises InvalidManifest, Usage."""
    found: list[Problem] = []
    if options.stack and re.fullmatch(STACK_NAME, options.stack) is None:
        raise Usage("--stack", f"`{options.stack[:60]}` is not a stack's name", STACK_NAME_SAYS)
    outside = Outside(
        environ=options.environ,
        home=options.home,
        names_only=options.names_only,
        secrets=options.secrets,
        made=options.made,
    )
    settings, defaults = _stack(rendered, outside, found)
    decoded = tuple(decode_document(document, outside, found, defaults) for document in rendered.documents)
    known = Known.of(decoded)
    desired = resolve(known, rendered.stack_name, settings.max_deletes)
    # A template that failed stays in its scalar; what the decoder makes of that is nobody's concern.
    failed = {_place(problem) for problem in rendered.problems}
    ours = (problem for problem in found if problem.span is None or _place(problem) not in failed)
    problems = _in_order((*before, *rendered.problems, *ours), rendered)
    if problems:
        raise InvalidManifest(problems)
    return Loaded(
        desired=desired,
        stack=settings,
        documents=rendered.all(),
        as_text=frozenset().union(*(each.reading.as_text for each in decoded)),
        warnings=warnings_of(known),
    )


def _stack(rendered: Rendered, outside: Outside, problems: list[Problem]) -> tuple[StackSettings, Defaults | None]:
    if rendered.stack is None:
        return StackSettings(name=rendered.stack_name), None
    decoded = decode_document(rendered.stack, outside, problems)
    if decoded.resource is None:
        return StackSettings(name=rendered.stack_name), None
    values = decoded.resource
    settings = StackSettings(
        name=rendered.stack_name, engine=values.get("engine", ""), max_deletes=values.get("max_deletes")
    )
    node = decoded.tree.walk("spec.defaults")[1]
    has_defaults = "defaults" in values and isinstance(node, Mapping)
    return settings, Defaults(node=node, document=rendered.stack) if has_defaults else None  # type: ignore[arg-type]


def _place(problem: Problem) -> tuple[str, int, int]:
    span = problem.span
    return (span.file, span.line, span.column) if span is not None else ("", 0, 0)


def _in_order(problems: Iterable[Problem], rendered: Rendered) -> tuple[Problem, ...]:
    """Sort by file (as given), line and column, and leave out repeats: a default that is wrong is wrong once."""
    files = {document.source.name: number for number, document in enumerate(rendered.documents)}

    def key(problem: Problem) -> tuple[int, str, int, int]:
        span = problem.span
        return (files.get(span.file, -1), span.file, span.line, span.column) if span else (-1, "", 0, 0)

    return tuple(sorted(dict.fromkeys(problems), key=key))


__all__ = ["Decoded", "LoadOptions", "Loaded", "StackSettings", "load_stack", "resolve_documents"]
