"""Containers: made, listed, inspected, started, stopped, changed, removed.

The rule that keeps it simple: a handler reads its parameters and calls one function of `engine.containers`; Docker's words come
from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.containers import creating, removing, starting, stopping, updating, viewing
from declarative.engine.containers.config import Config, NetworkingConfig
from declarative.engine.containers.host import HostConfig
from declarative.engine.containers.shapes import read
from declarative.engine.daemon import container_files, container_streams
from declarative.engine.daemon.filters import check_names, labels_allow
from declarative.engine.daemon.http import Answer, Empty, Request, Response, Route
from declarative.engine.daemon.times import parse_instant
from declarative.errors import Conflict, DeclarativeError, Failed, Invalid, NotFound

if TYPE_CHECKING:
    from declarative.engine.containers.container import Container
    from declarative.engine.engine import Engine


def create(engine: Engine, request: Request) -> Response:
    """POST /containers/create."""
    body = request.json()
    if not body:
        raise Invalid("", "config cannot be empty in order to create a container")
    made = creating.create(
        engine.containers.parts,
        creating.CreateRequest(
            config=read(Config, body, "Config"),
            host=read(HostConfig, body.get("HostConfig"), "HostConfig"),
            networking=read(NetworkingConfig, body.get("NetworkingConfig"), "NetworkingConfig"),
            name=request.query.text("name"),
            platform=request.query.text("platform"),
            version=request.version,
        ),
    )
    return Answer(document={"Id": made.id, "Warnings": list(made.warnings)}, status=201)


def list_containers(engine: Engine, request: Request) -> Response:
    """GET /containers/json."""
    query = request.query
    filters = query.filters()
    for old in ("since", "before"):  # of before filters
        if query.text(old):
            filters.setdefault(old, (query.text(old),))
    rows = viewing.list_all(
        engine.containers.parts,
        request.version,
        filters,
        everything=query.flag("all"),
        limit=query.integer("limit"),
        sizes=query.flag("size"),
    )
    return Answer(document=rows)


def inspect(engine: Engine, request: Request) -> Response:
    """GET /containers/NAME/json."""
    containers = engine.containers
    container = containers.get(request.names["name"])
    sizes = request.query.flag("size")
    return Answer(
        document=viewing.inspect_one(containers.parts, containers.execs, container, request.version, sizes=sizes)
    )


def start(engine: Engine, request: Request) -> Response:
    """POST /containers/NAME/start."""
    container, name = _named(engine, request)
    done = starting.start(engine.containers.parts, container, name)
    return Empty(status=204 if done else 304)


def _named(engine: Engine, request: Request) -> tuple[Container, str]:
    name = request.names["name"]
    return engine.containers.get(name), name


def _grace(request: Request) -> int | None:
    return request.query.integer("t") if request.query.text("t") else None


def stop(engine: Engine, request: Request) -> Response:
    """POST /containers/NAME/stop."""
    container, name = _named(engine, request)
    done = stopping.stop(
        engine.containers.parts,
        container,
        name,
        grace=_grace(request),
        signal_name=request.query.text("signal"),
    )
    return Empty(status=204 if done else 304)


def restart(engine: Engine, request: Request) -> Response:
    """POST /containers/NAME/restart."""
    container, name = _named(engine, request)
    stopping.restart(
        engine.containers.parts,
        container,
        name,
        grace=_grace(request),
        signal_name=request.query.text("signal"),
    )
    return Empty()


def kill(engine: Engine, request: Request) -> Response:
    """POST /containers/NAME/kill."""
    container, name = _named(engine, request)
    stopping.kill(engine.containers.parts, container, name, request.query.text("signal"))
    return Empty()


def pause(engine: Engine, request: Request) -> Response:
    """POST /containers/NAME/pause."""
    container, name = _named(engine, request)
    stopping.pause(engine.containers.parts, container, name)
    return Empty()


def unpause(engine: Engine, request: Request) -> Response:
    """POST /containers/NAME/unpause."""
    container, name = _named(engine, request)
    stopping.unpause(engine.containers.parts, container, name)
    return Empty()


def rename(engine: Engine, request: Request) -> Response:
    """POST /containers/NAME/rename."""
    container, _ = _named(engine, request)
    updating.rename(engine.containers.parts, container, request.query.text("name"))
    return Empty()


def update(engine: Engine, request: Request) -> Response:
    """POST /containers/NAME/update."""
    container, _ = _named(engine, request)
    asked = read(HostConfig, request.json())
    warnings = updating.update(engine.containers.parts, container, asked)
    return Answer(document={"Warnings": list(warnings) or None})


def remove(engine: Engine, request: Request) -> Response:
    """DELETE /containers/NAME."""
    container, name = _named(engine, request)
    if request.query.flag("link"):
        raise Failed("", "Conflict, cannot remove the default link name of the container")
    removing.remove_for_person(
        engine.containers.parts, container, name, force=request.query.flag("force"), volumes=request.query.flag("v")
    )
    return Empty()


def prune(engine: Engine, request: Request) -> Response:
    """POST /containers/prune: those that do not run."""
    filters = request.query.filters()
    check_names(filters, ("label", "label!", "until"))
    parts = engine.containers.parts
    try:
        until = min((parse_instant(text, engine.clock(), "until") for text in filters.get("until", ())), default=None)
    except Invalid:
        raise Invalid("", f'failed to parse value as time or duration: "{filters["until"][0]}"') from None
    removed, won = [], 0
    for container in parts.index.all():
        if container.state.is_active or (until is not None and container.created >= until):
            continue
        if not labels_allow(filters, container.config.labels or {}):
            continue
        size, _ = viewing.sizes_of(parts, container)
        try:
            removing.remove_for_person(parts, container, container.name)
        except (Conflict, NotFound):
            continue  # somebody came in between
        except DeclarativeError as error:
            engine.log.warning("a container cannot be pruned", container=container.id, reason=error)
            continue
        removed.append(container.id)
        won += size
    engine.events.publish("container", "prune", "", {"reclaimed": str(won)})
    return Answer(document={"ContainersDeleted": removed or None, "SpaceReclaimed": won})


ROUTES: tuple[Route, ...] = (
    Route(method="POST", path="/containers/create", handler=create),
    Route(method="GET", path="/containers/json", handler=list_containers),
    Route(method="POST", path="/containers/prune", handler=prune, since=(1, 25)),
    Route(method="GET", path="/containers/{name}/json", handler=inspect),
    Route(method="POST", path="/containers/{name}/start", handler=start),
    Route(method="POST", path="/containers/{name}/stop", handler=stop),
    Route(method="POST", path="/containers/{name}/restart", handler=restart),
    Route(method="POST", path="/containers/{name}/kill", handler=kill),
    Route(method="POST", path="/containers/{name}/pause", handler=pause),
    Route(method="POST", path="/containers/{name}/unpause", handler=unpause),
    Route(method="POST", path="/containers/{name}/rename", handler=rename),
    Route(method="POST", path="/containers/{name}/update", handler=update),
    Route(method="DELETE", path="/containers/{name}", handler=remove),
    *container_streams.ROUTES,
    *container_files.ROUTES,
)
