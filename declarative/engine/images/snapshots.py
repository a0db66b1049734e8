"""Unpacked layers: a folder for overlayfs for each chain ID, made once, and the layers that become one.

The rule that keeps it simple: a folder is whole before it has its name, and then its record. Everything here can be made again
out of the blobs; so what a crash or a reboot leaves in doubt is thrown away.
"""

from __future__ import annotations

import errno
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from declarative.engine.images.disk import saying
from declarative.engine.images.folders import Folders
from declarative.engine.images.layers.apply import apply_layer, measure_layer
from declarative.engine.images.layers.compression import unpacked
from declarative.engine.images.layers.diff import layer_of
from declarative.engine.images.loose import Loose
from declarative.engine.images.pack import Packing, gathered, pack
from declarative.engine.images.records import LayerBlob
from declarative.engine.images.settle import boot_id
from declarative.errors import Failed, Invalid
from declarative.oci import media
from declarative.oci.config import chain_ids
from declarative.oci.digest import Digest
from declarative.oci.documents import Descriptor
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from declarative.engine.db import Database
    from declarative.engine.images.blobs import BlobStore
    from declarative.engine.images.image import Image
    from declarative.engine.images.leases import Leases
    from declarative.engine.images.records import ImageRecords
    from declarative.engine.images.settle import Settler

_READ = 1 << 20


@record
class Layer:
    """A layer: the digest of its tar stream, its blob, the size of its files in bytes, and what it is on those below."""

    diff_id: Digest
    descriptor: Descriptor
    size: int
    chain: Digest


@record
class _Snapshot:
    """One unpacked layer. `parent` is the chain ID below it."""

    folder: Path
    parent: Digest | None


