"""`declarative history`: what was applied when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser

HELP = (
    "List what was applied when. `rollout undo --to N` brings a revision back. With --stack NAME no manifest is needed."
)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser)
    parser.add_argument("--show", type=int, metavar="N", default=None, help="print the manifests of revision N")


def run(args: Args, context: Context) -> int:
    """List, or show one."""
    from declarative.cli.alarm import alarm
    from declarative.cli.connection import open_driver

    with alarm(args.timeout):
        stack, engine = stack_of(args, context)
        driver = open_driver(args, context, engine=engine, read_only=True)
        try:
            if args.show is not None:
                return _show(driver.revision_files(stack, args.show), context)
            revisions = driver.revisions(stack)
        finally:
            driver.close()
    if context.json:
        document = [
            {
                "number": item.number,
                "applied_at": item.applied_at,
                "summary": item.summary,
                "targets": sorted(item.targets),
            }
            for item in revisions
        ]
        context.print_json({"stack": stack, "revisions": document})
        return 0
    for item in revisions:
        only = f" (only {', '.join(sorted(item.targets))})" if item.targets else ""
        context.out.line(f"{item.number:>4}  {item.applied_at[:19].replace('T', ' ')}  {item.summary}{only}")
    if not revisions:
        context.out.line(f"{stack}: nothing was applied yet")
    return 0


def stack_of(args: Args, context: Context) -> tuple[str, str]:
    """Give the stack's name and the engine it names: by --stack alone, or by the manifests."""
    from declarative.cli.opening import load_manifests

    if args.stack and not args.files:
        return args.stack, ""
    loaded = load_manifests(args, context, names_only=True)
    return loaded.desired.stack, loaded.stack.engine


def _show(files: Mapping[str, str], context: Context) -> int:
    from declarative.apply.manifests import INDEX

    kept = {name: text for name, text in files.items() if name != INDEX}
    if context.json:
        context.print_json(kept)
    else:
        context.out.write("---\n".join(text for _, text in sorted(kept.items())))
    return 0
