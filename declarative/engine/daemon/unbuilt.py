"""Endpoints of the Docker Engine API that this engine does not have, and says so of: 501 with the endpoint's name.

The rule that keeps it simple: an endpoint of the published API is either in a noun's ROUTES or here; a test compares.
"""

from __future__ import annotations

SWARM = "there is no swarm mode in this engine"
PLUGINS = "there are no plugins in this engine"
BUILDKIT = "this engine builds without BuildKit sessions; set DOCKER_BUILDKIT=0 for clients that insist"

UNBUILT: tuple[tuple[str, str], ...] = (
    ("/swarm", SWARM),
    ("/nodes", SWARM),
    ("/services", SWARM),
    ("/tasks", SWARM),
    ("/secrets", SWARM),
    ("/configs", SWARM),
    ("/plugins", PLUGINS),
    ("/session", BUILDKIT),
    ("/grpc", BUILDKIT),
    ("/containers/{name}/attach/ws", "this engine attaches over hijacked connections, not over websockets"),
    ("/containers/{name}/checkpoints", "this engine makes no checkpoints"),
    ("/debug", "this engine has no debug endpoints"),
)
"""First parts of paths, and why."""

NO_SWARM_NOW = (("GET", "/swarm"), ("POST", "/swarm/leave"))
"""These get 503, dockerd's answer where there is no swarm: to docker-py that is a no, and any other status an error."""

PUT_VOLUME = "volumes of this engine cannot be updated: that is for cluster volumes"
