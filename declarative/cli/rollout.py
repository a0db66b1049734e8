"""`declarative rollout undo`: bring an earlier revision back. It is an apply of what the history kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import Parser, add_common, add_execution, add_policy

if TYPE_CHECKING:
    from declarative.cli.context import Context
    from declarative.cli.options import Args

HELP = "Undo an apply: bring back the revision before the last one, or --to N. `declarative history` lists them."


def add_arguments(parser: Parser) -> None:
    """Add `undo` and its options."""
    verbs = parser.add_subparsers(dest="action", metavar="undo", required=True, parser_class=Parser)
    undo = verbs.add_parser("undo", help="bring an earlier revision back", description=HELP)
    add_common(undo)
    add_policy(undo)
    add_execution(undo)
    undo.add_argument(
        "--to", type=int, default=None, metavar="N", help="the revision (default: the one before the last)"
    )
    undo.add_argument("--dry-run", action="store_true", help="only show the plan")
    undo.add_argument("--exit-code", action="store_true", help="exit with 2 if something was changed")


def run(args: Args, context: Context) -> int:
    """Apply the manifests of an earlier revision."""
    from declarative.apply.history import pick, within
    from declarative.apply.kept import with_kept_images
    from declarative.apply.manifests import read_back
    from declarative.cli.applying import converge
    from declarative.cli.connection import open_driver
    from declarative.cli.history import stack_of
    from declarative.cli.opening import load_options, policy_of
    from declarative.record import replace

    stack, engine = stack_of(args, context)
    driver = open_driver(args, context, engine=engine, read_only=True)
    try:
        revision = pick(driver, stack, args.to)
        loaded = read_back(driver.revision_files(stack, revision.number), load_options(args, context))
        loaded = replace(loaded, desired=with_kept_images(loaded.desired, revision))
        policy = within(policy_of(args), revision)
        if args.dry_run:
            from declarative.apply.run import look
            from declarative.cli.plan import show

            show(look(loaded.desired, driver, policy)[0], context)
            return 0
    finally:
        driver.close()
    driver = open_driver(args, context, engine=loaded.stack.engine)
    return converge(loaded, driver, policy, args, context)
