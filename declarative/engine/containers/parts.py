"""What work on containers needs of the rest of the engine, in one record.

The rule that keeps it simple: functions that do something to a container take `(parts, container)`; there is no other way in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from declarative.engine.containers.container import Container
    from declarative.engine.containers.index import Index
    from declarative.engine.containers.machine import Machine
    from declarative.engine.containers.records import Records
    from declarative.engine.containers.schedule import Schedule
    from declarative.engine.db import Database
    from declarative.engine.events import Events
    from declarative.engine.images.snapshots import Snapshots
    from declarative.engine.images.store import ImageStore
    from declarative.engine.log import Log
    from declarative.engine.networks.networks import Networks
    from declarative.engine.runtime.runtime import Runtime
    from declarative.engine.settings import Settings
    from declarative.engine.volumes import Volumes

UPPER, WORK, ROOTFS, SHM, LOG = "upper", "work", "rootfs", "shm", "log"
"""What is in a container's folder, beside its three files."""


@record
class Parts:
    """The parts. `clock` gives nanoseconds since 1970, `new_id` 64 hexadecimal digits."""

    settings: Settings
    db: Database
    events: Events
    log: Log
    images: ImageStore
    snapshots: Snapshots
    networks: Networks
    volumes: Volumes
    runtime: Runtime
    records: Records
    index: Index
    schedule: Schedule
    machine: Machine
    clock: Callable[[], int]
    new_id: Callable[[], str]
    init_layer: Path

    def folder(self, container: Container) -> Path:
        """Give the container's folder on the disk."""
        return self.settings.paths.containers / container.id

    def tell(self, container: Container, action: str, **attributes: str) -> None:
        """Publish what happened to a container."""
        self.events.publish("container", action, container.id, {**container.attributes, **attributes})
