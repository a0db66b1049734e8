"""The client of the Docker Engine API: paths and documents in, documents, lines and streams out, typed errors.

Owns the pool of kept connections, the version that is spoken, and the mapping of refusals to errors. Threads share one client.
The rule: it knows HTTP and the API's conventions, but no noun of it; what to retry and what an object means is the caller's.
A harmless GET or HEAD that died on a stale kept connection is sent once more; nothing else is ever repeated.
"""

from __future__ import annotations

import functools
import json
import threading
from typing import TYPE_CHECKING, Self

from declarative.dockerapi import http11, wire
from declarative.dockerapi.connection import Connection, Response, Stale
from declarative.dockerapi.pipeline import Lane, Pending
from declarative.dockerapi.transport import connect
from declarative.errors import NotFound, Unavailable, Unsupported
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from declarative.dockerapi.duplex import Duplex
    from declarative.dockerapi.transport import Endpoint
    from declarative.dockerapi.wire import Json, QueryValue

    Query = Mapping[str, QueryValue]

NEWEST_API = (1, 47)
"""The version this client was written against; newer engines serve it too."""

OLDEST_API = (1, 24)
"""Docker 1.12: what the driver relies on (network aliases, health checks, labels on volumes) is there from here on."""

CONNECT_SECONDS = 15.0
"""A connection that is not there by then will not come: TCP has sent its third SYN after 3 s, the fourth after 7."""

_FIELDS = {"Host": "docker", "User-Agent": "declarative"}
_NOTHING = frozenset({b"", b"OK"})  # the second is how Podman says it, of a network that is connected
"""Sent with every request. Engines do not look at the host's name, but RFC 9112 section 3.2 wants one."""

SAFE_METHODS = frozenset({"GET", "HEAD"})


class WriteOnReadOnlyClient(RuntimeError):
    """A writing call was made on a read-only client: a mistake in this program, never in its input."""


@record
class EngineFacts:
    """What an engine's ping tells. `api` is the version spoken; `builder` is "2" where BuildKit is the engine's default."""

    api: tuple[int, int]
    server: str
    os: str
    builder: str


