"""`declarative drift`: what differs from what was last applied. For cron: no write path, exit 0 or 3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from declarative.apply.drift import DriftReport
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.cli.screen import Screen

HELP = (
    "Find what differs from what was last applied: removed, stopped, changed by hand. Changes nothing.\n"
    "Exits with 0 where there is no drift, with 3 where there is."
)
DRIFT = 3


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser)
    parser.add_argument("--filesystem", action="store_true", help="look for files that were added, changed or deleted")
    parser.add_argument("--metrics", metavar="FILE", default="", help="write a Prometheus textfile")
    parser.add_argument(
        "--quiet-repeat",
        metavar="FILE",
        default="",
        help="report and exit with 3 once per distinct drift; what was reported last is remembered in FILE",
    )


UNFINISHED = "an apply is under way, or was killed: wait, or apply again to go on (`declarative doctor` tells which)"


def run(args: Args, context: Context) -> int:
    """Look and report. Files are written last: what was not told, as on a full disk, is told by the next run."""
    from declarative.apply.drift import drift_document, is_news
    from declarative.cli import faults
    from declarative.cli.alarm import alarm
    from declarative.errors import DeclarativeError

    with alarm(args.timeout):
        report = _look(args, context)
    alarming = is_news(report, context.folder / args.quiet_repeat) if args.quiet_repeat else report.drifted
    if context.json:
        context.print_json(drift_document(report))
    elif alarming or not args.quiet_repeat:
        show(report, context.out)
    try:
        _write_files(report, args, context)
    except DeclarativeError as error:
        faults.show(error, context)  # the one document is printed
        return error.exit_code
    return DRIFT if alarming else 0


def _look(args: Args, context: Context) -> DriftReport:
    from declarative.apply.drift import drift_of
    from declarative.apply.run import look
    from declarative.cli.opening import open_stack
    from declarative.core.plan import Policy

    loaded, driver = open_stack(args, context, read_only=True)
    try:
        # Guards stop an apply, not a look: what an apply would refuse to remove is no reason to see nothing.
        policy = Policy(targets=frozenset(args.target), destroy=True, looks=True)
        plan, actual = look(loaded.desired, driver, policy)
        return drift_of(plan, loaded.desired, actual, driver if args.filesystem else None)
    finally:
        driver.close()


def _write_files(report: DriftReport, args: Args, context: Context) -> None:
    import time

    from declarative.apply.drift import drift_metrics, remember
    from declarative.apply.saved import write_whole

    if args.metrics:
        write_whole(context.folder / args.metrics, drift_metrics(report, now=time.time()))
    if args.quiet_repeat and not context.out.broken:
        remember(report, context.folder / args.quiet_repeat)


def show(report: DriftReport, screen: Screen) -> None:
    """Print what drifted."""
    from declarative.core.plan_text import change_line, finding_line

    for step in report.steps:
        place = f" ({step.source})" if step.source else ""
        screen.line(screen.paint(f"{step.label} — {step.cause}{place}", "yellow"))
        for change in step.changes:
            screen.line(f"      {change_line(change)}")
    for finding in report.findings:
        screen.line(screen.paint(finding_line(finding).lstrip(" !"), "yellow"))
    for name, file in report.files:
        screen.line(screen.paint(f"Container/{name} — {file.path} {file.kind}", "yellow"))
    if report.unfinished:
        screen.line(screen.paint(UNFINISHED, "yellow"))
    text = f"{report.count} drifted" if report.drifted else "no drift"
    screen.line(screen.paint(f"{report.stack}: {text}", "bold"))
