"""Files of containers: copied out and in, exported, compared with the image, committed.

The rule that keeps it simple: archives are passed through as they come; nothing of them is kept.
"""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import TYPE_CHECKING

from declarative.engine.build.changes import apply_changes
from declarative.engine.containers import committing, copying, moments, viewing
from declarative.engine.containers.config import Config
from declarative.engine.containers.shapes import read
from declarative.engine.daemon.http import Answer, Empty, Request, Response, Route, Stream
from declarative.errors import Invalid
from declarative.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.engine.engine import Engine

_STAT = "X-Docker-Container-Path-Stat"


def _path(request: Request) -> str:
    path = request.query.text("path")
    if not path:
        raise Invalid("", "bad parameter: path cannot be empty")
    return path


def _header(found: copying.PathStat) -> Mapping[str, str]:
    document = {
        "name": found.name,
        "size": found.size,
        "mode": found.mode,
        "mtime": moments.write(found.mtime),
        "linkTarget": found.target,
    }
    return {_STAT: base64.b64encode(json.dumps(document).encode()).decode()}


def stat(engine: Engine, request: Request) -> Response:
    """HEAD /containers/NAME/archive."""
    name = request.names["name"]
    container = engine.containers.get(name)
    return Empty(
        status=200, headers=_header(copying.path_stat(engine.containers.parts, container, name, _path(request)))
    )


def read_archive(engine: Engine, request: Request) -> Response:
    """GET /containers/NAME/archive."""
    name = request.names["name"]
    container = engine.containers.get(name)
    found, chunks = copying.read_archive(engine.containers.parts, container, name, _path(request))
    return Stream(chunks=chunks, content_type="application/x-tar", headers=_header(found))


def write_archive(engine: Engine, request: Request) -> Response:
    """PUT /containers/NAME/archive."""
    name = request.names["name"]
    copying.write_archive(
        engine.containers.parts,
        engine.containers.get(name),
        name,
        _path(request),
        request.body,
        keep_kinds=request.query.flag("noOverwriteDirNonDir"),
        as_user=request.query.flag("copyUIDGID"),
    )
    return Empty(status=200)


def export(engine: Engine, request: Request) -> Response:
    """GET /containers/NAME/export."""
    container = engine.containers.get(request.names["name"])
    return Stream(chunks=copying.export(engine.containers.parts, container), content_type="application/octet-stream")


def changes(engine: Engine, request: Request) -> Response:
    """GET /containers/NAME/changes."""
    container = engine.containers.get(request.names["name"])
    return Answer(document=viewing.changes_of(engine.containers.parts, container))


def commit(engine: Engine, request: Request) -> Response:
    """POST /commit."""
    query = request.query
    name = query.text("container")
    if not name:
        raise Invalid("", 'invalid name or ID supplied: ""')
    body = request.json()
    container = engine.containers.get(name)
    repository, tag = query.text("repo"), query.text("tag")
    reference = Reference.parse(f"{repository}:{tag}" if tag else repository) if repository else None
    lines = [line for text in query.texts("changes") for line in text.split("\n") if line.strip()]
    image = committing.commit(
        engine.containers.parts,
        container,
        committing.CommitRequest(
            reference=reference,
            comment=query.text("comment"),
            author=query.text("author"),
            pause=query.flag("pause", default=True),
            config=read(Config, body) if body else None,
        ),
        partial(apply_changes, lines=lines),
    )
    return Answer(document={"Id": str(image.id)}, status=201)


ROUTES: tuple[Route, ...] = (
    Route(method="HEAD", path="/containers/{name}/archive", handler=stat),
    Route(method="GET", path="/containers/{name}/archive", handler=read_archive),
    Route(method="PUT", path="/containers/{name}/archive", handler=write_archive),
    Route(method="GET", path="/containers/{name}/export", handler=export),
    Route(method="GET", path="/containers/{name}/changes", handler=changes),
    Route(method="POST", path="/commit", handler=commit),
)
