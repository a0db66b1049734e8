"""What a layer costs, counted while it goes by, and its digest.

The rule that keeps it simple: limits are checked before what they limit is made.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from declarative.engine.images.layers.entry import files_size
from declarative.errors import Invalid
from declarative.oci.digest import Digest
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from declarative.engine.images.layers.entry import Entry


@record
class Limits:
    """What one layer may cost: bytes, unpacked, and entries. The largest public images have a tenth of these."""

    size: int = 256 << 30
    entries: int = 4_000_000


@record
class Applied:
    """A layer that was applied: the digest of the unpacked stream, its size in bytes, how many entries it had.

    `files` is the size of its files, each counted once, as engines tell the size of a layer; links are as long as their
    target. `rooted`: it says what the root folder is like. `implicit` are folders that it needs and does not have, made as
    they are below; with `alone` nothing else of it depends on the layers below.
    """

    diff_id: Digest
    size: int
    entries: int
    files: int
    alone: bool = False
    rooted: bool = False
    implicit: tuple[bytes, ...] = ()


class Gauge:
    """Counts and hashes what goes by, and stops at the limits."""

    def __init__(self, limits: Limits, subject: str) -> None:
        self._limits = limits
        self._subject = subject
        self._hasher = hashlib.sha256()
        self._size = 0
        self._copied = 0
        self._entries = 0
        self._files = 0

    def measured(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on the stream, unpacked. Invalid at the limit."""
        for chunk in chunks:
            self._hasher.update(chunk)
            self._size += len(chunk)
            self._check()
            yield chunk

    def copied(self, size: int) -> None:
        """Count bytes that are made beside the stream."""
        self._copied += size
        self._check()

    def entry(self, entry: Entry) -> None:
        """Count an entry. Invalid where there are too many."""
        self._entries += 1
        self._files += files_size(entry)
        if self._entries > self._limits.entries:
            raise Invalid(
                self._subject, f"more than {self._limits.entries} entries", "raise the limit, if you trust it"
            )

    def applied(self) -> Applied:
        """Give the sums, at the end."""
        digest = Digest(algorithm="sha256", hex=self._hasher.hexdigest())
        return Applied(diff_id=digest, size=self._size, entries=self._entries, files=self._files)

    def _check(self) -> None:
        if self._size + self._copied > self._limits.size:
            problem = f"unpacks to more than {self._limits.size} bytes"
            raise Invalid(self._subject, problem, "raise the limit, if you trust it")
