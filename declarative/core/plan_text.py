"""The one text form of a plan, used by terminals, tests, dry runs and documentation.

A step is a line (`+ create Container/web-1 — missing (stack.yaml:3)`), its differences are indented below it. Colour is laid
over this text by the command line; it is not another form.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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
    return f"{change.path}: {value_text(change.before)} → {value_text(change.after)}{drift}{place}"


def value_text(value: Any) -> str:
    """Show one JSON value on one line; nothing is `(none)`."""
    if value is None:
        return "(none)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    text = text.replace("\n", "\\n")
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}…{text[-half:]}"


def summary_line(plan: Plan) -> str:
    """Give the last line: what there is to do, by verb."""
    if plan.in_sync:
        drift = f", {len(plan.findings)} drifted" if plan.findings else ""
        return f"{plan.stack}: in sync, nothing to do{drift}"
    counts = ", ".join(f"{count} to {verb}" for verb, count in plan.summary().items() if verb != "wait")
    return f"{plan.stack}: {counts}" if counts else f"{plan.stack}: only to wait"
