"""What containers print: merged lines, of the past and as they come.

The rule: one thread for each container that is followed, one queue, and lines that are whole. Without following, lines are merged
by their times.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from declarative.dockerapi.streams import FrameDecoder
from declarative.dockerapi.wire import parse_time
from declarative.drivers.docker.containers import path_of
from declarative.drivers.port import LogLine
from declarative.errors import DeclarativeError, Failed, NotFound, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from declarative.dockerapi.client import EngineClient

LONGEST_LINE = 1 << 20
"""A program that prints no line ends must not fill our memory: what is longer comes in pieces."""


def lines(
    client: EngineClient,
    containers: Sequence[str],
    *,
    follow: bool,
    tail: int | None,
    since: str,
    timestamps: bool,
) -> Iterator[LogLine]:
    """Give the output of containers. `since`: RFC 3339, or "" for all."""
    if follow and len(containers) > 1:
        sources = [_one(client, name, follow=True, tail=tail, since=since, timed=timestamps) for name in containers]
        return _together(sources)
    if len(containers) == 1:
        return _one(client, containers[0], follow=follow, tail=tail, since=since, timed=timestamps)
    return _merged(client, containers, tail=tail, since=since, timestamps=timestamps)


def _merged(
    client: EngineClient, containers: Sequence[str], *, tail: int | None, since: str, timestamps: bool
) -> Iterator[LogLine]:
    from heapq import merge

    sources = [_one(client, name, follow=False, tail=tail, since=since, timed=True) for name in containers]
    for line in merge(*sources, key=lambda line: line.time):
        yield line if timestamps else LogLine(container=line.container, stream=line.stream, text=line.text)


def _together(sources: Sequence[Iterator[LogLine]]) -> Iterator[LogLine]:
    """Read sources side by side until all have ended; an error of one ends them all."""
    queue: SimpleQueue[LogLine | BaseException | None] = SimpleQueue()

    def drain(source: Iterator[LogLine]) -> None:
        try:
            for line in source:
                queue.put(line)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that reads
            queue.put(error)
        finally:
            queue.put(None)

    for source in sources:
        threading.Thread(target=drain, args=(source,), daemon=True).start()
    running = len(sources)
    while running:
        item = queue.get()
        if item is None:
            running -= 1
        elif isinstance(item, BaseException):
            raise item
        else:
            yield item


def _one(
    client: EngineClient, name: str, *, follow: bool, tail: int | None, since: str, timed: bool
) -> Iterator[LogLine]:
    moment = parse_time(since) if since else None
    query = {
        "stdout": True,
        "stderr": True,
        "follow": follow or None,
        "tail": "all" if tail is None else tail,
        "since": f"{moment.timestamp():.6f}" if moment else None,
        "timestamps": timed or None,
    }
    terminal = bool(client.get_json(path_of(name, "/json"))["Config"].get("Tty"))
    splitter = _Splitter(name, timed=timed)
    decoder = FrameDecoder()
    for piece in client.stream_bytes(path_of(name, "/logs"), query):
        if terminal:
            yield from splitter.feed("stdout", piece)
            continue
        for frame in decoder.feed(piece):
            yield from splitter.feed(frame.stream, frame.data)
    yield from splitter.end()


class _Splitter:
    """Makes whole lines of one container's pieces; each stream has its own beginning of a line."""

    def __init__(self, container: str, *, timed: bool) -> None:
        self._container = container
        self._timed = timed
        self._rest: dict[str, bytes] = {}

    def feed(self, stream: str, data: bytes) -> Iterator[LogLine]:
        """Take a piece; give the lines that are complete."""
        whole = self._rest.get(stream, b"") + data
        *ended, rest = whole.split(b"\n")
        for line in ended:
            yield self._line(stream, line)
        if len(rest) > LONGEST_LINE:
            yield self._line(stream, rest)
            rest = b""
        self._rest[stream] = rest

    def end(self) -> Iterator[LogLine]:
        """Give what was not ended by a line feed."""
        for stream, rest in self._rest.items():
            if rest:
                yield self._line(stream, rest)
        self._rest.clear()

    def _line(self, stream: str, line: bytes) -> LogLine:
        time, text = b"", line.removesuffix(b"\r")
        if self._timed:
            time, _, text = text.partition(b" ")
        return LogLine(container=self._container, stream=stream, text=text, time=time.decode("ascii", "replace"))


def last_output(client: EngineClient, name: str, count: int) -> str:
    """Give the last lines of a container; "" where it is gone or its log driver keeps nothing that can be read."""
    try:
        found = list(_one(client, name, follow=False, tail=count, since="", timed=False))
    except (NotFound, Unsupported):
        return ""
    except (Failed, DeclarativeError) as error:
        if "does not support reading" in error.problem:
            return ""
        raise
    return "\n".join(line.text.decode("utf-8", "replace") for line in found[-count:])
