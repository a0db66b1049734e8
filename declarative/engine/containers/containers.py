"""The containers of one engine: their parts, put together, and what others of the engine ask of them.

The rule that keeps it simple: what is done to a container is a function of its own module, `verb(parts, container, …)`; here is
only what holds them together and what runs by itself.
"""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from declarative.engine.containers import ending, machine, mounting, restoring, updating, viewing
from declarative.engine.containers.execs import Execs
from declarative.engine.containers.index import Index
from declarative.engine.containers.life import Status
from declarative.engine.containers.parts import Parts
from declarative.engine.containers.records import Records
from declarative.engine.containers.schedule import Schedule
from declarative.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.engine.containers.config import EndpointConfig
    from declarative.engine.containers.container import Container
    from declarative.engine.db import Database
    from declarative.engine.events import Events
    from declarative.engine.images.store import ImageStore
    from declarative.engine.log import Log
    from declarative.engine.networks.networks import Networks
    from declarative.engine.networks.records import Network
    from declarative.engine.runtime.runtime import Runtime
    from declarative.engine.settings import Settings
    from declarative.engine.volumes import Volumes


class Containers:
    """All containers. `clock` gives nanoseconds since 1970, `new_id` 64 hexadecimal digits. Safe to use from several threads."""

    def __init__(
        self,
        *,
        settings: Settings,
        db: Database,
        events: Events,
        log: Log,
        images: ImageStore,
        networks: Networks,
        volumes: Volumes,
        runtime: Runtime,
        clock: Callable[[], int] = time.time_ns,
        new_id: Callable[[], str] = lambda: secrets.token_hex(32),
    ) -> None:
        settings.paths.containers.mkdir(mode=0o710, parents=True, exist_ok=True)
        records = Records(db)
        self.parts = Parts(
            settings=settings,
            db=db,
            events=events,
            log=log,
            images=images,
            snapshots=images.snapshots,
            networks=networks,
            volumes=volumes,
            runtime=runtime,
            records=records,
            index=Index(records.load(partial(_warn, log))),
            schedule=Schedule(lambda error: log.fault("work on a container failed", error)),
            machine=machine.look(),
            clock=clock,
            new_id=new_id,
            init_layer=mounting.make_init_layer(settings.paths.root / "init"),
        )
        self.execs = Execs(self.parts)
        runtime.on_exit = lambda found: self.parts.schedule.soon(lambda: ending.ended(self.parts, found))
        runtime.on_oom = lambda id_: self.parts.schedule.soon(lambda: ending.starves(self.parts, id_))

    def restore(self) -> None:
        """Take up what an earlier daemon left: once, before anything else is asked. Unsupported, Failed."""
        if self.parts.settings.maps:
            mounting.try_maps(self.parts)
        restoring.restore(self.parts)

    def close(self) -> None:
        """Begin nothing more, and let go who waits. Containers go on."""
        self.parts.schedule.close()
        self.execs.close()
        for container in self.parts.index.all():
            for attacher in container.attachers:
                attacher.connect(None)

    def get(self, name: str) -> Container:
        """Give a container by id, name, or the beginning of its id. NotFound, in Docker's words."""
        return self.parts.index.get(name)

    def counts(self) -> tuple[int, int, int]:
        """Give how many containers run, are paused, and are neither."""
        states = [container.state.status for container in self.parts.index.all()]
        paused = states.count(Status.PAUSED)
        up = states.count(Status.RUNNING) + states.count(Status.RESTARTING)
        return up, paused, len(states) - up - paused

    def is_busy(self) -> bool:
        """Tell whether any container runs or will by itself."""
        return any(container.state.is_active for container in self.parts.index.all())

    def rows(self, version: tuple[int, int]) -> list[dict[str, Any]]:
        """Give a list's entries of all, with sizes."""
        return viewing.list_all(self.parts, version, {}, everything=True, sizes=True)

    def process_of(self, name: str) -> int:
        """Give the first process of a container. NotFound; Conflict where it does not run."""
        container = self.get(name)
        if not container.state.is_up:
            raise Conflict("", f"cannot join network of a non running container: {container.id}")
        return container.state.pid

    def connect(self, name: str, network: Network, wish: EndpointConfig) -> None:
        """Bring a container into one more network. NotFound, Denied, Invalid, in Docker's words."""
        updating.connect(self.parts, self.get(name), network, wish)

    def disconnect(self, name: str, network: Network, *, force: bool) -> None:
        """Take a container out of a network. NotFound, Denied, in Docker's words."""
        container = self.parts.index.find(name)
        if container is not None:
            updating.disconnect(self.parts, container, network, force=force)
        else:  # by force it is the network that is asked
            raise NotFound("", f"endpoint {name} not found" if force else f"No such container: {name}")


def _warn(log: Log, container: Container, problem: str) -> None:
    log.warning("a container's record cannot be read", container=container.id, name=container.name, problem=problem)
