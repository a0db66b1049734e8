"""What becomes of every replica of every Container: keep, create, start, update in place, or replace; no steps yet.

Least disruption (DESIGN 4): a difference that the engine can change on a living container is changed there. Who shares a
namespace with what gets a new id, or was not running, is dragged along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from declarative.core import canonical
from declarative.core.defaults import effective, last_applied, observed
from declarative.core.diff import combined, differences, origin
from declarative.core.plan import Change, Finding
from declarative.core.planner.inplace import is_in_place
from declarative.core.planner.names import bind, shared
from declarative.core.planner.succession import described, has_left, leaves_name
from declarative.core.state import SUFFIX_NEW, SUFFIX_OLD, Owner
from declarative.errors import Conflict
from declarative.record import record

if TYPE_CHECKING:
    from declarative.core.plan import Origin
    from declarative.core.planner.draft import Draft
    from declarative.core.planner.images import ImageOutcome
    from declarative.core.planner.resolve import ImageResolver
    from declarative.core.resources import Container, ContainerSpec
    from declarative.core.state import Canonical, ContainerState

NEEDS = "@needs"  # in the label: the engine names a container depends on, so that removal can go in reverse
Fate = Literal["keep", "create", "start", "restart", "update", "replace", "recreate"]
_NEW_ID: frozenset[Fate] = frozenset({"create", "replace", "recreate"})


@record
class Wanted:
    """What all replicas of one Container ask for, worked out once."""

    container: Container
    spec: ContainerSpec  # in engine names
    flat: Canonical
    target: ImageOutcome
    needs: tuple[str, ...]


@record(frozen=False)
class Verdict:
    """What becomes of one replica. `name` is its engine name, `state` what is there now (perhaps under another name).

    `joins`: it is to be restarted after its update, for it lives in namespaces of a container that is started.
    `held`: another container of ours has the name now, and gives it up.
    """

    wanted: Wanted
    index: int
    name: str
    state: ContainerState | None
    fate: Fate
    cause: str = ""
    changes: tuple[Change, ...] = ()
    origin: Origin = "change"
    joins: bool = False
    held: bool = False

    @property
    def starts(self) -> bool:
        """Whether the same container gets another process, and with it other namespaces."""
        stopped = self.state is not None and broken(self.state) is not None
        return self.fate in ("start", "restart") or (self.fate == "update" and (self.joins or stopped))


class Judge:
    """Judges the replicas of one draft's Containers."""

    def __init__(self, draft: Draft, images: ImageResolver, recreated_volumes: set[str]) -> None:
        self._draft = draft
        self._images = images
        self._recreated = recreated_volumes
        self._verdicts: dict[str, list[Verdict]] = {}
        self._owned: dict[tuple[str, int], list[str]] = {}
        for engine_name, owner in draft.actual.owned("Container"):
            self._owned.setdefault((owner.name, owner.index), []).append(engine_name)
        declared = {network.engine_name(draft.desired.stack) for network in draft.desired.networks.values()}
        self._going = draft.networks_going().keys()
        self._staying = declared | {name for name, _ in draft.actual.owned("Network") if name not in self._going}

    def judge(self) -> dict[str, list[Verdict]]:
        """Give the verdicts on all replicas, by Container."""
        for container in self._draft.desired.containers.values():
            wanted = self._wanted(container)
            self._verdicts[container.name] = [self._judge(wanted, index) for index in range(1, container.replicas + 1)]
        self._follow_namespaces()
        return self._verdicts

    def _wanted(self, container: Container) -> Wanted:
        stack = self._draft.desired.stack
        target = self._images.resolve(container.spec.image, f"Container/{container.name}", container.places)
        spec = bind(container, self._draft.desired, target.reference)
        needs = {
            other.engine_name(stack, 1)
            for name in (*container.depends_on, *shared(container.spec, self._draft.desired))
            if (other := self._draft.desired.containers.get(name)) is not None
        }
        return Wanted(
            container=container,
            spec=spec,
            flat=canonical.container(spec),
            target=target,
            needs=tuple(sorted(needs)),
        )

    def _judge(self, wanted: Wanted, index: int) -> Verdict:
        container = wanted.container
        name = container.engine_name(self._draft.desired.stack, index)
        followed = wanted.target.id if container.spec.image.scheme else ""
        self._draft.claim(f"Container/{container.name}", f"Container/{name}", followed or "")
        state = self._current(container, index, name)
        verdict = Verdict(wanted=wanted, index=index, name=name, state=state, fate="keep")
        owner = owner_of(self._draft.desired.stack, wanted, index)
        self._draft.owners[name] = owner
        holder = self._draft.actual.containers.get(name)
        verdict.held = holder is not None and holder.owner != owner
        adopted = f"Container/{container.name}" in self._draft.policy.adopt
        if verdict.held and holder is not None and (adopted or not leaves_name(self._draft, holder)):
            return self._judge_foreign(verdict, holder)
        if state is None and (before := self._predecessor(name)) is not None:
            self._succeed(verdict, before)
        elif state is None or state.state == "removing":
            verdict.fate, verdict.cause = "create", "missing"
            verdict.origin = "change" if verdict.held else self._draft.origin_of_loss(f"Container/{name}")
        else:
            self._compare(verdict, state)
        return verdict

    def _current(self, container: Container, index: int, name: str) -> ContainerState | None:
        """Find the replica: under its name, else under the name it had (renamed in the manifest), else kept as NAME.old."""
        there = self._owned.get((container.name, index), ())
        if name in there:
            return self._draft.actual.containers[name]
        plain = [other for other in there if not other.endswith((SUFFIX_NEW, SUFFIX_OLD))]
        kept = [other for other in there if other.endswith(SUFFIX_OLD)]
        found = plain or kept
        return self._draft.actual.containers[found[0]] if found else None

    def _predecessor(self, name: str) -> ContainerState | None:
        """Find the Container that leaves, and whose name is taken: under that, or kept as NAME.old by a killed replacement."""
        containers = self._draft.actual.containers
        found = containers.get(name) or containers.get(name + SUFFIX_OLD)
        return found if has_left(self._draft, found) else None

    def _succeed(self, verdict: Verdict, before: ContainerState) -> None:
        assert before.owner is not None  # noqa: S101 - it is of ours
        verdict.state, verdict.held = before, False
        verdict.cause = f"takes the place of {described(before.owner, self._draft.desired.stack)}"
        recreated = any(mount.source in self._recreated for mount in before.spec.volumes)
        verdict.fate = "recreate" if recreated else "replace"

    def _judge_foreign(self, verdict: Verdict, holder: ContainerState) -> Verdict:
        label = f"Container/{verdict.wanted.container.name}"
        if label in self._draft.policy.adopt:
            verdict.state, verdict.fate, verdict.cause = holder, "replace", "adopted from somebody else"
            return verdict
        whose = f"of {described(holder.owner, self._draft.desired.stack)}" if holder.owner else "that is not ours"
        remedy = f"rename or remove it, choose another container_name, or take it over with --adopt {label}"
        place = verdict.wanted.container.places.at("spec.container_name")
        problem = f"there is a container {verdict.name!r} {whose}"
        origin = self._draft.origin_of_loss(f"Container/{verdict.name}")
        self._draft.refuse(Conflict(label, problem, remedy, place), origin)
        return verdict

    def _compare(self, verdict: Verdict, state: ContainerState) -> None:
        wanted = verdict.wanted
        verdict.changes = (
            *image_change(wanted.target, state, wanted.container.places.at("spec.image")),
            *self._spec_changes(wanted, state),
        )
        if state.name != verdict.name:
            verdict.changes = (*verdict.changes, self._name_change(verdict, state))
        trouble = broken(state)
        replace = [change for change in verdict.changes if not is_in_place(change, wanted.spec, state, self._staying)]
        verdict.origin = combined(verdict.changes) if verdict.changes else "change"
        if any(mount.source in self._recreated for mount in state.spec.volumes):
            verdict.fate, verdict.cause = "recreate", "its volume is recreated"
        elif replace or state.state == "dead":
            verdict.fate, verdict.cause = "replace", _cause(replace) if replace else "dead"
        elif state.home in self._going:
            verdict.fate, verdict.cause = "replace", "the network that it was made on is removed"
        elif verdict.changes:
            verdict.fate, verdict.cause = "update", _cause(verdict.changes)
        elif self._is_half_replaced(verdict, state):
            verdict.fate, verdict.cause = "replace", "its replacement was interrupted"
        elif trouble:
            verdict.cause, verdict.fate, verdict.origin = trouble
        else:
            self._note_restart(verdict, state)
        if verdict.changes and trouble and trouble[2] == "drift":
            verdict.cause += f"; {trouble[0]}"
            verdict.origin = origin(changed=verdict.origin != "drift", drifted=True)

    def _is_half_replaced(self, verdict: Verdict, state: ContainerState) -> bool:
        """Whether a killed replacement handed the name over, and nobody has seen the new container ready.

        Replaced once more, it has the old one to come back if it never gets ready.
        """
        kept = self._draft.actual.containers.get(verdict.name + SUFFIX_OLD)
        if kept is None or not (kept.owner == state.owner or has_left(self._draft, kept)):
            return False
        return state.state != "running" or state.health not in ("", "healthy")

    def _spec_changes(self, wanted: Wanted, state: ContainerState) -> tuple[Change, ...]:
        """Compare three ways, image defaults merged in. What the engine cannot show (files) is taken as applied."""
        applied = dict(state.applied or {})
        applied.pop(NEEDS, None)
        revision = self._draft.actual.revision
        if revision is not None and state.name in revision.updates:
            applied |= {path: value for path, value in revision.updates[state.name].items() if value is not None}
        actual = canonical.container(state.spec)
        actual |= canonical.unseen(applied)
        own = self._draft.actual.images.get(state.image_id)
        config = own.config if own is not None else None
        if config is None or wanted.target.id is None:
            # One of the images is not known: its part of the comparison is left out, the image change says it all.
            changes = _stated_changes(wanted, actual, applied)
        else:
            have = observed(actual, (wanted.flat, applied))
            want = effective(wanted.flat, wanted.target.config or config)
            if want == have:
                return ()
            changes = differences(want, have, last_applied(applied, have, config), wanted.container.places)
        return tuple(change for change in changes if not _ignored(change, wanted.container.ignore))

    def _name_change(self, verdict: Verdict, state: ContainerState) -> Change:
        kept = state.name == verdict.name + SUFFIX_OLD
        place = verdict.wanted.container.places.at("spec.container_name")
        drifted = not (kept or verdict.held) and self._draft.remembered(f"Container/{verdict.name}")
        origin: Origin = "drift" if drifted else "change"
        return Change(path="spec.container_name", before=state.name, after=verdict.name, origin=origin, source=place)

    def _note_restart(self, verdict: Verdict, state: ContainerState) -> None:
        """Find what was stopped and started since the last apply, not by a restart policy: by hand, or with its engine."""
        revision = self._draft.actual.revision
        if revision is None or state.restarts or not state.finished or state.started <= revision.noted_at:
            return
        finding = Finding(
            kind="Container",
            name=verdict.name,
            cause=f"restarted by hand or with the engine at {state.started}",
            source=verdict.wanted.container.places.at(""),
        )
        self._draft.findings.append((f"Container/{verdict.wanted.container.name}", finding))

    # ---- shared namespaces ---------------------------------------------------------------------------------------

    def _follow_namespaces(self) -> None:
        """Replace or restart who lives in the namespaces of what gets another id, or was stopped; to the end of chains."""
        moved = True
        while moved:
            moved = False
            for verdicts in self._verdicts.values():
                for verdict in verdicts:
                    moved |= self._follow(verdict)

    def _follow(self, verdict: Verdict) -> bool:
        for name in sorted(shared(verdict.wanted.container.spec, self._draft.desired)):
            owner = self._verdicts[name][0]
            if owner.fate in _NEW_ID and verdict.fate not in _NEW_ID:
                if verdict.fate == "keep":
                    verdict.origin = owner.origin
                verdict.fate, verdict.cause = "replace", f"shares a namespace with {name}, which gets a new container"
                return True
            if owner.starts and verdict.fate in ("keep", "update") and not verdict.starts:
                why = f"shares a namespace with {name}, which was not running"
                if verdict.fate == "keep":
                    verdict.fate, verdict.cause = "restart", why
                else:
                    verdict.joins, verdict.cause = True, f"{verdict.cause}; {why}"
                return True
        return False


