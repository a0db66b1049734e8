"""`declarative schema`: print the JSON Schema of manifests, of one kind, or of a JSON output. For editors and for pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser

HELP = (
    "Print a JSON Schema (draft 2020-12): that of a whole manifest, of one kind, or of what -o json prints.\n\n"
    "  declarative schema > manifest.schema.json     and, as the first line of stack.yaml:\n"
    "  # yaml-language-server: $schema=manifest.schema.json\n"
    "  declarative schema plan\n"
    "  declarative schema --list"
)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument("name", nargs="?", default="manifest", metavar="NAME", help="which one (default: manifest)")
    parser.add_argument("--list", action="store_true", help="list the names")


def run(args: Args, context: Context) -> int:
    """Print the text as it is shipped."""
    from declarative.manifest import schema

    if args.list:
        for name in schema.names():
            context.out.line(name)
        return 0
    context.out.write(schema.text(args.name))
    return 0
