"""Where the engine keeps what: the data root on disk, and the run root that a reboot empties.

The rule that keeps it simple: every path of the engine is named here once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.dockerapi.places import DATA_ROOT, RUN_ROOT
from declarative.record import record

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DATA_ROOT", "RUN_ROOT", "Paths"]


@record
class Paths:
    """`root` survives a reboot; `run` need not (a tmpfs on most machines)."""

    root: Path = DATA_ROOT
    run: Path = RUN_ROOT

    @property
    def database(self) -> Path:
        """The records of images, containers, networks and volumes."""
        return self.root / "engine.db"

    @property
    def images(self) -> Path:
        """The OCI image layout."""
        return self.root / "images"

    @property
    def layers(self) -> Path:
        """Unpacked layers, one folder for each chain ID."""
        return self.root / "layers"

    @property
    def containers(self) -> Path:
        """Each container's writable layer, logs and files, below its ID."""
        return self.root / "containers"

    @property
    def volumes(self) -> Path:
        """Each volume's data, as `NAME/_data`."""
        return self.root / "volumes"

    @property
    def build(self) -> Path:
        """The builder's contexts, scratch space and cache mounts."""
        return self.root / "build"

    @property
    def bundles(self) -> Path:
        """Each running container's bundle, monitor and sockets, below its ID."""
        return self.run / "containers"

    @property
    def namespaces(self) -> Path:
        """Bind mounts that keep network namespaces, one for each container's ID."""
        return self.run / "netns"

    @property
    def mapped(self) -> Path:
        """Mounts that show folders with mapped ids, while a container is started. Never removed with what is in it."""
        return self.run / "mapped"

    @property
    def socket(self) -> Path:
        """Where the daemon listens by default."""
        return self.run / "engine.sock"

    @property
    def pid(self) -> Path:
        """The process id of the daemon that serves."""
        return self.run / "engine.pid"
