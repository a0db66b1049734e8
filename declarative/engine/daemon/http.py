"""What a handler of the daemon gets and gives: a request, and one of five answers.

The rule that keeps it simple: a handler is `(Engine, Request) -> Response`. It raises the errors of `declarative.errors`; the
router alone knows status codes of errors. Nothing here touches a socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from declarative.errors import Invalid
from declarative.oci.json_text import Json, parse
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from declarative.engine.engine import Engine

_FALSE = frozenset({"", "0", "no", "false", "none"})
JSON_MAX = 8 << 20
"""Bytes of a JSON body; the largest real ones, a container's configuration, have some kilobytes."""


class Query:
    """The query of a request, by name; a name may stand several times."""

    def __init__(self, values: Mapping[str, tuple[str, ...]]) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        """Give the first value."""
        found = self._values.get(name)
        return found[0] if found else default

    def texts(self, name: str) -> tuple[str, ...]:
        """Give every value."""
        return self._values.get(name, ())

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Give a boolean, read as Docker does: everything but "", 0, no, false and none is true."""
        found = self._values.get(name)
        if not found:
            return default
        return found[0].strip().lower() not in _FALSE

    def integer(self, name: str, default: int = 0) -> int:
        """Give a whole number. Invalid for anything else."""
        found = self.text(name)
        if not found:
            return default
        try:
            return int(found)
        except ValueError:
            raise Invalid(name, f"{found[:80]!r} is no whole number") from None

    def document(self, name: str) -> Json:
        """Give a value that is JSON, None where it is absent or empty. Invalid where it is none."""
        found = self.text(name)
        if not found:
            return None
        try:
            return parse(found.encode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):
            raise Invalid(name, f"{found[:80]!r} is no JSON") from None

    def filters(self, name: str = "filters") -> dict[str, tuple[str, ...]]:
        """Give `filters`: `{"label": ["a=b"]}`, or of old clients `{"label": {"a=b": true}}`."""
        document = self.document(name)
        if document is None:
            return {}
        if not isinstance(document, dict):
            raise Invalid(name, "is no JSON object")
        found = {}
        for key, values in document.items():
            wanted = [value for value, on in values.items() if on] if isinstance(values, dict) else values
            if not isinstance(wanted, list) or not all(isinstance(value, str) for value in wanted):
                raise Invalid(name, f"the values of {key[:80]!r} are no list of texts")
            found[key] = tuple(wanted)
        return found


class Body(Protocol):
    """A request's body as it comes in."""

    def __iter__(self) -> Iterator[bytes]:
        """Give the pieces. Unavailable where the client goes away in the middle."""


@record
class Request:
    """One request. `version` is (1, 47) for `/v1.47/…`, the newest where the path names none.

    `names` are the path's placeholders, decoded; header names are in lower case. `gone()` tells whether the client has closed its
    side, for work that nobody waits for any more; cheap enough to ask every second.
    """

    method: str
    path: str
    version: tuple[int, int]
    names: Mapping[str, str]
    query: Query
    headers: Mapping[str, str]
    body: Body
    gone: Callable[[], bool]

    def read(self, limit: int = JSON_MAX) -> bytes:
        """Give the whole body. Invalid where it is longer than `limit` bytes."""
        pieces, size = [], 0
        for piece in self.body:
            size += len(piece)
            if size > limit:
                raise Invalid("request", f"the body has more than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def json(self) -> dict[str, Json]:
        """Give the body as a JSON object; {} for an empty body. Invalid for anything else."""
        content = self.read()
        if not content.strip():
            return {}
        try:
            document = parse(content)
        except (ValueError, RecursionError) as error:
            raise Invalid("request", f"the body is no JSON: {error}") from None
        if document is None:
            return {}
        if not isinstance(document, dict):
            raise Invalid("request", "the body is no JSON object")
        return document


class Wire(Protocol):
    """A hijacked connection: bytes both ways, each way ended on its own."""

    def receive(self) -> bytes:
        """Give the next bytes of the client, early ones included; b"" after it closed its side. Blocks."""

    def send(self, data: bytes) -> None:
        """Send. Unavailable where the client has gone."""

    def fileno(self) -> int:
        """Give the socket, to hear by poll that the client has gone: what it sent may wait in `receive` already."""


@record
class Answer:
    """A JSON document."""

    document: Json
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)


@record
class Empty:
    """No body."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)


@record
class Stream:
    """A body in pieces, each sent as soon as it is there; the head goes out before the first piece is asked for.

    Where the client goes away, `chunks` is closed (`GeneratorExit`). An error in it after the start is the handler's to put in
    words: a line `{"errorDetail": {"message": …}, "error": …}` in the streams of build, pull, push and load.
    """

    chunks: Iterable[bytes]
    content_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)


@record
class Feed:
    """A body of JSON lines that `write` sends as it works, with the `send` it is given: what build, pull, push and load tell.

    The head goes out with the first line. An error before it is an answer of its own, with a status; one after it becomes the
    line `{"errorDetail": {"message": …}, "error": …}`. `send` raises Unavailable where the client has gone. `failed` is the
    router's.
    """

    write: Callable[[Callable[[bytes], None]], None]
    content_type: str = "application/json"
    failed: Callable[[Exception], Answer] | None = None


@record
class Hijack:
    """The connection becomes a raw one: `101 UPGRADED` where the client asked to upgrade, else `200`; then `serve` has it.

    It is closed when `serve` returns; `lost` is called instead where the client goes before that. `content_type`:
    `application/vnd.docker.raw-stream` or, for frames from API 1.42 on, `application/vnd.docker.multiplexed-stream`.
    """

    serve: Callable[[Wire], None]
    lost: Callable[[], None] = lambda: None
    content_type: str = "application/vnd.docker.raw-stream"


Response = Answer | Empty | Stream | Feed | Hijack


@record
class Route:
    """One endpoint: `path` as `/containers/{name}/json`; `{name}` may hold slashes where more of the path follows or ends it.

    `since`: the first API version that has it.
    """

    method: str
    path: str
    handler: Callable[[Engine, Request], Response]
    since: tuple[int, int] = (1, 24)