def image_change(target: ImageOutcome, state: ContainerState, place: str) -> tuple[Change, ...]:
    """Give the change of a container's image, each with its id: the names are mostly the same."""
    if target.id == state.image_id:
        return ()
    after = f"{target.reference} ({_short(target.id) or target.why})"
    before = f"{state.spec.image.reference} ({_short(state.image_id)})"
    return (Change(path="spec.image", before=before, after=after, source=place),)


def owner_of(stack: str, wanted: Wanted, index: int) -> Owner:
    """Say whose a replica is."""
    return Owner(stack=stack, kind="Container", name=wanted.container.name, index=index)


def _stated_changes(wanted: Wanted, actual: Canonical, applied: Canonical) -> tuple[Change, ...]:
    """Compare only what was stated, now or at the last apply: without its image nobody knows what else belongs there."""
    stated = wanted.flat.keys() | applied.keys()
    have = {path: value for path, value in observed(actual, (wanted.flat, applied)).items() if path in stated}
    return differences(effective(wanted.flat, None), have, last_applied(applied, have, None), wanted.container.places)


def broken(state: ContainerState) -> tuple[str, Fate, Origin] | None:
    """Say why a container that should run does not, and what to do about it."""
    match state.state:
        case "created":
            return "created, never started", "start", "change"
        case "exited":
            return f"stopped (exit code {state.exit_code})", "start", "drift"
        case "paused":
            return "paused", "start", "drift"
        case "restarting":
            return f"keeps exiting (exit code {state.exit_code})", "restart", "drift"
        case _:
            return ("unhealthy", "restart", "drift") if state.health == "unhealthy" else None


def _ignored(change: Change, ignore: tuple[str, ...]) -> bool:
    if change.origin != "drift":
        return False
    names = [change.path]
    if change.path == "spec.resources.memory_swap" and change.after is None:
        names.append("spec.resources.memory")  # nobody states it, so it follows from that
    return any(name == path or name.startswith(path + ".") for name in names for path in ignore)


def _cause(changes: list[Change] | tuple[Change, ...]) -> str:
    names = [change.path.removeprefix("spec.") for change in changes]
    shown = ", ".join(names[:3])
    return f"{shown}{f' and {len(names) - 3} more' if len(names) > 3 else ''} changed"


def _short(image_id: str | None) -> str:
    return image_id.removeprefix("sha256:")[:12] if image_id else ""
