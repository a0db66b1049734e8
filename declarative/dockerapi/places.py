"""Where the embedded engine is on this machine: what its daemon and whoever looks for it agree on.

The rule that keeps it simple: the data root says everything else; only the default one has its sockets in /run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA_ROOT = Path("/var/lib/declarative")
RUN_ROOT = Path("/run/declarative")
LOCK_NAME = "engine.lock"
"""In the data root: held while a daemon serves it; its text says `{"pid": …, "hosts": […]}`."""

ROOT_VARIABLE = "DECLARATIVE_ENGINE_ROOT"


@record
class Places:
    """`root` holds the data, `run` what a reboot takes."""

    root: Path = DATA_ROOT
    run: Path = RUN_ROOT

    @property
    def socket(self) -> Path:
        """Where the daemon listens unless it is told otherwise."""
        return self.run / "engine.sock"

    @property
    def lock(self) -> Path:
        """The file whose lock the daemon holds."""
        return self.root / LOCK_NAME

    @property
    def log(self) -> Path:
        """What a daemon in the background writes."""
        return self.root / "engine.log"


def places(root: Path | None = None, run: Path | None = None) -> Places:
    """Give the places of a data root, and of a run root where it is said."""
    root = root or DATA_ROOT
    return Places(root=root, run=run or (RUN_ROOT if root == DATA_ROOT else root / "run"))


def places_of(environ: Mapping[str, str]) -> Places:
    """Give the places that the environment names."""
    named = environ.get(ROOT_VARIABLE, "")
    return places(Path(named).absolute() if named else None)
