"""All that a build reads, gathered once: parts of its key, base images, what it asks of the builder, what is wrong with it.

The rule that keeps it simple: the context is walked a single time, and every question about the build is answered from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.errors import Denied, Invalid, NotFound
from declarative.manifest.context.content_key import content_parts
from declarative.manifest.context.dockerfile import read_dockerfile
from declarative.manifest.context.dockerignore import ignore_lines
from declarative.manifest.context.sources import source_problems
from declarative.manifest.context.walk import context_root, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from declarative.errors import Problem

LARGEST = 4 << 20
"""Bytes of a Dockerfile read at most; what is larger was named by mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInputs:
    """What was found. With `problems` (places in the Dockerfile), the build must not start.

    `parts`: as in `content_key`. `bases`: references whose digests belong into the key. `needs_buildkit`: lines such as
    "Dockerfile:7: RUN --mount".
    """

    parts: Mapping[str, str]
    bases: tuple[str, ...] = ()
    needs_buildkit: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def build_inputs(
    context: str,
    *,
    dockerfile: str = "",
    inline: str = "",
    shown: str = "",
    args: Mapping[str, str] | None = None,
    target: str = "",
    secrets: Iterable[str] = (),
    platform: str = "",
    options: Mapping[str, str] | None = None,
) -> BuildInputs:
    """Read a build: folder `context`, Dockerfile at path `dockerfile` or as the text `inline`.

    `shown` is how problems name the Dockerfile (default: its path). Raises NotFound, Denied, Invalid or Failed for a context,
    a `.dockerignore` or a Dockerfile that cannot be read; what is wrong in the Dockerfile itself comes back as problems.
    """
    context_root(context)
    text = inline.encode() if not dockerfile else _read(dockerfile)
    ignored = ignore_lines(context, dockerfile)
    entries = tuple(walk(context, ignored))
    file = shown or dockerfile or "dockerfile_inline"
    found = read_dockerfile(text, file=file, args=args, target=target, platform=platform)
    parts = content_parts(
        dockerfile=text,
        context=entries,
        args=args,
        target=target,
        secrets=secrets,
        platform=platform,
        options=options,
    )
    problems = found.problems or source_problems(found, context, entries, ignored)
    return BuildInputs(parts=parts, bases=found.bases, needs_buildkit=found.needs_buildkit, problems=problems)


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            text = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise NotFound(path, "no such file", "name it with build.dockerfile, from the context") from error
    except OSError as error:
        raise Denied(
            path, f"cannot be read: {(error.strerror or '').lower()}", "mend its permissions or kind"
        ) from error
    if len(text) > LARGEST:
        raise Invalid(path, f"is larger than {LARGEST >> 20} MiB", "is this a Dockerfile at all?")
    return text
