"""The one text form of a plan, used by terminals, tests, dry runs and documentation.

A step is a line (`+ create Container/web-1 — missing (stack.yaml:3)`), its differences are indented below it. Colour is laid
over this text by the command line; it is not another form.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.core.canonical import HEALTH_DURATIONS
from declarative.oci.units import exact_size, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.core.plan import Change, Finding, Plan, Step, Verb

SIGNS: dict[Verb, str] = {
    "build": "+",
    "pull": "+",
    "load": "+",
    "import": "+",
    "create": "+",
    "run": "+",
    "tag": "~",
    "push": "~",
    "update": "~",
    "start": "~",
    "stop": "~",
    "replace": "±",
    "untag": "-",
    "remove": "-",
    "wait": "…",
}
_DURATIONS = {"spec.stop_grace_period", *(f"spec.healthcheck.{name}" for name in HEALTH_DURATIONS)}
_SIZES = {"spec.shm_size", *(f"spec.resources.{name}" for name in ("memory", "memory_reservation", "memory_swap"))}
_LONGEST = 100  # characters of one value; a longer one is cut in the middle


def plan_text(plan: Plan) -> str:
    """Give the whole plan: steps, drift that nobody mends, notes, and a summary line. Ends with a newline."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    for step in plan.steps:
        yield step_line(step)
        yield from (f"      {change_line(change)}" for change in step.changes)
    for finding in plan.findings:
        yield finding_line(finding)
        yield from (f"      {change_line(change)}" for change in finding.changes)
    yield from (f"note: {note}" for note in plan.notes)
    yield from (f"later: {reason}" for reason in plan.deferred)
    yield summary_line(plan)


def step_line(step: Step) -> str:
    """Give a step's head line."""
    needs = f" after {', '.join(map(str, step.needs))}" if step.needs else ""
    drift = {"change": "", "drift": " [drift]", "both": " [change, drift]"}[step.origin]
    place = f" ({step.source})" if step.source else ""
    return f"{step.id:3} {SIGNS[step.verb]} {step.verb} {step.label} — {step.cause}{drift}{place}{needs}"


def finding_line(finding: Finding) -> str:
    """Give the line of something that drifted and that no step mends."""
    place = f" ({finding.source})" if finding.source else ""
    return f"    ! {finding.kind}/{finding.name} — {finding.cause} [drift]{place}"


def change_line(change: Change) -> str:
    """Give `path: before → after`, with the origin where it is not plainly a change of the manifests."""
    drift = {"change": "", "drift": " [drift]", "both": " [change, drift]"}[change.origin]
    place = f" ({change.source})" if change.source else ""
    before, after = (value_text(change.path, value) for value in (change.before, change.after))
    return f"{change.path}: {before} → {after}{drift}{place}"


def value_text(path: str, value: Any) -> str:
    """Show the JSON value of a path on one line, in the units that manifests are written in; nothing is `(none)`."""
    if value is None:
        return "(none)"
    text = _measured(path, value) if isinstance(value, int) and value > 0 else ""
    text = text or (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True))
    text = text.replace("\n", "\\n")
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}…{text[-half:]}"


def _measured(path: str, value: int) -> str:
    """Write a duration, a size or a number of CPUs; "" for all else."""
    if path in _DURATIONS:
        return format_duration(value)
    if path in _SIZES:
        return exact_size(value)
    return f"{value / 1e9:.9f}".rstrip("0").rstrip(".") if path == "spec.resources.cpus" else ""


def summary_line(plan: Plan) -> str:
    """Give the last line: what there is to do, by verb."""
    if plan.in_sync:
        drift = f", {len(plan.findings)} drifted" if plan.findings else ""
        return f"{plan.stack}: in sync, nothing to do{drift}"
    counts = ", ".join(f"{count} to {verb}" for verb, count in plan.summary().items() if verb != "wait")
    return f"{plan.stack}: {counts}" if counts else f"{plan.stack}: only to wait"
