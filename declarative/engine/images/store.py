"""The image store: images by ID and by name, over an OCI image layout that other tools read.

The rule that keeps it simple: blobs first, then the record, then the name; taken away in the opposite order. So whatever is
named is whole, and a crash leaves at worst blobs that nobody refers to.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from declarative.engine.images.blobs import BlobStore
from declarative.engine.images.disk import saying
from declarative.engine.images.image import Image, as_oci, encode_manifest
from declarative.engine.images.layout import IndexFile, Listed, named
from declarative.engine.images.leases import Leases
from declarative.engine.images.records import ImageRecords, ImageRow
from declarative.engine.images.remembered import Remembered
from declarative.engine.images.settle import Settler
from declarative.engine.images.snapshots import Snapshots
from declarative.errors import DeclarativeError, Failed, Invalid, NotFound
from declarative.oci import media
from declarative.oci.config import parse_config
from declarative.oci.digest import REGISTERED, Digest
from declarative.oci.documents import Descriptor, Manifest, parse_manifest
from declarative.oci.reference import Reference, parse_any
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from declarative.engine.db import Database
    from declarative.engine.events import Events
    from declarative.engine.paths import Paths

_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})", re.ASCII)


@record
class Source:
    """The manifest that an image came with, byte for byte."""

    media_type: str
    content: bytes


def open_store(
    paths: Paths, db: Database, events: Events | None = None, *, boot: str | None = None, settle: float = 2.0
) -> ImageStore:
    """Open the images below `paths`. `db` has `records.SCHEMA`. Mend what a crash or a reboot left. `close` it in the end."""
    paths.images.mkdir(mode=0o700, parents=True, exist_ok=True)
    settler = Settler(paths.images, settle)
    leases = Leases()
    records = ImageRecords(db)
    blobs = BlobStore(paths.images, settler=settler, boot=boot)
    snapshots = Snapshots(paths.layers, blobs, db, records, leases=leases, settler=settler, boot=boot)
    store = ImageStore(blobs, snapshots, records, leases=leases, settler=settler, events=events)
    if store.index.foreign():
        from declarative.engine.images.adopt import adopt

        adopt(store)  # what is wrong with one that cannot be, `fsck` says
    return store


class ImageStore:
    """The images. `clock` gives nanoseconds since 1970. Safe to use from several threads."""

    def __init__(
        self,
        blobs: BlobStore,
        snapshots: Snapshots,
        records: ImageRecords,
        *,
        leases: Leases,
        settler: Settler,
        events: Events | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.blobs = blobs
        self.snapshots = snapshots
        self.records = records
        self.leases = leases
        self.is_running: Callable[[str], bool] = lambda _: False
        """Tells whether a holder is a running container; whoever knows containers sets it."""
        self._settler = settler
        self._events = events
        self._clock = clock
        self._index = IndexFile(blobs.root)
        self._lock = threading.RLock()
        self._images = Remembered()
        self._drop_incomplete()
        self.write_index()

    def close(self) -> None:
        """Bring everything to the disk."""
        self.snapshots.close()
        self._settler.close()

    def flush(self) -> None:
        """Wait until all that was published is on the disk."""
        self._settler.flush()

    # ---- looking

    def resolve(self, name: str) -> Image:
        """Find an image by ID, by the beginning of an ID, by reference (`latest` where no tag is said), or by repo@digest.

        NotFound, in Docker's words, where there is none, or the beginning is one of several. Invalid where it is no name.
        """
        wanted = parse_any(name)
        if isinstance(wanted, Digest):
            if self.records.image(wanted) is not None:
                return self.get(wanted)
            raise _missing(str(wanted))
        found = self.records.named(named(wanted)) or self._by_prefix(name)
        if found is None:
            raise _missing((wanted if wanted.digest or wanted.tag else named(wanted)).familiar())
        return self.get(found)

    def get(self, id: Digest) -> Image:  # noqa: A002 - the word of this place
        """Give the image of an ID. NotFound."""
        known = self._images.get(id)
        if known is not None:
            return known
        row = self.records.image(id)
        if row is None:
            raise _missing(str(id))
        image = self._read(row)
        self._images.put(image)
        return image

    def list(self) -> tuple[Image, ...]:
        """Give all images, the first added first."""
        return tuple(self.get(row.id) for row in self.records.images())

    def references(self, id: Digest) -> tuple[Reference, ...]:  # noqa: A002
        """Give the tags of an image, in order of their names."""
        return tuple(name for name, _ in self.records.names(id) if name.digest is None)

    def digests(self, id: Digest) -> tuple[Reference, ...]:  # noqa: A002
        """Give the repo@digest names of an image."""
        return tuple(name for name, _ in self.records.names(id) if name.digest is not None)

    def tagged(self, id: Digest) -> int:  # noqa: A002
        """Give when the image got its last name, in nanoseconds since 1970; 0 for never."""
        return self.records.last_named(id)

    def parent(self, id: Digest) -> Digest | None:  # noqa: A002
        """Give what an image was built on here."""
        row = self.records.image(id)
        return row.parent if row is not None else None

    def children(self, id: Digest) -> tuple[Digest, ...]:  # noqa: A002
        """Give the images that were built on this one."""
        return self.records.children(id)

    # ---- making

    def add(
        self,
        config: bytes,
        layers: Sequence[Descriptor],
        parent: Digest | None = None,
        *,
        source: Source | None = None,
    ) -> Image:
        """Add an image whose layers are in the store, known by `Snapshots`; without `source` a manifest is written.

        An image that is here already stays, with the manifest of `source` if there is one. Invalid where configuration and
        layers do not belong together.
        """
        parsed = parse_config(config)
        id_ = Digest.of_bytes(config)
        media_type, manifest = (source.media_type, source.content) if source else encode_manifest(config, layers)
        listed = as_oci(manifest) if media_type == media.DOCKER_MANIFEST and layers else manifest
        digests = [id_, Digest.of_bytes(manifest), Digest.of_bytes(listed), *(layer.digest for layer in layers)]
        with self.leases.hold(digests), saying(f"image {id_.short}"):
            size = self._check_layers(id_, parsed.diff_ids, layers)
            for content in dict.fromkeys((config, manifest, listed)):
                if not self.blobs.has(Digest.of_bytes(content)):
                    self.blobs.add(content)
            with self._lock, self.records.transaction():
                known = self.records.image(id_)
                if known is None or source is not None or parent is not None:
                    row = ImageRow(
                        id=id_,
                        manifest=Descriptor(media_type=media_type, digest=digests[1], size=len(manifest)),
                        listed=Descriptor(
                            media_type=media_type if listed is manifest else media.OCI_MANIFEST,
                            digest=digests[2],
                            size=len(listed),
                        ),
                        size=size,
                        parent=parent or (known.parent if known else None),
                        added=known.added if known else self._clock(),
                    )
                    image = self._read(row, config)
                    self.records.put(row, digests, image.chain)
                    self._images.put(image)
        return self.get(id_)

    def tag(self, id: Digest, reference: Reference, *, told: bool = True) -> None:  # noqa: A002
        """Give an image a name, which may be taken from another. NotFound; Invalid for a name with a digest.

        `told`: publish it; a load and a pull, which have events of their own, do not.
        """
        if reference.digest is not None:
            raise Invalid("", "refusing to create a tag with a digest reference")
        if reference.repository in REGISTERED:
            raise Invalid("", "refusing to create an ambiguous tag using digest algorithm as name")
        self._name(id, named(reference), event="tag" if told else "")

    def note_digest(self, id: Digest, repository: Reference, digest: Digest) -> None:  # noqa: A002
        """Record under which digest a repository has an image: after a pull, or a push."""
        self._name(id, named(repository.with_digest(digest)))

    def untag(self, reference: Reference) -> None:
        """Take a name away, if it is there; nothing else happens."""
        name = named(reference)
        with self._lock:
            id_ = self.records.named(name)
            if id_ is None:
                return
            self.write_index(gone=(name,))
            self.records.unname(name)
        self.publish("untag", str(id_), str(id_))

    def hold(self, id: Digest, holder: str) -> None:  # noqa: A002
        """Let `holder`, a container's ID or `build/…`, need an image until it is released. NotFound."""
        image = self.get(id)
        chain = image.chain
        with self.leases.lock:
            self.records.hold(id, chain[-1] if chain else None, holder)

    def release(self, holder: str) -> None:
        """Hear that a holder is gone; what was kept for it alone goes with it."""
        from declarative.engine.images.collect import drop_chains

        drop_chains(self, self.records.release(holder))

    def layers_of(self, holder: str, id: Digest) -> tuple[Path, ...]:  # noqa: A002
        """Give the folders of the image that a holder needs, the uppermost first; also once it was removed, by force. Failed."""
        if self.records.image(id) is not None:
            return self.snapshots.lowers(self.get(id))
        folders, chain = self.snapshots.chains(), self.records.held_chain(id, holder)
        found: list[Path] = []
        while chain is not None:
            if chain not in folders:
                raise Failed(str(chain), "its unpacked layer is missing")
            found.append(folders[chain])
            chain = self.snapshots.below(chain)
        return tuple(found)

    def holders(self, id: Digest) -> tuple[str, ...]:  # noqa: A002
        """Give who needs an image."""
        return self.records.holders(id)

    # ---- shared with the other files of this package

    def forget(self, id: Digest) -> None:  # noqa: A002
        """Take an image out of the records, with all its names."""
        with self._lock:
            self.write_index(gone=[name for name, _ in self.records.names(id)])
            self.records.drop(id)
            self._images.forget(id)

    def publish(self, action: str, actor: str, name: str) -> None:
        """Tell whoever listens that something happened to an image: `actor` is its ID, or for a transfer its reference.

        As dockerd's, the event has the image's labels, by which listeners choose.
        """
        if self._events is not None:
            labels: Mapping[str, str] = {}
            with suppress(DeclarativeError):  # it has just gone
                labels = self.resolve(actor).config.run.labels
            self._events.publish("image", action, actor, {**labels, "name": name})

    def write_index(self, gone: Collection[Reference] = ()) -> None:
        """Write `index.json` from the records, without the names that are `gone`, or about to go."""
        with self._lock, saying(str(self._index.path)):
            listed = {row.id: row.listed for row in self.records.images()}
            names = self.records.names()
            entries = [Listed(reference=name, manifest=listed[id_]) for name, id_ in names if name not in gone]
            self._index.write(entries, gone=gone)

    @property
    def index(self) -> IndexFile:
        """The file `index.json`."""
        return self._index

    # ---- inside

    def _name(self, id_: Digest, name: Reference, event: str = "") -> None:
        with self._lock:
            if self.records.image(id_) is None:
                raise _missing(str(id_))
            if self.records.named(name) == id_ and name.digest is not None:
                return
            self.records.name(name, id_, self._clock())
            self.write_index()
        if event:
            self.publish(event, str(id_), name.familiar())

    def _by_prefix(self, text: str) -> Digest | None:
        match = _PREFIX.fullmatch(text)
        found = self.records.ids(f"sha256:{match[1]}") if match else ()
        return found[0] if len(found) == 1 else None

    def _read(self, row: ImageRow, config: bytes | None = None) -> Image:
        raw = self.blobs.read(row.id) if config is None else config
        manifest = self._manifest(row)
        return Image(
            id=row.id,
            raw=raw,
            config=parse_config(raw, f"image {row.id.short}"),
            layers=manifest.layers,
            manifest=row.manifest,
            size=row.size,
            added=row.added,
        )

    def _manifest(self, row: ImageRow) -> Manifest:
        content = self.blobs.read(row.manifest.digest)
        return parse_manifest(content, row.manifest.media_type, f"manifest of image {row.id.short}")

    def _check_layers(self, id_: Digest, diff_ids: Sequence[Digest], layers: Sequence[Descriptor]) -> int:
        """Give the size of all files, in bytes, once every layer is known to be what the configuration says."""
        if len(layers) != len(diff_ids):
            raise Invalid(f"image {id_.short}", f"{len(diff_ids)} layers in its configuration, {len(layers)} in all")
        size = 0
        for layer, diff_id in zip(layers, diff_ids, strict=True):
            known = self.records.layer_blob(layer.digest)
            if known is None or not self.blobs.has(layer.digest):
                raise NotFound(f"image {id_.short}", f"its layer {layer.digest} is not in the store")
            diff_id.require(known.diff_id, f"layer {layer.digest}")
            size += known.size
        return size

    def _drop_incomplete(self) -> None:
        """Let go of images that lost what nothing can make again: half an image is none.

        A layer may get lost in a power cut, and then is packed again where that works. One that went otherwise is `fsck`'s.
        """
        from declarative.engine.images.fsck import repack

        for row in self.records.images():
            gone = [digest for digest in self.records.blobs(row.id) if not self.blobs.has(digest)]
            documents = {row.id, row.manifest.digest, row.listed.digest}
            lost = [
                digest for digest in gone if digest in documents or (self.blobs.rebooted and not repack(self, digest))
            ]
            if lost:
                self.forget(row.id)


def _missing(name: str) -> NotFound:
    return NotFound("", f"No such image: {name}")
