"""Lays colour over the text of a plan. There is one text (`core.plan_text`); this adds nothing but colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.plan_text import SIGNS, change_line, finding_line, plan_text, step_line, summary_line

if TYPE_CHECKING:
    from declarative.cli.screen import Screen
    from declarative.core.plan import Change, Plan

_COLOURS = {"+": "green", "~": "yellow", "±": "cyan", "-": "red", "…": "dim"}


def show_plan(plan: Plan, screen: Screen) -> None:
    """Print a plan, coloured where the screen may be."""
    if not screen.colour:
        screen.line(plan_text(plan).removesuffix("\n"))
        return
    lines = []
    for step in plan.steps:
        lines.append(screen.paint(step_line(step), _COLOURS[SIGNS[step.verb]]))
        lines += [_change(change, screen) for change in step.changes]
    for finding in plan.findings:
        lines.append(screen.paint(finding_line(finding), "yellow"))
        lines += [_change(change, screen) for change in finding.changes]
    lines += [screen.paint(f"note: {note}", "dim") for note in plan.notes]
    lines += [screen.paint(f"later: {reason}", "dim") for reason in plan.deferred]
    lines.append(screen.paint(summary_line(plan), "bold"))
    screen.line("\n".join(lines))


def _change(change: Change, screen: Screen) -> str:
    line = change_line(change)
    return "      " + screen.paint(line, "yellow" if change.origin != "change" else "dim")
