"""Which images may go, and what goes with them: dockerd's rules for `rmi` and `image prune`, in its words.

The rule that keeps it simple: a reference takes names away and the image goes with its last one; an ID means the image. What
a container uses is refused, softly (force helps) or hard; children always keep their parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from declarative.engine.images.collect import drop_blobs, drop_chains
from declarative.errors import Conflict, NotFound
from declarative.oci.reference import Reference
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from declarative.engine.images.image import Image
    from declarative.engine.images.store import ImageStore
    from declarative.oci.digest import Digest


@record
class Untagged:
    """A name that was taken away, as docker writes it."""

    name: str


@record
class Deleted:
    """An image, or an unpacked layer, that was removed."""

    digest: Digest


Removal: TypeAlias = Untagged | Deleted


@record
class Pruned:
    """What a prune removed, and the size in bytes of the files in the layers that went."""

    removed: tuple[Removal, ...]
    size: int


@record
class _Refusal:
    """Why an image must not go. Hard: force does not help. `used`: by a container."""

    reason: str
    hard: bool
    used: bool = False


def remove(store: ImageStore, name: str, *, force: bool = False, prune: bool = True) -> tuple[Removal, ...]:
    """Remove a name, or an image with all its names; with `prune`, its parents too that have no name and no use.

    NotFound for no such image; Conflict, in Docker's words, for one in use.
    """
    removing = _Removing(store)
    image = store.resolve(name)
    if _is_prefix(image.id, name):
        return removing.by_id(image.id, force=force, prune=prune)
    return removing.by_name(image.id, name, force=force, prune=prune)


def prune_images(store: ImageStore, *, everything: bool, keep: Callable[[Image], bool]) -> Pruned:
    """Remove images without a name, or with `everything` those that nobody uses; `keep` tells which stay anyway."""
    removed: list[Removal] = []
    size = 0
    for image in store.list():
        names = [name for name, _ in store.records.names(image.id)]
        tags = [name for name in names if name.digest is None]
        has_children = bool(store.children(image.id))
        if (
            store.holders(image.id)
            or store.leases.has(image.id)
            or keep(image)
            or (has_children and not (everything and names))
        ):
            continue
        if tags and not everything:
            continue
        sizes = _sizes(store, image)
        try:
            for name in names:
                if store.records.named(name) == image.id:  # a digest goes with the last tag of its repository
                    removed += remove(store, name.canonical())
            if not names:
                removed += remove(store, str(image.id))
        except (Conflict, NotFound):  # somebody uses it since, or it went with another
            continue
        size += sum(length for chain, length in sizes.items() if not store.snapshots.has(chain))
    return Pruned(removed=tuple(removed), size=size)


class _Removing:
    """One removal; collects what went."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._gone: list[Removal] = []

    def by_name(self, id_: Digest, text: str, *, force: bool, prune: bool) -> tuple[Removal, ...]:
        store = self._store
        names = self._names(id_)
        users = store.holders(id_)
        if not force and _of_one_repository(names) and users:
            raise Conflict(
                "",
                f'conflict: unable to remove repository reference "{text}" (must force) - '
                f"{_who(users[0])} is using its referenced image {id_.short}",
            )
        name = Reference.parse(text).addressed()
        self._untag(name)
        left = self._names(id_)
        if name.digest is None and not any(other.digest is None and other.name == name.name for other in left):
            for other in left:  # digests of a repository that has no tag any more
                if other.name == name.name:
                    self._untag(other)
            left = self._names(id_)
        if not left:
            self._delete(id_, force=force, prune=prune, quiet=True)
        return tuple(self._gone)

    def by_id(self, id_: Digest, *, force: bool, prune: bool) -> tuple[Removal, ...]:
        names = self._names(id_)
        if _of_one_repository(names):
            refusal = self._refusal(id_, soft=not force, references=False)
            if refusal is not None:
                raise _conflict(id_, refusal)
            for name in names:
                self._untag(name)
        self._delete(id_, force=force, prune=prune, quiet=False)
        return tuple(self._gone)

    def _delete(self, id_: Digest, *, force: bool, prune: bool, quiet: bool) -> None:
        store = self._store
        refusal = self._refusal(id_, soft=not force)
        if refusal is not None:
            dangling = not self._names(id_) and not store.children(id_)
            if quiet and (not dangling or refusal.used):
                return
            raise _conflict(id_, refusal)
        parent = store.parent(id_)
        for name in self._names(id_):
            self._untag(name)
        chain = store.get(id_).chain
        blobs = store.records.blobs(id_)
        store.forget(id_)
        store.publish("delete", str(id_), str(id_))
        self._gone.append(Deleted(digest=id_))
        drop_blobs(store, blobs)
        self._gone += [Deleted(digest=gone) for gone in drop_chains(store, chain[-1:])]
        if prune and parent is not None and store.records.image(parent) is not None:
            self._delete(parent, force=False, prune=True, quiet=True)

    def _refusal(self, id_: Digest, *, soft: bool, references: bool = True) -> _Refusal | None:
        store = self._store
        if store.children(id_):
            return _Refusal(reason="image has dependent child images", hard=True)
        users = store.holders(id_)
        running = [holder for holder in users if "/" in holder or store.is_running(holder)]
        if running:
            reason = f"image is being used by running {_who(running[0])}"
            return _Refusal(reason=reason, hard=True, used=True)
        if not soft:
            return None
        if references and self._names(id_):
            return _Refusal(reason="image is referenced in multiple repositories", hard=False)
        if users:
            return _Refusal(reason=f"image is being used by stopped {_who(users[0])}", hard=False, used=True)
        return None

    def _names(self, id_: Digest) -> list[Reference]:
        return [name for name, _ in self._store.records.names(id_)]

    def _untag(self, name: Reference) -> None:
        self._store.untag(name)
        self._gone.append(Untagged(name=name.familiar()))


def _sizes(store: ImageStore, image: Image) -> dict[Digest, int]:
    """Give the size of the files of each unpacked layer of an image, in bytes."""
    known = [
        (chain, store.records.layer_blob(layer.digest)) for chain, layer in zip(image.chain, image.layers, strict=True)
    ]
    return {chain: blob.size for chain, blob in known if blob is not None and store.snapshots.has(chain)}


def _of_one_repository(names: Sequence[Reference]) -> bool:
    """Tell whether all names, of which there are some, are of one repository, with at most one tag."""
    tags = sum(name.digest is None for name in names)
    return bool(names) and tags <= 1 and len({name.name for name in names}) == 1


def _is_prefix(id_: Digest, text: str) -> bool:
    return str(id_).startswith(text) or id_.hex.startswith(text)


def _who(holder: str) -> str:
    kind, slash, name = holder.rpartition("/")
    return f"{kind if slash else 'container'} {name[:12]}"


def _conflict(id_: Digest, refusal: _Refusal) -> Conflict:
    force = "cannot be forced" if refusal.hard else "must be forced"
    return Conflict("", f"conflict: unable to delete {id_.short} ({force}) - {refusal.reason}")
