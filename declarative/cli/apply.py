"""`declarative apply`: make the engine hold what the manifests ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common, add_execution, add_policy

if TYPE_CHECKING:
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser

HELP = "Make the engine hold what the manifests ask for. Running it again changes nothing. It never asks."


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument("saved", nargs="?", default="", metavar="PLAN", help="a plan saved with `plan --out`")
    add_common(parser)
    add_policy(parser)
    add_execution(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only show the plan, as `declarative plan`; of PLAN, whether it still fits",
    )
    parser.add_argument("--exit-code", action="store_true", help="exit with 2 if something was changed")


def run(args: Args, context: Context) -> int:
    """Apply manifests, or a saved plan."""
    from declarative.cli.opening import open_stack, policy_of

    if args.saved:
        from declarative.cli.saved import apply_saved

        return apply_saved(args, context)
    if args.dry_run:
        from declarative.cli import plan

        args.out = ""
        return plan.run(args, context)
    from declarative.cli.applying import converge

    loaded, driver = open_stack(args, context)
    return converge(loaded, driver, policy_of(args), args, context)
