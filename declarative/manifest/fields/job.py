"""The fields of a Job: a container's, without what only makes sense for something that keeps running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.resources import Job
from declarative.manifest.decode import Field, Record
from declarative.manifest.decode_scalars import Duration
from declarative.manifest.fields.container import HINTS, SHARED, check_shared, container_spec
from declarative.manifest.fields.table import Head, Table

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping


ENDLESS = frozenset({"always", "unless-stopped"})
"""Restart policies under which nothing completes."""


def _check(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    check_shared(values, node, reading)
    if values.get("restart") in ENDLESS:
        reading.complain(node.keys["restart"], "a job that is restarted never completes", 'write on-failure:3 or "no"')
    return values


def _make(head: Head, values: dict[str, Any]) -> Job:
    own = {name: values.pop(name) for name in ("container_name", "depends_on", "deadline") if name in values}
    return Job(name=head.name, spec=container_spec(head, values), places=head.tree, **own)


JOB = Table(
    kind="Job",
    doc="A container that runs to completion, once per distinct spec and image.",
    spec=Record(
        "a job's spec",
        (
            *SHARED,
            Field(
                name="deadline",
                type=Duration(),
                doc="How long it may run; 0s for any time.",
                example="10m",
                default="0s",
            ),
        ),
        _check,
        {
            **HINTS,
            "replicas": "a job runs once; write one Job for each run",
            "update": "a job is not rolled out; remove it",
            "drift": "a job that has run does not drift; remove it",
            "timeout": "did you mean `deadline`?",
        },
    ),
    make=_make,
)
