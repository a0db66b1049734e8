"""How a container is replaced: the new one beside the old one, names handed over by rename, the old one kept until the end.

    stop-first    create NAME.new · stop NAME · NAME → NAME.old · NAME.new → NAME · start · wait · remove NAME.old
    start-first   create NAME.new · start · wait · NAME → NAME.old · NAME.new → NAME · stop and remove NAME.old

The law: whatever happens after any of these calls, the old container is still there until the new one has been seen ready.
On a failure the way is gone back; after a crash the next plan finds one of

    NAME, NAME.new       the new one is removed and made again
    NAME.old, NAME.new   NAME.old gets its name back first
    NAME, NAME.old       the names were handed over: NAME is made to run, and NAME.old removed once it is ready; or, where
                         NAME is to be replaced once more, `_settle` below decides which of the two is the good one
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.apply.moves import Ask, Do, Wait
from declarative.apply.trouble import reworded
from declarative.core.actions import CreateContainer, RemoveContainer, RenameContainer, StartContainer, StopContainer
from declarative.core.plan import Await
from declarative.core.state import LIVING
from declarative.errors import DeclarativeError
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from declarative.apply.moves import Move, Script
    from declarative.core.plan import Rollout
    from declarative.drivers.port import Observed

MONITOR = 1_000_000_000
"""Nanoseconds that a new container must stay well, by default, before the old one is given up."""

OUTPUT_LINES = 20
"""Lines of a failed container's output that are kept for the report; the container itself goes."""


@record
class Replacement:
    """One rollout. `look` observes containers, `output` gives the last lines of one; both only read."""

    rollout: Rollout
    look: Callable[[tuple[str, ...]], Mapping[str, Observed]]
    output: Callable[[str], str]

    @property
    def name(self) -> str:
        """The name that is handed over."""
        return self.rollout.name

    def script(self) -> Script:
        """Replace; raises Failed, saying what became of the old container."""
        running, adopted = yield from self._settle()
        try:
            if isinstance(self.rollout.create, CreateContainer):
                yield Do(action=self.rollout.create, cut=True)
            if self.rollout.update.order == "start-first":
                yield from self._start_first()
            else:
                yield from self._stop_first()
        except DeclarativeError as error:
            yield from self._undo(error, running=running, adopted=adopted)
        yield from removal(RemoveContainer(name=self.rollout.old))

    def _stop_first(self) -> Script:
        yield Do(action=StopContainer(name=self.name), cut=True)
        yield Do(action=RenameContainer(name=self.name, to=self.rollout.old), cut=True)
        yield Do(action=RenameContainer(name=self.rollout.new, to=self.name), cut=True)
        yield Do(action=StartContainer(name=self.name), cut=True)
        yield Wait(awaits=(self._ready(self.name),))

    def _start_first(self) -> Script:
        yield Do(action=StartContainer(name=self.rollout.new), cut=True)
        yield Wait(awaits=(self._ready(self.rollout.new),))
        yield Do(action=RenameContainer(name=self.name, to=self.rollout.old), cut=True)
        yield Do(action=RenameContainer(name=self.rollout.new, to=self.name))

    def _ready(self, name: str) -> Await:
        update = self.rollout.update
        monitor = MONITOR if update.monitor is None else update.monitor
        return Await(name=name, condition="healthy", monitor=monitor, deadline=update.deadline)

    def _is_ours(self, seen: Observed) -> bool:
        create = self.rollout.create
        return not isinstance(create, CreateContainer) or seen.stack == create.owner.stack

    def _settle(self) -> Generator[Move, Any, tuple[bool, bool]]:
        """Make sure that NAME is the good container and NAME.old is free; gives whether NAME runs, and whether it is adopted.

        A NAME.old beside a NAME is what a killed rollout left. If NAME is well, it is the one that counts; if not, it never
        became ready, and the old one is what served last.
        """
        seen = yield Ask(question=lambda: self.look((self.name, self.rollout.new, self.rollout.old)))
        for name in (self.rollout.new, self.rollout.old):
            if name in seen and not self._is_ours(seen[name]):
                raise self.rollout.refused(f"container {self.name}", name)
        there = seen.get(self.name)
        runs = there is not None and there.state in LIVING
        adopted = there is not None and not self._is_ours(there)
        if self.rollout.old not in seen:
            return runs, adopted
        if there is not None and there.state == "running" and there.health in ("", "healthy"):
            yield from removal(RemoveContainer(name=self.rollout.old))
            return True, adopted
        if there is not None:
            yield from removal(RemoveContainer(name=self.name, volumes=True))
        yield Do(action=RenameContainer(name=self.rollout.old, to=self.name))
        return True, False  # it served before, so it is started again if this rollout fails

    def _undo(self, error: DeclarativeError, *, running: bool, adopted: bool) -> Script:
        """Go back to the old container, whatever was reached, and raise `error` with what became of it."""
        try:
            output = yield from self._bring_back(running=running, adopted=adopted)
        except DeclarativeError as second:
            problem = f"{error.problem}; and the old container could not be brought back: {second}"
            remedy = f"it is kept as {self.rollout.old} where it has lost its name; apply again to go on"
            raise reworded(error, problem=problem, remedy=remedy) from error
        back = "the old container is back" if running else "the old container is kept, stopped as it was"
        problem = f"{error.problem}; {back}"
        raise reworded(error, problem=problem, output=output) from error

    def _bring_back(self, *, running: bool, adopted: bool) -> Generator[Move, Any, str]:
        """Go back, and give the last words of the new one. Who came to NAME.new or NAME.old meanwhile is left alone.

        `adopted`: the old container is not ours.
        """
        found = yield Ask(question=lambda: self.look((self.name, self.rollout.new, self.rollout.old)))
        seen = {
            name: state
            for name, state in found.items()
            if self._is_ours(state) or (adopted and name != self.rollout.new)
        }
        handed_over = self.rollout.old in seen
        newcomer = self.name if handed_over and self.name in seen else self.rollout.new
        output = ""
        if newcomer in seen:
            output = yield Ask(question=lambda: self.output(newcomer))
            yield from removal(RemoveContainer(name=newcomer, volumes=True))
        if self.rollout.new in seen and newcomer != self.rollout.new:
            yield from removal(RemoveContainer(name=self.rollout.new, volumes=True))
        if handed_over:
            yield Do(action=RenameContainer(name=self.rollout.old, to=self.name))
        if running:
            yield Do(action=StartContainer(name=self.name))
        return output


def removal(action: RemoveContainer) -> Script:
    """Remove a container that may run: engines kill what is removed by force, so it is stopped first, with its own grace."""
    yield Do(action=StopContainer(name=action.name))
    yield Do(action=action)
