"""An engine that answers a snapshot's calls from a few lists, over a unix socket, and remembers what it was asked."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from declarative.core.state import LABEL_KIND, LABEL_STACK

SHOP = {LABEL_STACK: "shop", LABEL_KIND: "Container"}


def listed(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"Id": f"id-{name}", "Names": [f"/{name}"], "Labels": labels or {}, "State": "running"}


class World(socketserver.ThreadingUnixStreamServer):
    """An engine with containers in a list. `slow` holds back the list of containers until it is set."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        super().__init__(path, Handler)
        self.containers = [
            listed("shop-web-1", SHOP),
            listed("shop-web-2.making", SHOP),
            listed("shop-history", {LABEL_STACK: "shop", LABEL_KIND: "History"}),
            listed("other-web-1", {LABEL_STACK: "other", LABEL_KIND: "Container"}),
            listed("stranger"),
        ]
        self.gone: set[str] = set()
        self.refused = ""
        self.asked: list[str] = []
        self.slow = threading.Event()
        self.slow.set()

    def handle_error(self, *words: Any) -> None:
        """Say nothing about clients that went away."""

    def answer(self, path: str) -> Any:
        if path.startswith("/containers/json"):
            self.slow.wait(10)
            return self.containers
        if path.startswith("/containers/"):
            name = path.split("/")[2]
            return None if name in self.gone else {"Id": name}
        if path.startswith("/volumes"):
            return {"Volumes": None}
        return {} if path == "/info" else []

    def inspected(self) -> list[str]:
        return [path for path in self.asked if path.startswith("/containers/id-")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        world: Any = self.server
        path = self.path.removeprefix("/v1.41")
        found = world.answer(path) if path != "/_ping" else "OK"
        world.asked.append(path)
        refused = bool(world.refused) and path.startswith(world.refused)
        body = json.dumps({"message": "no"} if refused else found).encode()
        self.send_response(500 if refused else 404 if found is None else 200)
        self.send_header("Api-Version", "1.41")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        del words
