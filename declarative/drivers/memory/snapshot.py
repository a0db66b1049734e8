"""The snapshot of an engine in memory: the same types, out of records instead of documents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from declarative.core.state import (
    LABEL_KIND,
    LABEL_STACK,
    Actual,
    ContainerState,
    EngineInfo,
    ImageState,
    NetworkState,
    Revision,
    Stranger,
    VolumeState,
)
from declarative.drivers.docker.image_read import familiar, read_revisions
from declarative.errors import NotFound

if TYPE_CHECKING:
    from declarative.core.state import Scope
    from declarative.drivers.memory.engine import Box, MemoryEngine


def rfc3339(seconds: float) -> str:
    """Write a time of the engine's clock."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def take(engine: MemoryEngine, scope: Scope) -> Actual:
    """Look."""
    with engine.guard:
        found = revisions(engine, scope.stack)
        return Actual(
            stack=scope.stack,
            engine=EngineInfo(name="memory", version="1", api_version="1.47", processors=engine.processors),
            images=_images(engine),
            references=_references(engine),
            containers={
                name: container_state(engine, box)
                for name, box in engine.containers.items()
                if name in scope.containers or _is_of(box, scope.stack)
            },
            strangers=tuple(
                _stranger(engine, box)
                for box in engine.containers.values()
                if not _is_of(box, scope.stack) and box.name not in scope.containers
            ),
            networks=_networks(engine, scope),
            volumes=_volumes(engine, scope),
            registry={name: engine.registry.tags(name) for name in sorted(scope.repositories)},
            latest=_latest(engine, scope),
            revision=found[-1] if found else None,
            leftovers=(f"lock of {scope.stack}",) if scope.stack in engine.locks else (),
        )


def _is_of(box: Box, stack: str) -> bool:
    return box.owner is not None and box.owner.stack == stack


def container_state(engine: MemoryEngine, box: Box) -> ContainerState:
    """See one container."""
    state, health, code, restarts = engine.state(box)
    finished = engine.finished(box)
    return ContainerState(
        name=box.name,
        id=box.id,
        image_id=box.image_id,
        spec=box.spec,
        owner=box.owner,
        applied=box.applied,
        home=box.home,
        state=state,
        health=health,
        exit_code=code,
        restarts=restarts,
        created=rfc3339(box.created),
        started="" if box.run is None else rfc3339(box.run.begun),
        finished="" if finished is None else rfc3339(finished),
    )


def _images(engine: MemoryEngine) -> dict[str, ImageState]:
    by_id: dict[str, list[str]] = {}
    for reference, identity in engine.references.items():
        by_id.setdefault(identity, []).append(reference)
    return {
        picture.id: ImageState(
            id=picture.id,
            references=tuple(sorted(by_id.get(picture.id, ()))),
            digests=dict(picture.digests),
            labels=picture.labels,
            config=picture.config,
            platform="linux/amd64",
        )
        for picture in engine.images.values()
    }


def _references(engine: MemoryEngine) -> dict[str, str]:
    digests = {
        f"{repository}@{digest}": picture.id
        for picture in engine.images.values()
        for repository, digest in picture.digests.items()
    }
    return {**engine.references, **digests}


def _stranger(engine: MemoryEngine, box: Box) -> Stranger:
    running = engine.living(box)
    ports = tuple(sorted((port.host_ip, port.published, port.protocol) for port in box.spec.ports if port.published))
    return Stranger(
        name=box.name, running=running, ports=ports if running else (), stack=box.owner.stack if box.owner else ""
    )


def _networks(engine: MemoryEngine, scope: Scope) -> dict[str, NetworkState]:
    return {
        name: NetworkState(
            name=name,
            id=net.id,
            spec=net.spec,
            owner=net.owner,
            applied=net.applied,
            attached=tuple(sorted(box.name for box in engine.containers.values() if name in box.spec.networks)),
        )
        for name, net in engine.networks.items()
        if name in scope.networks or (net.owner is not None and net.owner.stack == scope.stack)
    }


def _volumes(engine: MemoryEngine, scope: Scope) -> dict[str, VolumeState]:
    return {
        name: VolumeState(name=name, spec=store.spec, owner=store.owner, applied=store.applied)
        for name, store in engine.volumes.items()
        if name in scope.volumes or (store.owner is not None and store.owner.stack == scope.stack)
    }


def _latest(engine: MemoryEngine, scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for reference in scope.refresh:
        try:
            found[familiar(reference)] = engine.registry.find(reference).digest
        except NotFound:
            continue
    return found


def revisions(engine: MemoryEngine, stack: str) -> list[Revision]:
    """Read the history of a stack, oldest first, as out of an engine's list of images."""
    documents = [
        {
            "Id": picture.id,
            "RepoTags": [name for name, identity in engine.references.items() if identity == picture.id],
            "Labels": dict(picture.labels),
            "Created": int(picture.created),
        }
        for picture in engine.images.values()
        if picture.labels.get(LABEL_STACK) == stack and picture.labels.get(LABEL_KIND) == "History"
    ]
    return read_revisions(documents, stack)
