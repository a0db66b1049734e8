"""What is owned and no longer asked for: removed in reverse order of dependence, within the delete budget.

The rule that keeps it simple: a removal needs the end of who depends on the object or uses it, and only comes after the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.actions import RemoveContainer, RemoveNetwork, RemoveVolume, RenameContainer, UntagImage
from declarative.core.plan import Change, Step
from declarative.core.planner.holders import freed, replaced_by
from declarative.core.planner.names import familiar
from declarative.core.planner.verdicts import NEEDS
from declarative.core.resources import BuildSource, PullSource
from declarative.core.state import LABEL_NAME, LABEL_STACK, SUFFIX_NEW, SUFFIX_OLD
from declarative.errors import Conflict

if TYPE_CHECKING:
    from declarative.core.planner.draft import Draft
    from declarative.core.resources import Container, Desired, Job, Kind
    from declarative.core.state import Owner

_LEAST_BUDGET = 5


def plan_prune(draft: Draft) -> None:
    """Remove containers, networks and tags that left the manifests; volumes only if the person says so."""
    if not draft.policy.prune:
        return
    containers = _prune_containers(draft)
    _prune_networks(draft, containers)
    _prune_volumes(draft, containers)
    _prune_tags(draft, containers)


def _prune_containers(draft: Draft) -> list[str]:
    desired, actual = draft.desired, draft.actual
    handled = {
        action.name
        for entry in draft.entries
        for action in entry.step.actions
        if isinstance(action, (RemoveContainer, RenameContainer))
    }
    gone: dict[str, Owner] = {}
    for name, owner in sorted((*actual.owned("Container"), *actual.owned("Job")), key=_name):
        plain = name.removesuffix(SUFFIX_NEW).removesuffix(SUFFIX_OLD)
        known = owner in (draft.owners.get(name), draft.owners.get(plain))
        if not known and name not in handled and not draft.provided(replaced_by(name)):
            gone[name] = owner
    dependants: dict[str, list[str]] = {}
    for name in gone:
        for need in (actual.containers[name].applied or {}).get(NEEDS, ()):
            dependants.setdefault(need, []).append(name)
    for name, owner in gone.items():
        kind: Kind = "Job" if owner.kind == "Job" else "Container"
        left = owner.name not in (desired.jobs if kind == "Job" else desired.containers)
        volumes = {mount.source for mount in actual.containers[name].spec.volumes if mount.source}
        draft.add(
            Step(
                id=0,
                verb="remove",
                kind=kind,
                name=name,
                cause=_cause(draft) if left else "has another name now" if kind == "Job" else "fewer replicas",
                actions=(RemoveContainer(name=name, volumes=draft.policy.delete_volumes or kind == "Job"),),
                touches=(f"Container/{name}",),
            ),
            resource=f"{kind}/{owner.name}",
            provides=(f"gone:{name}", freed(name), *(f"released:{volume}" for volume in volumes)),
            needs=tuple(f"gone:{dependant}" for dependant in dependants.get(name, ())),
            after=(f"reattached:{name}",),
            deletes=True,
        )
    return list(gone)


def _prune_networks(draft: Draft, containers: list[str]) -> None:
    for name, owner in sorted(draft.networks_going().items(), key=_name):
        attached = draft.actual.networks[name].attached
        strangers = [other for other in attached if other not in draft.actual.containers]
        if strangers:
            problem = f"is to be removed, but other containers are on it: {', '.join(strangers)}"
            remedy = f"disconnect them (docker network disconnect {name} NAME)"
            draft.problems.append(Conflict(f"Network/{owner.name}", problem, remedy))
            draft.claim(f"Network/{owner.name}", f"Network/{name}")
            continue
        made_on_it = [other for other, state in draft.actual.containers.items() if state.home == name]
        staying = [other for other in (*attached, *made_on_it) if other not in containers]
        leaving = [other for other in containers if name in draft.actual.containers[other].spec.networks]
        draft.add(
            Step(
                id=0,
                verb="remove",
                kind="Network",
                name=name,
                cause=_cause(draft),
                actions=(RemoveNetwork(name=name),),
                touches=(f"Network/{name}",),
            ),
            resource=f"Network/{owner.name}",
            provides=(f"gone-network:{name}",),
            needs=(*(f"gone:{other}" for other in leaving), *_changed(draft, staying)),
            after=tuple(f"gone:{other}" for other in containers),
            deletes=True,
        )


def _name(owned: tuple[str, Owner]) -> str:
    """Sort by name: engines list in any order, and a plan reads the same on all of them."""
    return owned[0]


def _changed(draft: Draft, names: list[str]) -> list[str]:
    """Name the steps that take these containers off a network before it goes."""
    owners = {draft.actual.containers[name].owner for name in names if name in draft.actual.containers}
    changed = [f"container:{owner.name}" for owner in owners if owner is not None]
    return [*changed, *(replaced_by(name) for name in names)]


def _prune_volumes(draft: Draft, containers: list[str]) -> None:
    external = {item.engine_name(draft.desired.stack) for item in draft.desired.volumes.values() if item.spec.external}
    for name, owner in sorted(draft.actual.owned("Volume"), key=_name):
        if f"Volume/{name}" in draft.objects or name in external:
            continue
        if not draft.policy.delete_volumes:
            label = f"Volume/{owner.name}"
            draft.notes[f"{label} ({name}) is kept with its data; --delete-volumes removes it"] = label
            continue
        draft.add(
            Step(
                id=0,
                verb="remove",
                kind="Volume",
                name=name,
                cause=f"{_cause(draft)}; its data is deleted",
                actions=(RemoveVolume(name=name),),
                touches=(f"Volume/{name}",),
            ),
            resource=f"Volume/{owner.name}",
            needs=(f"released:{name}", *_holders(draft, name)),
            after=tuple(f"gone:{other}" for other in containers),
            deletes=True,
        )


def _holders(draft: Draft, volume: str) -> list[str]:
    """Name the steps by which containers that stay let go of a volume: they are replaced, or run once more."""
    return [
        need
        for state in draft.actual.containers.values()
        if state.owner is not None and any(mount.source == volume for mount in state.spec.volumes)
        for need in (f"gone:{state.name}", f"container:{state.owner.name}", replaced_by(state.name))
    ]


def _prune_tags(draft: Draft, containers: list[str]) -> None:
    """Take back the names that Images of the last apply asked for. What a TagScheme published stays: versions are kept.

    One step for all names of an image: engines stumble over two of them being removed at once.
    """
    revision = draft.actual.revision
    gone: dict[str, list[str]] = {}
    objects = revision.objects if revision is not None else {}
    named = _named(draft.desired) if objects else frozenset()
    for name, image_id in objects.items():
        reference = name.removeprefix("Tag/")
        version = f"Version/{reference}"  # published before, or taken over by a scheme now
        kept = not name.startswith("Tag/") or name in draft.objects or version in objects or version in draft.objects
        if kept or draft.actual.references.get(reference) != image_id:
            continue
        if reference in named:
            draft.objects[name] = image_id  # it goes with the last who names it
            continue
        gone.setdefault(image_id, []).append(reference)
    for image_id, names in gone.items():
        state = draft.actual.images.get(image_id)
        if state is None:
            continue
        made = state.labels.get(LABEL_STACK) == draft.desired.stack
        references = [name for name in names if made or name.startswith(f"{draft.desired.stack}/")]
        if not references:
            continue
        owner = state.labels.get(LABEL_NAME, references[0]) if made else references[0]
        draft.add(
            Step(
                id=0,
                verb="untag",
                kind="Image",
                name=owner,
                cause=_cause(draft),
                changes=tuple(Change(path=f"spec.tags.{reference}", before=image_id) for reference in references),
                actions=tuple(UntagImage(reference=reference) for reference in references),
                touches=tuple(f"Tag/{reference}" for reference in references),
            ),
            resource=f"Image/{owner}",
            after=(*(f"gone:{other}" for other in containers), *_tagging(draft)),
        )


def _named(desired: Desired) -> frozenset[str]:
    """List the references by which the manifests name images as if they were others'."""
    users: list[Container | Job] = [*desired.containers.values(), *desired.jobs.values()]
    run = [user.spec.image.reference for user in users if user.spec.image.reference]
    sources = [image.spec.source for image in desired.images.values()]
    bases = [base for source in sources if isinstance(source, BuildSource) for base in source.bases]
    pulled = [source.reference for source in sources if isinstance(source, PullSource)]
    return frozenset(map(familiar, (*run, *bases, *pulled)))


