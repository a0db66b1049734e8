"""How the programs of an engine in memory behave over time: when they exit, and when they are healthy.

The rule: nothing runs. A container remembers when it was started; its state is worked out whenever it is looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from declarative.core.resources import ContainerSpec
    from declarative.core.state import Health, RunState

_EXIT = re.compile(r"\bexit (\d+)\b")


@record
class Program:
    """What a container's program does. Seconds after its start; None: never.

    `healthy_after` counts where there is a health check; `unhealthy_after` comes later, or instead.
    """

    exits_after: float | None = None
    exit_code: int = 0
    healthy_after: float | None = 0.0
    unhealthy_after: float | None = None
    output: tuple[str, ...] = ()


def usual_program(spec: ContainerSpec) -> Program:
    """Guess what a command does, as far as tests need it: true, false, `sleep N`, `exit N`; anything else runs on."""
    words = (*(spec.entrypoint or ()), *(spec.command or ()))
    name = words[0].rpartition("/")[2] if words else ""
    if name in {"true", "echo"}:
        return Program(exits_after=0.0, output=(" ".join(words[1:]),) if name == "echo" else ())
    if name == "false":
        return Program(exits_after=0.0, exit_code=1)
    if name == "sleep" and len(words) > 1 and words[1].replace(".", "", 1).isdigit():
        return Program(exits_after=float(words[1]))
    if name == "sh" and len(words) > 2:
        if found := _EXIT.search(words[-1]):
            return Program(exits_after=0.0, exit_code=int(found[1]))
        if words[-1] in {"true", ":"}:
            return Program(exits_after=0.0)
    return Program()


@record
class Run:
    """One start of a container: when, when it was stopped by hand since, and when the run before it had ended (`former`)."""

    begun: float
    stopped: float | None = None
    former: float | None = None


def look(spec: ContainerSpec, program: Program, run: Run, now: float) -> tuple[RunState, Health, int, int]:
    """Work out state, health, exit code and restarts at the time `now`."""
    until = now if run.stopped is None else run.stopped
    ran = until - run.begun
    exited = program.exits_after is not None and ran >= program.exits_after
    if exited and not _restarts(spec.restart or "no", program.exit_code):
        return "exited", "", program.exit_code, 0
    if run.stopped is not None:
        return "exited", "", 137, 0
    if not exited:
        return "running", _health(spec, program, ran), 0, 0
    each = max(program.exits_after or 0.0, 0.1)
    count = int(ran / each)
    most = _most_restarts(spec.restart or "no")
    if most is not None and count >= most:
        return "exited", "", program.exit_code, most
    return "restarting", "", program.exit_code, max(count, 1)


def finished(spec: ContainerSpec, program: Program, run: Run, now: float) -> float | None:
    """Work out when it last ended, in this run or the one before; None: never."""
    if look(spec, program, run, now)[0] != "exited":
        return run.former
    return run.begun + (program.exits_after or 0.0) if run.stopped is None else run.stopped


def _restarts(policy: str, code: int) -> bool:
    return policy in {"always", "unless-stopped"} or (policy.startswith("on-failure") and code != 0)


def _most_restarts(policy: str) -> int | None:
    count = policy.partition(":")[2]
    return int(count) if count else None


def _health(spec: ContainerSpec, program: Program, ran: float) -> Health:
    check = spec.healthcheck
    if check is None or not check.test or check.test == ("NONE",):
        return ""
    if program.unhealthy_after is not None and ran >= program.unhealthy_after:
        return "unhealthy"
    if program.healthy_after is not None and ran >= program.healthy_after:
        return "healthy"
    return "starting"
