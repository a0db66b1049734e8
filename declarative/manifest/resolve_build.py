"""Completes a build: where its Dockerfile is, and the digests of all that goes into it.

The rule that keeps it simple: what the context package says about files and Dockerfiles is only placed here, never judged again.
"""

from __future__ import annotations

import os.path
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.errors import DeclarativeError
from declarative.manifest.context.content_key import content_parts
from declarative.manifest.context.dockerignore import ignore_lines
from declarative.manifest.context.walk import context_root, walk

if TYPE_CHECKING:
    from declarative.core.resources import BuildSource
    from declarative.manifest.decode_document import Decoded


def complete_build(source: BuildSource, document: Decoded) -> BuildSource | None:
    """Find the Dockerfile and digest what the build reads; None where something is missing or unreadable."""
    field = (
        "spec.build.context" if document.tree.walk("spec.build.context")[0] is not document.tree.root else "spec.build"
    )
    path = (
        "" if source.dockerfile_inline else os.path.normpath(Path(source.context) / (source.dockerfile or "Dockerfile"))
    )
    try:
        context_root(source.context)
        text = source.dockerfile_inline.encode() if not path else _read(path)
        if text is None:
            place = document.tree.place("spec.build.dockerfile")
            document.reading.complain(place, f"no such file: {path}", "name it with build.dockerfile, from the context")
            return None
        parts = content_parts(
            dockerfile=text,
            context=walk(source.context, ignore_lines(source.context, path)),
            args=source.args,
            target=source.target,
            secrets=source.secrets,
            platform=source.platform,
            options=_options(source),
        )
    except DeclarativeError as error:
        document.reading.complain(document.tree.place(field), f"{error.subject} {error.problem}".strip(), error.remedy)
        return None
    return replace(source, dockerfile=path, parts=parts)


def _read(path: str) -> bytes | None:
    file = Path(path)
    return file.read_bytes() if file.is_file() else None


def _options(source: BuildSource) -> dict[str, str]:
    labels = {f"label {name}": value for name, value in source.labels.items()}
    return {**labels, **({"network": source.network} if source.network else {})}
