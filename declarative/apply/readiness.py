"""When is a container ready? Three answers, each with words: it is, not yet, never.

Ready means: running, and healthy where there is a health check, and still so after `monitor`; an exit is a failure at once
(DESIGN 4). `completed` means: exited with 0. The rule that keeps it simple: observations and the time come in, answers go
out; nothing here calls or sleeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.plan import Await
    from declarative.drivers.port import Observed

_SECOND = 1_000_000_000


@record
class Ready:
    """All conditions hold."""


@record
class NotYet:
    """Some do not hold yet; `why` names them. `due`: the clock's time at which looking again may bring an end, if known."""

    why: str
    due: float | None = None


@record
class Never:
    """One cannot hold any more: container `name`, because `why`. `timed_out`: only its deadline is over."""

    name: str
    why: str
    timed_out: bool = False


Answer = Ready | NotYet | Never


@record(frozen=False)
class _Track:
    """What is remembered of one container between two observations."""

    since: float | None = None  # when it was first seen well, without a break
    started: str = ""
    restarts: int | None = None


@record(frozen=False)
class Vigil:
    """Watches the containers of one wait from `begun` (the clock's seconds) on.

    `fresh`: containers that this apply started, and when the engine said that they run: any restart of theirs is a failure,
    where an old one's count is history.
    """

    awaits: tuple[Await, ...]
    begun: float
    fresh: Mapping[str, float] = field(default_factory=dict)
    _tracks: dict[str, _Track] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Name the containers that must be observed."""
        return tuple(item.name for item in self.awaits)

    @property
    def first_look(self) -> float:
        """When, by the clock, a first look may bring the end: what this apply started is watched already, and needs one look."""
        if not all(item.name in self.fresh for item in self.awaits):
            return self.begun
        return max(self.fresh[item.name] + item.monitor / _SECOND for item in self.awaits)

    def rename(self, before: str, after: str) -> None:
        """Go on watching a container that was called `before`; nothing where nobody is."""
        self.awaits = tuple(replace(item, name=after) if item.name == before else item for item in self.awaits)
        if before in self._tracks:
            self._tracks[after] = self._tracks.pop(before)

    def see(self, observed: Mapping[str, Observed], now: float) -> Answer:
        """Judge one observation."""
        waiting: list[str] = []
        due: list[float] = []
        for item in self.awaits:
            answer = self._judge(item, observed.get(item.name), now)
            if isinstance(answer, Never):
                return answer
            if isinstance(answer, NotYet):
                if item.deadline and now >= self.begun + item.deadline / _SECOND:
                    why = f"not ready after {item.deadline / _SECOND:g} s: {answer.why}"
                    return Never(name=item.name, why=why, timed_out=True)
                waiting.append(f"{item.name}: {answer.why}")
                due += [answer.due] if answer.due is not None else []
        if not waiting:
            return Ready()
        return NotYet(why="; ".join(waiting), due=max(due) if len(due) == len(waiting) else None)

    def _judge(self, item: Await, seen: Observed | None, now: float) -> Answer:
        if seen is None or seen.state == "removing":
            return Never(name=item.name, why="it was removed while we waited for it")
        if item.condition == "completed":
            return _completion(item, seen)
        return self._wellness(item, seen, now)

    def _wellness(self, item: Await, seen: Observed, now: float) -> Answer:
        track = self._tracks.setdefault(item.name, _Track())
        if track.restarts is None:
            track.restarts = 0 if item.name in self.fresh else seen.restarts
        if seen.state in ("exited", "dead"):
            return Never(name=item.name, why=f"it exited with code {seen.exit_code}")
        if seen.state == "restarting" or seen.restarts > track.restarts:
            return Never(name=item.name, why=f"it exited with code {seen.exit_code}, and the engine restarts it")
        if item.condition == "healthy" and seen.health == "unhealthy":
            return Never(name=item.name, why="its health check fails")
        problem = _unwell(item, seen)
        if problem:
            track.since = None
            return NotYet(why=problem)
        if track.since is None or track.started != seen.started:
            # without a health check it has been well since its start, of which the engine told us
            first = not track.started and not seen.health
            track.since = self.fresh.get(item.name, now) if first else now
            track.started = seen.started
        end = track.since + item.monitor / _SECOND
        if now >= end:
            return Ready()
        return NotYet(why="running, and watched for a moment", due=end)


def _unwell(item: Await, seen: Observed) -> str:
    if seen.state != "running":
        return seen.state
    if item.condition == "healthy" and seen.health == "starting":
        return "its health check has not passed yet"
    return ""


def _completion(item: Await, seen: Observed) -> Answer:
    if seen.state in ("exited", "dead"):
        if seen.exit_code == 0 and seen.state == "exited":
            return Ready()
        return Never(name=item.name, why=f"it exited with code {seen.exit_code}")
    return NotYet(why="still running" if seen.state == "running" else seen.state)
