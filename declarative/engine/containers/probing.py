"""Running health checks: one probe of a container at a time, each in a thread of its own for as long as it takes.

The rule that keeps it simple: `health` says when and what follows; here is only the doing. How long a container has run is asked
of the kernel: the clock of a machine that has just come up may be put right by hours.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from declarative.engine.containers import health as rules
from declarative.engine.containers.container import Health, Probe
from declarative.engine.containers.life import Status
from declarative.engine.containers.processes import process_of
from declarative.engine.runtime.kernel import age_of
from declarative.errors import DeclarativeError

if TYPE_CHECKING:
    from declarative.engine.containers.container import Container
    from declarative.engine.containers.health import Plan
    from declarative.engine.containers.parts import Parts
    from declarative.engine.runtime.sessions import Session

PROBE = "probe"
TOO_LONG = -1
_SECOND = 1_000_000_000
_CANNOT_RUN = 126


def plan_next(parts: Parts, container: Container) -> None:
    """Have the next probe made when it is due."""
    plan, state = rules.plan_of(container.config), container.state
    if plan is None or state.health is None or not state.is_up:
        return
    wait = rules.next_probe(plan, state.health, ran=age_of(state.pid))
    started = state.started
    container.plan(PROBE, parts.schedule.after(wait / _SECOND, lambda: _begin(parts, container, plan, started)))


def stop(container: Container) -> None:
    """Make no more probes."""
    container.call_off(PROBE)


def _begin(parts: Parts, container: Container, plan: Plan, started: int) -> None:
    """Start a probe's thread: a probe may take long, and the workers are few."""
    thread = threading.Thread(target=_probe, args=(parts, container, plan, started), name="probe", daemon=True)
    thread.start()


def _probe(parts: Parts, container: Container, plan: Plan, started: int) -> None:
    if container.state.status is Status.PAUSED:  # a paused container is not asked
        plan_next(parts, container)
        return
    ran = age_of(container.state.pid)
    probe = _run(parts, container, plan)
    with container.lock:
        state = container.state
        if not state.is_up or state.started != started or state.health is None or container.removed:
            return
        found = rules.after_probe(plan, state.health, probe, ran=ran)
        container.become(health=found)
        _tell(parts, container, state.health, found)
        plan_next(parts, container)


def _tell(parts: Parts, container: Container, before: Health, found: Health) -> None:
    if before.status != found.status:
        parts.records.put_state(container)
        parts.tell(container, f"health_status: {found.status}")


def _run(parts: Parts, container: Container, plan: Plan) -> Probe:
    words = " ".join(plan.args)
    session_id = parts.new_id()
    begin = parts.clock()
    parts.tell(container, f"exec_create: {words}", execID=session_id)
    parts.tell(container, f"exec_start: {words}", execID=session_id)
    try:
        process = process_of(parts, container, plan.args)
        session = parts.runtime.exec(container.id, session_id, process, stdin=False)
    except (DeclarativeError, OSError) as error:
        return Probe(start=begin, end=parts.clock(), exit_code=_CANNOT_RUN, output=str(error))
    try:
        return _watch(parts, container, plan, session, begin, session_id)
    finally:
        session.close()


def _watch(parts: Parts, container: Container, plan: Plan, session: Session, begin: int, session_id: str) -> Probe:
    output = _Output()
    reader = threading.Thread(target=output.read, args=(session,), name="probe output", daemon=True)
    reader.start()
    code = session.wait(plan.timeout / _SECOND)
    if code is None:
        session.kill()
        session.wait(5)
        text = f"Health check exceeded timeout ({_words(plan.timeout)})"
        tail = output.text()
        return Probe(start=begin, end=parts.clock(), exit_code=TOO_LONG, output=f"{text}: {tail}" if tail else text)
    reader.join(1)
    parts.tell(container, "exec_die", execID=session_id, exitCode=str(code))
    return Probe(start=begin, end=parts.clock(), exit_code=code, output=output.text())


def _words(duration: int) -> str:
    from declarative.oci.units import format_duration

    return format_duration(duration)


class _Output:
    """The beginning of what a probe wrote."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def read(self, session: Session) -> None:
        """Read until there is no more; what is too much is read and dropped, so that the probe does not wait."""
        while (chunk := session.attachment.read()) is not None:
            if self._size <= rules.OUTPUT_MAX:
                self._pieces.append(chunk.data[: rules.OUTPUT_MAX + 1])
            self._size += len(chunk.data)

    def text(self) -> str:
        """Give it as text, with an ellipsis where it was cut."""
        data = b"".join(self._pieces)
        if self._size > rules.OUTPUT_MAX:
            return data[: rules.OUTPUT_MAX - 3].decode("utf-8", "replace") + "..."
        return data.decode("utf-8", "replace")
