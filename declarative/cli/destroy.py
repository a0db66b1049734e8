"""`declarative destroy`: remove everything that a stack owns. It is an apply of nothing, through the same code.

What the manifests call external is no part of that: it stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common, add_execution

if TYPE_CHECKING:
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.core.plan import Plan, Policy
    from declarative.core.resources import Desired
    from declarative.drivers.port import Driver

HELP = (
    "Remove everything that the stack owns: containers, networks, tags, history; volumes only with --delete-volumes. "
    "Asks on a terminal; elsewhere --yes is needed."
)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser)
    add_execution(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--delete-volumes", action="store_true", help="remove volumes and their data too")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be removed")


def run(args: Args, context: Context) -> int:
    """Look, ask, remove."""
    from declarative.apply.run import look
    from declarative.cli.connection import open_driver
    from declarative.cli.opening import load_manifests, policy_of
    from declarative.cli.plan import show
    from declarative.core.resources import Desired

    loaded = None if args.stack and not args.files else load_manifests(args, context, names_only=True)
    left = Desired(stack=args.stack) if loaded is None else _left(loaded.desired)
    policy = policy_of(args, destroy=True)
    driver = open_driver(args, context, engine=loaded.stack.engine if loaded else "", read_only=args.dry_run)
    try:
        if args.dry_run:
            show(look(left, driver, policy)[0], context)
            return 0
        if not args.yes:
            _ask(look(left, driver, policy)[0], context)
        return _destroy(left, policy, driver, args, context)
    finally:
        driver.close()


def _left(desired: Desired) -> Desired:
    """Give what stays: what the manifests call external, and be it that the stack made it once."""
    from declarative.core.resources import Desired

    return Desired(
        stack=desired.stack,
        networks={name: network for name, network in desired.networks.items() if network.spec.external},
        volumes={name: volume for name, volume in desired.volumes.items() if volume.spec.external},
    )


def _ask(plan: Plan, context: Context) -> None:
    """Ask a person whether to go on. Usage where nobody can answer, Interrupted on any answer but the stack's name."""
    from declarative.cli.plan_paint import show_plan
    from declarative.errors import Interrupted, Usage

    if not context.interactive:
        raise Usage("destroy", "nobody is here to be asked", "give --yes if it is meant")
    if plan.in_sync:
        return
    show_plan(plan, context.err)
    context.err.write(f"Remove all this? Type the stack's name ({plan.stack}) to go on: ")
    if context.stdin.readline().decode(errors="replace").strip() != plan.stack:
        raise Interrupted("destroy", "not confirmed, nothing was removed")


def _destroy(left: Desired, policy: Policy, driver: Driver, args: Args, context: Context) -> int:
    from declarative.apply.history import forget_all
    from declarative.cli.applying import conclude, execute, options_of

    options = options_of(args, context, policy, "destroy")
    report = execute(left, driver, options, args, context)
    if report.done and not policy.targets:
        forget_all(driver, left.stack)
    return conclude(report, args, context)
