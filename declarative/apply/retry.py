"""The one retry policy: what got no proper answer is tried again, a few times, with growing pauses.

Only `Unavailable` is retried: every action is safe to send again by the port's promise, and failures on their merits are
not cured by repetition. The first attempt is made by hand, so that tenacity (27 ms of imports) is loaded at the first
failure only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from declarative.apply.events import Retrying
from declarative.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    import tenacity

    from declarative.apply.events import Tell
    from declarative.apply.stop import Stop

T = TypeVar("T")

ATTEMPTS = 5
FIRST_PAUSE = 0.3  # seconds; doubles with every attempt
LONGEST_PAUSE = 5.0
LONGEST_RETRY_AFTER = 60.0  # a server that asks for more is not waited for: the person should know


def attempt(call: Callable[[], T], *, tell: Tell, stop: Stop) -> T:
    """Do `call`, again where it was Unavailable; raises what the last attempt raised. A stop ends the pauses."""
    try:
        return call()
    except Unavailable as error:
        if stop.requested or (error.retry_after or 0) > LONGEST_RETRY_AFTER:
            raise
        return _again(call, error, tell, stop)


def _again(call: Callable[[], T], first: Unavailable, tell: Tell, stop: Stop) -> T:
    import tenacity

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, Unavailable) else None
        return asked if asked is not None else backing_off(state)

    def announce(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Unavailable):
            tell(Retrying(error=error, seconds=state.next_action.sleep if state.next_action else 0.0))

    def worth_it(error: BaseException) -> bool:
        if not isinstance(error, Unavailable) or stop.requested:
            return False
        return (error.retry_after or 0) <= LONGEST_RETRY_AFTER

    made = 0

    def made_before() -> T:
        """Let the attempt that was made by hand count as tenacity's first."""
        nonlocal made
        made += 1
        if made == 1:
            raise first
        return call()

    backing_off = tenacity.wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE, min=FIRST_PAUSE / 2)
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=pause,
        retry=tenacity.retry_if_exception(worth_it),
        sleep=stop.sleep,
        before_sleep=announce,
        reraise=True,
    )
    return retrying(made_before)
