"""GET /events: which events pass, how they are written, when the stream ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from declarative.engine.daemon.events import document, events, matches
from declarative.engine.daemon.http import Query, Request, Stream
from declarative.engine.daemon.times import SECOND
from declarative.engine.events import Event, Events
from declarative.errors import Invalid

if TYPE_CHECKING:
    from declarative.engine.engine import Engine

_START = Event(
    kind="container",
    action="start",
    id="c1d2",
    time=5_000_000_001,
    attributes={"image": "busybox:1", "name": "web", "l": "v"},
)
_HEALTH = Event(kind="container", action="health_status: healthy", id="c1", time=1, attributes={"name": "web"})
_EXEC = Event(kind="container", action="exec_create: sh -c 'a: b'", id="c1", time=1, attributes={"name": "web"})
_TAG = Event(kind="image", action="tag", id="sha256:ab", time=1, attributes={"name": "localhost:5000/a:1"})
_JOIN = Event(kind="network", action="connect", id="n1", time=1, attributes={"name": "net", "container": "c1d2"})


@pytest.mark.parametrize(
    ("event", "filters", "passes"),
    [
        (_START, {}, True),
        (_START, {"type": ("container",)}, True),
        (_START, {"type": ("image", "network")}, False),
        (_START, {"event": ("start", "stop")}, True),
        (_START, {"event": ("sta",)}, False),
        (_HEALTH, {"event": ("health_status",)}, True),
        (_HEALTH, {"event": ("health_status: healthy",)}, True),
        (_HEALTH, {"event": ("health_status: unhealthy",)}, False),
        (_EXEC, {"event": ("exec_create",)}, True),
        (_EXEC, {"event": ("exec_start",)}, False),
        (_START, {"container": ("c1",)}, True),
        (_START, {"container": ("web",)}, True),
        (_START, {"container": ("we",)}, True),
        (_START, {"container": ("x",)}, False),
        (_JOIN, {"container": ("c1d2",)}, True),
        (_JOIN, {"network": ("net",)}, True),
        (_START, {"network": ("net",)}, False),
        (_START, {"image": ("busybox",)}, True),
        (_START, {"image": ("busybox:1",)}, True),
        (_START, {"image": ("busybox:2",)}, False),
        (_TAG, {"image": ("localhost:5000/a",)}, True),
        (_TAG, {"image": ("localhost",)}, False),
        (_JOIN, {"image": ("net",)}, False),
        (_START, {"label": ("l",)}, True),
        (_START, {"label": ("l=v",)}, True),
        (_START, {"label": ("l=w",)}, False),
        (_START, {"scope": ("local",)}, True),
        (_START, {"scope": ("swarm",)}, False),
        (_START, {"type": ("container",), "container": ("web",), "event": ("die",)}, False),
    ],
)
def test_which_events_pass(event: Event, filters: dict[str, tuple[str, ...]], passes: bool) -> None:
    assert matches(event, filters) is passes


def test_an_event_is_written_with_its_old_fields() -> None:
    assert document(_START) == {
        "status": "start",
        "id": "c1d2",
        "from": "busybox:1",
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": "c1d2", "Attributes": {"image": "busybox:1", "name": "web", "l": "v"}},
        "scope": "local",
        "time": 5,
        "timeNano": 5_000_000_001,
    }
    assert "status" not in document(_JOIN)


class _Engine:
    """An engine that has events and a clock."""

    def __init__(self) -> None:
        self.now = 100 * SECOND
        self.events = Events(lambda: self.now)

    def clock(self) -> int:
        return self.now


def _stream(engine: _Engine, gone: Any = lambda: False, **query: str) -> Stream:
    request = Request(
        method="GET",
        path="/events",
        version=(1, 47),
        names={},
        query=Query({name: (value,) for name, value in query.items()}),
        headers={},
        body=cast("Any", ()),
        gone=gone,
    )
    response = events(cast("Engine", engine), request)
    assert isinstance(response, Stream)
    return response


def _actions(stream: Stream) -> list[str]:
    return [json.loads(line)["Action"] for line in stream.chunks]


def test_what_is_remembered_and_what_comes_until_an_instant() -> None:
    engine = _Engine()
    for second, action in ((100, "a"), (110, "b"), (120, "c"), (130, "d")):
        engine.now = second * SECOND
        engine.events.publish("image", action, "i")

    assert _actions(_stream(engine, since="110", until="120")) == ["b", "c"]
    assert _actions(_stream(engine, since="20s", until="125")) == ["b", "c"]
    assert _actions(_stream(engine, until="115")) == ["a", "b"]
    assert _actions(_stream(engine, since="110", until="130", filters='{"event":["d"]}')) == ["d"]


def test_without_since_only_what_comes_is_told() -> None:
    engine = _Engine()
    engine.events.publish("image", "before", "i")
    asked = iter([False, True])
    stream = _stream(engine, gone=lambda: next(asked))
    engine.events.publish("image", "after", "i")

    assert _actions(stream) == ["after"]


def test_a_stream_that_nobody_begins_to_read_stops_listening_too() -> None:
    engine = _Engine()
    stream = _stream(engine)
    assert engine.events.listening() == 1
    cast("Any", stream.chunks).close()
    assert engine.events.listening() == 0


def test_the_stream_ends_with_the_daemon_and_with_its_client() -> None:
    engine = _Engine()
    assert _actions(_stream(engine, gone=lambda: True)) == []
    lines = iter(_stream(engine, since="0").chunks)
    engine.events.publish("image", "a", "i")
    assert b'"a"' in next(lines)
    engine.events.close()
    assert list(lines) == []
    assert engine.events.listening() == 0


@pytest.mark.parametrize("query", [{"since": "x"}, {"until": "x"}, {"filters": '{"nope":["a"]}'}, {"filters": "["}])
def test_what_cannot_be_read_is_refused_before_the_stream_begins(query: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        _stream(_Engine(), **query)
