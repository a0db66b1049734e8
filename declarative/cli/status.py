"""`declarative status`: what a stack runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from declarative.apply.status import Row, Status
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.cli.screen import Screen

HELP = "Show what a stack runs: state, image, ports, restarts. With --stack NAME no manifest is needed."
_HEAD = ("NAME", "STATE", "IMAGE", "PORTS", "RESTARTS", "SINCE")


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser)
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 unless everything is there and well")


def run(args: Args, context: Context) -> int:
    """Look and print."""
    from declarative.apply.status import status_document
    from declarative.cli.alarm import alarm

    with alarm(args.timeout):
        status = _look(args, context)
    if context.json:
        context.print_json(status_document(status))
    else:
        show(status, context.out)
    return 1 if args.exit_code and not status.ready else 0


def _look(args: Args, context: Context) -> Status:
    from declarative.apply.scope import scope_of
    from declarative.apply.status import status_of
    from declarative.cli.connection import open_driver
    from declarative.cli.opening import load_manifests
    from declarative.core.state import Scope
    from declarative.record import replace

    loaded = None if args.stack and not args.files else load_manifests(args, context, names_only=True)
    driver = open_driver(args, context, engine=loaded.stack.engine if loaded else "", read_only=True)
    try:
        if loaded is None:
            return status_of(driver.snapshot(Scope(stack=args.stack)), None)
        # registries know nothing of what runs, and may be what is down
        scope = replace(scope_of(loaded.desired), repositories=frozenset(), refresh=frozenset())
        return status_of(driver.snapshot(scope), loaded.desired)
    finally:
        driver.close()


def show(status: Status, screen: Screen) -> None:
    """Print a table."""
    from declarative.apply.status import THERE
    from declarative.cli.drift import UNFINISHED

    if status.unfinished:
        screen.line(screen.paint(UNFINISHED, "yellow"))
    if not status.rows and not status.others:
        screen.line(f"{status.stack}: nothing is there")
        return
    rows = [_cells(row) for row in status.rows]
    widths = [max(len(row[column]) for row in (_HEAD, *rows)) for column in range(len(_HEAD))]
    if rows:
        screen.line(screen.paint(_line(_HEAD, widths), "bold"))
    for row, cells in zip(status.rows, rows, strict=True):
        screen.line(screen.paint(_line(cells, widths), *(() if row.ready else ("red",))))
    for name, state in status.others.items():
        screen.line(name if state == THERE else screen.paint(f"{name} {state}", "red"))
    if status.revision:
        screen.line(screen.paint(f"revision {status.revision}, applied at {status.applied_at}", "dim"))


def _cells(row: Row) -> tuple[str, ...]:
    name = row.name if row.kind == "Container" else f"{row.name} (job)"
    return (name, row.state, row.image, " ".join(row.ports), str(row.restarts or ""), row.since[:19].replace("T", " "))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
