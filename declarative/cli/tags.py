"""`declarative tags`: where every tag of the tag schemes points now, where it will, and why. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.cli.screen import Screen
    from declarative.core.planner.preview import PlacePreview, SchemePreview, TagPreview, TagRow
    from declarative.core.resources import Desired
    from declarative.errors import DeclarativeError

HELP = (
    "Show where every tag points now and where apply will point it, in the engine and, with push, in the registry.\n"
    "A tag that a higher version holds stays there, and is listed so."
)
_HEAD = ("TAG", "NOW", "THEN", "WHY")
_STYLES = {"create": "green", "move": "yellow", "remove": "red", "hold": "dim", "keep": ""}
_SHORT = 12  # characters of a digest


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a TagScheme (default: all)")
    parser.add_argument("--allow-retag", action="store_true", help="show what is if a full version tag may move")
    parser.add_argument("--exit-code", action="store_true", help="exit with 2 if a tag has to move")


def run(args: Args, context: Context) -> int:
    """Look, settle, show."""
    from declarative.cli.alarm import alarm

    with alarm(args.timeout):
        stack, engine, found = _look(args, context)
    if context.json:
        context.print_json(document(stack, engine, found))
    else:
        show(found, context.out)
    if found.problems:
        return _complain(found.problems, context)
    return 2 if args.exit_code and not found.in_sync else 0


def _look(args: Args, context: Context) -> tuple[str, str, TagPreview]:
    from declarative.apply.scope import scope_of
    from declarative.cli.connection import open_driver
    from declarative.cli.opening import load_manifests
    from declarative.core.plan import Policy
    from declarative.core.planner.preview import preview

    loaded = load_manifests(args, context, secrets=False)
    desired = _chosen(loaded.desired, args)
    driver = open_driver(args, context, engine=loaded.stack.engine, read_only=True)
    try:
        actual = driver.snapshot(scope_of(desired))
    finally:
        driver.close()
    return desired.stack, actual.engine.name, preview(desired, actual, Policy(allow_retag=args.allow_retag))


def _chosen(desired: Desired, args: Args) -> Desired:
    """Keep the images and the schemes that are asked for; what else the stack has moves no tag. Raises NotFound."""
    from declarative.errors import NotFound
    from declarative.manifest.suggest import did_you_mean
    from declarative.record import replace

    targets = [target.partition("/")[2] for target in args.target if target.startswith("TagScheme/")]
    names = [*args.names, *targets]
    for name in names:
        if name not in desired.schemes:
            listed = f"the stack has {', '.join(desired.schemes) or 'none'}"
            remedy = did_you_mean(name, desired.schemes) or listed
            raise NotFound(f"TagScheme/{name}", "there is no such tag scheme", remedy)
    schemes = {name: scheme for name, scheme in desired.schemes.items() if not names or name in names}
    return replace(desired, schemes=schemes, containers={}, jobs={}, networks={}, volumes={})


def _complain(problems: Sequence[DeclarativeError], context: Context) -> int:
    from declarative.cli.faults import show as show_error

    for problem in problems:
        show_error(problem, context)
    return problems[0].exit_code


# ---- text


def show(found: TagPreview, screen: Screen) -> None:
    """Print a table for each scheme in each place."""
    if not found.schemes:
        screen.line("the stack has no tag schemes")
    for number, scheme in enumerate(found.schemes):
        if number:
            screen.line()
        version = scheme.version or "its version is a label of an image that is yet to be made"
        head = f"TagScheme/{scheme.name}: {scheme.repository} {version}"
        screen.line(screen.paint(head, "bold"))
        for place in scheme.places:
            _show_place(scheme, place, screen)


def _show_place(scheme: SchemePreview, place: PlacePreview, screen: Screen) -> None:
    from declarative.cli.table import show_table

    screen.line(f"  in the {place.where}")
    if not place.rows:
        screen.line(screen.paint("    nothing is decided: see the errors", "dim"))
        return
    rows = [(row.tag, _now(row), _then(row, scheme), row.cause) for row in place.rows]
    show_table(screen, _HEAD, rows, styles=[_STYLES[row.action] for row in place.rows], indent="    ")


def _now(row: TagRow) -> str:
    if row.action == "create" or (row.action == "hold" and row.now is None):
        return "-"
    return _named(row.now_version, row.now, "?")


def _then(row: TagRow, scheme: SchemePreview) -> str:
    if row.action == "remove":
        return "removed"
    if row.action in {"keep", "hold"}:
        return "stays" if row.now is not None else "-"
    return _named(row.version or scheme.version, row.after, "to be built")


def _named(version: str, content: str | None, unknown: str) -> str:
    """Write `1.9.2 (0123456789ab)`."""
    short = content.rpartition(":")[2][:_SHORT] if content else unknown
    return f"{version} ({short})" if version else short


# ---- JSON


def document(stack: str, engine: str, found: TagPreview) -> dict[str, Any]:
    """Give the document whose shape `schemas/tags.schema.json` publishes."""
    from declarative.cli.faults import as_json

    return {
        "stack": stack,
        "engine": engine,
        "in_sync": found.in_sync,
        "schemes": [_scheme(scheme) for scheme in found.schemes],
        "errors": [fields for problem in found.problems for fields in as_json(problem)],
    }


def _scheme(scheme: SchemePreview) -> dict[str, Any]:
    places = [
        {"place": place.where, "content": place.content, "tags": [_row(row) for row in place.rows]}
        for place in scheme.places
    ]
    return {"name": scheme.name, "repository": scheme.repository, "version": scheme.version, "places": places}


def _row(row: TagRow) -> dict[str, Any]:
    return {
        "tag": row.tag,
        "action": row.action,
        "now": row.now,
        "now_version": row.now_version,
        "after": row.after,
        "cause": row.cause,
        "version": row.version,
    }
