"""What is wrong with the images on the disk, and what can be mended.

The rule that keeps it simple: blobs are compared with their digests, unpacked layers with their blobs, `index.json` and the
records with both. What can be made again is; an image that lost what nothing here can make again goes, so that a pull
brings it whole. Nobody else uses the store meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.images.adopt import adopt
from declarative.engine.images.collect import collect
from declarative.engine.images.layers.diff import layer_of
from declarative.engine.images.pack import pack
from declarative.errors import DeclarativeError
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from declarative.engine.images.records import ImageRow
    from declarative.engine.images.store import ImageStore
    from declarative.oci.digest import Digest


@record
class Finding:
    """One thing that is wrong: what, how, and what was done about it ("" for nothing)."""

    subject: str
    problem: str
    mended: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}" + (f" — {self.mended}" if self.mended else "")


def check(store: ImageStore, *, mend: bool) -> tuple[Finding, ...]:
    """Check everything, reading every byte; with `mend`, mend what can be. Nothing for a store that is sound."""
    return tuple(_findings(store, mend=mend))


def _findings(store: ImageStore, *, mend: bool) -> Iterator[Finding]:
    for problem in store.records.damage():
        yield Finding(subject="the engine's records", problem=problem)
    yield from _index(store, mend=mend)
    damaged: dict[Digest, str] = {}
    for digest in store.blobs:
        problem = store.blobs.damage(digest)
        if problem:
            damaged[digest] = problem
            if not store.records.needs_blob(digest):
                yield Finding(subject=f"blob {digest}", problem=problem, mended=_drop(store, digest, mend=mend))
    for row in store.records.images():
        yield from _image(store, row, damaged, mend=mend)
    yield from _layers(store, mend=mend)
    yield from _orphans(store, mend=mend)


def _index(store: ImageStore, *, mend: bool) -> Iterator[Finding]:
    problem = store.index.damage()
    if problem:
        if mend:
            store.write_index()
        yield Finding(subject="index.json", problem=problem, mended="written anew from the records" if mend else "")
    elif mend:
        for entry, wrong in adopt(store):
            name = entry.reference.familiar()
            problem = wrong or "is listed in index.json and not recorded"
            yield Finding(subject=name, problem=problem, mended="" if wrong else "taken in")
    else:
        for entry in store.index.foreign():
            yield Finding(subject=entry.reference.familiar(), problem="is listed in index.json and not recorded")


def _image(store: ImageStore, row: ImageRow, damaged: dict[Digest, str], *, mend: bool) -> Iterator[Finding]:
    """Check the blobs of one image; a layer that was made here is made again out of its unpacked folder."""
    lost = False
    for digest in store.records.blobs(row.id):
        problem = damaged.get(digest) or ("" if store.blobs.has(digest) else "missing")
        if not problem:
            continue
        mended = "packed again out of the unpacked layer" if mend and repack(store, digest) else ""
        lost = lost or not mended
        yield Finding(subject=f"blob {digest} of image {row.id.short}", problem=problem, mended=mended)
    if lost:
        names = ", ".join(name.familiar() for name, _ in store.records.names(row.id)) or str(row.id)
        if mend:
            for digest in store.records.blobs(row.id):
                if digest in damaged:
                    store.blobs.remove(digest)
            store.forget(row.id)
        yield Finding(
            subject=f"image {row.id.short} ({names})",
            problem="lost blobs that nothing here can make again",
            mended="forgotten: pull, load or build it again" if mend else "",
        )


def repack(store: ImageStore, digest: Digest) -> bool:
    """Make a layer's blob again out of its unpacked folder, which works for layers that were packed here."""
    for image in store.records.with_blob(digest):
        folder = _folder(store, image, digest)
        if folder is not None:
            try:
                with store.blobs.ingest(digest, f"layer {digest.short}") as ingest:
                    ingest.restart()
                    pack(layer_of(folder), ingest.write)
            except DeclarativeError:
                continue
            return True
    return False


def _folder(store: ImageStore, id_: Digest, digest: Digest) -> Path | None:
    try:
        image = store.get(id_)
    except DeclarativeError:
        return None
    chains = store.snapshots.chains()
    found = [chain for chain, layer in zip(image.chain, image.layers, strict=True) if layer.digest == digest]
    return next((chains[chain] for chain in found if chain in chains), None)


def _layers(store: ImageStore, *, mend: bool) -> Iterator[Finding]:
    """Unpack every layer anew, beside what is there, and compare."""
    checked: set[Digest] = set()
    for image in store.list():
        for place, chain in enumerate(image.chain):
            if chain in checked or not store.snapshots.has(chain):
                continue
            checked.add(chain)
            problem = store.snapshots.damage(image.layers[: place + 1], image.config.diff_ids[: place + 1], mend=mend)
            if problem:
                mended = "unpacked again" if mend else ""
                yield Finding(
                    subject=f"unpacked layer {chain} of image {image.id.short}", problem=problem, mended=mended
                )


def _orphans(store: ImageStore, *, mend: bool) -> Iterator[Finding]:
    for folder in store.snapshots.orphans():
        if mend:
            store.snapshots.erase(folder)
        yield Finding(subject=str(folder), problem="belongs to no layer", mended="removed" if mend else "")
    orphans = [digest for digest in store.blobs if not store.records.needs_blob(digest)]
    if not orphans:
        return
    size = sum(store.blobs.size(digest) for digest in orphans)
    removed = collect(store, older=0).blobs if mend else 0
    yield Finding(
        subject=f"{len(orphans)} blobs of {size} bytes",
        problem="belong to no image",
        mended=f"{removed} removed" if mend else "",
    )


def _drop(store: ImageStore, digest: Digest, *, mend: bool) -> str:
    return "removed" if mend and store.blobs.remove(digest) else ""
