"""The engine's log: lines that people and machines read."""

from __future__ import annotations

import io
import json

from declarative.engine.log import Log


def test_a_line_of_text() -> None:
    said = io.StringIO()
    Log(said, clock=lambda: 1_700_000_000.25).info("image pulled", name="busybox", why="a b", size=5, none="")

    assert said.getvalue() == '2023-11-14T22:13:20.250Z info image pulled name=busybox why="a b" size=5 none=""\n'


def test_a_line_cannot_be_broken_out_of() -> None:
    said = io.StringIO()
    Log(said, clock=lambda: 0.0).warning("odd", name="a\nb\x1b[2J")

    assert said.getvalue().count("\n") == 1
    assert "\x1b" not in said.getvalue()


def test_a_line_of_json() -> None:
    said = io.StringIO()
    log = Log(said, form="json", clock=lambda: 0.0)
    log.fault("handler failed", ValueError("on purpose"), path="/x")
    line = json.loads(said.getvalue())

    assert (line["time"], line["level"], line["event"], line["path"]) == (
        "1970-01-01T00:00:00.000Z",
        "error",
        "handler failed",
        "/x",
    )
    assert "ValueError: on purpose" in line["trace"]


def test_what_is_below_the_level_is_left_out() -> None:
    said = io.StringIO()
    log = Log(said, level="warning")
    log.debug("a")
    log.info("b")

    assert said.getvalue() == ""


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    said = io.StringIO()
    said.close()
    Log(said).info("a")
