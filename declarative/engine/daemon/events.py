"""GET /events: what happens in the engine, as lines of JSON.

The rule that keeps it simple: filters are read once into a test of one event; then events pass or do not.
"""

from __future__ import annotations

import contextlib
import json
import queue
from typing import TYPE_CHECKING, Any

from declarative.engine.daemon.filters import check_names, labels_match
from declarative.engine.daemon.http import Request, Response, Route, Stream
from declarative.engine.daemon.times import SECOND, parse_instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.engine.daemon.filters import Filters
    from declarative.engine.engine import Engine
    from declarative.engine.events import Event

_OBJECTS = ("container", "network", "volume", "plugin", "daemon", "service", "node", "secret", "config")
_KNOWN = frozenset({"type", "event", "scope", "label", "image", *_OBJECTS})
_LOOK_SECONDS = 1.0  # how often a silent stream looks whether its client is still there
_BY_BEGINNING = frozenset({"health_status", "exec_create", "exec_start", "exec_die"})


def events(engine: Engine, request: Request) -> Response:
    """GET /events."""
    query = request.query
    now = engine.clock()
    since = parse_instant(query.text("since"), now, "since") if query.text("since") else None
    until = parse_instant(query.text("until"), now, "until") if query.text("until") else None
    filters = query.filters()
    check_names(filters, _KNOWN)

    # Listening begins now, before the head of the answer goes out: whoever reads it may rely on hearing of what comes after.
    ending = contextlib.ExitStack()
    beginning = since if since is not None or until is None else 0
    listener = ending.enter_context(engine.events.listen(beginning))
    taken = _taken(listener, request, until, engine)
    return Stream(chunks=_Lines(taken, filters, ending))


class _Lines:
    """The lines of one listener, who stops listening at their end, or when they are closed, begun or not."""

    def __init__(self, taken: Iterator[Event], filters: Filters, ending: contextlib.ExitStack) -> None:
        self._taken = taken
        self._filters = filters
        self._ending = ending

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        for event in self._taken:
            if matches(event, self._filters):
                return json.dumps(document(event)).encode() + b"\n"
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Stop listening."""
        self._ending.close()


def _taken(listener: queue.Queue[Event | None], request: Request, until: int | None, engine: Engine) -> Iterator[Event]:
    """Give events until the client goes, the daemon ends, or `until` has come."""
    while not request.gone():
        wait = _LOOK_SECONDS
        if until is not None:
            wait = min(wait, max(0.0, (until - engine.clock()) / SECOND))
        try:
            event = listener.get(timeout=wait) if wait else listener.get_nowait()
        except queue.Empty:
            if until is not None and engine.clock() >= until:
                return
            continue
        if event is None:
            return
        if until is None or event.time <= until:
            yield event


def matches(event: Event, filters: Filters) -> bool:
    """Apply filters: values of one name are alternatives, names must all hold (moby, daemon/events/filter.go)."""
    return (
        ("type" not in filters or event.kind in filters["type"])
        and ("scope" not in filters or "local" in filters["scope"])
        and ("event" not in filters or _named(event.action, filters["event"]))
        and labels_match(filters.get("label", ()), event.attributes)
        and ("image" not in filters or _is_of_image(event, filters["image"]))
        and all(_is_object(event, kind, filters[kind]) for kind in _OBJECTS if kind in filters)
    )


def document(event: Event) -> dict[str, Any]:
    """Write an event, with the fields of API 1.21 and before for what had them then."""
    message: dict[str, Any] = {}
    if event.kind in {"container", "image"}:
        message = {"status": event.action, "id": event.id}
    if event.kind == "container":
        message["from"] = event.attributes.get("image", "")
    return message | {
        "Type": event.kind,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": dict(event.attributes)},
        "scope": "local",
        "time": event.time // SECOND,
        "timeNano": event.time,
    }


def _named(action: str, wanted: tuple[str, ...]) -> bool:
    """Actions with a command or a state behind a colon are also found by their beginning."""
    return action in wanted or action.partition(":")[0] in _BY_BEGINNING.intersection(wanted)


def _is_object(event: Event, kind: str, wanted: tuple[str, ...]) -> bool:
    names: tuple[str, ...]
    if event.kind == kind:
        names = (event.id, event.attributes.get("name", ""))
    elif kind == "container" and "container" in event.attributes:  # networks and volumes tell whose they are
        names = (event.attributes["container"],)
    else:
        return False
    return any(name.startswith(text) for name in names for text in wanted if text)


def _is_of_image(event: Event, wanted: tuple[str, ...]) -> bool:
    if event.kind == "image":
        names = {event.id, event.attributes.get("name", "")}
    elif event.kind == "container":
        names = {event.attributes.get("image", "")}
    else:
        return False
    names |= {_without_tag(name) for name in names}
    return not names.isdisjoint(wanted)


def _without_tag(name: str) -> str:
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


ROUTES: tuple[Route, ...] = (Route(method="GET", path="/events", handler=events),)
