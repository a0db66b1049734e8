"""Health checks: when the next probe is due, and what its outcome makes of a container's health.

Docker's rules (daemon/health.go), as data: the first probe comes one interval after the start, the next one an interval after the
last one ended; while starting, inside the start period, the start interval counts instead. Success is healthy at once. A failure
inside the start period, before the first success, is written down and not counted. `retries` failures in a row are unhealthy.
A start interval that nobody gave is 5 s, as newer daemons have it, and no longer than the interval, which 20.10 and 26.1 take.

The rule that keeps it simple: pure; who runs probes is in `probing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.containers.container import HEALTHY, STARTING, UNHEALTHY, Health, Probe
from declarative.record import record

if TYPE_CHECKING:
    from declarative.engine.containers.config import Config, Healthcheck

_SECOND = 1_000_000_000
_INTERVAL = 30 * _SECOND
_TIMEOUT = 30 * _SECOND
_START_INTERVAL = 5 * _SECOND
_RETRIES = 3
_KEPT = 5
OUTPUT_MAX = 4096
"""Bytes of a probe's output that are kept."""
_SHELL = ("/bin/sh", "-c")


@record
class Plan:
    """A health check with Docker's defaults filled in: times in nanoseconds."""

    args: tuple[str, ...]
    interval: int = _INTERVAL
    timeout: int = _TIMEOUT
    start_period: int = 0
    start_interval: int = _START_INTERVAL
    retries: int = _RETRIES


def plan_of(config: Config) -> Plan | None:
    """Give a container's plan; None where it has no check, or a disabled one, or one that says nothing."""
    check = config.healthcheck
    if check is None or not check.test:
        return None
    args = _args(check, config)
    if args is None:
        return None
    interval = check.interval or _INTERVAL
    return Plan(
        args=args,
        interval=interval,
        timeout=check.timeout or _TIMEOUT,
        start_period=check.start_period,
        start_interval=check.start_interval or min(_START_INTERVAL, interval),
        retries=check.retries or _RETRIES,
    )


def _args(check: Healthcheck, config: Config) -> tuple[str, ...] | None:
    kind, *rest = check.test or ("NONE",)
    if kind == "CMD" and rest:
        return tuple(rest)
    if kind == "CMD-SHELL" and rest:
        return (*(config.shell or _SHELL), *rest)
    return None  # NONE, and what is none of the three: dockerd logs a warning and goes on without


def next_probe(plan: Plan, health: Health, *, ran: int) -> int:
    """Give how long to wait for the next probe; `ran`: how long the container has run. Nanoseconds."""
    inside = ran < plan.start_period
    return plan.start_interval if inside and health.status == STARTING else plan.interval


def after_probe(plan: Plan, health: Health, probe: Probe, *, ran: int) -> Health:
    """Give the health after a probe that began when the container had run for `ran` nanoseconds."""
    log = (*(health.log or ()), probe)[-_KEPT:]
    if probe.exit_code == 0:
        return Health(status=HEALTHY, streak=0, log=log)
    shielded = health.status == STARTING and ran < plan.start_period
    if shielded:
        return Health(status=STARTING, streak=health.streak, log=log)
    streak = health.streak + 1
    return Health(status=UNHEALTHY if streak >= plan.retries else health.status, streak=streak, log=log)
