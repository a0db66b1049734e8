"""Stopping, killing, pausing: what a person does to a running container.

The rule that keeps it simple: a signal is sent under the container's lock, and its end awaited without, because it is the end's
own work that takes the lock then.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from declarative.engine.containers import ending, starting
from declarative.engine.containers.life import Call, Move, Status, allowed, move
from declarative.engine.containers.signals import number_of
from declarative.errors import Failed, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts

_GRACE = 10
"""Seconds that a container has by default (Docker's)."""
_KILL_SECONDS = 15.0
"""How long a killed process may take to be gone: it may wait for a slow disk."""


def stop(parts: Parts, container: Container, name: str, *, grace: int | None = None, signal_name: str = "") -> bool:
    """Stop a container: its stop signal, then, after `grace` seconds (-1: no end), SIGKILL. False where it does not run."""
    number = number_of(signal_name or container.config.stop_signal or "SIGTERM")
    with container.lock:
        if not allowed(Call.STOP, container.state.status, id=container.id, name=name):
            return False
        container.become(stopped=True)
        if container.state.status is Status.RESTARTING:
            ending.give_up(parts, container)
            return True
        parts.records.put_state(container)
        seen = container.exits
        _signal(parts, container, number)
    seconds = grace if grace is not None else container.config.stop_timeout
    seconds = _GRACE if seconds is None else seconds
    gone = _gone(container, seen)
    if not container.wait_until(gone, None if seconds < 0 else seconds):
        with container.lock:
            if not gone():
                _signal(parts, container, signal.SIGKILL)
        _await_kill(parts, container, gone)
    parts.tell(container, "stop")
    return True


def _gone(container: Container, seen: int) -> Callable[[], bool]:
    return lambda: container.exits != seen or container.removed or not container.state.is_active


def kill(parts: Parts, container: Container, name: str, signal_name: str = "") -> None:
    """Send a signal; after SIGKILL, wait for the end. Conflict where it does not run, Invalid for what is no signal."""
    try:
        number = number_of(signal_name or "SIGKILL")
    except Invalid as error:
        raise Invalid("", f"cannot kill container: {name}: {error.problem}") from None
    with container.lock:
        allowed(Call.KILL, container.state.status, id=container.id, name=name)
        stops = number in {signal.SIGKILL, number_of(container.config.stop_signal or "SIGTERM")}
        if stops:
            container.become(stopped=True)
        if container.state.status is Status.RESTARTING:
            if stops:
                ending.give_up(parts, container)
            return
        if stops:
            parts.records.put_state(container)
        seen = container.exits
        _signal(parts, container, number)
    if number == signal.SIGKILL:
        _await_kill(parts, container, _gone(container, seen))


def _await_kill(parts: Parts, container: Container, gone: Callable[[], bool]) -> None:
    if container.wait_until(gone, _KILL_SECONDS):
        return
    with container.lock:  # the first process is stuck, or its monitor: end everything that is in it
        if not gone():
            parts.runtime.kill(container.id, everyone=True)
    if not container.wait_until(gone, _KILL_SECONDS):
        raise Failed("", f"tried to kill container, but did not receive an exit event: {container.id}")


def _signal(parts: Parts, container: Container, number: int) -> None:
    """Send a signal to a container that is up, and let it go on so that it can act on it."""
    try:
        parts.runtime.kill(container.id, number)
    except NotFound:
        return  # it has just ended by itself
    except OSError as error:
        raise Invalid("", f"cannot kill container: {container.id}: {error.strerror}") from error
    parts.tell(container, "kill", signal=str(number))
    ends = number in {signal.SIGKILL, number_of(container.config.stop_signal or "SIGTERM")}
    if container.state.status is Status.PAUSED and ends:
        parts.runtime.resume(container.id)
        container.become(status=move(Status.PAUSED, Move.UNPAUSE))


def restart(parts: Parts, container: Container, name: str, *, grace: int | None = None, signal_name: str = "") -> None:
    """Stop a container if it runs, and start it. Its volumes and its name stay its own in between, even with --rm."""
    remove_at_end = container.host.auto_remove
    if remove_at_end:
        _keep(container, True)
    try:
        stop(parts, container, name, grace=grace, signal_name=signal_name)
    finally:
        if remove_at_end:
            _keep(container, False)
    starting.start(parts, container, name)
    parts.tell(container, "restart")


def _keep(container: Container, kept: bool) -> None:
    from declarative.record import replace

    with container.lock:
        container.host = replace(container.host, auto_remove=not kept)


def pause(parts: Parts, container: Container, name: str) -> None:
    """Stop every process of a container where it is. Conflict where it does not run, or is paused already."""
    with container.lock:
        allowed(Call.PAUSE, container.state.status, id=container.id, name=name)
        parts.runtime.pause(container.id)
        container.become(status=move(container.state.status, Move.PAUSE))
        parts.records.put_state(container)
    parts.tell(container, "pause")


def unpause(parts: Parts, container: Container, name: str) -> None:
    """Let a paused container go on. Failed, as in Docker, where it is not paused."""
    with container.lock:
        allowed(Call.UNPAUSE, container.state.status, id=container.id, name=name)
        parts.runtime.resume(container.id)
        container.become(status=move(container.state.status, Move.UNPAUSE))
        parts.records.put_state(container)
    parts.tell(container, "unpause")