def _tagging(draft: Draft) -> list[str]:
    """Name the steps that give names: an image that lost its last name before it got the next one would be gone."""
    return [*(f"image:{name}" for name in draft.desired.images), *(f"tags:{name}" for name in draft.desired.schemes)]


def _cause(draft: Draft) -> str:
    return "destroyed" if draft.policy.destroy else "no longer in the manifests"


def check_budget(draft: Draft) -> None:
    """Refuse to remove more than the person may have meant; what targets leave alone does not count."""
    policy = draft.policy
    entries = [draft.entries[at] for at in draft.chosen()] if not policy.destroy else []
    deletes = [entry.step.label for entry in entries if entry.deletes]
    if not deletes:
        return
    count = len(deletes)
    owned = sum(len(draft.actual.owned(kind)) for kind in ("Container", "Job", "Network", "Volume"))
    limit = policy.allow_deletes
    if limit is None:
        stated = draft.desired.max_deletes
        limit = 0 if draft.desired.empty else max(_LEAST_BUDGET, owned // 2) if stated is None else stated
    if count <= limit:
        return
    shown = ", ".join(deletes[:5]) + (f" and {count - 5} more" if count > 5 else "")
    problem = f"the manifests no longer ask for {count} of {owned} objects ({shown}); at most {limit} may be removed"
    if draft.desired.empty:
        problem = f"the manifests ask for nothing at all, and {count} objects would be removed ({shown})"
    remedy = f"if that is meant, allow it with --allow-deletes {count}"
    draft.problems.append(Conflict(f"stack {draft.desired.stack}", problem, remedy))