class Snapshots:
    """The unpacked layers below `root`. Safe to use from several threads; one process at a time."""

    def __init__(
        self,
        root: Path,
        blobs: BlobStore,
        db: Database,
        records: ImageRecords,
        *,
        leases: Leases,
        settler: Settler,
        boot: str | None = None,
    ) -> None:
        """Open what is there; what was unpacked less than whole goes. `boot` names the run of the kernel."""
        self.root = root
        self._blobs = blobs
        self._db = db
        self._records = records
        self._leases = leases
        self._settler = settler
        self._lock = threading.Lock()
        self._busy: dict[Digest, _Turn] = {}
        self._known: dict[Digest, _Snapshot] = {}
        with saying(str(root)):
            self._folders = Folders(root)
            self._load(boot_id() if boot is None else boot)

    def lowers(self, image: Image) -> tuple[Path, ...]:
        """Give the folders of an image for overlayfs, the uppermost first; those that are missing are unpacked now.

        Failed where a blob is missing or the disk is full.
        """
        return self.unpack(image.layers, image.config.diff_ids)

    def unpack(self, layers: Sequence[Descriptor], diff_ids: Sequence[Digest]) -> tuple[Path, ...]:
        """As `lowers`, for layers that are no image yet."""
        lowers: tuple[Path, ...] = ()
        below: Digest | None = None
        for layer, diff_id, chain in zip(layers, diff_ids, chain_ids(diff_ids), strict=True):
            lowers = (self.ensure(layer, diff_id, chain, below, lowers), *lowers)
            below = chain
        return lowers

    def ensure(
        self,
        layer: Descriptor,
        diff_id: Digest,
        chain: Digest,
        below: Digest | None,
        lowers: tuple[Path, ...],
        *,
        source: Callable[[], Iterable[bytes]] | None = None,
        loose: Loose | None = None,
    ) -> Path:
        """Give the folder of one layer on `lowers`; unpack it once, however many ask at the same time.

        `source` opens the layer's blob where it is not in the store yet; `loose` is taken where it is the layer.
        Whoever asks has a lease on `chain`, or an image with
        it. Errors as of `apply_layer`; DigestMismatch where the blob unpacks to something else.
        """
        read = source or (lambda: self._read(layer.digest))
        with self._turn(chain):
            known = self._known.get(chain)
            if known is not None:
                if self._records.layer_blob(layer.digest) is None:
                    self._learn(layer, diff_id, read())
                return known.folder
            if loose is not None and loose.diff_id == diff_id and loose.folder.is_dir() and loose.fits(lowers):
                blob = LayerBlob(digest=layer.digest, diff_id=diff_id, size=loose.files)
                if lowers and not loose.rooted:
                    self._folders.root_as(loose.folder, lowers[0])
                return self._publish(loose.folder, chain, below, blob)
            with saying(f"layer {layer.digest.short}"), self._folders.fresh(lowers[0] if lowers else None) as folder:
                applied = apply_layer(read(), folder, lowers, subject=f"layer {layer.digest.short}")
                diff_id.require(applied.diff_id, f"layer {layer.digest}")
                blob = LayerBlob(digest=layer.digest, diff_id=diff_id, size=applied.files)
                return self._publish(folder, chain, below, blob)

    def _learn(self, layer: Descriptor, diff_id: Digest, chunks: Iterable[bytes]) -> None:
        """Check a blob whose layer was unpacked out of another one: what it unpacks to must be the same."""
        measured = measure_layer(chunks, subject=f"layer {layer.digest.short}")
        diff_id.require(measured.diff_id, f"layer {layer.digest}")
        self._records.learn(LayerBlob(digest=layer.digest, diff_id=diff_id, size=measured.files))

    def commit(self, upper: Path, lowers: tuple[Path, ...], subject: str = "layer", *, move: bool = True) -> Layer:
        """Make a layer of `upper`, which overlayfs wrote over `lowers` (folders of this store, the uppermost first).

        With `move`, `upper` becomes the unpacked layer and is gone afterwards: nothing may be mounted on it any more.
        Without, it is read as it stands. The layer is safe from collection for an hour; then an image must have it.
        """
        below = self.chain_of(lowers[0]) if lowers else None
        sizes: list[int] = []
        with saying(subject), self._blobs.ingest(subject=subject) as ingest:
            diff_id = pack(layer_of(upper, subject, sizes.append), ingest.write)
            digest = ingest.digest
            self._leases.touch(digest)
        chain = chain_on(below, diff_id)
        self._leases.touch(chain)
        descriptor = Descriptor(media_type=media.OCI_LAYER_GZIP, digest=digest, size=self._blobs.size(digest))
        blob = LayerBlob(digest=digest, diff_id=diff_id, size=sum(sizes))
        with self._turn(chain):
            if not move:
                self._records.learn(blob)
            elif chain in self._known:
                self._records.learn(blob)
                self._folders.erase_later(upper)
            else:
                self._adopt(upper, chain, below, blob)
        return Layer(diff_id=diff_id, descriptor=descriptor, size=blob.size, chain=chain)

    def try_out(self, chunks: Iterable[bytes], subject: str) -> Loose | None:
        """Unpack a layer before it is known which layers are below it, for `ensure`.

        None where that matters, or it cannot be unpacked: then the chunks may not have been read to their end. `drop` what is
        not used. Failed where the disk is full.
        """
        folder = None
        try:
            with saying(subject), self._folders.fresh(None) as folder:
                applied = apply_layer(chunks, folder, subject=subject)
        except Invalid:
            return None
        if not applied.alone:
            self._folders.erase_later(folder)
            return None
        return Loose(
            folder=folder,
            diff_id=applied.diff_id,
            files=applied.files,
            rooted=applied.rooted,
            implicit=applied.implicit,
        )

    def drop(self, loose: Loose) -> None:
        """Remove a layer that was tried out, if it was not taken."""
        self._folders.erase_later(loose.folder)

    def take(self, chunks: Iterable[bytes], subject: str = "layer") -> Layer:
        """Make a bottom layer of a tar stream, in any compression: unpacked and packed in one pass. Errors of `apply_layer`."""
        with saying(subject), self._blobs.ingest(subject=subject) as ingest, self._folders.fresh(None) as folder:
            with Packing(ingest.write) as packing:
                applied = apply_layer(_fed(unpacked(chunks, subject), packing), folder, subject=subject)
            digest = ingest.digest
            self._leases.touch(digest)
            self._leases.touch(applied.diff_id)
            descriptor = Descriptor(media_type=media.OCI_LAYER_GZIP, digest=digest, size=ingest.offset)
            blob = LayerBlob(digest=digest, diff_id=applied.diff_id, size=applied.files)
            with self._turn(applied.diff_id):
                if applied.diff_id in self._known:
                    self._folders.erase(folder)
                    self._records.learn(blob)
                else:
                    self._publish(folder, applied.diff_id, None, blob)
        return Layer(diff_id=applied.diff_id, descriptor=descriptor, size=applied.files, chain=applied.diff_id)

    def chain_of(self, folder: Path) -> Digest:
        """Give the chain ID of a folder that `lowers` gave. Invalid for any other."""
        with self._lock:
            found = next((chain for chain, known in self._known.items() if known.folder == folder), None)
        if found is None:
            raise Invalid(str(folder), "is no unpacked layer of this engine")
        return found

    def has(self, chain: Digest) -> bool:
        """Tell whether a layer is unpacked."""
        return chain in self._known

    def chains(self) -> dict[Digest, Path]:
        """Give all unpacked layers."""
        with self._lock:
            return {chain: known.folder for chain, known in self._known.items()}

    def below(self, chain: Digest) -> Digest | None:
        """Give the chain ID of the layer below one that is unpacked."""
        known = self._known.get(chain)
        return known.parent if known is not None else None

    def damage(self, layers: Sequence[Descriptor], diff_ids: Sequence[Digest], *, mend: bool) -> str:
        """Say what is wrong with an unpacked layer, the last of these, "" for nothing; with `mend`, put a new one in its place.

        The layers below were checked before. What is unpacked anew is compared with what is there, entry by entry.
        """
        chain = chain_ids(diff_ids)
        known = self._known[chain[-1]]
        lowers = tuple(self._known[one].folder for one in chain[-2::-1]) if len(chain) > 1 else ()
        missing = [folder for folder in lowers if not folder.is_dir()]
        if missing:
            return f"the layer below it is missing: {missing[0]}"
        subject = f"layer {layers[-1].digest.short}"
        with saying(subject), self._folders.fresh(lowers[0] if lowers else None) as fresh:
            applied = apply_layer(self._read(layers[-1].digest), fresh, lowers, subject=subject)
            diff_ids[-1].require(applied.diff_id, subject)
            problem = "" if known.folder.is_dir() else f"{known.folder} is missing"
            if not problem and not _same(fresh, known.folder):
                problem = f"{known.folder} is not what its blob says"
            if problem and mend:
                self._folders.erase(known.folder)
                fresh.rename(known.folder)
            else:
                self._folders.erase(fresh)
        return problem

    def take_out(self, chain: Digest) -> Path | None:
        """Forget an unpacked layer and give what is left of it, for `erase`; None where it is not there.

        Whether it is needed is the caller's business.
        """
        with self._turn(chain):
            with self._lock:
                known = self._known.pop(chain, None)
            if known is None:
                return None
            with self._db.transaction() as connection:
                connection.execute("DELETE FROM snapshots WHERE chain = ?", (str(chain),))
            return self._folders.hide(known.folder)

    def orphans(self) -> tuple[Path, ...]:
        """Give folders without a record, which a crash left."""
        with self._lock:
            known = {snapshot.folder for snapshot in self._known.values()}
        return tuple(path for path in self._folders.whole() if path not in known)

    def erase(self, folder: Path) -> None:
        """Remove a folder that has no record (any more), in its own time."""
        self._folders.erase_later(folder)

    def close(self, seconds: float = 5.0) -> None:
        """Wait a little for what is being removed; what is left goes at the next start."""
        self._folders.drain(seconds)

    # ---- inside

    def _load(self, boot: str) -> None:
        """Read the records; after a reboot, what may not have reached the disk goes."""
        rebooted = self._folders.rebooted(boot)
        for row in self._db.rows("SELECT chain, parent, folder, settled FROM snapshots"):
            chain = Digest.parse(row["chain"])
            folder = self._folders.path(row["folder"])
            if (row["settled"] or not rebooted) and folder.is_dir():
                parent = Digest.parse(row["parent"]) if row["parent"] else None
                self._known[chain] = _Snapshot(folder=folder, parent=parent)
                if not row["settled"]:
                    self._settler.note(self._settled, chain)
            else:
                with self._db.transaction() as connection:
                    connection.execute("DELETE FROM snapshots WHERE chain = ?", (row["chain"],))
        for folder in self.orphans():
            self._folders.erase(folder)
        self._folders.clean()
        if rebooted:
            self._folders.note_boot(boot)

    def _read(self, digest: Digest) -> Iterator[bytes]:
        with self._blobs.open(digest) as file:
            while chunk := file.read(_READ):
                yield chunk

    def _publish(self, folder: Path, chain: Digest, below: Digest | None, blob: LayerBlob) -> Path:
        target = self._folders.publish(folder)
        try:
            with self._db.transaction() as connection:
                connection.execute(
                    "INSERT INTO snapshots (chain, parent, folder) VALUES (?, ?, ?)",
                    (str(chain), str(below or ""), target.name),
                )
                self._records.learn(blob)
        except BaseException:
            self._folders.erase(target)
            raise
        with self._lock:
            self._known[chain] = _Snapshot(folder=target, parent=below)
        self._settler.note(self._settled, chain)
        return target

    def _adopt(self, upper: Path, chain: Digest, below: Digest | None, blob: LayerBlob) -> None:
        """Make an upper folder the unpacked layer."""
        with self._lock:
            deep = below is None or below in self._known
        if not deep:
            raise Failed(str(upper), "a layer below it is gone", "build again")
        try:
            self._publish(upper, chain, below, blob)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._records.learn(blob)  # on another disk: it is unpacked from its blob when it is needed
            self._folders.erase(upper)

    def _settled(self, chains: list[Digest]) -> None:
        with self._db.transaction() as connection:
            connection.executemany("UPDATE snapshots SET settled = 1 WHERE chain = ?", [(str(it),) for it in chains])

    @contextmanager
    def _turn(self, chain: Digest) -> Iterator[None]:
        """Let one thread at a time work on a layer."""
        with self._lock:
            turn = self._busy.setdefault(chain, _Turn())
            turn.waiting += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._lock:
                turn.waiting -= 1
                if not turn.waiting:
                    self._busy.pop(chain, None)


class _Turn:
    """A lock, and how many want it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting = 0


def _same(one: Path, other: Path) -> bool:
    """Tell whether two folders make the same layer, byte for byte."""
    return Digest.of_chunks(layer_of(one, strict=False)) == Digest.of_chunks(layer_of(other, strict=False))


def _fed(chunks: Iterable[bytes], packing: Packing) -> Iterator[bytes]:
    for piece in gathered(chunks):
        packing.feed(piece)
        yield piece


def chain_on(below: Digest | None, diff_id: Digest) -> Digest:
    """Give the chain ID of a layer on top of `below` (image-spec, config.md, "Layer ChainID")."""
    return chain_ids((below, diff_id) if below is not None else (diff_id,))[-1]
