"""Jobs: run once per distinct spec and image. The container that ran is the record, and the history is the second one.

Somebody who prunes stopped containers must not make a migration run again: what the last revision says was done with the
same spec and image is done, unless the data went that it was done to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core import canonical
from declarative.core.actions import CreateContainer, RemoveContainer, StartContainer
from declarative.core.defaults import effective, last_applied, observed
from declarative.core.diff import combined, differences
from declarative.core.plan import Await, Step
from declarative.core.planner.holders import freed, replaced_by, with_name
from declarative.core.planner.names import bind, leaves, shared
from declarative.core.planner.stores import removed_volumes
from declarative.core.planner.succession import described, has_left, leaves_name
from declarative.core.planner.verdicts import image_change
from declarative.core.state import Owner
from declarative.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Collection

    from declarative.core.plan import Change, Origin
    from declarative.core.planner.draft import Draft
    from declarative.core.planner.images import ImageOutcome
    from declarative.core.planner.resolve import ImageResolver
    from declarative.core.resources import ContainerSpec, Job
    from declarative.core.state import Canonical, ContainerState


def plan_jobs(draft: Draft, images: ImageResolver, recreated: set[str]) -> None:
    """Plan every Job. `recreated`: volumes that lose their data, so that who filled them has to do it again."""
    emptied = recreated | removed_volumes(draft)
    for job in draft.desired.jobs.values():
        target = images.resolve(job.spec.image, f"Job/{job.name}", job.places)
        spec = bind(job, draft.desired, target.reference)
        _plan_job(draft, images, job, spec, target, recreated, emptied)


def _plan_job(
    draft: Draft,
    images: ImageResolver,
    job: Job,
    spec: ContainerSpec,
    target: ImageOutcome,
    recreated: set[str],
    emptied: set[str],
) -> None:
    name = job.engine_name(draft.desired.stack)
    flat = canonical.container(spec)
    owner = Owner(stack=draft.desired.stack, kind="Job", name=job.name, index=1)
    there = draft.actual.containers.get(name)
    done = _fingerprint(draft, job, flat, target)
    draft.claim(f"Job/{job.name}", f"Job/{name}", done)
    if job.spec.image.scheme:
        draft.claim(f"Job/{job.name}", f"Track/{name}", target.id or "")
    draft.owners[name] = owner
    state = there if there is not None and there.owner == owner else None
    if there is not None and state is None and not leaves_name(draft, there):
        draft.refuse(_foreign(draft, job, there), draft.origin_of_loss(f"Job/{name}"))
        return
    changes = _changes(job, flat, target, state) if state is not None else ()
    lost = _lost(draft, job, spec, emptied)
    held = lost | (_volumes(state.spec) & recreated) if state is not None else set()
    cause, origin = _cause(draft, name, done, state, changes), _origin(changes)
    if held & recreated or lost & recreated:
        cause = "its volume is recreated"
    elif lost and not cause:
        cause, origin = f"what it did is lost with volume {', '.join(sorted(lost))}", "drift"
    if not cause:
        return
    create = CreateContainer(name=name, spec=spec, owner=owner, applied=flat)
    goes_on = state is not None and not changes and not held and state.state == "running"
    fresh = (create, StartContainer(name=name))
    remove = () if held else _removal(draft, there, state, recreated)
    if remove and there is not None and there.owner is not None and state is None:
        cause = f"{cause}; takes the place of {described(there.owner, draft.desired.stack)}"
    if state is not None and held:
        _let_go(draft, job, state, held, spec.networks, cause)
    taken = draft.holders.taken(spec, {name} if remove or there is state else ())
    draft.add(
        Step(
            id=0,
            verb="run",
            kind="Job",
            name=name,
            cause=cause,
            origin=origin,
            changes=changes,
            source=job.places.at(""),
            actions=() if goes_on else (*remove, *fresh),
            awaits=(Await(name=name, condition="completed", deadline=job.deadline),),
            touches=(f"Container/{name}",),
        ),
        resource=f"Job/{job.name}",
        provides=(
            *(f"done:{job.name}", f"container:{job.name}", f"ready:{job.name}"),
            *((freed(name), replaced_by(name)) if remove else ()),
        ),
        needs=(*_needs(draft, images, job, spec), f"gone:{name}"),
        after=leaves(there if remove else state),
        takes=with_name(taken, name) if there is not state and not remove else taken,
    )


def _foreign(draft: Draft, job: Job, there: ContainerState) -> Conflict:
    whose = f"of {described(there.owner, draft.desired.stack)}" if there.owner is not None else "that is not ours"
    problem = f"there is a container {there.name!r} {whose}"
    remedy = "rename or remove it, or choose another container_name"
    return Conflict(f"Job/{job.name}", problem, remedy, job.places.at(""))


def _removal(
    draft: Draft, there: ContainerState | None, state: ContainerState | None, recreated: set[str]
) -> tuple[RemoveContainer, ...]:
    """Give what the job removes itself, when all that it needs is there: its last run, or a Container that it replaces."""
    if there is None or any(mount.source in recreated for mount in there.spec.volumes):
        return ()
    if state is None and not has_left(draft, there):
        return ()
    return (RemoveContainer(name=there.name, volumes=state is not None),)


def _let_go(
    draft: Draft, job: Job, state: ContainerState, volumes: set[str], wanted: Collection[str], cause: str
) -> None:
    """Remove the job's container before the volumes are made anew: it holds them, or says that they were filled."""
    draft.add(
        Step(
            id=0,
            verb="remove",
            kind="Job",
            name=state.name,
            cause=cause,
            source=job.places.at(""),
            actions=(RemoveContainer(name=state.name, volumes=True),),
            touches=(f"Container/{state.name}",),
        ),
        resource=f"Job/{job.name}",
        provides=(f"gone:{state.name}", freed(state.name), *(f"released:{name}" for name in sorted(volumes))),
        needs=tuple(f"network:{name}" for name in state.spec.networks if name in wanted),
    )


