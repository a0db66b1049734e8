"""Completes a build: where its Dockerfile is, what it is built on, and the digests of all that goes into it.

The rule that keeps it simple: what the context package finds in files and Dockerfiles is only placed here, never judged again.
"""

from __future__ import annotations

import os.path
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.errors import DeclarativeError, Invalid, reason_of
from declarative.manifest.context.content_key import content_parts
from declarative.manifest.context.dockerfile import Dockerfile, read_dockerfile
from declarative.manifest.context.dockerignore import ignore_lines
from declarative.manifest.context.sources import source_problems
from declarative.manifest.context.walk import Entry, context_root, walk
from declarative.manifest.fields.image import image_reference
from declarative.manifest.snippets import snippet
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.core.resources import BuildSource
    from declarative.errors import Problem
    from declarative.manifest.decode_document import Decoded

_INLINE = "Dockerfile"


def complete_build(source: BuildSource, document: Decoded) -> BuildSource | None:
    """Read the Dockerfile and digest what the build reads; None where something is missing, wrong or unreadable."""
    path = "" if source.dockerfile_inline else _dockerfile_path(source)
    text = source.dockerfile_inline.encode() if not path else _read(path, document)
    if text is None:
        return None
    try:
        context_root(source.context)
        ignored = ignore_lines(source.context, path)
        entries = tuple(walk(source.context, ignored))
        dockerfile = _parse(text, path, source, document)
        problems = dockerfile.problems or source_problems(dockerfile, source.context, entries, ignored)
        parts = _parts(source, text, entries)
    except DeclarativeError as error:
        field = (
            "spec.build" if document.tree.walk("spec.build.context")[0] is document.tree.walk("spec.build")[0] else ""
        )
        document.reading.refuse(document.tree.place(field or "spec.build.context"), _as_invalid(error))
        return None
    if problems:
        _place(problems, path, text.decode(errors="replace"), document)
        return None
    return replace(
        source, dockerfile=path, parts=parts, bases=_bases(dockerfile), needs_buildkit=_needs(source, dockerfile)
    )


def _dockerfile_path(source: BuildSource) -> str:
    return os.path.normpath(Path(source.context) / (source.dockerfile or "Dockerfile"))


def _read(path: str, document: Decoded) -> bytes | None:
    """Read the Dockerfile; where the context itself is missing, that is what is said."""
    file = Path(path)
    place = document.tree.place("spec.build.dockerfile")
    try:
        return file.read_bytes()
    except FileNotFoundError:
        if file.parent.is_dir():
            document.reading.complain(place, f"no such file: {path}", "name it with build.dockerfile, from the context")
            return None
        place = document.tree.place("spec.build.context")
        document.reading.complain(place, f"no such folder: {file.parent}", "create it, or mend the path")
    except OSError as error:
        document.reading.complain(place, f"cannot read {path}: {reason_of(error)}")
    return None


def _parse(text: bytes, path: str, source: BuildSource, document: Decoded) -> Dockerfile:
    name = document.reading.shown(path) if path else _INLINE
    return read_dockerfile(text, file=name, args=source.args, target=source.target, platform=source.platform)


def _parts(source: BuildSource, text: bytes, entries: tuple[Entry, ...]) -> dict[str, str]:
    options = {f"label {name}": value for name, value in source.labels.items()}
    if source.network:
        options["network"] = source.network
    return content_parts(
        dockerfile=text,
        context=entries,
        args=source.args,
        target=source.target,
        secrets=source.secrets,
        platform=source.platform,
        options=options,
    )


def _bases(dockerfile: Dockerfile) -> tuple[str, ...]:
    """Give the references in their canonical form; what is none (a variable of the builder's) is left as it is."""
    found: list[str] = []
    for base in dockerfile.bases:
        try:
            found.append(image_reference(base))
        except Invalid:
            found.append(base)
    return tuple(dict.fromkeys(found))


def _needs(source: BuildSource, dockerfile: Dockerfile) -> tuple[str, ...]:
    return (*dockerfile.needs_buildkit, *(("build.secrets",) if source.secrets else ()))


def _place(problems: tuple[Problem, ...], path: str, text: str, document: Decoded) -> None:
    """Hand on what is wrong in a Dockerfile: with its own lines, or at the inline text, whose lines are the manifest's."""
    for problem in problems:
        if path:
            subject = f"{document.subject}: {problem.subject}" if problem.subject else document.subject
            shown = snippet(text, problem.span) if problem.span is not None else ""
            document.reading.problems.append(replace(problem, subject=subject, snippet=shown))
        else:
            line = f"line {problem.span.line}: " if problem.span is not None and problem.span.line else ""
            place = document.tree.place("spec.build.dockerfile_inline")
            document.reading.complain(place, f"{line}{problem.subject}: {problem.text}", problem.remedy)


def _as_invalid(error: DeclarativeError) -> Invalid:
    return Invalid(error.subject, error.problem, error.remedy)
