"""A stack's history: every successful apply is kept in the engine as a tiny image, and can be brought back.

An entry holds the rendered manifests (secrets left out) and, in its labels, what the stack had after that apply. The rule that
keeps it simple: an entry is written last, when all is done; without one the next apply writes it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.core import canonical
from declarative.core.actions import UntagImage, WriteRevision
from declarative.core.state import (
    LABEL_KIND,
    LABEL_OBJECTS,
    LABEL_REVISION,
    LABEL_STACK,
    LABEL_SUMMARY,
    LABEL_UPDATES,
)
from declarative.errors import DeclarativeError, NotFound
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.plan import Plan
    from declarative.core.state import Actual, Revision
    from declarative.drivers.port import Driver, Progress

KEPT = 20
"""Revisions that are kept: enough for a bad week, and each is a few kilobytes."""


@record
class Entry:
    """What one entry is made of, beside the plan.

    `updates`: what was changed in place, by container, since it was made or since the last entry; `remade`: the containers
    that were made anew, of whose older changes nothing is left. `partial`: only targets were applied, so what is not there
    is not claimed.
    """

    files: Mapping[str, str]
    updates: Mapping[str, Mapping[str, Any]]
    remade: frozenset[str] = frozenset()
    summary: str = ""
    salt: str = ""
    partial: bool = False


def record_entry(driver: Driver, action: WriteRevision) -> int:
    """Write an entry, and remove the oldest ones beyond KEPT; gives its number."""
    driver.execute(action, _quiet)
    _forget(driver, action.stack, action.number - KEPT)
    return action.number


def writing(current: Plan, actual: Actual, entry: Entry) -> WriteRevision:
    """Give what writes an entry, the next one after the last."""
    last = actual.revision
    number = last.number + 1 if last is not None else 1
    objects = dict(current.objects)
    if entry.partial:
        before = last.objects if last is not None else {}
        objects = {name: content for name, content in objects.items() if name in before or _is_there(name, actual)}
    updates = _all_updates(last, entry, objects)
    labels = {
        LABEL_STACK: current.stack,
        LABEL_KIND: "History",
        LABEL_REVISION: str(number),
        LABEL_OBJECTS: _json(objects),
        LABEL_UPDATES: _json(_sealed(updates, entry.salt)),
        LABEL_SUMMARY: entry.summary,
    }
    return WriteRevision(stack=current.stack, number=number, files=entry.files, labels=labels)


def renew(driver: Driver, stack: str, revision: Revision, salt: str) -> None:
    """Give an entry a new number and date, with nothing lost at any moment in between."""
    files = driver.revision_files(stack, revision.number)
    labels = {
        LABEL_STACK: stack,
        LABEL_KIND: "History",
        LABEL_REVISION: str(revision.number + 1),
        LABEL_OBJECTS: _json(dict(revision.objects)),
        LABEL_UPDATES: _json(_sealed(revision.updates, salt)),
        LABEL_SUMMARY: revision.summary,
    }
    driver.execute(WriteRevision(stack=stack, number=revision.number + 1, files=files, labels=labels), _quiet)
    driver.execute(UntagImage(reference=reference_of(stack, revision.number)), _quiet)


def _is_there(name: str, actual: Actual) -> bool:
    kind, _, rest = name.partition("/")
    pools: dict[str, Mapping[str, Any]] = {
        "Container": actual.containers,
        "Job": actual.containers,
        "Network": actual.networks,
        "Volume": actual.volumes,
        "Tag": actual.references,
    }
    return rest in pools.get(kind, {})


def _all_updates(last: Revision | None, entry: Entry, objects: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """Give what was changed in place since each container was made: before, and now."""
    before = last.updates if last is not None else {}
    merged: dict[str, Mapping[str, Any]] = {name: paths for name, paths in before.items() if name not in entry.remade}
    for name, paths in entry.updates.items():
        merged[name] = {**merged.get(name, {}), **paths}
    return {name: paths for name, paths in merged.items() if f"Container/{name}" in objects}


def _sealed(updates: Mapping[str, Mapping[str, Any]], salt: str) -> dict[str, Any]:
    return {name: json.loads(canonical.encode(paths, salt)) for name, paths in updates.items()}


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _quiet(progress: Progress) -> None:
    del progress


def _forget(driver: Driver, stack: str, upto: int) -> None:
    """Remove entries up to a number. That this fails is no reason to call the apply failed: the next one tries again."""
    if upto < 1:
        return
    try:
        for revision in driver.revisions(stack):
            if revision.number <= upto:
                driver.execute(UntagImage(reference=reference_of(stack, revision.number)), _quiet)
    except DeclarativeError:
        return


def forget_all(driver: Driver, stack: str) -> int:
    """Remove the whole history of a stack; gives how many entries there were."""
    revisions = driver.revisions(stack)
    for revision in revisions:
        driver.execute(UntagImage(reference=reference_of(stack, revision.number)), _quiet)
    return len(revisions)


def pick(driver: Driver, stack: str, number: int | None) -> Revision:
    """Find revision `number`, or the one before the last. Raises NotFound with what there is."""
    revisions = driver.revisions(stack)
    numbers = [revision.number for revision in revisions]
    subject = f"stack {stack}"
    if number is None:
        if len(revisions) < 2:
            there = "one apply" if revisions else "no apply"
            raise NotFound(subject, f"its history has {there}, so there is nothing to go back to", "apply a manifest")
        return revisions[-2]
    for revision in revisions:
        if revision.number == number:
            return revision
    shown = f"{numbers[0]} to {numbers[-1]}" if numbers else "nothing"
    raise NotFound(
        subject, f"its history has no revision {number}", f"it has {shown}; `declarative history` lists them"
    )


def reference_of(stack: str, number: int) -> str:
    """Give the name of the image that keeps a revision."""
    return f"declarative-history/{stack}:{number}"
