"""Whether what a Dockerfile copies is in the context at all, said before the build with the Dockerfile's line.

The rule that keeps it simple: complain only where every builder would. A pattern that matches nothing may be meant (BuildKit
accepts it), so only plain paths are checked; links are followed inside the context, as the builders do.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.errors import Problem, Span
from declarative.manifest.context.follow import follow_links
from declarative.manifest.suggest import did_you_mean
from declarative.oci.dockerfile.patterns import PatternSet, clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from declarative.manifest.context.dockerfile import Dockerfile
    from declarative.manifest.context.stages import Taken
    from declarative.manifest.context.walk import Entry

_WILD = re.compile(r"[*?\[\\]")


def source_problems(
    dockerfile: Dockerfile, root: str, entries: Iterable[Entry], ignored: Sequence[str] = ()
) -> tuple[Problem, ...]:
    """Find the sources of COPY, ADD and RUN --mount in the needed stages that are not among `entries`, the walk of `root`.

    `ignored`: the lines of the `.dockerignore` in force, to say which of them keeps a file out.
    """
    kinds = {entry.path: entry.kind for entry in entries}
    found: list[Problem] = []
    for stage in dockerfile.needed:
        for taken in stage.taken:
            missing = _missing(taken, root, kinds)
            if missing is not None:
                found.append(_problem(dockerfile.file, taken, missing, root, kinds, ignored))
    return tuple(found)


def _missing(taken: Taken, root: str, kinds: Mapping[str, str]) -> str | None:
    """Give the path in the context that is not there; None if all is well."""
    path = clean("/" + taken.path).lstrip("/")
    if not path or _WILD.search(path):
        return None
    parents = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 2)]
    if any(kinds.get(parent) == "symlink" for parent in parents):
        resolved = follow_links(root, [path])
        return next((found for found in resolved if found not in kinds), None)
    return None if path in kinds else path


def _problem(
    file: str, taken: Taken, missing: str, root: str, kinds: Mapping[str, str], ignored: Sequence[str]
) -> Problem:
    subject, span = f"{taken.what} {taken.path}", Span(file=file, line=taken.line)
    if Path(root, missing).exists() or Path(root, missing).is_symlink():
        line = _culprit(missing, ignored)
        text = f"{missing} is excluded by .dockerignore" + (f" (pattern {line!r})" if line else "")
        return Problem(subject=subject, text=text, remedy=f"add !{missing} to it, or copy something else", span=span)
    folder = posixpath.dirname(missing)
    beside = [path for path in kinds if posixpath.dirname(path) == folder]
    remedy = did_you_mean(missing, beside) or "create it, or mend the path: it counts from the context's root"
    return Problem(subject=subject, text=f"{missing} is not in the build context", remedy=remedy, span=span)


def _culprit(path: str, ignored: Sequence[str]) -> str:
    """Find the last pattern whose removal would let `path` in."""
    for number in reversed(range(len(ignored))):
        if not PatternSet([*ignored[:number], *ignored[number + 1 :]]).matches(path):
            return ignored[number]
    return ""
