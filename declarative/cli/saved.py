"""`declarative apply PLAN`: apply a plan that was saved, or with --dry-run see whether it still fits.

The rule that keeps it simple: a saved plan keeps the manifests, values and guards that it was made with. What would ask for
others is refused, not left unheard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.errors import Usage

if TYPE_CHECKING:
    from declarative.apply.saved import SavedPlan
    from declarative.cli.context import Context
    from declarative.cli.options import Args
    from declarative.core.plan import Plan
    from declarative.core.state import Actual
    from declarative.drivers.docker import DockerDriver
    from declarative.manifest.load import Loaded


def apply_saved(args: Args, context: Context) -> int:
    """Apply a saved plan, or only show it; refuses if what its steps touch has changed since."""
    from declarative.apply.saved import check_engine, load
    from declarative.cli.connection import open_driver
    from declarative.cli.opening import load_options

    saved = load(context.folder / args.saved)
    _refuse_planning(args)
    loaded = saved.read_manifests(load_options(args, context))
    driver = open_driver(args, context, engine=loaded.stack.engine, read_only=args.dry_run)
    try:
        check_engine(saved, driver.address)
        if args.dry_run:
            return _show(saved, loaded, driver, args, context)
        return _apply(saved, loaded, driver, args, context)
    finally:
        driver.close()


def _refuse_planning(args: Args) -> None:
    """Raise Usage naming every option that only planning heeds."""
    given = {
        "--file": args.files,
        "--values": args.values,
        "--set": args.set,
        "--target": args.target,
        "--stack": args.stack,
        "--allow-deletes": args.allow_deletes is not None,
        "--delete-volumes": args.delete_volumes,
        "--allow-retag": args.allow_retag,
        "--adopt": args.adopt,
        "--no-prune": not args.prune,
    }
    if options := ", ".join(option for option, value in given.items() if value):
        problem = f"a saved plan keeps what it was made with, so it is applied without {options}"
        raise Usage("", problem, "give that to `declarative plan --out FILE`, and apply what it saves")


def _show(saved: SavedPlan, loaded: Loaded, driver: DockerDriver, args: Args, context: Context) -> int:
    from declarative.apply.run import look
    from declarative.apply.saved import still_fits
    from declarative.cli.alarm import alarm
    from declarative.cli.plan import exit_code, show

    with alarm(args.timeout):
        plan, actual = look(loaded.desired, driver, saved.policy)
    still_fits(saved, plan, actual)
    show(plan, context)
    return exit_code(plan) if args.exit_code else 0


def _apply(saved: SavedPlan, loaded: Loaded, driver: DockerDriver, args: Args, context: Context) -> int:
    from declarative.apply.manifests import files_of
    from declarative.apply.saved import still_fits
    from declarative.cli.applying import conclude, execute, options_of
    from declarative.record import replace

    def check(plan: Plan, actual: Actual) -> None:
        still_fits(saved, plan, actual)

    options = options_of(args, context, saved.policy, "apply")
    options = replace(options, files=lambda: files_of(loaded), check=check)
    return conclude(execute(loaded.desired, driver, options, args, context), args, context)
