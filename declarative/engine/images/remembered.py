"""Images that were read from the disk, kept for the next who asks.

The rule that keeps it simple: what was asked for last stays. A machine that builds for months has images without number, one for
each step; all of them in memory would be the most of what the daemon takes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from declarative.engine.images.image import Image
    from declarative.oci.digest import Digest

_BYTES = (
    32 << 20
)  # of configurations, of some ten thousand common images; read into objects they take about four times that


class Remembered:
    """The images, by ID. `limit`: bytes of configurations. Safe to use from several threads."""

    def __init__(self, limit: int = _BYTES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._images: OrderedDict[Digest, Image] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._images)

    def get(self, id: Digest) -> Image | None:  # noqa: A002 - the word of this place
        """Give one, None where it has to be read."""
        with self._lock:
            found = self._images.get(id)
            if found is not None:
                self._images.move_to_end(id)
            return found

    def put(self, image: Image) -> None:
        """Keep one, in place of those that were not asked for the longest."""
        with self._lock:
            self._forget(image.id)
            self._images[image.id] = image
            self._size += len(image.raw)
            while self._size > self._limit:
                self._forget(next(iter(self._images)))

    def forget(self, id: Digest) -> None:  # noqa: A002
        """Let one go: it was removed."""
        with self._lock:
            self._forget(id)

    def _forget(self, id_: Digest) -> None:
        gone = self._images.pop(id_, None)
        self._size -= len(gone.raw) if gone is not None else 0
