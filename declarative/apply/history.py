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
    LABEL_APPLIED,
    LABEL_KIND,
    LABEL_NOTED,
    LABEL_OBJECTS,
    LABEL_REVISION,
    LABEL_STACK,
    LABEL_SUMMARY,
    LABEL_TARGETS,
    LABEL_UPDATES,
    Revision,
)
from declarative.errors import Conflict, DeclarativeError, NotFound
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from declarative.core.plan import Plan, Policy, Step
    from declarative.core.state import Actual
    from declarative.drivers.port import Driver, Progress

KEPT = 20
"""Revisions that are kept: enough for a bad week, and each is a few kilobytes."""


@record
class Entry:
    """What one entry is made of, beside the plan.

    `updates`: what was changed in place, by container, since it was made or since the last entry; `remade`: the containers
    that were made anew, of whose older changes nothing is left. `targets`: what alone was applied; empty for everything.
    """

    files: Mapping[str, str]
    updates: Mapping[str, Mapping[str, Any]]
    remade: frozenset[str] = frozenset()
    summary: str = ""
    salt: str = ""
    targets: frozenset[str] = frozenset()


def record_entry(driver: Driver, action: WriteRevision) -> int:
    """Write an entry, and remove the oldest ones beyond KEPT; gives its number."""
    driver.execute(action, _quiet)
    _forget(driver, action.stack, action.number - KEPT)
    return action.number


def writing(current: Plan, actual: Actual, entry: Entry) -> WriteRevision:
    """Give what writes an entry, the next one after the last."""
    last = actual.revision
    revision = Revision(
        number=last.number + 1 if last is not None else 1,
        applied_at="",  # dated by the engine
        summary=entry.summary,
        updates=_all_updates(last, entry, current.objects),
        objects=current.objects,
        targets=entry.targets,
    )
    return _written(current.stack, revision, entry.files, entry.salt)


def renew(driver: Driver, stack: str, revision: Revision, salt: str, *, noted: bool) -> None:
    """Write an entry anew. Its number stays: somebody may have read it, and it takes its own place, so nothing is ever lost.

    `noted`: from now on it is known who was started; what was applied was so when it was, all the same.
    """
    files = driver.revision_files(stack, revision.number)
    action = _written(stack, revision, files, salt)
    dates = {LABEL_APPLIED: revision.applied_at, **({} if noted else {LABEL_NOTED: revision.noted_at})}
    driver.execute(replace(action, labels={**action.labels, **dates}), _quiet)


def without(revision: Revision, removed: Collection[str]) -> Revision:
    """Give an entry that no longer says that the stack has these objects."""
    return replace(revision, objects={name: what for name, what in revision.objects.items() if name not in removed})


def _written(stack: str, revision: Revision, files: Mapping[str, str], salt: str) -> WriteRevision:
    labels = {
        LABEL_STACK: stack,
        LABEL_KIND: "History",
        LABEL_REVISION: str(revision.number),
        LABEL_OBJECTS: _json(dict(revision.objects)),
        LABEL_UPDATES: _json(_sealed(revision.updates, salt)),
        LABEL_SUMMARY: revision.summary,
        LABEL_TARGETS: _json(sorted(revision.targets)),
    }
    return WriteRevision(stack=stack, number=revision.number, files=files, labels=labels)


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


def pick(driver: Driver, stack: str, number: int | None, is_here: Callable[[Revision], bool]) -> Revision:
    """Find revision `number`, or the last one that is not here any more. Raises NotFound with what there is.

    After an apply that failed half way that is the last one, else the last before it that is another one: an apply that mends
    drift writes the same once more. What was applied to targets alone is passed over: the rest of its manifests was perhaps
    never anywhere.
    """
    revisions = driver.revisions(stack)
    numbers = [revision.number for revision in revisions]
    subject = f"stack {stack}"
    if number is None:
        whole = [revision for revision in revisions if not revision.targets]
        if whole and not is_here(whole[-1]):
            return whole[-1]
        before = _other(driver, stack, whole)
        if before is None:
            there = "one apply" if len(whole) == 1 else "no other apply" if whole else "no whole apply"
            text = f"its history has {there if revisions else 'no apply'}, so there is nothing to go back to"
            raise NotFound(subject, text, "apply a manifest")
        return before
    for revision in revisions:
        if revision.number == number:
            return revision
    shown = f"{numbers[0]} to {numbers[-1]}" if numbers else "nothing"
    raise NotFound(
        subject, f"its history has no revision {number}", f"it has {shown}; `declarative history` lists them"
    )


def _other(driver: Driver, stack: str, revisions: Sequence[Revision]) -> Revision | None:
    """Find the last one that has other manifests than the very last, or other images."""
    if len(revisions) < 2:
        return None
    last, files = revisions[-1], driver.revision_files(stack, revisions[-1].number)
    for revision in reversed(revisions[:-1]):
        same = dict(revision.objects) == dict(last.objects)
        if not same or driver.revision_files(stack, revision.number) != files:
            return revision
    return None


def holds(plan: Plan) -> bool:
    """Whether a revision is what is here, by a plan that would bring it back.

    Only what an apply that failed half way can have done counts; what it removed is in no entry any more (see `without`).
    That an object is missing that an entry still has, or was made anew by others, is their doing; that containers stopped
    or fell ill is what people want to undo.
    """
    return all(step.verb in ("start", "wait") or _by_hand(step) for step in plan.steps)


def _by_hand(step: Step) -> bool:
    """Whether no apply of ours made what a step mends.

    Of an update in place and of a moved tag nobody can tell: who made it is noted only once an apply is done.
    """
    return step.origin == "drift" and step.verb not in ("update", "tag", "push")


def within(policy: Policy, revision: Revision) -> Policy:
    """Bring of a revision only back what was applied then. Raises Conflict where other targets are asked for."""
    if not revision.targets:
        return policy
    if not policy.targets <= revision.targets:
        problem = f"of its manifests only {', '.join(sorted(revision.targets))} was applied"
        raise Conflict(f"revision {revision.number}", problem, "leave --target out, or choose another revision")
    return replace(policy, targets=policy.targets or revision.targets)


def reference_of(stack: str, number: int) -> str:
    """Give the name of the image that keeps a revision."""
    return f"declarative-history/{stack}:{number}"
