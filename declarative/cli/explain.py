"""`declarative explain`: describe a kind or a field, from the same tables that manifests are read by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser

HELP = (
    "Describe a kind or a field: its meaning, type, default and an example.\n\n"
    "  declarative explain\n"
    "  declarative explain Container\n"
    "  declarative explain Container.spec.healthcheck.interval"
)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument(
        "field", nargs="?", default="", metavar="KIND[.FIELD…]", help="what to describe (default: all kinds)"
    )
    parser.add_argument("--list", action="store_true", help="list every path that can be explained")
    parser.add_argument("--no-color", action="store_true", help="no colours, as with NO_COLOR")


def run(args: Args, context: Context) -> int:
    """Print the text; headings stand out where there is colour."""
    from declarative.manifest import explain

    text = "\n".join(explain.paths()) if args.list else explain.explain(args.field)
    for line in text.splitlines():
        context.out.line(_painted(line, context))
    return 0


def _painted(line: str, context: Context) -> str:
    head, colon, rest = line.partition(":")
    if not colon or not head.split(" ")[0].isupper():
        return line
    return context.out.paint(head + colon, "bold") + rest
