"""The engine: its parts, put together. What a handler of the daemon gets.

The rule that keeps it simple: it makes the parts and hands them to each other; it does nothing itself.
"""

from __future__ import annotations

import ipaddress
import time
import uuid
from typing import TYPE_CHECKING

from declarative.engine import volumes as volume_records
from declarative.engine.build import records as build_records
from declarative.engine.build.builder import Builder
from declarative.engine.build.site import Parts
from declarative.engine.containers import records as container_records
from declarative.engine.containers.containers import Containers
from declarative.engine.containers.restoring import insist_on_records
from declarative.engine.db import ROOM, Database
from declarative.engine.events import Events
from declarative.engine.images import records as image_records
from declarative.engine.images.pull import Puller
from declarative.engine.images.registries import Registries, RegistrySettings, docker_hub_mirrors
from declarative.engine.images.store import open_store
from declarative.engine.log import Log
from declarative.engine.networks import networks as network_records
from declarative.engine.networks.addresses import DEFAULT_SUPPLIES, Supply
from declarative.engine.networks.networks import Networks
from declarative.engine.runtime.runtime import Runtime
from declarative.engine.settings import Settings
from declarative.engine.volumes import Volumes
from declarative.registry.session import Settings as SessionSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from declarative.engine.paths import Paths

_SCHEMAS = (
    image_records.SCHEMA,
    network_records.SCHEMA,
    volume_records.SCHEMA,
    build_records.SCHEMA,
    container_records.SCHEMA,
)


class Engine:
    """All parts of one engine. `clock` gives nanoseconds since 1970."""

    def __init__(
        self, settings: Settings | None = None, log: Log | None = None, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.settings = settings or Settings()
        self.log = log or Log()
        self.clock = clock
        self.paths: Paths = self.settings.paths
        self.events = Events(clock)
        insist_on_records(self.paths)
        self.db = Database(self.paths.database, _SCHEMAS, room=ROOM)
        self.identity = _identity(self.paths.root)
        self.registries = Registries(_registry_settings(self.settings))
        self.images = open_store(self.paths, self.db, self.events)
        self.snapshots = self.images.snapshots
        self.puller = Puller(self.images, self.registries)
        self.networks = Networks(
            self.paths,
            self.db,
            self.events,
            supplies=_supplies(self.settings) or DEFAULT_SUPPLIES,
            nameservers=self.settings.nameservers,
            warn=self.log.fault,
            clock=clock,
        )
        self.volumes = Volumes(self.paths, self.db, self.events, clock=clock)
        self.runtime = Runtime(self.paths)
        self.containers = Containers(
            settings=self.settings,
            db=self.db,
            events=self.events,
            log=self.log,
            images=self.images,
            networks=self.networks,
            volumes=self.volumes,
            runtime=self.runtime,
            clock=clock,
        )
        self.images.is_running = self._runs
        self.builder = Builder(
            Parts(
                settings=self.settings,
                images=self.images,
                runtime=self.runtime,
                networks=self.networks,
                cache=build_records.StepCache(self.db),
                puller=self.puller,
                clock=clock,
                container=self.containers.process_of,
            )
        )

    def restore(self) -> None:
        """Find what an earlier daemon left: sweep what was half done, take up what runs, start what a policy asks for."""
        self.containers.restore()

    def idle(self) -> bool:
        """Tell whether nothing runs, so that a daemon nobody speaks to may end."""
        return not self.containers.is_busy()

    def close(self) -> None:
        """Let go of everything; containers go on."""
        self.events.close()
        self.containers.close()
        self.runtime.close()
        self.networks.close()
        self.puller.close()
        self.registries.close()
        self.images.close()
        self.db.close()

    def _runs(self, holder: str) -> bool:
        """Tell whether a holder of an image is a running container; others are builds."""
        found = self.containers.parts.index.find(holder)
        return found is not None and found.state.is_up


def _identity(root: Path) -> str:
    """Give a data root's own ID, made once."""
    path = root / "engine-id"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        made = str(uuid.uuid4())
        path.write_text(made + "\n")
        return made


def _registry_settings(settings: Settings) -> RegistrySettings:
    return RegistrySettings(
        session=SessionSettings(insecure=frozenset(settings.insecure), certs=settings.certs, proxies=settings.proxies),
        mirrors=docker_hub_mirrors(*settings.mirrors),
    )


def _supplies(settings: Settings) -> tuple[Supply, ...]:
    return tuple(Supply(block=ipaddress.ip_network(block), size=size) for block, size in settings.pools)
