"""`declarative plan`: what apply would do. Looks, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common, add_policy

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.core.plan import Plan
    from declarative.core.resources import Desired

HELP = "Show what apply would do: every step, its cause, and where the manifest says so. Changes nothing."


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser)
    add_policy(parser)
    parser.add_argument("--out", metavar="FILE", default="", help="save the plan, to be applied with `apply FILE`")
    parser.add_argument(
        "--exit-code", action="store_true", help="exit with 2 if there are changes, with 3 if there is drift"
    )


def run(args: Args, context: Context) -> int:
    """Plan and show."""
    from declarative.cli.alarm import alarm
    from declarative.cli.opening import open_stack, policy_of

    with alarm(args.timeout):
        loaded, driver = open_stack(args, context, read_only=True)
        try:
            from declarative.apply.run import look

            if args.out:
                _check_place(context.folder / args.out, loaded.desired)
            plan, actual = look(loaded.desired, driver, policy_of(args))
        finally:
            driver.close()
    if args.out:
        from declarative.apply.saved import save

        save(context.folder / args.out, plan, actual, loaded, policy_of(args), engine=driver.address)
    show(plan, context)
    return exit_code(plan) if args.exit_code else 0


def _check_place(path: Path, desired: Desired) -> None:
    """Refuse to save a plan where a build reads it: it would change the very image that it plans. Raises Usage."""
    from declarative.core.resources import BuildSource
    from declarative.errors import Usage
    from declarative.manifest.context.dockerignore import would_send

    for image in desired.images.values():
        source = image.spec.source
        if isinstance(source, BuildSource) and would_send(source.context, source.dockerfile, str(path)):
            problem = f"{path} would be part of the build context of Image/{image.name}, and change that image"
            raise Usage("--out", problem, f"save it elsewhere, or name it in {source.context}/.dockerignore")


def show(plan: Plan, context: Context) -> None:
    """Print a plan in the form that was asked for."""
    if context.json:
        from declarative.core.plan_document import plan_document

        context.print_json(plan_document(plan))
    else:
        from declarative.cli.plan_paint import show_plan

        show_plan(plan, context.out)


def exit_code(plan: Plan) -> int:
    """Give what --exit-code exits with: drift is worse news than pending changes."""
    if plan.drifted:
        return 3
    return 0 if plan.in_sync else 2
