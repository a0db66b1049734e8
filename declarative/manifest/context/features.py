"""What in a Dockerfile only BuildKit can do, line by line, so that a build without it is refused before it starts.

The rule that keeps it simple: a feature is listed when the classic builder fails on it or quietly makes another image of it (one
with an empty TARGETARCH, say). What an ONBUILD holds counts in the builds that it triggers, not here. To the classic builder a
`# syntax=docker/dockerfile` line is a comment; so it is no feature.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.manifest.context.platform_args import NAMES
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from declarative.manifest.context.stages import Stage
    from declarative.oci.dockerfile.lexer import Instruction, Source

_FLAGS = {
    "RUN": ("mount", "network", "security", "device"),
    "COPY": ("link", "chmod", "parents", "exclude"),
    "ADD": ("link", "chmod", "checksum", "keep-git-dir", "unpack", "exclude"),
    "HEALTHCHECK": ("start-interval",),
}
_GIT = re.compile(r"(?i)git://|git@|ssh://|https?://[^?#]+\.git(?:[?#]|$)")
_MODIFIER = re.compile(r"\$\{\w+(?::?\?|[#%/])")


@record
class Feature:
    """Something that needs BuildKit: `what`, as in "RUN --mount", at `line`."""

    line: int
    what: str


def features_of(source: Source, stages: tuple[Stage, ...], args: Mapping[str, str]) -> tuple[Feature, ...]:
    """List the features in `stages`, in the order of lines. A foreign `# syntax=` is one for itself."""
    name = source.syntax.removeprefix("docker.io/")
    found: list[Feature] = []
    if name and not re.match(r"docker/dockerfile(-upstream)?(?:[:@]|$)", name):
        found.append(Feature(line=source.directives["syntax"][1], what=f"syntax={source.syntax}"))
    for stage in stages:
        if "$" in stage.platform:
            found.append(Feature(line=stage.line, what=f"FROM --platform={stage.platform}"))
        for instruction in stage.instructions:
            found += [Feature(line=instruction.line, what=what) for what in _needs(instruction, args)]
    return tuple(dict.fromkeys(found))


def _needs(instruction: Instruction, args: Mapping[str, str]) -> Iterator[str]:
    name = instruction.name
    if instruction.heredocs:
        yield f"{name} <<{instruction.heredocs[0].name}"
    known = _FLAGS.get(name, ())
    flags = (flag[2:].partition("=")[0] for flag in instruction.flags)
    yield from (f"{name} --{flag}" for flag in flags if flag in known)
    if name == "ADD" and any(_GIT.match(word) for word in instruction.args[:-1]):
        yield "ADD of a git repository"
    if name == "ARG":
        yield from (f"ARG {word}" for word in instruction.args if word in NAMES and word not in args)
    elif name not in ("RUN", "CMD", "ENTRYPOINT", "SHELL") and _MODIFIER.search(instruction.rest):
        yield f"{name} with a variable's modifier"