class EngineClient:
    """Talks to the engine at `endpoint`. `timeout` is in seconds of silence.

    A silent GET is Unavailable after `timeout`. Other calls may take long (stop, build, wait): after each silence the engine is
    pinged on a connection of its own, and only if that goes unanswered is the call Unavailable.
    With `read_only` every method but GET and HEAD raises WriteOnReadOnlyClient before a byte is sent.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float = 60.0, read_only: bool = False) -> None:
        self.endpoint = endpoint
        self.address = endpoint.address
        self.timeout = timeout
        self.read_only = read_only
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._lock = threading.Lock()
        self._negotiation = threading.Lock()
        self._facts: EngineFacts | None = None
        self._prefix = ""
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- what a driver calls ----

    @property
    def facts(self) -> EngineFacts:
        """What the engine is; asked once. Raises Unavailable, Denied, Unsupported."""
        with self._negotiation:
            if self._facts is None:
                self._facts = self._negotiate(self.timeout)
            return self._facts

    def greet(self, seconds: float) -> None:
        """Ask what the engine is, as `facts` does, where it answers within `seconds`."""
        with self._negotiation:
            self._facts = self._facts or self._negotiate(seconds)

    def get_json(self, path: str, query: Query | None = None) -> Json:
        """GET a document."""
        return self._document(self.request("GET", path, query))

    def get_many(self, paths: Sequence[str]) -> list[Json]:
        """GET many documents, pipelined, in the order of `paths`; None for what is not there (404)."""
        return self.begin_many(paths).documents()

    def begin_many(self, paths: Sequence[str]) -> Pending:
        """Ask for many documents as `get_many` does, and return at once: the engine answers while we do something else."""
        _ = self._prefix or self.facts
        requests = [http11.render_request("GET", f"{self._prefix}{path}", _FIELDS) for path in paths]

        def take(fresh: bool) -> Connection:
            return self._connection(fresh=fresh, seconds=self.timeout)

        return Pending(requests, Lane(take=take, give_back=self._done, read=self._read, seconds=self.timeout))

    def post_json(
        self, path: str, query: Query | None = None, body: Json = None, headers: Mapping[str, str] | None = None
    ) -> Json:
        """POST a document (or nothing); None where the answer has no body (204, 304: nothing to do)."""
        return self._document(self.request("POST", path, query, body=_dumped(body), headers=_typed(body, headers)))

    def delete(self, path: str, query: Query | None = None) -> Json:
        """DELETE; the answer's document, or None."""
        return self._document(self.request("DELETE", path, query))

    def put(self, path: str, query: Query | None = None, body: bytes | Iterable[bytes] = b"") -> None:
        """PUT a tar archive (the only thing the API takes so)."""
        self.request("PUT", path, query, body=body, headers={"Content-Type": "application/x-tar"}).read()

    def head(self, path: str, query: Query | None = None) -> Mapping[str, str]:
        """HEAD; the answer's headers by lower-case name."""
        response = self.request("HEAD", path, query)
        response.read()
        return response.head.headers

    def stream_bytes(self, path: str, query: Query | None = None) -> Iterator[bytes]:
        """GET a body piece by piece (logs, archives). The request is made before this returns."""
        return self.request("GET", path, query, patient=True).pieces()

    def stream_lines(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: bytes | Iterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[dict[str, Json]]:
        """Yield the JSON lines of build, pull, push, load, events. A line that tells an error is raised as one.

        The request is made before this returns. Closing the iterator early closes the connection: the engine stops the work.
        """
        response = self.request(method, path, query, body=body, headers=headers, patient=True)
        return self._lines(response)

    def upload(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: Iterable[bytes],
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """Send a chunked body; the answer's document, or None."""
        return self._document(self.request(method, path, query, body=body, headers=headers))

    def hijack(self, path: str, query: Query | None = None, body: Json = None, *, framed: bool = True) -> Duplex:
        """POST and take the connection over as a bare stream; `framed` unless there is a terminal. Unavailable."""
        headers = {"Connection": "Upgrade", "Upgrade": "tcp", **_typed(body, None)}
        response = self.request("POST", path, query, body=_dumped(body), headers=headers)
        if response.head.status != 101 and response.head.framing != "close":
            response.close()
            raise Unavailable(
                self.address, f"the engine does not hand {path} over as a stream", "check what is between us"
            )
        from declarative.dockerapi.duplex import Duplex

        connection = response.detach()
        connection.link.sock.settimeout(None)
        done = functools.partial(self._done, connection, reusable=False)
        return Duplex(connection.link, connection.reader.rest(), framed=framed, done=done)

    def ping(self, timeout: float | None = None) -> Mapping[str, str]:
        """Ask for a sign of life on a connection of its own; the headers. Raises as `request` does."""
        seconds = self.timeout if timeout is None else timeout
        connection = self._connection(fresh=True, seconds=seconds)
        try:
            response = self._exchange(connection, "GET", "/_ping", b"", {}, seconds=seconds, patient=False)
            body = response.read()
        except Stale as stale:
            raise stale.fault from stale
        if response.head.status >= 400:
            raise self._refusal(response.head, body)
        return response.head.headers

    def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: bytes | Iterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        patient: bool | None = None,
    ) -> Response:
        """Send one request and give its response with the body still to be read. An error status is raised.

        `patient` is as the class says: by default for all that writes.
        """
        if self.read_only and method not in SAFE_METHODS:
            msg = f"{method} {path} on a read-only client"
            raise WriteOnReadOnlyClient(msg)
        waits = method not in SAFE_METHODS if patient is None else patient
        _ = self._prefix or self.facts
        target = f"{self._prefix}{path}" + (f"?{wire.encode_query(query)}" if query else "")
        response = self._send(method, target, body, headers or {}, patient=waits)
        if response.head.status >= 400:
            raise self._refusal(response.head, response.read())
        return response

    def close(self) -> None:
        """Close all connections; calls that other threads are waiting in fail as Unavailable."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            working = self._open - set(idle)
            self._open.clear()
        for connection in idle:
            connection.close()
        for connection in working:
            connection.link.abort()

    # ---- below the surface ----

    def _negotiate(self, seconds: float) -> EngineFacts:
        try:
            headers = self.ping(seconds)
        except NotFound:  # every engine has a ping: this is somebody else's 404
            headers = {}
        theirs = _version(headers.get("api-version", ""))
        if theirs is None:
            problem = "what answers there is no container engine: its ping has no API version"
            raise Unavailable(self.address, problem, "check the address given with --engine")
        if theirs < OLDEST_API:
            problem = "the engine speaks API {}.{}, which is older than {}.{}".format(*theirs, *OLDEST_API)
            raise Unsupported(self.address, problem, "upgrade the engine to Docker 1.12 or newer")
        api = min(theirs, NEWEST_API)
        self._prefix = "/v{}.{}".format(*api)
        return EngineFacts(
            api=api,
            server=headers.get("server", ""),
            os=headers.get("ostype", ""),
            builder=headers.get("builder-version", ""),
        )

    def _send(
        self, method: str, target: str, body: bytes | Iterable[bytes], headers: Mapping[str, str], *, patient: bool
    ) -> Response:
        connection = self._connection(fresh=False, seconds=self.timeout)
        try:
            return self._exchange(connection, method, target, body, headers, seconds=self.timeout, patient=patient)
        except Stale as stale:
            if method not in SAFE_METHODS:
                raise stale.fault from stale
        connection = self._connection(fresh=True, seconds=self.timeout)
        return self._exchange(connection, method, target, body, headers, seconds=self.timeout, patient=patient)

    def _read(self, head: http11.Head, body: bytes) -> Json:
        if head.status == 404:
            return None
        if head.status >= 400:
            raise self._refusal(head, body)
        return self._parsed(body)

    def _exchange(
        self,
        connection: Connection,
        method: str,
        target: str,
        body: bytes | Iterable[bytes],
        headers: Mapping[str, str],
        *,
        seconds: float,
        patient: bool,
    ) -> Response:
        fields = {**_FIELDS, **headers}
        try:
            if isinstance(body, bytes):
                if body or method not in SAFE_METHODS:
                    fields["Content-Length"] = str(len(body))
                request = http11.render_request(method, target, fields) + body
                connection.start(request, seconds=seconds, patient=patient)
            else:
                fields["Transfer-Encoding"] = "chunked"
                connection.start(http11.render_request(method, target, fields), seconds=seconds, patient=patient)
                connection.feed(body, method)
            return Response(connection, connection.head(method), self._done)
        except BaseException:
            self._done(connection, reusable=False)
            raise

    def _connection(self, *, fresh: bool, seconds: float) -> Connection:
        while not fresh:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
            if connection.idle():
                return connection
            self._done(connection, reusable=False)
        if self._closed:
            raise Unavailable(self.address, "the connection was closed by us")
        connection = Connection(connect(self.endpoint, min(seconds, CONNECT_SECONDS)), self._probe)
        with self._lock:
            self._open.add(connection)
        return connection

    def _done(self, connection: Connection, reusable: bool) -> None:
        with self._lock:
            if reusable and not self._closed:
                self._idle.append(connection)
                return
            self._open.discard(connection)
        connection.close()

    def _probe(self) -> None:
        """Ask for a sign of life; a client that was closed meanwhile has none."""
        self.ping()

    def _refusal(self, head: http11.Head, body: bytes) -> Exception:
        from declarative.dockerapi.faults import fault, message_of

        message = message_of(body) or head.reason
        seconds = head.headers.get("retry-after", "")
        return fault(self.address, head.status, message, retry_after=float(seconds) if seconds.isdecimal() else None)

    def _document(self, response: Response) -> Json:
        body = response.read()
        return None if body.strip() in _NOTHING else self._parsed(body)

    def _parsed(self, body: bytes) -> Json:
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            problem = f"the engine's answer is no JSON: {body[:60]!r}"
            raise Unavailable(self.address, problem, "check the address given with --engine") from error

    def _lines(self, response: Response) -> Iterator[dict[str, Json]]:
        from declarative.dockerapi.streams import LineDecoder, StreamError

        decoder = LineDecoder()
        try:
            for piece in response.pieces():
                for document in decoder.feed(piece):
                    yield self._checked(document)
            for document in decoder.end():
                yield self._checked(document)
        except StreamError as error:
            raise Unavailable(self.address, f"the engine's stream is broken: {error}") from error
        finally:
            response.close()

    def _checked(self, document: dict[str, Json]) -> dict[str, Json]:
        from declarative.dockerapi.faults import line_fault

        if problem := line_fault(self.address, document):
            raise problem
        return document


def _version(text: str) -> tuple[int, int] | None:
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def _dumped(body: Json) -> bytes:
    return b"" if body is None else json.dumps(body).encode()


def _typed(body: Json, headers: Mapping[str, str] | None) -> dict[str, str]:
    return {**({} if body is None else {"Content-Type": "application/json"}), **(headers or {})}
