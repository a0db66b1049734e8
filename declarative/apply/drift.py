"""Drift: what differs from what was last applied. Only looks: there is no way from here to a change of the engine.

A report is findings (drift that no step would mend), the steps of a plan that would mend drift, and with `--filesystem` the
files in containers that nobody declared. The rule that keeps it simple: pending changes of the manifests are no drift and are
left out.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from typing import TYPE_CHECKING, Any

from declarative.core.plan import Finding, Plan
from declarative.core.plan_document import plan_document
from declarative.errors import Invalid, NotFound, reason_of
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from declarative.core.plan import Change, Step
    from declarative.core.resources import Container, Desired
    from declarative.core.state import Actual
    from declarative.drivers.port import Driver, FileChange

# What an engine writes into every container's layer by itself, to mount its own files over.
_ENGINE_FILES = frozenset(
    {
        "/.dockerenv",
        "/run/.containerenv",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/mtab",
        "/dev/console",
        "/dev/pts",
        "/dev/shm",  # noqa: S108 - a path in a container
    }
)


@record
class DriftReport:
    """Everything that drifted. `steps` are those of an apply now, reduced to their drift; `files` per container.

    `unfinished`: an apply is under way, or was killed, so that what looks like drift may be its doing.
    """

    stack: str
    engine: str
    steps: tuple[Step, ...] = ()
    findings: tuple[Finding, ...] = ()
    files: tuple[tuple[str, FileChange], ...] = ()
    unfinished: bool = False

    @property
    def drifted(self) -> bool:
        """Whether there is any."""
        return bool(self.steps or self.findings or self.files)

    @property
    def count(self) -> int:
        """How many resources drifted, a container's files counting as one."""
        return len(self.steps) + len(self.findings) + len({name for name, _ in self.files})

    def digest(self) -> str:
        """Tell one drift from another: equal for the same drift seen again, whatever the time is."""
        steps = [
            [step.verb, step.label, step.cause, [[c.path, c.before, c.after] for c in step.changes]]
            for step in self.steps
        ]
        findings = [[finding.kind, finding.name, finding.cause] for finding in self.findings]
        files = [[name, change.path, change.kind] for name, change in self.files]
        return hashlib.sha256(json.dumps([self.stack, steps, findings, files]).encode()).hexdigest()


def drift_of(plan: Plan, desired: Desired, actual: Actual, driver: Driver | None = None) -> DriftReport:
    """Reduce a plan to its drift; with `driver` look into the containers' writable layers too."""
    steps = tuple(_reduced(step) for step in plan.steps if step.origin != "change")
    files = tuple(_all_files(desired, actual, driver)) if driver is not None else ()
    return DriftReport(
        stack=plan.stack,
        engine=plan.engine,
        steps=steps,
        findings=plan.findings,
        files=files,
        unfinished=bool(actual.leftovers),
    )


def _reduced(step: Step) -> Step:
    """Leave the changes of the manifests out of a step; it runs nowhere, so what it needs is left out as well."""
    drifted: tuple[Change, ...] = tuple(change for change in step.changes if change.origin != "change")
    return replace(step, changes=drifted, needs=())


# ---- files ----------------------------------------------------------------------------------------------------------


def _all_files(desired: Desired, actual: Actual, driver: Driver) -> Iterator[tuple[str, FileChange]]:
    owned = {name for name, _ in actual.owned("Container")}
    for container in desired.containers.values():
        for index in range(1, container.replicas + 1):
            name = container.engine_name(desired.stack, index)
            if name not in owned:  # missing, or somebody else's
                continue
            try:
                changes = driver.changes(name)
            except NotFound:  # gone since the snapshot; the next run reports it as missing
                continue
            yield from ((name, change) for change in _undeclared(container, changes))


