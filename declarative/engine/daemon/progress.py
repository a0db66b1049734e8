"""Progress of pull, push and load as Docker streams it: one JSON object a line, from which the client draws its bars.

The rule that keeps it simple: one event is one line; what the client can work out itself, such as its speed, is left to it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.engine.images.progress import Event, Pushed, Said
from declarative.oci.units import format_decimal_size

if TYPE_CHECKING:
    from collections.abc import Callable

_BAR = 50  # signs, as in moby's pkg/jsonmessage


def encode(document: dict[str, Any]) -> bytes:
    """Write one line; Docker ends them so, for terminals."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\r\n"


def line(event: Event) -> bytes:
    """Write an event."""
    if isinstance(event, Said):
        return encode({"stream": event.text + "\n"})
    if isinstance(event, Pushed):
        return encode(
            {"progressDetail": {}, "aux": {"Tag": event.tag, "Digest": str(event.digest), "Size": event.size}}
        )
    document: dict[str, Any] = {"status": event.status}
    if event.bar:
        document["progressDetail"] = {"current": event.current, "total": event.total}
        document["progress"] = bar(event.current, event.total)
    elif event.id:
        document["progressDetail"] = {}
    if event.id:
        document["id"] = event.id
    return encode(document)


def bar(current: int, total: int) -> str:
    """Draw `[====>    ]  1.2MB/3MB`; clients before API 1.24 print it as it is."""
    done = format_decimal_size(current).rjust(8)
    if total <= 0:
        return done
    if current > total:  # the total was wrong: then there is no saying how far it is
        return done
    filled = current * 100 // total // 2
    drawn = "=" * filled + ">" + " " * (_BAR - filled)
    return f"[{drawn[: _BAR + 1]}] {done}/{format_decimal_size(total)}"


class Held:
    """A teller that keeps its first line back until there is a second: an error before that has a status of its own."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._first: bytes | None = None
        self._begun = False

    def __call__(self, event: Event) -> None:
        """Tell an event."""
        if not self._begun and self._first is None:
            self._first = line(event)
            return
        self.flush()
        self._send(line(event))

    def flush(self) -> None:
        """Send what was kept back."""
        if self._first is not None:
            self._send(self._first)
            self._first = None
        self._begun = True
