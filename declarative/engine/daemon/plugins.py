"""Plugins: this engine has none, and says so to who lists them or looks for one, as `docker inspect NAME` does.

The rule that keeps it simple: what asks is answered; what would change something is `unbuilt`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.daemon.http import Answer, Request, Response, Route
from declarative.errors import NotFound

if TYPE_CHECKING:
    from declarative.engine.engine import Engine


def list_plugins(engine: Engine, request: Request) -> Response:
    """GET /plugins."""
    del engine, request
    return Answer(document=[])


def inspect(engine: Engine, request: Request) -> Response:
    """GET /plugins/NAME/json."""
    del engine
    raise NotFound("", f'plugin "{request.names["name"]}" not found')


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/plugins", handler=list_plugins, since=(1, 25)),
    Route(method="GET", path="/plugins/{name}/json", handler=inspect, since=(1, 25)),
)
