"""Runs a verb in this process, with a made-up world, and keeps what it printed.

The rule that keeps it simple: the road is that of `cli.main`, from words to exit code; only the process is left out.
"""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from declarative.cli import main
from declarative.cli.context import Context
from declarative.cli.faults import report
from declarative.cli.screen import Screen
from declarative.drivers.memory import MemoryDriver, MemoryEngine
from declarative.errors import DeclarativeError
from declarative.manifest import schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a run ended."""

    code: int
    out: str
    err: str

    def json(self, name: str) -> Any:
        """Decode the one document on standard output, and hold it to the published schema `name`."""
        document = json.loads(self.out)
        schema.validate(name, document, name)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """A world to run verbs in: a folder, an environment, and whether there is colour."""

    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    colour: bool = False

    def __call__(self, *words: str, stdin: bytes = b"", out: Any = None) -> Ran:
        """Run a command line. `out` takes the place of standard output, of which nothing is kept then."""
        printed, err = io.StringIO(), io.StringIO()
        context = Context(
            environ=self.environ,
            folder=self.folder,
            stdin=io.BytesIO(stdin),
            out=Screen(stream=out or printed, tty=self.colour, colour=self.colour),
            err=Screen(stream=err),
        )
        try:
            code = main._dispatch(list(words), context)
        except DeclarativeError as error:
            code = report(error, context, words)
        return Ran(code=code, out=printed.getvalue(), err=err.getvalue())


class Opened:
    """An engine in memory that the command line finds, and whether it was opened for looking only, each time."""

    def __init__(self) -> None:
        self.engine = MemoryEngine(clock=time.monotonic)
        self.engine.add_image("busybox:latest")
        self.read_only: list[bool] = []

    def open(self, *_: object, read_only: bool = False, **__: object) -> MemoryDriver:
        """Take the place of `connection.open_driver`."""
        self.read_only.append(read_only)
        return MemoryDriver(self.engine)