def _undeclared(container: Container, changes: tuple[FileChange, ...]) -> list[FileChange]:
    """Leave out what the manifest put there, what is ignored, and folders that only hold what is left out or reported."""
    declared = {entry.target for entry in container.spec.files} | _ENGINE_FILES
    mounts = {mount.target for mount in container.spec.volumes} | set(container.spec.tmpfs)
    covered = declared | mounts
    kept = [
        change
        for change in changes
        if change.path not in covered
        and not any(change.path.startswith(target.rstrip("/") + "/") for target in mounts)
        and not any(_matches(change.path, pattern) for pattern in container.ignore)
        and not (change.kind == "changed" and _holds(change.path, covered))
    ]
    paths = {change.path for change in changes}
    # A folder counts as changed whenever something in it was added: that is said by the file itself.
    return [change for change in kept if change.kind != "changed" or not _holds(change.path, paths)]


def _holds(folder: str, paths: set[str] | frozenset[str]) -> bool:
    prefix = folder.rstrip("/") + "/"
    return any(path.startswith(prefix) for path in paths)


def _matches(path: str, pattern: str) -> bool:
    """Whether `drift.ignore` covers a file: the path itself, a folder above it, a glob, or `filesystem` for all."""
    if pattern == "filesystem":
        return True
    if not pattern.startswith("/"):
        return False
    plain = pattern.rstrip("/")
    return path == plain or path.startswith(plain + "/") or fnmatch.fnmatchcase(path, pattern)


# ---- forms ----------------------------------------------------------------------------------------------------------


def drift_document(report: DriftReport) -> dict[str, Any]:
    """Give the JSON form, whose shape `schemas/drift.schema.json` publishes."""
    plan = plan_document(Plan(stack=report.stack, engine=report.engine, steps=report.steps, findings=report.findings))
    return {
        "stack": report.stack,
        "engine": report.engine,
        "drifted": report.drifted,
        "digest": report.digest(),
        "unfinished": report.unfinished,
        "steps": plan["steps"],
        "findings": plan["findings"],
        "files": [{"container": name, "path": change.path, "kind": change.kind} for name, change in report.files],
    }


def drift_metrics(report: DriftReport, *, now: float) -> str:
    """Give the text of a Prometheus textfile (exposition format 0.0.4). `now` in seconds since 1970."""
    label = '{stack="' + _escaped(report.stack) + '"}'
    by_kind: dict[str, int] = {}
    for kind in [*(step.kind for step in report.steps), *(finding.kind for finding in report.findings)]:
        by_kind[kind] = by_kind.get(kind, 0) + 1
    lines = [
        "# HELP declarative_drift Whether the stack differs from what was last applied.",
        "# TYPE declarative_drift gauge",
        f"declarative_drift{label} {int(report.drifted)}",
        "# HELP declarative_drift_resources Resources that drifted, by kind.",
        "# TYPE declarative_drift_resources gauge",
    ]
    lines += [
        f'declarative_drift_resources{{stack="{_escaped(report.stack)}",kind="{kind}"}} {by_kind.get(kind, 0)}'
        for kind in ("Image", "TagScheme", "Container", "Job", "Network", "Volume")
    ]
    lines += [
        "# HELP declarative_drift_files Undeclared files in writable layers (with --filesystem).",
        "# TYPE declarative_drift_files gauge",
        f"declarative_drift_files{label} {len(report.files)}",
        "# HELP declarative_drift_checked_timestamp_seconds When drift was looked for.",
        "# TYPE declarative_drift_checked_timestamp_seconds gauge",
        f"declarative_drift_checked_timestamp_seconds{label} {now:.0f}",
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def is_news(report: DriftReport, memory: Path) -> bool:
    """Whether this drift differs from the last one that `memory` was told of. Raises Invalid where that cannot be read."""
    return report.drifted and _told(memory) != report.digest()


def remember(report: DriftReport, memory: Path) -> None:
    """Note a drift that was told. Its end is noted too, so that the same drift coming back is news. Raises Invalid."""
    from declarative.apply.saved import write_whole

    digest = report.digest() if report.drifted else "none"
    if _told(memory) != digest:
        write_whole(memory, digest + "\n")


def _told(memory: Path) -> str:
    try:
        return memory.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    except OSError as error:
        problem = f"cannot be read: {reason_of(error)}"
        raise Invalid(str(memory), problem, "choose another file") from error
