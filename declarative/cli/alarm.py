"""--timeout and Ctrl-C: how a run is told to end.

A verb that only reads is cut (`alarm`). A verb that changes things is asked to stop, and at the second signal stopped at once
(`stopping`): running steps end or are undone first.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from declarative.errors import Failed, Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.apply.stop import Stop
    from declarative.cli.context import Context


@contextmanager
def alarm(seconds: float | None) -> Iterator[None]:
    """Raise Failed in this block after `seconds`; None: never."""
    import signal

    if not seconds:
        yield
        return

    def ring(number: int, frame: object) -> None:
        del number, frame
        raise timed_out(seconds)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def timed_out(seconds: float) -> Failed:
    """Give the error of a run that took longer than --timeout."""
    return Failed("", f"not done within {seconds:g} s (--timeout)", "give it more time")


@contextmanager
def stopping(context: Context, stop: Stop, seconds: float | None) -> Iterator[None]:
    """In this block the first SIGINT, SIGTERM or SIGHUP asks `stop` to stop, the second ends the process at once."""
    import os
    import signal

    def ask(number: int, frame: object) -> None:
        del frame
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        error = Interrupted("", f"interrupted by {name}", "apply again to go on")
        if not stop.guarded:
            raise timed_out(seconds or 0) if number == signal.SIGALRM else error
        if number == signal.SIGALRM:
            stop.request(timed_out(seconds or 0))
            return
        if stop.requested and not isinstance(stop.error, Failed):
            context.err.line("stopped at once; the next apply tidies up")
            os._exit(Interrupted.exit_code)
        stop.request(error)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = {number: signal.signal(number, ask) for number in numbers}
    signal.setitimer(signal.ITIMER_REAL, seconds or 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
