"""What `apply`, `destroy` and `rollout undo` have in common: run an apply, show it, and end with the right code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from declarative.apply.events import Event
    from declarative.apply.report import Report
    from declarative.apply.run import ApplyOptions
    from declarative.cli.context import Context
    from declarative.cli.options import Args
    from declarative.cli.progress import Lines
    from declarative.core.plan import Plan, Policy
    from declarative.core.resources import Desired
    from declarative.drivers.docker import DockerDriver
    from declarative.drivers.port import Driver
    from declarative.manifest.load import Loaded


def converge(loaded: Loaded, driver: DockerDriver, policy: Policy, args: Args, context: Context) -> int:
    """Apply what was loaded, and close the driver; gives the exit code."""
    from declarative.apply.manifests import files_of

    try:
        options = options_of(args, context, policy, "apply")
        from declarative.record import replace

        options = replace(options, files=lambda: files_of(loaded))
        report = execute(loaded.desired, driver, options, args, context)
    finally:
        driver.close()
    return conclude(report, args, context)


def options_of(args: Args, context: Context, policy: Policy, command: str) -> ApplyOptions:
    """Give the options of an apply by the command line's."""
    from declarative.apply.run import ApplyOptions
    from declarative.cli.connection import holder, salt

    return ApplyOptions(
        policy=policy,
        parallelism=args.parallelism,
        lock_timeout=args.lock_timeout,
        holder=lambda: holder(context, command),
        salt=salt,
    )


def execute(desired: Desired, driver: Driver, options: ApplyOptions, args: Args, context: Context) -> Report:
    """Run an apply, showing plan and progress; signals and --timeout stop it in good order."""
    from declarative.apply.run import apply
    from declarative.apply.stop import Stop
    from declarative.cli.alarm import stopping
    from declarative.record import replace

    stop = Stop()
    shower = _Shower(context)
    with stopping(context, stop, args.timeout), shower:
        return apply(desired, driver, replace(options, tell=shower, stop=stop))


class _Shower:
    """Shows the plan when it is made, then the steps. What shows steps is loaded when there is a step to show."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._screen = context.err if context.json else context.out
        self._inner: Lines | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._inner is not None:
            self._inner.__exit__(*exc)

    def __call__(self, event: Event) -> None:
        from declarative.apply.events import Planned

        if self._inner is None:
            if isinstance(event, Planned) and self._screen.tty and not self._context.json:
                _show(event.plan, self._context)
            self._inner = self._lines().__enter__()
        self._inner(event)

    def _lines(self) -> Lines:
        context, screen = self._context, self._screen
        if screen.tty and context.log_format == "text" and not context.verbose:
            from declarative.cli.live import Live

            return Live(screen)
        if context.log_format == "json":
            from declarative.cli.log_lines import LogLines

            return LogLines(context.err)
        from declarative.cli.progress import Lines

        return Lines(screen, verbose=bool(context.verbose))


def _show(plan: Plan, context: Context) -> None:
    from declarative.cli.plan_paint import show_plan

    show_plan(plan, context.out)


def conclude(report: Report, args: Args, context: Context) -> int:
    """Print what an apply came to; gives the exit code."""
    if context.json:
        from declarative.apply.report import report_document

        context.print_json(report_document(report))
    else:
        _conclude_text(report, context)
    if report.exit_code:
        from declarative.cli.faults import show

        for error in report.errors():
            show(error, context)
        return report.exit_code
    return 2 if report.changed and getattr(args, "exit_code", False) else 0


def _conclude_text(report: Report, context: Context) -> None:
    from declarative.apply.report import summary

    screen = context.out
    for note in report.notes:
        screen.line(screen.paint(f"note: {note}", "dim"))
    done = summary(report.outcomes)
    if not report.outcomes:
        screen.line(screen.paint(f"{report.stack}: in sync, nothing to do", "bold"))
        return
    left = len(report.unfinished)
    text = done or "nothing done"
    if left:
        text += f"; {left} of {len(report.outcomes)} steps not done"
    screen.line(screen.paint(f"{report.stack}: {text} ({report.seconds:.1f}s)", "bold"))
