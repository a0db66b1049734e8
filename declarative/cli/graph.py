"""`declarative graph`: draw what depends on what: a tree, Graphviz, Mermaid, or JSON. Asks no engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser

HELP = (
    "Draw what depends on what.\n\n"
    "  declarative graph\n"
    "  declarative graph --format dot | dot -Tsvg > stack.svg\n"
    "  declarative graph --format mermaid"
)
FORMATS = ("text", "dot", "mermaid")


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", help="a tree, Graphviz or Mermaid (default: text)")


def run(args: Args, context: Context) -> int:
    """Read the manifests and draw."""
    from declarative.cli.alarm import alarm
    from declarative.cli.opening import load_manifests
    from declarative.core import graph as drawing
    from declarative.errors import Invalid

    with alarm(args.timeout):
        graph = drawing.graph_of(load_manifests(args, context, secrets=False).desired)
    for target in args.target:
        if target not in graph.nodes:
            raise Invalid(target, "no such resource to draw", f"the stack has {', '.join(graph.nodes) or 'nothing'}")
    if args.target:
        graph = graph.around(args.target)
    if context.json:
        context.print_json(drawing.document(graph))
        return 0
    draw = {"text": drawing.text, "dot": drawing.dot, "mermaid": drawing.mermaid}[args.format]
    context.out.write(draw(graph))
    return 0
