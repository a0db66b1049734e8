"""From a request line to a handler, and from its errors to a status: the only place that knows which error is which.

Each noun's file has its table of ROUTES; adding an endpoint is a row there and its handler. The rule that keeps it simple: a
path is decoded once, then matched; what a client sent is never matched in two forms.
"""

from __future__ import annotations

import importlib
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from declarative.engine.daemon.http import Answer, Feed, Query, Request, Response, Route
from declarative.engine.daemon.unbuilt import NO_SWARM_NOW, UNBUILT
from declarative.engine.images.disk import disk_error, is_full
from declarative.errors import Conflict, DeclarativeError, Denied, Invalid, NotFound, Unavailable, Unsupported, Usage
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from declarative.engine.daemon.http import Body
    from declarative.engine.engine import Engine
    from declarative.engine.log import Log

NOUNS = (
    "system",
    "events",
    "auth",
    "images",
    "build",
    "distribution",
    "containers",
    "exec",
    "networks",
    "volumes",
    "plugins",
)
"""Files of this folder that have ROUTES."""

NEWEST = (1, 47)
OLDEST = (1, 24)

_VERSIONED = re.compile(r"/v(\d{1,4})\.(\d{1,4})(/.*)", re.DOTALL)
_MAX_FIELDS = 1000
_STATUS: tuple[tuple[type[DeclarativeError], int], ...] = (
    (Invalid, 400),
    (Usage, 400),
    (Denied, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Unsupported, 501),
    (Unavailable, 503),
)
"""Failed and the rest are 500."""


def discover(nouns: Iterable[str] = NOUNS) -> tuple[Route, ...]:
    """Import the nouns' files and give their routes."""
    found: list[Route] = []
    for noun in nouns:
        module = importlib.import_module(f"declarative.engine.daemon.{noun}")
        found += module.ROUTES
    return tuple(found)


def status_of(error: DeclarativeError) -> int:
    """Give the HTTP status of an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


class Router:
    """Answers requests with the handlers of `routes`. Safe to use from several threads."""

    def __init__(self, engine: Engine, routes: Iterable[Route], log: Log) -> None:
        self._engine = engine
        self._log = log
        self._table: dict[str, list[tuple[str, re.Pattern[str], Route]]] = {}
        for route in sorted(routes, key=lambda route: route.path.count("{")):
            self._table.setdefault(_first(route.path), []).append((route.method, _pattern(route.path), route))
        self._unbuilt = [(_pattern(path, rest=True), reason) for path, reason in UNBUILT]

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, gone: Callable[[], bool]
    ) -> Response:
        """Answer one request, whatever happens."""

        def failed(error: Exception) -> Answer:
            return self._failed(error, method, target.partition("?")[0])

        began = time.perf_counter()
        try:
            response = self._answer(method, target, headers, body, gone)
        except Exception as error:  # noqa: BLE001 - a fault in one handler must not end the daemon
            response = failed(error)
        took = round((time.perf_counter() - began) * 1000, 1)
        self._log.debug("request answered", method=method, path=target.partition("?")[0], milliseconds=took)
        return replace(response, failed=failed) if isinstance(response, Feed) else response

    def _failed(self, error: Exception, method: str, path: str) -> Answer:
        if isinstance(error, OSError) and is_full(error):  # wherever it came up: no fault of this daemon
            error = disk_error(error.filename or "data root", error) or error
        if isinstance(error, DeclarativeError):
            status = status_of(error)
            if status >= 500:
                self._log.info("request failed", method=method, path=path, reason=error)
            return Answer(document={"message": str(error)}, status=status)
        self._log.fault("handler failed", error, method=method, path=path)
        return Answer(document={"message": f"the daemon failed: {type(error).__name__}: {error}"}, status=500)

    def _answer(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, gone: Callable[[], bool]
    ) -> Response:
        raw_path, _, raw_query = target.partition("?")
        path, version = _version(_decoded(raw_path))
        found = self._find(method, path, version)
        if found is None:
            return self._no_route(method, path)
        route, names = found
        request = Request(
            method=method,
            path=path,
            version=version,
            names=names,
            query=_query(raw_query),
            headers=headers,
            body=body,
            gone=gone,
        )
        return route.handler(self._engine, request)

    def _find(self, method: str, path: str, version: tuple[int, int]) -> tuple[Route, dict[str, str]] | None:
        for wanted, pattern, route in self._table.get(_first(path), ()):
            if wanted == method and version >= route.since and (match := pattern.fullmatch(path)):
                return route, match.groupdict()
        return None

    def _no_route(self, method: str, path: str) -> Response:
        for pattern, reason in self._unbuilt:
            if pattern.fullmatch(path):
                error = Unavailable if (method, path) in NO_SWARM_NOW else Unsupported
                raise error(f"{method} {path}", reason)
        return Answer(document={"message": "page not found"}, status=404)


def _first(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _pattern(path: str, *, rest: bool = False) -> re.Pattern[str]:
    text = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(path))
    return re.compile(text + ("(?:/.*)?" if rest else ""), re.DOTALL)


def _decoded(path: str) -> str:
    if path.startswith("http://"):  # the absolute form, which servers have to take (RFC 9112 section 3.2.2)
        path = "/" + path.removeprefix("http://").partition("/")[2]
    try:
        decoded = unquote(path, errors="strict") if "%" in path else path
        decoded.encode()
    except UnicodeError:
        raise Invalid("request", "the path is no UTF-8") from None
    if "\0" in decoded:
        raise Invalid("request", "the path has a NUL in it")
    return decoded


def _version(path: str) -> tuple[str, tuple[int, int]]:
    match = _VERSIONED.fullmatch(path)
    if match is None:
        return path, NEWEST
    version = int(match[1]), int(match[2])
    text, oldest, newest = f"{version[0]}.{version[1]}", "{}.{}".format(*OLDEST), "{}.{}".format(*NEWEST)
    if version < OLDEST:
        raise Invalid(
            "",
            f"client version {text} is too old. Minimum supported API version is {oldest}, "
            "please upgrade your client to a newer version",
        )
    if version > NEWEST:
        raise Invalid("", f"client version {text} is too new. Maximum supported API version is {newest}")
    return match[3], version


def _query(text: str) -> Query:
    values: dict[str, tuple[str, ...]] = {}
    if text:
        try:
            fields = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
        except ValueError as error:
            raise Invalid("request", f"the query cannot be read: {error}") from None
        for name, value in fields:
            values[name] = (*values.get(name, ()), value)
    return Query(values)
