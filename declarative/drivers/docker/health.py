"""What an engine says about its own health, for `declarative doctor` and `engine status`. Reads only.

The rule: facts, not judgements; what is too little or too much is decided by who asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.state import LABEL_KIND, LABEL_STACK, SUFFIX_MAKING
from declarative.dockerapi.wire import parse_time
from declarative.drivers.docker.labels import CONTAINER_KINDS, KIND_LOCK
from declarative.drivers.docker.lock import holder_of
from declarative.drivers.docker.snapshot import engine_info
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.state import EngineInfo
    from declarative.dockerapi.client import EngineClient


@record
class EngineHealth:
    """One look. `time`: the engine's clock, seconds since 1970, None where it does not say. `root`: its data, as a path there."""

    info: EngineInfo
    time: float | None
    root: str
    warnings: tuple[str, ...]


@record
class Leftover:
    """Something of ours that a finished command does not leave: a `lock` with its holder, or a half-made `container`."""

    kind: str
    name: str
    stack: str
    holder: Mapping[str, str]


def look(client: EngineClient, *, buildx: bool) -> EngineHealth:
    """Ask the engine about itself. `buildx`: whether a client for its BuildKit is here."""
    info = client.get_json("/info")
    moment = parse_time(str(info.get("SystemTime") or ""))
    return EngineHealth(
        info=engine_info(client, info, buildkit=buildx),
        time=moment.timestamp() if moment else None,
        root=str(info.get("DockerRootDir") or ""),
        warnings=tuple(str(line).removeprefix("WARNING: ") for line in info.get("Warnings") or ()),
    )


def leftovers(client: EngineClient) -> tuple[Leftover, ...]:
    """List the locks and half-made containers of all stacks; those of an apply that is under way are among them."""
    found = []
    query = {"filters": {"label": [f"{LABEL_KIND}={KIND_LOCK}"]}}
    for item in client.get_json("/volumes", query).get("Volumes") or ():
        stack = (item.get("Labels") or {}).get(LABEL_STACK, "")
        found.append(Leftover(kind="lock", name=item["Name"], stack=stack, holder=holder_of(item)))
    for item in client.get_json("/containers/json", {"all": True, "filters": {"label": [LABEL_STACK]}}):
        labels, name = item.get("Labels") or {}, (item.get("Names") or ["/"])[0].lstrip("/")
        if labels.get(LABEL_KIND) in CONTAINER_KINDS and name.endswith(SUFFIX_MAKING):
            found.append(Leftover(kind="container", name=name, stack=labels[LABEL_STACK], holder={}))
    return tuple(sorted(found, key=lambda item: (item.stack, item.kind, item.name)))
