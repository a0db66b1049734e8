"""The schemas of JSON outputs, against what the producers of these documents give."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from declarative.apply.drift import DriftReport, drift_document
from declarative.apply.events import Outcome
from declarative.apply.report import Report, report_document
from declarative.apply.status import Row, Status, status_document
from declarative.cli.faults import as_json
from declarative.core.plan import Change, Finding, Plan, Step
from declarative.core.plan_document import plan_document
from declarative.errors import Failed, InvalidManifest, Problem, Span
from declarative.manifest import schema

CHANGE = Change(path="spec.image", before=None, after={"any": ["thing"]}, origin="both", source="stack.yaml:5")
STEP = Step(id=1, verb="replace", kind="Container", name="s-web-1", cause="image changed", changes=(CHANGE,), needs=())
FINDING = Finding(kind="Container", name="s-web-1", cause="restarted by hand", changes=(CHANGE,))
FAILED = Failed("Image/app", "does not build", "mend it", "Dockerfile:3", output="step 2\n")


def check(name: str, document: Any) -> None:
    Draft202012Validator(json.loads(schema.text(name))).validate(json.loads(json.dumps(document)))


def test_a_plan_fits() -> None:
    plan = Plan(stack="s", engine="docker", steps=(STEP,), findings=(FINDING,), deferred=("because",))
    check("plan", plan_document(plan))
    check("plan", plan_document(Plan(stack="s")))


def test_a_report_fits() -> None:
    outcomes = (
        Outcome(step=STEP, state="failed", seconds=1.5, error=FAILED),
        Outcome(step=STEP, state="skipped", because=1),
    )
    check("report", report_document(Report(stack="s", outcomes=outcomes, stopped=FAILED, notes=("a",), seconds=2.0)))
    check("report", report_document(Report(stack="s")))


def test_drift_fits() -> None:
    check("drift", drift_document(DriftReport(stack="s", engine="docker", steps=(STEP,), findings=(FINDING,))))


def test_status_fits() -> None:
    row = Row(kind="Job", resource="once", name="s-once-1", state="exited (0)", ready=True, ports=("80:80/tcp",))
    status = Status(
        stack="s", engine="docker", revision=0, applied_at="", rows=(row,), others={"Network/s_a": "missing"}
    )
    check("status", status_document(status))


def test_errors_fit() -> None:
    problem = Problem(subject="Container/web", text="wrong", span=Span(file="stack.yaml", line=1, column=2))
    check("errors", {"errors": as_json(InvalidManifest((problem,)))})
    check("errors", {"errors": as_json(FAILED)})


@pytest.mark.parametrize("name", ["plan", "report", "drift", "status", "history", "errors", "saved-plan"])
def test_an_empty_document_does_not_fit(name: str) -> None:
    assert not Draft202012Validator(json.loads(schema.text(name))).is_valid({})
