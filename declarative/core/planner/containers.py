"""Containers: from the verdict on every replica to its steps.

A replica is replaced after the one before it, created ones are awaited together, and what an interrupted replacement left
behind is removed once all is well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.actions import CreateContainer, RemoveContainer, RenameContainer, RestartContainer, StartContainer
from declarative.core.plan import Await, Rollout, Step
from declarative.core.planner.holders import freed, meet, replaced_by, with_name
from declarative.core.planner.inplace import networks_of, update_actions
from declarative.core.planner.names import leaves, shared
from declarative.core.planner.succession import has_left
from declarative.core.planner.verdicts import NEEDS, Judge, broken, owner_of
from declarative.core.state import SUFFIX_NEW, SUFFIX_OLD
from declarative.errors import Conflict
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.core.planner.draft import Draft
    from declarative.core.planner.resolve import ImageResolver
    from declarative.core.planner.verdicts import Verdict, Wanted
    from declarative.core.resources import Container, Update
    from declarative.core.state import ContainerState

MONITOR = 100_000_000
"""Nanoseconds that a container that takes nobody's place must stay well, by default, before it counts as ready: long enough
for most programs that cannot run as they were told to say so and exit. What takes a place over is watched longer
(`apply.rollout`), and all are looked at once more when the last one is ready (`apply.last_look`)."""


class ContainerPlanner:
    """Plans every Container."""

    def __init__(self, draft: Draft, images: ImageResolver, recreated_volumes: set[str]) -> None:
        self._draft = draft
        self._images = images
        self._recreated = recreated_volumes
        self._verdicts = Judge(draft, images, recreated_volumes).judge()

    def plan(self) -> None:
        """Plan all replicas of all Containers."""
        for verdicts in self._verdicts.values():
            self._add_steps(verdicts)
        for container in self._draft.desired.containers.values():
            self._await_dependencies(container)

    def _add_steps(self, verdicts: list[Verdict]) -> None:
        awaits = []
        replaced: list[str] = []
        for verdict in verdicts:
            self._remove_leftovers(verdict)
            match verdict.fate:
                case "keep":
                    continue
                case "replace":
                    self._add_replace(verdict, replaced)
                case "recreate":
                    self._add_recreate(verdict)
                    awaits.append(verdict.name)
                case "create":
                    self._check_ports(verdict)
                    self._add(
                        verdict, "create", (self._create(verdict, verdict.name), StartContainer(name=verdict.name))
                    )
                    awaits.append(verdict.name)
                case "update":
                    self._add_update(verdict)
                    awaits += [verdict.name] if verdict.starts else []
                case "start" | "restart":
                    action = StartContainer if verdict.fate == "start" else RestartContainer
                    self._add(verdict, "start", (action(name=verdict.name),))
                    awaits.append(verdict.name)
        if awaits:
            self._add_wait(verdicts[0].wanted, awaits)

    def _add(self, verdict: Verdict, verb: Any, actions: tuple[Any, ...], **more: Any) -> None:
        container = verdict.wanted.container
        provides = (f"container:{container.name}", *more.pop("provides", ()))
        self._draft.add(
            Step(
                id=0,
                verb=verb,
                kind="Container",
                name=verdict.name,
                cause=verdict.cause,
                origin=verdict.origin,
                changes=verdict.changes,
                source=_place(verdict),
                actions=actions,
                touches=(f"Container/{verdict.name}",),
                rollout=more.pop("rollout", None),
            ),
            resource=f"Container/{container.name}",
            provides=provides,
            needs=(*self._needs(verdict.wanted), *more.pop("needs", ())),
            after=leaves(verdict.state),
            takes=self._taken(verdict),
        )

    def _add_replace(self, verdict: Verdict, replaced: list[str]) -> None:
        """Replace one after the other: as many at once as `update.parallelism` says."""
        update = verdict.wanted.container.update
        before = (
            replaced[-update.parallelism :][:1] if update.parallelism and len(replaced) >= update.parallelism else []
        )
        done = f"in its turn:{verdict.name}"
        new = verdict.name + SUFFIX_NEW
        actions: list[Any] = []
        if verdict.state is not None and verdict.state.name != verdict.name:
            actions.append(RenameContainer(name=verdict.state.name, to=verdict.name))
        if new in self._draft.actual.containers:
            actions.append(RemoveContainer(name=new, volumes=True))
        create = self._create(verdict, new, inherit=verdict.name)
        rollout = Rollout(name=verdict.name, create=create, update=self._possible(verdict))
        provides = [f"ready:{verdict.wanted.container.name}", done]
        if verdict.state is not None:
            provides += (freed(verdict.state.name), replaced_by(verdict.state.name))
        self._check_ports(verdict)
        self._check_names(verdict, rollout)
        self._add(verdict, "replace", tuple(actions), rollout=rollout, provides=provides, needs=before)
        replaced.append(done)

    def _possible(self, verdict: Verdict) -> Update:
        """Give the rollout's rules; two containers cannot hold one port or address, so such a one is stopped first."""
        wanted = verdict.wanted
        fixed = any(port.published for port in wanted.spec.ports) or any(
            attachment.ipv4_address or attachment.ipv6_address for attachment in wanted.spec.networks.values()
        )
        update = wanted.container.update
        if update.order != "start-first":
            return update
        name = f"Container/{wanted.container.name}"
        if fixed:
            self._draft.notes[f"{name} has a fixed port or address: it is stopped first, not started first"] = name
            return replace(update, order="stop-first")
        written = [mount.target for mount in wanted.spec.volumes if mount.type == "volume" and not mount.read_only]
        if written and wanted.container.replicas == 1:  # several share it all the time
            note = f"{name} is started first: for a moment both have the volume at {', '.join(written)}"
            self._draft.notes[f"{note}; if it cannot bear that, as databases cannot, say order: stop-first"] = name
        return update

    def _add_recreate(self, verdict: Verdict) -> None:
        """Remove the old container before its volume goes, and make the new one after the new volume came."""
        state = verdict.state
        if state is not None:
            volumes = [mount.source for mount in state.spec.volumes if mount.source in self._recreated]
            self._draft.add(
                Step(
                    id=0,
                    verb="remove",
                    kind="Container",
                    name=state.name,
                    cause=verdict.cause,
                    source=_place(verdict),
                    actions=(RemoveContainer(name=state.name),),
                    touches=(f"Container/{state.name}",),
                ),
                resource=f"Container/{verdict.wanted.container.name}",
                provides=(f"gone:{state.name}", freed(state.name), *(f"released:{name}" for name in volumes)),
                # a network that is made anew attaches who is wanted on it, and comes after who is not
                needs=tuple(f"network:{name}" for name in state.spec.networks if name in verdict.wanted.spec.networks),
            )
        actions = (self._create(verdict, verdict.name), StartContainer(name=verdict.name))
        self._add(verdict, "create", actions, needs=(f"gone:{verdict.name}",))

    def _add_update(self, verdict: Verdict) -> None:
        state = verdict.state
        if state is None:
            return
        actions, kept = update_actions(verdict.name, verdict.changes, verdict.wanted.spec, state)
        if kept:
            self._draft.updates[verdict.name] = kept
        trouble = broken(state)
        if verdict.starts:
            start = StartContainer if trouble and trouble[1] == "start" else RestartContainer
            actions = (*actions, start(name=verdict.name))
        provides = (freed(state.name),) if networks_of(actions) or state.name != verdict.name else ()
        self._add(verdict, "update", actions, provides=provides)

    def _add_wait(self, wanted: Wanted, names: list[str]) -> None:
        update = wanted.container.update
        self._draft.add(
            Step(
                id=0,
                verb="wait",
                kind="Container",
                name=wanted.container.name,
                cause="until it is ready",
                source=wanted.container.places.at(""),
                awaits=tuple(
                    Await(
                        name=name,
                        condition="healthy",
                        monitor=MONITOR if update.monitor is None else update.monitor,
                        deadline=update.deadline,
                    )
                    for name in names
                ),
            ),
            resource=f"Container/{wanted.container.name}",
            provides=(f"ready:{wanted.container.name}",),
            needs=(f"container:{wanted.container.name}",),
        )

    def _await_dependencies(self, container: Container) -> None:
        """Where a step needs a dependency healthy, and that one is still starting, wait for it too."""
        if not self._draft.provided(f"container:{container.name}"):
            return
        for name, condition in container.depends_on.items():
            if condition != "healthy" or name not in self._verdicts or self._draft.provided(f"ready:{name}"):
                continue
            starting = [v.name for v in self._verdicts[name] if v.state is not None and v.state.health == "starting"]
            if starting:
                self._add_wait(self._verdicts[name][0].wanted, starting)

    def _remove_leftovers(self, verdict: Verdict) -> None:
        """Remove what an interrupted replacement left: NAME.new unless a replacement removes it, NAME.old once all is well."""
        for name in (verdict.name + SUFFIX_NEW, verdict.name + SUFFIX_OLD):
            state = self._draft.actual.containers.get(name)
            old = name.endswith(SUFFIX_OLD)
            if state is None or state is verdict.state or not self._is_leftover(verdict, state):
                continue
            if not old and verdict.fate == "replace":
                continue
            self._draft.add(
                Step(
                    id=0,
                    verb="remove",
                    kind="Container",
                    name=name,
                    cause="left over from an interrupted replacement",
                    source=_place(verdict),
                    actions=(RemoveContainer(name=name, volumes=not old),),
                    touches=(f"Container/{name}",),
                ),
                resource=f"Container/{verdict.wanted.container.name}",
                provides=(f"gone:{name}", freed(name)),
                needs=(f"ready:{verdict.wanted.container.name}",) if old else (),
                after=leaves(state) if old else (),
            )

    def _is_leftover(self, verdict: Verdict, state: ContainerState) -> bool:
        """Whether NAME.new or NAME.old is of a replacement of this replica, or of the one whose place it takes."""
        own = state.owner == owner_of(self._draft.desired.stack, verdict.wanted, verdict.index)
        return own or (state.name == verdict.name + SUFFIX_OLD and has_left(self._draft, state))

    def _create(self, verdict: Verdict, name: str, *, inherit: str = "") -> CreateContainer:
        wanted = verdict.wanted
        applied = dict(wanted.flat)
        if wanted.needs:
            applied[NEEDS] = list(wanted.needs)
        owner = owner_of(self._draft.desired.stack, wanted, verdict.index)
        return CreateContainer(name=name, spec=wanted.spec, owner=owner, applied=applied, inherit=inherit)

    def _needs(self, wanted: Wanted) -> tuple[str, ...]:
        """Name what must have happened before a container may be made or touched."""
        container = wanted.container
        needs = [*self._images.needs(container.spec.image)]
        needs += [f"network:{name}" for name in wanted.spec.networks]
        needs += [f"volume:{mount.source}" for mount in wanted.spec.volumes if mount.type == "volume" and mount.source]
        words = {"started": ("container",), "healthy": ("ready", "container"), "completed": ("done",)}
        for name, condition in container.depends_on.items():
            needs += [f"{word}:{name}" for word in words[condition]]
            if name in self._draft.desired.jobs:
                needs.append(f"done:{name}")
        needs += [f"container:{name}" for name in shared(container.spec, self._draft.desired)]
        return tuple(needs)

    def _taken(self, verdict: Verdict) -> dict[str, tuple[str, ...]]:
        """Name who holds the name, a port or an address that this replica will have; not itself, under any of its names."""
        names = {
            *(() if verdict.held else (verdict.name,)),
            *((verdict.state.name,) if verdict.state is not None else ()),
        }
        own = {name + suffix for name in names for suffix in ("", SUFFIX_NEW, SUFFIX_OLD)}
        taken = self._draft.holders.taken(verdict.wanted.spec, own)
        return with_name(taken, verdict.name) if verdict.held else taken

    def _check_ports(self, verdict: Verdict) -> None:
        wanted = {(port.host_ip, port.published, port.protocol) for port in verdict.wanted.spec.ports if port.published}
        for stranger in self._draft.actual.strangers if wanted else ():
            for address, number, protocol in stranger.ports:
                if not stranger.running or not any(
                    port[1:] == (number, protocol) and meet(port[0], address) for port in wanted
                ):
                    continue
                label = f"Container/{verdict.wanted.container.name}"
                problem = (
                    f"port {number}/{protocol} is held by the container {stranger.name!r}, which is not of this stack"
                )
                place = verdict.wanted.container.places.at("spec.ports")
                conflict = Conflict(label, problem, "publish another port, or stop that container", place)
                self._draft.refuse(conflict, verdict.origin)
                return

    def _check_names(self, verdict: Verdict, rollout: Rollout) -> None:
        """Refuse a replacement where somebody else's container has a name that it needs."""
        actual = self._draft.actual
        others = {name for name, state in actual.containers.items() if not self._is_leftover(verdict, state)}
        others |= {stranger.name for stranger in actual.strangers}
        container = verdict.wanted.container
        for name in sorted(others & {rollout.new, rollout.old}):
            refusal = rollout.refused(f"Container/{container.name}", name, container.places.at(""))
            self._draft.refuse(refusal, verdict.origin)


def _place(verdict: Verdict) -> str:
    first = verdict.changes[0].source if verdict.changes else ""
    return first or verdict.wanted.container.places.at("")
