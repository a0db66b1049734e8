"""The engine's log: short constant phrases with keys, as lines of text or of JSON.

The rule that keeps it simple: one line for one thing that happened, written at once. No secrets: callers pass names and ids,
never values of environments, headers or bodies.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

Form = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]

_LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")


class Log:
    """Where events of the engine's own work are written. `clock` gives seconds since 1970. Safe to use from several threads."""

    def __init__(
        self,
        stream: TextIO | None = None,
        form: Form = "text",
        level: Level = "info",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._form = form
        self._least = _LEVELS.index(level)
        self._clock = clock
        self._lock = threading.Lock()

    def debug(self, event: str, **keys: object) -> None:
        """Tell what only somebody who looks for a fault wants to know."""
        self._write("debug", event, keys)

    def info(self, event: str, **keys: object) -> None:
        """Tell of a step in the engine's life."""
        self._write("info", event, keys)

    def warning(self, event: str, **keys: object) -> None:
        """Tell of something amiss that the engine got around."""
        self._write("warning", event, keys)

    def fault(self, event: str, error: BaseException, **keys: object) -> None:
        """Tell of something that should not have happened, with the trace of `error`."""
        self._write("error", event, {**keys, "trace": "".join(traceback.format_exception(error)).rstrip()})

    def _write(self, level: Level, event: str, keys: dict[str, object]) -> None:
        if _LEVELS.index(level) < self._least:
            return
        now = self._clock()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        line = _json(stamp, level, event, keys) if self._form == "json" else _text(stamp, level, event, keys)
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                return  # a full disk or a closed terminal must not stop the engine


def _json(stamp: str, level: str, event: str, keys: dict[str, object]) -> str:
    plain = {name: value if isinstance(value, int | float | bool) else str(value) for name, value in keys.items()}
    return json.dumps({"time": stamp, "level": level, "event": event, **plain}, ensure_ascii=False)


def _text(stamp: str, level: str, event: str, keys: dict[str, object]) -> str:
    trace = keys.pop("trace", "")
    words = [stamp, level, event, *(f"{name}={_quoted(str(value))}" for name, value in keys.items())]
    return " ".join(words) + (f"\n{trace}" if trace else "")


def _quoted(value: str) -> str:
    return value if value and value.isprintable() and not set(value) & set(' "=') else json.dumps(value)
