"""Volumes over the API: list, create, inspect, remove, prune.

The rule that keeps it simple: documents here, volumes in `engine.volumes`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.engine.containers.shapes import PAIRS, TEXT, Json, Shape, read, shape
from declarative.engine.daemon import filters as chosen
from declarative.engine.daemon.http import Answer, Empty, Request, Response, Route
from declarative.engine.daemon.times import SECOND, rfc3339
from declarative.engine.daemon.unbuilt import PUT_VOLUME
from declarative.errors import Unsupported
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from declarative.engine.engine import Engine
    from declarative.engine.volumes import Volume

_LIST_FILTERS = ("dangling", "driver", "label", "name")
_PRUNE_FILTERS = ("label", "label!", "all")
_PRUNES_ANONYMOUS_ONLY = (1, 42)


@record
class _Wanted:
    """`VolumeCreateOptions`."""

    name: str = ""
    driver: str = ""
    options: Mapping[str, str] | None = field(default=None, hash=False)
    labels: Mapping[str, str] | None = field(default=None, hash=False)


shape(
    _Wanted,
    Shape("name", "Name", TEXT),
    Shape("driver", "Driver", TEXT),
    Shape("options", "DriverOpts", PAIRS),
    Shape("labels", "Labels", PAIRS),
)


def document(volume: Volume) -> dict[str, Json]:
    """Give a volume's document."""
    return {
        "CreatedAt": rfc3339(volume.created // SECOND * SECOND),
        "Driver": volume.driver,
        "Labels": dict(volume.labels),
        "Mountpoint": str(volume.path),
        "Name": volume.name,
        "Options": dict(volume.options) or None,
        "Scope": "local",
    }


def usage(engine: Engine) -> list[dict[str, Json]]:
    """Give the documents of all volumes with what they take on disk, for `docker system df`."""
    return [
        document(volume)
        | {"UsageData": {"RefCount": len(engine.volumes.holders(volume.name)), "Size": engine.volumes.size(volume)}}
        for volume in engine.volumes.list()
    ]


def list_volumes(engine: Engine, request: Request) -> Response:
    """List, filtered."""
    wanted = request.query.filters()
    chosen.check_names(wanted, _LIST_FILTERS)
    found = [volume for volume in engine.volumes.list() if _matches(volume, wanted)]
    if "dangling" in wanted:
        dangling = chosen.flag(wanted, "dangling", default=True)
        found = [volume for volume in found if bool(engine.volumes.holders(volume.name)) != dangling]
    return Answer(document={"Volumes": [document(volume) for volume in found], "Warnings": []})


def create(engine: Engine, request: Request) -> Response:
    """Make a volume, or find it made."""
    body = request.json()
    if body.get("ClusterVolumeSpec"):
        raise Unsupported("", "there are no cluster volumes in this engine")
    wanted = read(_Wanted, body)
    made = engine.volumes.create(wanted.name, wanted.driver or "local", wanted.options, wanted.labels)
    return Answer(document=document(made), status=201)


def inspect(engine: Engine, request: Request) -> Response:
    """Show one."""
    return Answer(document=document(engine.volumes.get(request.names["name"])))


def update(engine: Engine, request: Request) -> Response:
    """Say that there are no volumes that can be updated."""
    del engine
    raise Unsupported(f"{request.method} {request.path}", PUT_VOLUME)


def remove(engine: Engine, request: Request) -> Response:
    """Remove one that nothing refers to."""
    engine.volumes.remove(request.names["name"], force=request.query.flag("force"))
    return Empty()


def prune(engine: Engine, request: Request) -> Response:
    """Remove what nothing refers to: before API 1.42 all of it, since then the anonymous ones unless `all` is asked for."""
    wanted = request.query.filters()
    chosen.check_names(wanted, _PRUNE_FILTERS)
    everything = chosen.flag(wanted, "all", default=request.version < _PRUNES_ANONYMOUS_ONLY)
    names, size = engine.volumes.prune(
        everything=everything, keep=lambda volume: not chosen.labels_allow(wanted, volume.labels)
    )
    return Answer(document={"VolumesDeleted": list(names), "SpaceReclaimed": size})


def _matches(volume: Volume, wanted: chosen.Filters) -> bool:
    if "name" in wanted and not like(wanted["name"], volume.name):
        return False
    if "driver" in wanted and volume.driver not in wanted["driver"]:
        return False
    return chosen.labels_match(wanted.get("label", ()), volume.labels)


def like(patterns: Iterable[str], text: str) -> bool:
    """Match any of the patterns: the text itself, or a regular expression found in it, as dockerd has it for names and ids."""
    for pattern in patterns:
        if pattern in text:
            return True
        try:
            if re.search(pattern, text):
                return True
        except re.error:
            continue
    return False


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/volumes", handler=list_volumes),
    Route(method="POST", path="/volumes/create", handler=create),
    Route(method="POST", path="/volumes/prune", handler=prune, since=(1, 25)),
    Route(method="GET", path="/volumes/{name}", handler=inspect),
    Route(method="PUT", path="/volumes/{name}", handler=update, since=(1, 42)),
    Route(method="DELETE", path="/volumes/{name}", handler=remove),
)
