"""What builds leave on purpose, and taking it away: images of steps, and caches that commands had mounted.

The rule that keeps it simple: an image goes when nothing has a name for it, nothing is built on it, and nothing holds it; so
what is taken away goes from its ends, and what people use stays. Forgetting a step costs the next build time, no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.build.run_mounts import clear_cache, folder_size
from declarative.engine.images.removing import remove
from declarative.errors import Conflict, NotFound
from declarative.oci.digest import Digest
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from declarative.engine.build.records import StepCache, StepRecord
    from declarative.engine.images.image import Image
    from declarative.engine.images.store import ImageStore

_SECOND = 1_000_000_000


@record
class Leftover:
    """One thing that a build left. Times in nanoseconds since 1970, size in bytes; `in_use`: something has a name for it.

    `labels` are those of the image that a step made; a cache has none.
    """

    id: str
    kind: str
    says: str
    size: int
    made: int
    used: int
    uses: int = 0
    in_use: bool = False
    parent: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@record
class Pruned:
    """What was taken away."""

    ids: tuple[str, ...] = ()
    size: int = 0


class Leftovers:
    """The images of steps and the caches of one engine."""

    def __init__(self, images: ImageStore, cache: StepCache, caches: Path) -> None:
        self._images = images
        self._cache = cache
        self._caches = caches

    def list(self) -> tuple[Leftover, ...]:
        """Give everything, the longest unused first."""
        found = [self._of_image(step, image) for step, image in self._steps()]
        return tuple(sorted((*found, *self._mounts()), key=lambda leftover: leftover.used))

    def prune(self, *, everything: bool, keep: int = 0, wanted: Callable[[Leftover], bool] | None = None) -> Pruned:
        """Take away what is not in use, the longest unused first.

        `everything`: caches of commands, too, and what is known of steps whose images are in use. `keep`: stop when no more
        bytes than this are left. `wanted`: only that.
        """
        if everything and not keep and wanted is None:
            self._cache.forget(step.image for step in self._cache.all() if self._in_use(step.image))
        left = sum(leftover.size for leftover in self.list()) if keep else 0
        gone: dict[str, int] = {}
        again = True
        while again:  # what others were built on can go once those are gone
            again = False
            found = self.list()
            for leftover in found if keep else reversed(found):
                if keep and left - sum(gone.values()) <= keep:
                    break
                if leftover.id in gone or not (wanted is None or wanted(leftover)):
                    continue
                freed = self._remove(leftover) if everything or leftover.kind == "regular" else None
                if freed is not None:
                    gone[leftover.id] = freed
                    again = True
        return Pruned(ids=tuple(gone), size=sum(gone.values()))

    def _steps(self) -> Iterator[tuple[StepRecord, Image]]:
        lost: list[Digest] = []
        seen: set[Digest] = set()
        for step in self._cache.all():
            if step.image in seen:
                continue
            seen.add(step.image)
            try:
                yield step, self._images.get(step.image)
            except NotFound:
                lost.append(step.image)
        if lost:
            self._cache.forget(lost)

    def _of_image(self, step: StepRecord, image: Image) -> Leftover:
        parent = self._images.parent(image.id)
        below = 0
        if parent is not None:
            try:
                below = self._images.get(parent).size
            except NotFound:
                parent = None
        return Leftover(
            id=image.id.hex,
            kind="regular",
            says=step.says,
            size=max(image.size - below, 0),
            made=step.made,
            used=step.used,
            uses=step.uses,
            in_use=self._in_use(image.id),
            parent=parent.hex if parent is not None else "",
            labels=image.config.run.labels,
        )

    def _in_use(self, id_: Digest) -> bool:
        images = self._images
        return bool(images.references(id_) or images.digests(id_) or images.holders(id_) or images.children(id_))

    def _mounts(self) -> Iterator[Leftover]:
        for folder in sorted(self._caches.iterdir()) if self._caches.is_dir() else ():
            status = folder.stat()
            name = (folder / "name").read_text(errors="replace") if (folder / "name").exists() else folder.name
            yield Leftover(
                id=folder.name,
                kind="exec.cachemount",
                says=f"cached mount {name}",
                size=folder_size(folder),
                made=int(status.st_ctime) * _SECOND,
                used=status.st_mtime_ns,
            )

    def _remove(self, leftover: Leftover) -> int | None:
        """Give how many bytes are free now; None where it stays."""
        if leftover.kind != "regular":
            return clear_cache(self._caches / leftover.id)
        id_ = Digest(algorithm="sha256", hex=leftover.id)
        if self._in_use(id_):
            return None
        try:
            remove(self._images, str(id_), force=False, prune=False)
        except (Conflict, NotFound):  # somebody was faster
            return None
        return leftover.size