def _lost(draft: Draft, job: Job, spec: ContainerSpec, emptied: set[str]) -> set[str]:
    """Name the volumes with which what the job did is gone: its own, or all that it and the containers it works on have.

    Where those have kept one, or write to a folder of the host, nobody knows where its work was; twice may be worse than lost.
    """
    desired = draft.desired
    near = [desired.containers[name] for name in job.depends_on if name in desired.containers]
    specs = (spec, *(bind(container, desired, "") for container in near))
    own, every = _volumes(spec), {name for each in specs for name in _volumes(each)}
    kept = any(mount.type == "bind" and not mount.read_only for each in specs for mount in each.volumes)
    return own & emptied or (every if every <= emptied and not kept else set())


def _volumes(spec: ContainerSpec) -> set[str]:
    return {mount.source for mount in spec.volumes if mount.type == "volume" and mount.source}


def _cause(draft: Draft, name: str, done: str, state: ContainerState | None, changes: tuple[Change, ...]) -> str:
    """Give why the job `name` has to run; "" where what it is to do is done. `done`: its fingerprint."""
    if state is None:
        revision = draft.actual.revision
        before = revision.objects.get(f"Job/{name}") if revision is not None else None
        if before is None:
            return "has not run"
        return "" if done and before == done else "spec or image changed"
    if changes:
        return f"{', '.join(change.path.removeprefix('spec.') for change in changes)} changed"
    return "" if state.state == "exited" and state.exit_code == 0 else _unfinished(state)


def _unfinished(state: ContainerState) -> str:
    if state.state == "running":
        return "is still running"
    if state.state == "created":
        return "was created, never started"
    return f"failed before (exit code {state.exit_code})"


def _origin(changes: tuple[Change, ...]) -> Origin:
    return combined(changes) if changes else "change"


def _changes(job: Job, flat: Canonical, target: ImageOutcome, state: ContainerState) -> tuple[Change, ...]:
    if changed := image_change(target, state, job.places.at("spec.image")):
        return changed
    applied = state.applied or {}
    actual = canonical.container(state.spec)
    actual |= canonical.unseen(applied)
    config = target.config
    have = observed(actual, (flat, applied))
    found = differences(effective(flat, config), have, last_applied(applied, have, config), job.places)
    # what others changed on its container since, as `docker update --restart` of all does, undoes nothing of what it did
    return tuple(change for change in found if change.origin != "drift")


def _fingerprint(draft: Draft, job: Job, flat: Canonical, target: ImageOutcome) -> str:
    """Give what the history keeps of a job that is done: a digest of spec and image; "" while the image is not known."""
    if target.id is None:
        return ""
    text = canonical.encode(flat, f"{draft.desired.stack}/{job.name}") + target.id
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def _needs(draft: Draft, images: ImageResolver, job: Job, spec: ContainerSpec) -> tuple[str, ...]:
    needs = [*images.needs(job.spec.image)]
    needs += [f"network:{name}" for name in spec.networks]
    needs += [f"volume:{mount.source}" for mount in spec.volumes if mount.type == "volume" and mount.source]
    needs += [f"container:{name}" for name in shared(job.spec, draft.desired)]
    for name, condition in job.depends_on.items():
        if name in draft.desired.jobs:
            needs.append(f"done:{name}")
        else:
            needs += [f"container:{name}"] if condition == "started" else [f"ready:{name}", f"container:{name}"]
    return tuple(needs)
