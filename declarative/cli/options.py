"""The options that verbs share, and a parser whose errors are ours.

Groups: `add_common` (every verb that reads manifests or speaks to an engine), `add_policy` (what a plan may do),
`add_execution` (how an apply runs). The rule that keeps it simple: an option means the same everywhere.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from declarative.errors import Invalid, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

Args = argparse.Namespace

# Common options that take a value: those that may stand before the verb too.
_VALUED = (
    "-f",
    "--file",
    "--engine",
    "--stack",
    "--values",
    "--set",
    "--target",
    "-o",
    "--output",
    "--log-format",
    "--timeout",
)


class _Checking(argparse.HelpFormatter):
    """What argparse checks every added option with. Without a width it would ask shutil for the terminal's: 2 ms."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises Usage (exit 64) instead of leaving with 2, and takes no abbreviations."""

    def __init__(self, prog: str = "declarative", description: str = "", **settings: object) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=_Checking,
            **settings,  # type: ignore[arg-type] # add_subparsers hands its own on
        )

    def format_help(self) -> str:
        """Format for the width of the terminal."""
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        return super().format_help()

    def print_help(self, file: Any = None) -> None:
        """Print the help. What a stream does not take stays in it, and is missed when the run ends."""
        with suppress(OSError):
            super().print_help(file)

    def error(self, message: str) -> NoReturn:
        """Raise Usage for what argparse found wrong."""
        raise Usage("", message, f"`{self.prog} --help` shows the options")


def hoist(arguments: list[str]) -> tuple[str, list[str]]:
    """Find the verb behind options that stand before it; give it and all else in order. "" where there is none."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] != "-":
        if arguments[at] == "--version":
            return "version", arguments[at + 1 :]
        if arguments[at] in {"-h", "--help"}:
            return "help", arguments[at + 1 :]
        at += 2 if arguments[at] in _VALUED else 1
    if at >= len(arguments):
        return "", arguments
    return arguments[at], arguments[:at] + arguments[at + 1 :]


def add_common(parser: argparse.ArgumentParser, *, manifests: bool = True, bare_file: bool = False) -> None:
    """Add what every verb takes; without `manifests` -f and its kin are left out. With `bare_file` -f may stand alone ("")."""
    group = parser.add_argument_group("common options")
    alone: dict[str, Any] = {"nargs": "?", "const": ""} if bare_file else {}
    if manifests:
        group.add_argument(
            "-f", "--file", dest="files", action="append", default=[], metavar="FILE",
            **alone,
            help="a manifest, a folder of manifests, or - for standard input; may be repeated "
            "(default: ./stack.yaml or ./declarative.yaml)",
        )  # fmt: skip
        group.add_argument("--values", action="append", default=[], metavar="FILE", help="values for templates")
        group.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one value for templates")
        group.add_argument("--target", action="append", default=[], metavar="KIND/NAME", type=_target,
                           help="only this resource and what it needs; may be repeated")  # fmt: skip
    group.add_argument("--stack", default="", help="the stack's name")
    group.add_argument("--engine", default="", metavar="URL",
                       help="auto, docker, embedded, unix://…, tcp://… or ssh://… (default: auto)")  # fmt: skip
    add_output(group)
    group.add_argument("--timeout", default=None, type=duration, metavar="DURATION",
                       help="stop after this long, as on Ctrl-C, and fail (default: never)")  # fmt: skip


def add_output(group: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the options about what is printed and how."""
    group.add_argument("-o", "--output", choices=("text", "json"), default="text", help="text or one JSON document")
    group.add_argument("--no-color", action="store_true", help="no colours, as with NO_COLOR")
    group.add_argument("--log-format", choices=("text", "json"), default="text", help="form of messages on stderr")
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more on stderr")


def add_policy(parser: argparse.ArgumentParser) -> None:
    """Add what a plan is allowed to do."""
    group = parser.add_argument_group("guards")
    group.add_argument("--allow-deletes", type=_count, default=None, metavar="N",
                       help="allow this many removals (default: half of the stack, at least 5)")  # fmt: skip
    group.add_argument("--delete-volumes", action="store_true", help="remove volumes and their data too")
    group.add_argument("--allow-retag", action="store_true", help="let a full version tag move")
    group.add_argument("--adopt", action="append", default=[], metavar="KIND/NAME", type=_target,
                       help="take over a foreign object that has the name")  # fmt: skip
    group.add_argument("--no-prune", dest="prune", action="store_false",
                       help="keep what left the manifests")  # fmt: skip


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add how an apply runs."""
    group = parser.add_argument_group("execution")
    group.add_argument("--parallelism", type=_positive, default=8, metavar="N", help="steps at once (default: 8)")
    group.add_argument("--lock-timeout", type=duration, default=0.0, metavar="DURATION",
                       help="wait this long for another apply of the stack to end (default: 0)")  # fmt: skip


def duration(text: str) -> float:
    """Read "90s", "5m" or a number of seconds; gives seconds."""
    from declarative.oci.units import parse_duration

    try:
        bare = text.isascii() and text.replace(".", "", 1).isdigit()
        found = parse_duration(f"{text}s" if bare else text)
    except Invalid as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if found < 0:
        message = f"{text!r} is negative"
        raise argparse.ArgumentTypeError(message)
    return found / 1e9


def _target(text: str) -> str:
    from declarative.core.resources import KINDS

    kind, slash, name = text.partition("/")
    known: dict[str, str] = {item.lower(): item for item in KINDS}
    if not slash or not name or kind.lower() not in known:
        message = f"{text!r} is not KIND/NAME, with a kind of {', '.join(KINDS)}"
        raise argparse.ArgumentTypeError(message)
    return f"{known[kind.lower()]}/{name}"


def _bounded(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            message = f"{text!r} is not a whole number of at least {least}"
            raise argparse.ArgumentTypeError(message)
        return int(text)

    return read


_count = _bounded(0)
_positive = _bounded(1)
