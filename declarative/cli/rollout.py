"""`declarative rollout undo`: bring an earlier revision back. It is an apply of what the history kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import Parser, add_common, add_execution, add_policy

if TYPE_CHECKING:
    from declarative.cli.context import Context
    from declarative.cli.options import Args
    from declarative.core.state import Revision
    from declarative.drivers.port import Driver
    from declarative.manifest.load import Loaded

HELP = (
    "Undo an apply: bring back the revision before the last one, or --to N. `declarative history` lists them.\n"
    "Those with the same manifests and images, as when an apply mended drift, count as one.\n"
    "After an apply that failed half way it is the last one: a revision is an apply that was done. That others\n"
    "removed an object does not make it half way. A last revision that cannot be read or planned here any more is left, too."
)


def add_arguments(parser: Parser) -> None:
    """Add `undo` and its options."""
    verbs = parser.add_subparsers(dest="action", metavar="undo", required=True, parser_class=Parser)
    undo = verbs.add_parser("undo", help="bring an earlier revision back", description=HELP)
    add_common(undo)
    add_policy(undo)
    add_execution(undo)
    undo.add_argument(
        "--to", type=int, default=None, metavar="N", help="the revision (default: the last that is not there now)"
    )
    undo.add_argument("--dry-run", action="store_true", help="only show the plan")
    undo.add_argument("--exit-code", action="store_true", help="exit with 2 if something was changed")


def run(args: Args, context: Context) -> int:
    """Apply the manifests of an earlier revision."""
    from declarative.apply.history import holds, pick, within
    from declarative.apply.run import look
    from declarative.cli.applying import converge
    from declarative.cli.connection import open_driver
    from declarative.cli.history import stack_of
    from declarative.cli.opening import policy_of
    from declarative.errors import DeclarativeError, Interrupted, Unavailable
    from declarative.record import replace

    def is_here(revision: Revision) -> bool:
        """Say so as well of what cannot be read or planned any more: that is no reason to stay with it."""
        try:
            desired = _read(driver, stack, revision, args, context).desired
            return holds(look(desired, driver, replace(policy_of(args), unknown_ok=True))[0])
        except (Unavailable, Interrupted):
            raise
        except DeclarativeError:
            return True

    stack, engine = stack_of(args, context)
    driver = open_driver(args, context, engine=engine, read_only=True)
    try:
        revision = pick(driver, stack, args.to, is_here)
        policy = within(policy_of(args), revision)
        loaded = _read(driver, stack, revision, args, context)
        if not context.json:
            context.out.line(context.out.paint(f"{stack}: back to revision {revision.number}", "bold"))
        if args.dry_run:
            from declarative.cli.plan import show

            show(look(loaded.desired, driver, policy)[0], context)
            return 0
    finally:
        driver.close()
    driver = open_driver(args, context, engine=loaded.stack.engine)
    return converge(loaded, driver, policy, args, context)


def _read(driver: Driver, stack: str, revision: Revision, args: Args, context: Context) -> Loaded:
    """Read the manifests of a revision, with the images that it had."""
    from declarative.apply.kept import made_by, with_kept_images
    from declarative.apply.manifests import read_back
    from declarative.cli.opening import load_options
    from declarative.record import replace

    options = replace(load_options(args, context), made=made_by(revision))
    loaded = read_back(driver.revision_files(stack, revision.number), options)
    return replace(loaded, desired=with_kept_images(loaded.desired, revision))
