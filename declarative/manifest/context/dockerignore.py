"""Which `.dockerignore` holds for a build, and what of the Dockerfile and of itself is sent in spite of it.

The rule that keeps it simple: the patterns as written say what COPY can see; `sent` adds what the builder needs besides.
"""

from __future__ import annotations

import os.path
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.errors import Denied, Invalid, reason_of
from declarative.oci.dockerfile.patterns import PatternSet, match_any, read_ignore_file

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = ".dockerignore"


def ignore_lines(context: str, dockerfile: str = "") -> tuple[str, ...]:
    """Read the patterns for a build of `dockerfile` (path; "" if inline) in `context`; () if there is no such file.

    `Dockerfile.dockerignore` beside the Dockerfile wins over `.dockerignore` in the context's root, as with BuildKit.
    Raises Invalid for a pattern that Docker refuses, naming file and line; Denied if the file cannot be read.
    """
    candidates = [f"{dockerfile}{NAME}"] if dockerfile else []
    for path in (*candidates, f"{context}/{NAME}"):
        content = _content(path)
        if content is not None:
            _check(path, content)
            return read_ignore_file(content)
    return ()


def sent(lines: Sequence[str], dockerfile: str) -> tuple[str, ...]:
    """Add the exceptions of Docker's client: `.dockerignore` and the Dockerfile (relative path, "" if outside) are sent.

    The classic builder reads both from the context and then hides from COPY what the patterns exclude.
    """
    kept = [name for name in (NAME, dockerfile) if name and match_any(lines, name)]
    return (*lines, *(f"!{name}" for name in kept))


def would_send(context: str, dockerfile: str, path: str) -> bool:
    """Tell whether a build of `dockerfile` (as above) in `context` is sent what stands, or is to stand, at `path`."""
    inside = os.path.relpath(os.path.realpath(path), os.path.realpath(context))
    return inside.partition("/")[0] != ".." and not match_any(ignore_lines(context, dockerfile), inside)


def _content(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Denied(path, f"cannot be read: {reason_of(error)}", "mend its permissions or its kind") from error


def _check(path: str, content: bytes) -> None:
    """Find the line of the first pattern that is refused; reading them one by one is for the message only."""
    for number, raw in enumerate(content.split(b"\n"), start=1):
        try:
            PatternSet(read_ignore_file(raw))
        except Invalid as error:
            raise Invalid(error.subject, error.problem, error.remedy, f"{path}:{number}") from None
