"""When and how often a registry is asked again: the one policy.

The rule: only `Unavailable` is worth another try, and nothing that a retry cannot change. The first try is plain; the
library that paces the others is loaded when there is a second one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from declarative.errors import Unavailable
from declarative.record import record
from declarative.registry.failure import Untrusted

if TYPE_CHECKING:
    from collections.abc import Callable

    import tenacity

T = TypeVar("T")


@record
class RetryPolicy:
    """How often, and how long between; times in seconds.

    A server that asks (Retry-After) for more than `longest_wait` is not waited for: its error comes out at once.
    """

    attempts: int = 4
    first_wait: float = 0.25
    longest_wait: float = 30.0
    sleep: Callable[[float], None] = time.sleep

    def call(self, function: Callable[[], T]) -> T:
        """Return what `function` returns, tried up to `attempts` times; raise its last error."""
        try:
            return function()
        except Unavailable as error:
            if self.attempts <= 1 or not self.worth_it(error):
                raise
            self.pause(error, 0)
            return self._again(function)

    def _again(self, function: Callable[[], T]) -> T:
        import tenacity

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts - 1),
            retry=tenacity.retry_if_exception(self.worth_it),
            wait=self._wait,
            sleep=self.sleep,
            reraise=True,
        )
        return retrying(function)

    def worth_it(self, error: BaseException) -> bool:
        """Tell whether another try may end otherwise, and soon enough."""
        if not isinstance(error, Unavailable) or isinstance(error, Untrusted):
            return False
        return error.retry_after is None or error.retry_after <= self.longest_wait

    def pause(self, error: Unavailable, failures: int) -> None:
        """Wait as long as is due after `failures` earlier ones."""
        self.sleep(self._due(error, failures))

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return self._due(error, state.attempt_number)

    def _due(self, error: BaseException | None, failures: int) -> float:
        """Return the server's own wish, or twice as long as last time."""
        if isinstance(error, Unavailable) and error.retry_after is not None:
            return error.retry_after
        return min(self.longest_wait, self.first_wait * 2.0**failures)


ONCE = RetryPolicy(attempts=1)
