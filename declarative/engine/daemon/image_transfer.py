"""Images in and out: pull, push, load, save, import, search."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from declarative.engine.daemon.http import Route

ROUTES: tuple[Route, ...] = ()
