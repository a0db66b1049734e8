"""What the engine is, and what happens in it: /_ping, /version, /info, /events, /system/df.

The rule that keeps it simple: facts come from `machine` and from the parts of the engine; here they get Docker's names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative import __version__
from declarative.engine.daemon.http import Answer, Request, Response, Route, Stream
from declarative.engine.daemon.router import NEWEST, OLDEST

if TYPE_CHECKING:
    from declarative.engine.engine import Engine


def ping(engine: Engine, request: Request) -> Response:
    """Say that we are here, and that clients use the classic builder."""
    del engine
    headers = {
        "Builder-Version": "1",
        "Swarm": "inactive",
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
        "Content-Length": "0" if request.method == "HEAD" else "2",
    }
    return Stream(chunks=(b"OK",), content_type="text/plain; charset=utf-8", headers=headers)


def version(engine: Engine, request: Request) -> Response:
    """Tell the versions of this engine and of what it runs containers with."""
    del request, engine
    return Answer(
        document={
            "Version": __version__,
            "ApiVersion": "{}.{}".format(*NEWEST),
            "MinAPIVersion": "{}.{}".format(*OLDEST),
        }
    )


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/_ping", handler=ping),
    Route(method="HEAD", path="/_ping", handler=ping),
    Route(method="GET", path="/version", handler=version),
)
