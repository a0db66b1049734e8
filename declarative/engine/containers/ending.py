"""What happens when a container ends: everything is taken back, and its policy decides whether it starts again.

The rule that keeps it simple: an end is dealt with once, under the container's lock, by a worker; whoever waits for it is told
when nothing of it is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.containers import backoff, probing, removing, starting
from declarative.engine.containers.container import UNHEALTHY
from declarative.engine.containers.life import Move, Status, move
from declarative.errors import DeclarativeError
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.engine.containers.container import Container, State
    from declarative.engine.containers.parts import Parts
    from declarative.engine.runtime.bundle import Exit

RESTART = "restart"
_SECOND = 1_000_000_000


def ended(parts: Parts, exit: Exit) -> None:  # noqa: A002 - the word of this place
    """Deal with the end of a container's first process."""
    container = parts.index.find(exit.id)
    if container is None:
        return
    with container.lock:
        if not container.state.is_up or container.removed:
            return
        found = parts.runtime.state(exit.id)
        if found.status in {"stopped", "absent"}:  # else this was a run before, whose start failed
            finish(parts, container, found.exit or exit)


def starves(parts: Parts, id: str) -> None:  # noqa: A002 - the word of this place
    """Note that a container lost a process for want of memory; it goes on unless that was its first."""
    container = parts.index.find(id)
    if container is None:
        return
    with container.lock:
        known = container.removed or container.state.oom_killed
        if container.state.is_up and not known and parts.runtime.starved(id):  # in this run, not in one that is over
            container.become(oom_killed=True)
            parts.records.put_state(container)
            parts.tell(container, "oom")


def finish(parts: Parts, container: Container, exit: Exit, *, boot: bool = False) -> None:  # noqa: A002
    """Take a container that has ended out of everything; the caller holds its lock.

    `boot`: it was lost with its machine, and whether it starts again is decided otherwise.
    """
    probing.stop(container)
    before = container.state
    verdict = backoff.after_exit(
        container.host.restart_policy,
        exit_code=exit.code,
        stopped=before.stopped or boot,
        restarts=before.restarts,
        ran=exit.at - before.started,
        last_pause=before.pause,
    )
    changes = {
        "status": move(before.status, Move.FALL if verdict.again else Move.DIE),
        "pid": 0,
        "exit_code": exit.code,
        "finished": exit.at,
        "oom_killed": exit.oom,
        "pause": verdict.pause,
        "health": replace(before.health, status=UNHEALTHY) if before.health else None,
    }
    try:
        # before the bundle goes, which alone knows the code; where the record goes in a moment too, there is no need
        if not container.host.auto_remove:
            parts.records.put_state(container, replace(before, **changes))
    finally:
        starting.release(parts, container)
        # who waits for the end may tell of what comes after it
        container.become(lambda: _tell(parts, container, before, exit), **changes)
    if container.host.auto_remove:
        removing.remove(parts, container, volumes=True, released=True)
    elif verdict.again:
        plan_restart(parts, container, verdict.pause)


def _tell(parts: Parts, container: Container, before: State, exit: Exit) -> None:  # noqa: A002
    if exit.oom and not before.oom_killed:
        parts.tell(container, "oom")
    duration = max(0, exit.at - before.started) // _SECOND
    parts.tell(container, "die", exitCode=str(exit.code), execDuration=str(duration))


def plan_restart(parts: Parts, container: Container, pause: int) -> None:
    """Have a container started again after so many nanoseconds."""
    container.plan(RESTART, parts.schedule.after(pause / _SECOND, lambda: restart(parts, container)))


def restart(parts: Parts, container: Container) -> None:
    """Start a container again, as its policy wants; where that fails, the policy decides again."""
    with container.lock:
        if container.removed or container.state.status is not Status.RESTARTING:
            return
        container.become(restarts=container.state.restarts + 1)
        try:
            starting.begin(parts, container)
        except (DeclarativeError, OSError) as error:
            parts.log.warning("a container cannot be started again", container=container.id, reason=error)
            _failed_again(parts, container)


def _failed_again(parts: Parts, container: Container) -> None:
    state: State = container.state
    verdict = backoff.after_exit(
        container.host.restart_policy,
        exit_code=state.exit_code,
        stopped=state.stopped,
        restarts=state.restarts,
        ran=0,
        last_pause=state.pause,
    )
    if container.removed:
        return
    if verdict.again:
        container.become(pause=verdict.pause)
        parts.records.put_state(container)
        plan_restart(parts, container, verdict.pause)
    else:
        give_up(parts, container)


def give_up(parts: Parts, container: Container) -> None:
    """Have a container that waits for its restart not started again; the caller holds its lock."""
    container.call_off(RESTART)
    container.become(status=move(container.state.status, Move.GIVE_UP), pause=0)
    parts.records.put_state(container)
