"""The last look of an apply: what was ready early may have failed while others were started, and then nothing was a success.

The rule that keeps it simple: it is the same watch that said "ready", asked once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.apply.readiness import Never
from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from declarative.apply.line import Run
    from declarative.apply.readiness import Vigil
    from declarative.drivers.port import Observed

_RECENT = 0.05
"""Seconds in which nobody is looked at again."""


@record(frozen=False)
class LastLook:
    """Keeps the watches of the steps that got ready, with the clock's time at which they were seen so."""

    _ready: list[tuple[Run, Vigil, float]] = field(default_factory=list)

    def keep(self, run: Run, vigil: Vigil, now: float) -> None:
        """Note that a step is ready. Jobs end, and what takes another one's place has its name by the end."""
        if any(item.condition == "completed" for item in vigil.awaits):
            return
        if run.step.rollout is not None:
            vigil.rename(run.step.rollout.new, run.step.rollout.name)
        self._ready.append((run, vigil, now))

    def lost(
        self, observe: Callable[[Sequence[str]], Mapping[str, Observed]], clock: Callable[[], float]
    ) -> Iterator[tuple[Run, Never]]:
        """Look, in one call; yield the steps that did not stay ready, and why. Raises what looking raises."""
        then = clock() - _RECENT
        kept = [(run, vigil) for run, vigil, at in self._ready if at < then]
        names = sorted({name for _, vigil in kept for name in vigil.names})
        if not names:
            return
        seen = observe(names)
        for run, vigil in kept:
            answer = vigil.see(seen, clock())
            if isinstance(answer, Never) and not answer.timed_out:
                yield run, replace(answer, why=f"it was ready, but did not stay so: {answer.why}")
