"""What nothing refers to any more goes: blobs, and unpacked layers.

The rule that keeps it simple: everything is removed under the lock of the leases, one thing at a time, after the records and
the leases were asked. What is young and belongs to nobody may be of a pull that was cut: a collection of everything leaves it
until it is a day old.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.engine.images.store import ImageStore
    from declarative.oci.digest import Digest

DAY = 24 * 3600.0


@record
class Collected:
    """What a collection removed: how many blobs and unpacked layers, and the size of the blobs in bytes."""

    blobs: int = 0
    layers: int = 0
    size: int = 0


def drop_blobs(store: ImageStore, digests: Iterable[Digest]) -> int:
    """Remove those of these blobs that nothing refers to; give their size in bytes."""
    size = 0
    for digest in digests:
        with store.leases.lock:
            if store.leases.has(digest) or store.records.needs_blob(digest) or not store.blobs.has(digest):
                continue
            size += store.blobs.size(digest)
            store.records.forget_blob(digest)
            store.blobs.remove(digest)
    return size


def drop_chains(store: ImageStore, chains: Iterable[Digest]) -> tuple[Digest, ...]:
    """Remove those of these unpacked layers, and of those below them, that nothing refers to; give them, topmost first."""
    gone = []
    for top in chains:
        chain: Digest | None = top
        while chain is not None:
            below = store.snapshots.below(chain)
            with store.leases.lock:
                needed = store.records.needs_chain(chain) or chain in _held(store) or store.leases.has(chain)
                folder = None if needed else store.snapshots.take_out(chain)
            if folder is None:
                break
            store.snapshots.erase(folder)
            gone.append(chain)
            chain = below
    return tuple(gone)


def collect(store: ImageStore, *, older: float = DAY, now: float | None = None) -> Collected:
    """Remove all blobs and unpacked layers that nothing refers to; blobs that are younger than `older` seconds stay."""
    from declarative.engine.images.adopt import adopt

    adopt(store)  # what another tool put into the layout is not garbage
    now = time.time() if now is None else now
    old = [digest for digest in store.blobs if now - store.blobs.modified(digest) >= older]
    before = len(old)
    size = drop_blobs(store, old)
    left = sum(store.blobs.has(digest) for digest in old)
    chains = set(store.snapshots.chains())
    tops = chains - {store.snapshots.below(chain) for chain in chains}
    return Collected(blobs=before - left, layers=len(drop_chains(store, sorted(tops))), size=size)


def _held(store: ImageStore) -> set[Digest]:
    """Give the chain IDs that holders need, those below them with them."""
    held: set[Digest] = set()
    for top in store.records.held_chains():
        chain: Digest | None = top
        while chain is not None and chain not in held:
            held.add(chain)
            chain = store.snapshots.below(chain)
    return held
