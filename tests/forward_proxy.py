"""A forward proxy on a free loopback port, as HTTP_PROXY and HTTPS_PROXY mean it: it notes what it is asked for.

The rule that keeps it simple: every name is this machine. So a test makes names up, and a host that is reached by such a name
was reached through here.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.sockets import carry, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 60


class _Request(BaseHTTPRequestHandler):
    """One request, one connection (HTTP/1.0)."""

    server: ForwardProxy

    def do_CONNECT(self) -> None:
        self.server.asked.append(f"CONNECT {self.path}")
        with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2])), timeout=_SECONDS) as host:
            self.send_response(200)
            self.end_headers()
            carry(self.connection, host)

    def do_GET(self) -> None:
        self.server.asked.append(f"GET {self.path}")
        parts = urlsplit(self.path)
        connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", parts.path, headers={**self.headers, "Host": parts.netloc})
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing; what was asked is in `ForwardProxy.asked`."""


class ForwardProxy(ThreadingHTTPServer):
    """The proxy of one test. `asked`: METHOD and target of each request, in order."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def serve_proxy() -> Iterator[ForwardProxy]:
    with ForwardProxy() as server, serving(server):
        yield server
