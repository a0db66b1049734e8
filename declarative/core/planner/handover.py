"""Names, host ports and fixed addresses that go from one container to another: who has one lets go of it before another takes it.

The rule that keeps it simple: a step says which running containers it takes something from, and which one it frees (`freed`).
Only where such steps wait for each other in a circle, as two that swap their ports do, a holder is made to let go beforehand,
as late as can be, and where the holder is to be removed; the step that does it says how it is taken back, if the holder's own
step does not come to be done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.actions import ConnectNetwork, DisconnectNetwork, RenameContainer, StartContainer, StopContainer
from declarative.core.plan import Step, Undo
from declarative.core.planner.holders import freed, is_name
from declarative.core.planner.inplace import networks_of
from declarative.core.state import SUFFIX_ASIDE
from declarative.errors import Conflict
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from declarative.core.planner.draft import Draft


_READY = ("container", "ready", "done")  # what steps of a Container or Job provide: made, ready, run to its end


@record
class _Handover:
    """`taker` and `holder` are numbers of entries; `container` is what the holder's step frees, `what` what goes over."""

    taker: int
    holder: int
    container: str
    what: tuple[str, ...]


def order_handovers(draft: Draft) -> None:
    """Let holders in a circle let go beforehand. With targets, refuse what would be taken from who is left alone."""
    chosen = draft.chosen()
    handovers = list(_handovers(draft, chosen))
    if not handovers:
        return
    there = set(chosen)
    for handover in handovers:
        if handover.holder not in there:
            _refuse(draft, handover)
    within: dict[str, list[_Handover]] = {}
    for handover in handovers:
        if handover.holder in there:
            within.setdefault(handover.container, []).append(handover)
    for container in _blocking(draft.edges(), within):
        _let_go(draft, within.pop(container))
    for group in within.values():
        _keep_until_ready(draft, group)


def _handovers(draft: Draft, chosen: Collection[int]) -> Iterator[_Handover]:
    """Give those that decide about the order: where a taker needs the holder's step anyway, nothing can be done beforehand."""
    for taker in chosen:
        entry = draft.entries[taker]
        before = set(draft.providing((*entry.needs, *entry.after))) if entry.takes else set()
        for container, what in entry.takes.items():
            for holder in draft.providing((freed(container),)):
                if holder not in before:
                    yield _Handover(taker=taker, holder=holder, container=container, what=what)


def _refuse(draft: Draft, handover: _Handover) -> None:
    taker, holder = draft.entries[handover.taker], draft.entries[handover.holder]
    problem = f"{handover.what[0]} is held by the container {handover.container!r}, which the targets leave alone"
    draft.problems.append(Conflict(taker.resource, problem, f"add --target {holder.resource}", taker.step.source))


def _blocking(edges: Mapping[int, list[int]], handovers: Mapping[str, list[_Handover]]) -> list[str]:
    """Choose the containers without which the steps wait for each other in no circle: one for each circle."""
    missing = {at: set(before) for at, before in edges.items()}
    dependants: dict[int, list[int]] = {}
    for at, before in edges.items():
        for need in before:
            dependants.setdefault(need, []).append(at)
    by_pair = {(each.taker, each.holder): name for name, group in handovers.items() for each in group}
    chosen: list[str] = []
    ready = [at for at, before in missing.items() if not before]
    while missing:
        while ready:
            at = ready.pop()
            del missing[at]
            ready += [after for after in dependants.get(at, ()) if _met(missing, after, at)]
        pairs = [pair for pair in _circle(missing) if pair in by_pair]
        if not pairs:
            break  # all are in order; a circle without a handover would be ours, and `finish` says so
        chosen.append(by_pair[min(pairs)])
        ready = [each.taker for each in handovers[chosen[-1]] if _met(missing, each.taker, each.holder)]
    return chosen


def _met(missing: Mapping[int, set[int]], at: int, need: int) -> bool:
    """Take out a need of a step that is met; whether it was the last one."""
    needs = missing.get(at, set())
    if need not in needs:
        return False
    needs.remove(need)
    return not needs


def _circle(missing: Mapping[int, set[int]]) -> list[tuple[int, int]]:
    """Follow what is missing until it comes round: the edges of a circle, none where nothing is missing."""
    way: dict[int, int] = {}
    at = next(iter(missing), None)
    while at is not None and at not in way:
        way[at] = min(missing[at])
        at = way[at]
    if at is None:
        return []
    steps = list(way.items())
    return steps[list(way).index(at) :]


