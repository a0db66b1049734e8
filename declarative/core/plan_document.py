"""The JSON form of a plan, whose shape `schemas/plan.schema.json` publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from declarative.core.plan import Change, Finding, Plan, Step


def plan_document(plan: Plan) -> dict[str, Any]:
    """Give the document: plain JSON values, secrets as `***`."""
    return {
        "stack": plan.stack,
        "engine": plan.engine,
        "in_sync": plan.in_sync,
        "drifted": plan.drifted,
        "summary": plan.summary(),
        "steps": [_step(step) for step in plan.steps],
        "findings": [_finding(finding) for finding in plan.findings],
        "notes": list(plan.notes),
        "deferred": list(plan.deferred),
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "id": step.id,
        "action": step.verb,
        "kind": step.kind,
        "name": step.name,
        "cause": step.cause,
        "origin": step.origin,
        "changes": [_change(change) for change in step.changes],
        "needs": list(step.needs),
        "source": step.source,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "name": finding.name,
        "cause": finding.cause,
        "changes": [_change(change) for change in finding.changes],
        "source": finding.source,
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "path": change.path,
        "before": change.before,
        "after": change.after,
        "origin": change.origin,
        "source": change.source,
    }
