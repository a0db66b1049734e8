"""`declarative validate`: check manifests without an engine. Every problem of every file, in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.core.resources import Desired
    from declarative.errors import Problem

HELP = (
    "Check manifests: YAML, templates, fields, references, build contexts, versions. Asks no engine.\n"
    "Exits with 0 where they are valid, with 1 where they are not, and then names every problem with its place."
)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser)


def run(args: Args, context: Context) -> int:
    """Read everything, and say what there is."""
    from declarative.cli.alarm import alarm
    from declarative.cli.opening import load_manifests

    with alarm(args.timeout):
        loaded = load_manifests(args, context, secrets=False)
    counts = {kind: len(pool) for kind, pool in pools(loaded.desired).items()}
    if context.json:
        warnings = [_as_json(warning) for warning in loaded.warnings]
        context.print_json({"stack": loaded.desired.stack, "valid": True, "resources": counts, "warnings": warnings})
        return 0
    held = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "nothing"
    context.out.line(f"{context.out.paint('valid', 'green')}: stack {loaded.desired.stack} with {held}")
    return 0


def pools(desired: Desired) -> dict[str, Mapping[str, object]]:
    """Give the resources of a stack by kind, in the order in which they are needed."""
    return {
        "Image": desired.images,
        "TagScheme": desired.schemes,
        "Network": desired.networks,
        "Volume": desired.volumes,
        "Job": desired.jobs,
        "Container": desired.containers,
    }


def _as_json(warning: Problem) -> dict[str, str]:
    return {
        "subject": warning.subject,
        "problem": warning.text,
        "remedy": warning.remedy,
        "place": str(warning.span) if warning.span else "",
    }
