"""`declarative version`: this program's version, and with --engine the engine's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_output

if TYPE_CHECKING:
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser

HELP = "Print the version."


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_output(parser)


def run(args: Args, context: Context) -> int:
    """Print the version; `__version__` is written down, because asking the installed package costs 50 ms."""
    from declarative import __version__

    del args
    if context.json:
        context.print_json({"version": __version__})
    else:
        context.out.line(f"declarative {__version__}")
    return 0
