"""What a verb has of the world: environment, folder, streams. Made once by `main`; tests make their own.

The rule that keeps it simple: nobody below `cli` looks at the process; what they need of it is handed to them from here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from declarative.cli.screen import Screen
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from declarative.cli.options import Args


@record(frozen=False)
class Context:
    """The world around one command. `json`: standard output is one JSON document. `verbose`: how often -v was given."""

    environ: Mapping[str, str]
    folder: Path
    stdin: BinaryIO
    out: Screen
    err: Screen
    json: bool = False
    log_format: str = "text"
    verbose: int = 0
    interactive: bool = False  # somebody can answer a question

    @classmethod
    def of_process(cls) -> Context:
        """Take this process's environment, working folder and streams."""
        import os
        import sys

        environ = dict(os.environ)
        stdin, stdout, stderr = (stream or _nowhere() for stream in (sys.stdin, sys.stdout, sys.stderr))
        return cls(
            environ=environ,
            folder=_working_folder(environ),
            stdin=stdin.buffer,
            out=_screen(stdout, environ),
            err=_screen(stderr, environ),
            interactive=stdin.isatty() and stderr.isatty(),
        )

    def adopt(self, args: Args) -> None:
        """Follow the common options of a command line."""
        self.json = getattr(args, "output", "text") == "json"
        self.log_format = getattr(args, "log_format", "text")
        self.verbose = getattr(args, "verbose", 0)
        if getattr(args, "no_color", False):
            self.out.colour = self.err.colour = False

    @property
    def home(self) -> Path:
        """The person's home folder."""
        return Path(self.environ.get("HOME") or "/")

    def print_json(self, document: object) -> None:
        """Write the one JSON document of a run."""
        import json

        self.out.write(json.dumps(document, indent=2, ensure_ascii=self.out.ascii_json) + "\n")

    def close_screens(self) -> None:
        """Write what is left."""
        self.out.write("")


def _nowhere() -> TextIO:
    """Stand in for a standard stream that was closed when we were started: cron and daemons do that.

    The null device takes the lowest free number, which is the stream's: no connection of ours comes to be written to by mistake.
    """
    import io
    import os

    return io.TextIOWrapper(io.FileIO(os.open(os.devnull, os.O_RDWR), "r+"), encoding="utf-8")


def _working_folder(environ: Mapping[str, str]) -> Path:
    """Give the working folder; where it was removed under us, the name it had: what is looked for in it will not be found."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path(environ.get("PWD") or "/")


def _screen(stream: TextIO, environ: Mapping[str, str]) -> Screen:
    """Colour follows no-color.org: NO_COLOR set to anything but "" switches it off."""
    tty = stream.isatty()
    plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
    return Screen(stream=stream, tty=tty, colour=tty and not plain)
