"""A plan in the making: steps in any order, tied together by what they provide and what they need.

Planners name things ("network:shop_back", "ready:db") instead of steps; `finish` turns names into edges, orders the steps
and numbers them. A need that nothing provides is met already. That is what keeps the planners independent of each other.
With targets, what a step needs comes along; what it only comes `after` does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.plan import Finding, Plan, Step
from declarative.core.planner.holders import Holders, freed
from declarative.core.planner.refusal import Refused
from declarative.errors import DeclarativeError, Invalid
from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from declarative.core.plan import Origin, Policy, Undo
    from declarative.core.resources import Desired
    from declarative.core.state import Actual, Owner


@record
class _Entry:
    step: Step
    resource: str  # "Container/web", what --target names
    needs: frozenset[str]
    after: frozenset[str]
    takes: Mapping[str, tuple[str, ...]]
    deletes: bool


@record(frozen=False)
class Draft:
    """Collects steps, problems, findings and notes while the planners run."""

    desired: Desired
    actual: Actual
    policy: Policy
    holders: Holders = field(default_factory=Holders)
    entries: list[_Entry] = field(default_factory=list)
    providers: dict[str, list[int]] = field(default_factory=dict)
    problems: list[DeclarativeError] = field(default_factory=list)
    findings: list[tuple[str, Finding]] = field(default_factory=list)  # each with its resource, as --target names it
    notes: dict[str, str] = field(default_factory=dict)  # text → resource
    deferred: list[str] = field(default_factory=list)
    held: set[str] = field(default_factory=set)  # resources that are left as they are until the next look
    objects: dict[str, str] = field(default_factory=dict)
    claims: dict[str, list[str]] = field(default_factory=dict)
    owners: dict[str, Owner] = field(default_factory=dict)  # name of a container → who shall have it
    updates: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(
        self,
        step: Step,
        *,
        resource: str,
        provides: Iterable[str] = (),
        needs: Iterable[str] = (),
        after: Iterable[str] = (),
        takes: Mapping[str, tuple[str, ...]] | None = None,
        deletes: bool = False,
    ) -> None:
        """Add a step; its `id` and `needs` are given by `finish`, which also puts ids for the numbers of entries in its `undo`.

        `needs`: what it cannot do without. `after`: what it must not overtake, where that is planned too. `takes`: running
        containers that hold what it will hold, and what that is (see `handover`); it comes after their steps. `deletes`: it
        removes what the manifests no longer ask for, and counts against the delete budget.
        """
        for name in provides:
            self.providers.setdefault(name, []).append(len(self.entries))
        self.entries.append(
            _Entry(
                step=step,
                resource=resource,
                needs=frozenset(needs),
                after=frozenset(after),
                takes=takes or {},
                deletes=deletes,
            )
        )

    def refuse(self, problem: DeclarativeError, origin: Origin) -> None:
        """Note what an apply cannot do. Who only looks goes on, and is told where it comes of drift."""
        if not self.policy.looks:
            self.problems.append(problem)
        elif origin != "change":
            kind, _, name = problem.subject.partition("/")
            finding = Finding(kind=kind, name=name, cause=problem.problem, source=problem.place)  # type: ignore[arg-type] # of ours
            self.findings.append((problem.subject, finding))

    def hold(self, resource: str, reason: str) -> None:
        """Leave a resource, and what needs it, for the plan that follows this one: what it is to be is not known yet."""
        self.held.add(resource)
        self.deferred.append(f"{resource}: {reason}")

    def claim(self, resource: str, name: str, content: str = "") -> None:
        """Note that a resource has the object `name` (see Revision.objects) once the plan is done."""
        self.objects[name] = content
        self.claims.setdefault(resource, []).append(name)

    def provided(self, name: str) -> bool:
        """Whether a step of this plan brings `name` about."""
        return name in self.providers

    def remembered(self, name: str) -> bool:
        """Whether the last apply left the object there: if it is missing now, somebody removed it."""
        revision = self.actual.revision
        return revision is not None and name in revision.objects

    def networks_going(self) -> dict[str, Owner]:
        """Give our networks that left the manifests, and are removed."""
        if not self.policy.prune:
            return {}
        declared = {network.engine_name(self.desired.stack) for network in self.desired.networks.values()}
        return {name: owner for name, owner in self.actual.owned("Network") if name not in declared}

    def origin_of_loss(self, name: str) -> Origin:
        """Say why an object that is wanted is not there."""
        return "drift" if self.remembered(name) else "change"

    def finish(self) -> Plan:
        """Order and number the steps. Raises Refused with every problem."""
        self._check_targets()
        problems = self._relevant()
        if problems:
            raise Refused(problems)
        edges = self.edges()
        left = {name for at, entry in enumerate(self.entries) if at not in edges for name in _concerned(entry.step)}
        left |= {name for problem in self.problems for name in self.claims.get(problem.subject, ())}
        told = self._included() if self.policy.targets else None
        order = _order(edges)
        ids = {at: number for number, at in enumerate(order, start=1)}
        steps = tuple(
            replace(
                self.entries[at].step,
                id=ids[at],
                needs=tuple(sorted(ids[need] for need in edges[at])),
                undo=tuple(_numbered(undo, ids) for undo in self.entries[at].step.undo),
            )
            for at in order
        )
        return Plan(
            stack=self.desired.stack,
            engine=self.actual.engine.name,
            steps=steps,
            findings=tuple(found for resource, found in self.findings if told is None or resource in told),
            deferred=tuple(self.deferred),
            notes=tuple(text for text, resource in self.notes.items() if told is None or resource in told),
            objects=self._objects(left),
            updates={name: paths for name, paths in self.updates.items() if f"Container/{name}" not in left},
        )

    def _objects(self, left: set[str]) -> dict[str, str]:
        """Give what there is once the plan is done. What targets leave undone is as it was after the last apply."""
        revision = self.actual.revision
        before = revision.objects if revision is not None else {}
        done = {name: content for name, content in self.objects.items() if name not in left}
        return done | {name: content for name, content in before.items() if name in left}

    def chosen(self) -> list[int]:
        """List the numbers of all steps, or with targets of theirs and of everything they need; without what is held."""
        held = self._held_back() if self.held else frozenset()
        return [at for at in self._wanted() if at not in held]

    def _held_back(self) -> frozenset[int]:
        found: set[int] = set()
        waiting = [at for at, entry in enumerate(self.entries) if entry.resource in self.held]
        while waiting:
            found.update(waiting)
            waiting = [
                at
                for at, entry in enumerate(self.entries)
                if at not in found and not found.isdisjoint(self.providing(entry.needs))
            ]
        return frozenset(found)

    def _wanted(self) -> list[int]:
        if not self.policy.targets:
            return list(range(len(self.entries)))
        included = self._included()
        waiting = [at for at, entry in enumerate(self.entries) if entry.resource in included]
        found: set[int] = set()
        while waiting:
            at = waiting.pop()
            if at not in found:
                found.add(at)
                waiting += self.providing(self.entries[at].needs)
        return sorted(found)

    def edges(self) -> dict[int, list[int]]:
        """Give for each chosen step those that come before it."""
        chosen = self.chosen()
        there = set(chosen)
        return {
            at: sorted({before for before in self.providing(_before(self.entries[at])) if before in there} - {at})
            for at in chosen
        }

    def providing(self, names: Iterable[str]) -> list[int]:
        """List the numbers of the steps that bring any of `names` about."""
        return [at for name in names for at in self.providers.get(name, ())]

    def _included(self) -> frozenset[str]:
        """Name the targets and the resources that they depend on, directly or not."""
        from declarative.core.graph import graph_of

        targets = self.policy.targets
        return targets.union(graph_of(self.desired).around(targets).nodes)

    def _relevant(self) -> tuple[DeclarativeError, ...]:
        """Give the problems, without those of resources that targets leave alone."""
        if not self.policy.targets or not self.problems:
            return tuple(self.problems)
        subjects = self._included() | {f"stack {self.desired.stack}"}
        return tuple(problem for problem in self.problems if problem.subject in subjects)

    def _check_targets(self) -> None:
        if not self.policy.targets or self.policy.unknown_ok:
            return
        known = known_resources(self.desired) | {entry.resource for entry in self.entries}
        for target in sorted(self.policy.targets - known):
            near = ", ".join(sorted(name for name in known if name.split("/")[-1] == target.split("/")[-1]))
            remedy = f"did you mean {near}?" if near else f"the stack has {', '.join(sorted(known)) or 'nothing'}"
            self.problems.append(Invalid(target, "no such resource to target", remedy))


def _concerned(step: Step) -> Iterator[str]:
    """Name the objects of a revision (see Revision.objects) that a step brings about, changes or removes."""
    yield from step.touches
    if step.kind in ("Job", "Image"):
        yield step.label
    if step.kind == "Job":
        yield f"Track/{step.name}"
    for name in step.touches:
        if name.startswith("Tag/"):
            yield f"Version/{name.removeprefix('Tag/')}"


def _numbered(undo: Undo, ids: Mapping[int, int]) -> Undo:
    takers = {ids[at]: what for at, what in undo.takers.items()}
    return replace(undo, own=tuple(ids[at] for at in undo.own), takers=takers)


def _before(entry: _Entry) -> Iterable[str]:
    return (*entry.needs, *entry.after, *(freed(container) for container in entry.takes))


def known_resources(desired: Desired) -> set[str]:
    """Name every resource of a stack as --target does."""
    pools: dict[str, Mapping[str, Any]] = {
        "Image": desired.images,
        "TagScheme": desired.schemes,
        "Container": desired.containers,
        "Job": desired.jobs,
        "Network": desired.networks,
        "Volume": desired.volumes,
    }
    return {f"{kind}/{name}" for kind, pool in pools.items() for name in pool}


def _order(edges: dict[int, list[int]]) -> list[int]:
    """Put the steps in an order that respects the edges and otherwise keeps theirs (Kahn, smallest first)."""
    if not edges:
        return []
    import heapq

    missing = {at: len(needs) for at, needs in edges.items()}
    dependants: dict[int, list[int]] = {}
    for at, needs in edges.items():
        for need in needs:
            dependants.setdefault(need, []).append(at)
    ready = [at for at, count in missing.items() if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        at = heapq.heappop(ready)
        order.append(at)
        for dependant in dependants.get(at, ()):
            missing[dependant] -= 1
            if not missing[dependant]:
                heapq.heappush(ready, dependant)
    if len(order) != len(edges):
        # References were checked for cycles when the manifests were read; a cycle here is ours.
        message = "the planner made a cycle"
        raise AssertionError(message)
    return order
