"""What must not be collected, though no record refers to it yet: blobs and layers of pulls, loads and builds on their way.

The rule that keeps it simple: whoever is going to refer to a thing takes a lease on it before looking whether it is there;
whoever removes things does it under the lock, and leaves leased ones alone. Leases live in memory: after a crash, what
nobody refers to is a leftover that a retry may use, and a later collection removes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from declarative.oci.digest import Digest

_FRESH = 3600.0
"""Seconds for which something just made is safe, while its maker goes on to refer to it."""


class Leases:
    """Who needs what for now. `clock` gives seconds. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.lock = threading.RLock()
        """To be held from looking whether something is leased until it is removed."""
        self._clock = clock
        self._held: Counter[Digest] = Counter()
        self._fresh: dict[Digest, tuple[float, ...]] = {}

    @contextmanager
    def hold(self, digests: Iterable[Digest]) -> Iterator[None]:
        """Keep these, there or not, until the end of the block."""
        taken = list(digests)
        with self.lock:
            self._held.update(taken)
        try:
            yield
        finally:
            with self.lock:
                self._held.subtract(taken)
                self._held += Counter()  # without those at zero

    def touch(self, digest: Digest) -> None:
        """Keep something that was made just now for a while, or until `settle`, which each maker calls for its own touch."""
        now = self._clock()
        with self.lock:
            self._fresh = {known: ends for known, ends in self._fresh.items() if ends[-1] > now}
            self._fresh[digest] = (*self._fresh.get(digest, ()), now + _FRESH)

    def settle(self, *digests: Digest) -> None:
        """Hear that an image has what was made: whoever removes that need not leave this behind."""
        with self.lock:
            for digest in digests:
                left = self._fresh.pop(digest, ())[:-1]
                if left:
                    self._fresh[digest] = left

    def has(self, digest: Digest) -> bool:
        """Tell whether somebody needs it."""
        with self.lock:
            return self._held[digest] > 0 or self._fresh.get(digest, (0.0,))[-1] > self._clock()
