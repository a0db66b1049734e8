"""A small HTTP server that misbehaves as a test tells it to: real sockets, one script per test.

The rule: a script gets each request and does with the connection what it likes; every request is kept, so that a test
can say what was asked and what was not.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, TypeAlias

from tests.sockets import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Request(BaseHTTPRequestHandler):
    """One request, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    server: Server

    def handle_any(self) -> None:
        self.server.log.append(Asked(method=self.command, path=self.path, headers=dict(self.headers.items())))
        self.server.script(self)

    # The names are those that http.server calls.
    do_GET = do_HEAD = do_DELETE = handle_any  # noqa: N815
    do_PUT = do_POST = do_PATCH = do_CONNECT = handle_any  # noqa: N815

    def read_body(self) -> bytes:
        """Read the request's body, as long as its head says; once only."""
        length = int(self.headers.get("Content-Length", "0"))
        del self.headers["Content-Length"]
        return self.rfile.read(length)

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answer whole and properly; a `Content-Length` in `headers` wins over the truth."""
        self.read_body()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_errors(
        self, status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with an error document as the distribution specification has it."""
        self.answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), headers)

    def cut(self) -> None:
        """Reset the connection."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing; the log is `Server.log`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)


Script: TypeAlias = "Callable[[Request], None]"


class Server(ThreadingHTTPServer):
    """The server of one test."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.script = script
        self.log: list[Asked] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def asked(self, prefix: str = "/v2/") -> list[str]:
        """Return `METHOD path` of what was asked, the probe of the API's version left out."""
        return [f"{one.method} {one.path}" for one in self.log if one.path.startswith(prefix) and one.path != "/v2/"]

    def handle_error(self, *_: object) -> None:
        """Say nothing of the connections that a test breaks on purpose."""


@contextlib.contextmanager
def misbehave(script: Script) -> Iterator[Server]:
    """Serve with `script` on a free loopback port; the probe of the API's version (GET /v2/) is answered for it."""

    def with_probe(request: Request) -> None:
        if request.path == "/v2/":
            request.answer(200)
        else:
            script(request)

    with Server(with_probe) as server, serving(server):
        yield server
