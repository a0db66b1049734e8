"""A plan in the making: steps in any order, tied together by what they provide and what they need.

Planners name things ("network:shop_back", "ready:db") instead of steps; `finish` turns names into edges, orders the steps
and numbers them. A need that nothing provides is met already. That is what keeps the planners independent of each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.plan import Finding, Plan, Step
from declarative.core.planner.refusal import Refused
from declarative.errors import DeclarativeError, Invalid
from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from declarative.core.plan import Policy
    from declarative.core.resources import Desired
    from declarative.core.state import Actual


@record
class _Entry:
    step: Step
    resource: str  # "Container/web", what --target names
    needs: frozenset[str]


@record(frozen=False)
class Draft:
    """Collects steps, problems, findings and notes while the planners run."""

    desired: Desired
    actual: Actual
    policy: Policy
    entries: list[_Entry] = field(default_factory=list)
    providers: dict[str, list[int]] = field(default_factory=dict)
    problems: list[DeclarativeError] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    deferred: list[str] = field(default_factory=list)
    objects: dict[str, str] = field(default_factory=dict)
    updates: dict[str, dict[str, Any]] = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)

    def add(self, step: Step, *, resource: str, provides: Iterable[str] = (), needs: Iterable[str] = ()) -> None:
        """Add a step; its `id` and `needs` are given by `finish`."""
        for name in provides:
            self.providers.setdefault(name, []).append(len(self.entries))
        self.entries.append(_Entry(step=step, resource=resource, needs=frozenset(needs)))

    def provided(self, name: str) -> bool:
        """Whether a step of this plan brings `name` about."""
        return name in self.providers

    def remembered(self, name: str) -> bool:
        """Whether the last apply left the object there: if it is missing now, somebody removed it."""
        revision = self.actual.revision
        return revision is not None and name in revision.objects

    def finish(self) -> Plan:
        """Order and number the steps. Raises Refused with every problem."""
        self._check_targets()
        if self.problems:
            raise Refused(tuple(self.problems))
        edges = [
            sorted({at for name in entry.needs for at in self.providers.get(name, ()) if at != number})
            for number, entry in enumerate(self.entries)
        ]
        chosen = self._chosen(edges)
        left = {
            name for at in range(len(self.entries)) if at not in chosen for name in _concerned(self.entries[at].step)
        }
        order = _order(edges, chosen)
        ids = {at: number for number, at in enumerate(order, start=1)}
        steps = tuple(
            replace(self.entries[at].step, id=ids[at], needs=tuple(sorted(ids[need] for need in edges[at])))
            for at in order
        )
        return Plan(
            stack=self.desired.stack,
            engine=self.actual.engine.name,
            steps=steps,
            findings=tuple(self.findings),
            deferred=tuple(self.deferred),
            notes=tuple(self.notes),
            objects=self._objects(left),
            updates={name: paths for name, paths in self.updates.items() if f"Container/{name}" not in left},
        )

    def _objects(self, left: set[str]) -> dict[str, str]:
        """Give what there is once the plan is done. What targets leave undone is as it was after the last apply."""
        revision = self.actual.revision
        before = revision.objects if revision is not None else {}
        done = {name: content for name, content in self.objects.items() if name not in left}
        return done | {name: content for name, content in before.items() if name in left}

    def _chosen(self, edges: list[list[int]]) -> set[int]:
        """All steps, or with targets those of the targets and everything they need."""
        if not self.policy.targets:
            return set(range(len(self.entries)))
        waiting = [at for at, entry in enumerate(self.entries) if entry.resource in self.policy.targets]
        chosen: set[int] = set()
        while waiting:
            at = waiting.pop()
            if at not in chosen:
                chosen.add(at)
                waiting.extend(edges[at])
        return chosen

    def _check_targets(self) -> None:
        if not self.policy.targets:
            return
        known = known_resources(self.desired) | {entry.resource for entry in self.entries}
        for target in sorted(self.policy.targets - known):
            near = ", ".join(sorted(name for name in known if name.split("/")[-1] == target.split("/")[-1]))
            remedy = f"did you mean {near}?" if near else f"the stack has {', '.join(sorted(known)) or 'nothing'}"
            self.problems.append(Invalid(target, "no such resource to target", remedy))


def _concerned(step: Step) -> Iterator[str]:
    """Name the objects of a revision (see Revision.objects) that a step brings about, changes or removes."""
    yield from step.touches
    if step.kind == "Job":
        yield step.label
    for name in step.touches:
        if name.startswith("Tag/"):
            yield f"Version/{name.removeprefix('Tag/')}"


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


def _order(edges: list[list[int]], chosen: set[int]) -> list[int]:
    """Put the chosen steps in an order that respects the edges and otherwise keeps theirs (Kahn, smallest first)."""
    if not chosen:
        return []
    import heapq

    missing = {at: len(edges[at]) for at in chosen}
    dependants: dict[int, list[int]] = {}
    for at in chosen:
        for need in edges[at]:
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
    if len(order) != len(chosen):
        # References were checked for cycles when the manifests were read; a cycle here is ours.
        message = "the planner made a cycle"
        raise AssertionError(message)
    return order
