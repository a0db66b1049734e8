"""A context that the client only names: an archive or a Dockerfile on the web, or a repository.

The rule that keeps it simple: whatever it is, it becomes a context like any other.
"""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING

from declarative.engine.build.archives import begins_like_one
from declarative.engine.build.fetching import fetching, is_url, without_user
from declarative.engine.build.git import fetch_repository, is_repository
from declarative.engine.build.image_files import ImageFiles
from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from declarative.engine.build.context import Context
    from declarative.engine.build.solver import Stop
    from declarative.registry.proxies import Proxies

_DOCKERFILE_MAX = 2 << 20
"""Bytes of a Dockerfile from the web; more is no Dockerfile."""
_ENOUGH = 1 << 10
"""Bytes by which an archive is told from a text."""


def take_remote(
    remote: str, context: Context, dockerfile: str, new_folder: Callable[[], Path], stop: Stop, proxies: Proxies
) -> str:
    """Fill a context from afar; give the path of the Dockerfile in it. Invalid, Failed, NotFound, Unavailable."""
    if is_repository(remote) or remote.lower().startswith("github.com/"):
        folder = new_folder()
        fetch_repository(remote, folder, stop=stop, proxies=proxies)
        with ImageFiles((folder,)) as files:
            context.take_files(files)
        return dockerfile
    if not is_url(remote):
        raise Invalid("remote", f"{remote[:200]!r} is neither a URL nor a git repository", "write https://… or git://…")
    with fetching(remote, stop, proxies) as answer:
        pieces = answer.pieces
        start = b""
        while len(start) < _ENOUGH and (piece := next(pieces, b"")):
            start += piece
        if begins_like_one(iter((start,))):
            context.take(chain((start,), pieces))
            return dockerfile
        text = start
        for piece in pieces:
            text += piece
            if len(text) > _DOCKERFILE_MAX:
                problem = "is neither an archive nor a Dockerfile"
                raise Invalid(without_user(remote), problem, "give the address of a tar archive or of a Dockerfile")
        context.add(os.fsencode(dockerfile), text)
    return dockerfile
