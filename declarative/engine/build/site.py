"""What all stages of one build share: the engine's parts, the request, the context, a folder for what comes and goes.

The rule that keeps it simple: nothing is decided here. Whatever is made below `folder` is gone with the build.
"""

from __future__ import annotations

import itertools
import os
import secrets
import threading
from typing import TYPE_CHECKING

from declarative.engine.build.choosing import Choice, choose
from declarative.engine.build.placing import Delivery, place
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

    from declarative.engine.build.cache_from import Ancestry
    from declarative.engine.build.context import Context
    from declarative.engine.build.records import StepCache
    from declarative.engine.build.request import BuildRequest
    from declarative.engine.build.scope import Scope
    from declarative.engine.build.solver import Stop
    from declarative.engine.images.pull import Puller
    from declarative.engine.images.store import ImageStore
    from declarative.engine.networks.networks import Networks
    from declarative.engine.runtime.runtime import Runtime
    from declarative.engine.settings import Settings


@record
class Parts:
    """The parts of the engine that builds need.

    `clock` gives nanoseconds since 1970; `container` the first process of a running container, by name.
    """

    settings: Settings
    images: ImageStore
    runtime: Runtime
    networks: Networks
    cache: StepCache
    puller: Puller
    clock: Callable[[], int]
    container: Callable[[str], int]


class Site:
    """One build. `folder` is its own; `context` is closed by whoever opened it."""

    def __init__(
        self,
        parts: Parts,
        request: BuildRequest,
        context: Context,
        *,
        folder: Path,
        stop: Stop,
        holder: str,
        scope: Scope,
        ancestry: Ancestry,
    ) -> None:
        self.parts = parts
        self.request = request
        self.context = context
        self.folder = folder
        self.stop = stop
        self.holder = holder
        self.scope = scope
        self.ancestry = ancestry
        self.hits: list[str] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._context_folder: Path | None = None

    def new_folder(self) -> Path:
        """Make a folder with a short name: mount options are limited."""
        made = self.folder / f"{next(self._numbers):x}"
        made.mkdir(mode=0o700)
        return made

    def context_folder(self) -> Path:
        """Give the context as a folder of files, made when it is first asked for."""
        with self._lock:
            if self._context_folder is None:
                folder = self.new_folder()
                folder.chmod(0o755)
                takings = choose(self.context, Choice(sources=("/",)))
                now = self.parts.clock()
                place(folder, (), ((self.context, it) for it in takings), Delivery(destination="/", now=now))
                self._context_folder = folder
            return self._context_folder

    def secret_file(self, value: bytes, stack: ExitStack) -> Path:
        """Write a secret where it never reaches a disk; `stack` removes it."""
        folder = self.parts.settings.paths.run / "secrets"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / self.new_id()
        stack.callback(file.unlink, missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(value)
        return file

    def new_id(self) -> str:
        """Make an id for a container."""
        return secrets.token_hex(32)