def _let_go(draft: Draft, handovers: list[_Handover]) -> None:
    """Have a holder let go before its own step, once nothing is between that and its takers that need not be."""
    first = handovers[0]
    container, aside = first.container, f"aside:{first.container}"
    holder, taker = draft.entries[first.holder], draft.entries[first.taker]
    takers, holders = {each.taker for each in handovers}, {each.holder for each in handovers}
    _forget_takes(draft, takers, container)
    named = all(is_name(what) for each in handovers for what in each.what)
    if not named and _has_name(handovers):
        _refuse_swap(draft, first)
        return
    later = _later(draft, takers | holders)
    needs = {need for at in takers | holders for need in draft.entries[at].needs}
    networks = [] if named else _changed_networks(draft, holder.step, container)
    actions = tuple(DisconnectNetwork(container=container, network=network) for network in networks)
    for at in takers | holders:
        draft.entries[at] = replace(draft.entries[at], needs=draft.entries[at].needs | {aside})
    draft.add(
        Step(
            id=0,
            verb="update" if networks or named else "stop",
            kind=holder.step.kind,
            name=container,
            cause=f"{first.what[0]} goes to {taker.resource if named else taker.step.label}",
            source=holder.step.source,
            actions=(_put_aside(draft, container, holders),) if named else actions or (StopContainer(name=container),),
            touches=(f"Container/{container}",),
            undo=_undo(draft, handovers, networks, named=named),
        ),
        resource=holder.resource,
        provides=(aside,),
        needs=_before(draft, later, needs),
        after=_before(draft, later, holder.after),
    )


def _keep_until_ready(draft: Draft, handovers: list[_Handover]) -> None:
    """Stop who is removed, and remove it once its takers are ready: where one fails, it runs again.

    Not where a taker waits for what comes after the removal, and not for a name, which nobody else can have before that.
    """
    takers, holders = {each.taker for each in handovers}, {each.holder for each in handovers}
    leaving = all(draft.entries[at].step.verb == "remove" and draft.entries[at].deletes for at in holders)
    if not leaving or _has_name(handovers):
        return
    names = {draft.entries[at].resource.partition("/")[2] for at in takers}
    ready = {f"{word}:{name}" for word in _READY for name in names}
    if _later(draft, holders, without=handovers).isdisjoint({*takers, *draft.providing(ready)}):
        _let_go(draft, handovers)
        for at in holders:
            draft.entries[at] = replace(draft.entries[at], needs=draft.entries[at].needs | ready)


def _has_name(handovers: list[_Handover]) -> bool:
    return any(is_name(what) for each in handovers for what in each.what)


def _forget_takes(draft: Draft, takers: Collection[int], container: str) -> None:
    for at in takers:
        entry = draft.entries[at]
        takes = {name: what for name, what in entry.takes.items() if name != container}
        draft.entries[at] = replace(entry, takes=takes)


def _put_aside(draft: Draft, container: str, holders: Collection[int]) -> RenameContainer:
    """Give the renaming of a container whose name is taken; its own step finds it under that name then."""
    put = RenameContainer(name=container, to=container + SUFFIX_ASIDE)
    for at in holders:
        step = draft.entries[at].step
        actions = tuple(
            replace(action, name=put.to) if isinstance(action, RenameContainer) and action.name == container else action
            for action in step.actions
        )
        draft.entries[at] = replace(draft.entries[at], step=replace(step, actions=actions))
    return put


def _refuse_swap(draft: Draft, handover: _Handover) -> None:
    taker, holder = draft.entries[handover.taker], draft.entries[handover.holder]
    problem = f"takes a name and {handover.what[-1]} from {holder.resource}, which waits for it in turn"
    remedy = "swap the names first, apply, and then the rest"
    draft.refuse(Conflict(taker.resource, problem, remedy, taker.step.source), "change")


def _before(draft: Draft, later: set[int], needs: Collection[str]) -> set[str]:
    """Give those of these needs that nothing of `later` provides."""
    return {need for need in needs if later.isdisjoint(draft.providing((need,)))}


def _later(draft: Draft, waiting: Collection[int], *, without: Collection[_Handover] = ()) -> set[int]:
    """Give the numbers of these entries and of all that come after one of them: before all else, nobody has to let go.

    `without`: as if these takers did not wait for their holders.
    """
    apart = {(each.taker, each.holder) for each in without}
    later = set(waiting)
    dependants: dict[int, list[int]] = {}
    for at, before in draft.edges().items():
        for need in before:
            if (at, need) not in apart:
                dependants.setdefault(need, []).append(at)
    queue = list(waiting)
    while queue:
        new = set(dependants.get(queue.pop(), ())) - later
        later |= new
        queue += new
    return later


def _undo(draft: Draft, handovers: list[_Handover], networks: list[str], *, named: bool) -> tuple[Undo, ...]:
    """Say how the holder gets back what it lets go of; for each network by itself."""
    container, own = handovers[0].container, tuple(sorted({each.holder for each in handovers}))
    if not networks:
        takers = {each.taker: each.what[0] for each in handovers}
        back = RenameContainer(name=container + SUFFIX_ASIDE, to=container) if named else StartContainer(name=container)
        return (Undo(action=back, own=own, takers=takers),)
    there = draft.actual.containers[container].spec.networks
    undo = []
    for network in networks:
        action = ConnectNetwork(container=container, network=network, attachment=there[network])
        end = f" on {network}"
        takers = {each.taker: what for each in handovers for what in each.what if what.endswith(end)}
        undo.append(Undo(action=action, own=own, takers=takers))
    return tuple(undo)


def _changed_networks(draft: Draft, step: Step, container: str) -> list[str]:
    """Name the networks that a step changes on a living container: it goes on without them, where it need not be stopped."""
    if step.verb != "update":
        return []
    there = draft.actual.containers[container].spec.networks
    return sorted(networks_of(step.actions) & there.keys())
