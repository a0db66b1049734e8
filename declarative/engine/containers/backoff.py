"""When a container that ended is started again: its restart policy and the pause before it.

Docker's numbers (restartmanager): the first pause is 100 ms, each further one twice as long, up to one minute; a run of ten
seconds or more begins anew. The rule that keeps it simple: pure; the clock's readings come in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from declarative.engine.containers.host import RestartPolicy

FIRST = 100_000_000
LONGEST = 60_000_000_000
STEADY = 10_000_000_000
"""Nanoseconds."""


@record
class Verdict:
    """Whether to start it again, and after which pause; `pause` is also what the next one is reckoned from."""

    again: bool
    pause: int = 0


def after_exit(
    policy: RestartPolicy, *, exit_code: int, stopped: bool, restarts: int, ran: int, last_pause: int
) -> Verdict:
    """Decide after an exit.

    `stopped`: a person stopped it. `restarts`: how many restarts the policy made so far since a person started it. `ran`: how
    long it ran, in nanoseconds. `last_pause`: the pause before this run, 0 for none.
    """
    if stopped or not _wants(policy, exit_code, restarts):
        return Verdict(again=False)
    if last_pause == 0 or ran >= STEADY:
        return Verdict(again=True, pause=FIRST)
    return Verdict(again=True, pause=min(last_pause * 2, LONGEST))


def _wants(policy: RestartPolicy, exit_code: int, restarts: int) -> bool:
    if policy.name in {"always", "unless-stopped"}:
        return True
    if policy.name != "on-failure" or exit_code == 0:
        return False
    return policy.maximum_retry_count == 0 or restarts < policy.maximum_retry_count


def at_boot(policy: RestartPolicy, *, was_up: bool, stopped: bool) -> bool:
    """Decide whether a container that nothing runs any more is started by a daemon that starts.

    `was_up`: it was running or restarting when the last daemon or the machine went. `stopped`: a person had stopped it.
    """
    if policy.name == "always":
        return was_up or stopped
    if policy.name == "unless-stopped":
        return was_up and not stopped
    return policy.name == "on-failure" and was_up
