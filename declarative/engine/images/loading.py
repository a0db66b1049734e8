"""Images out of an archive: of `docker save`, of any release, or an OCI image layout.

The rule that keeps it simple: everything is in the store, checked and unpacked, before the first image has a name; an archive
that is not sound leaves nothing.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from declarative.engine.images.archive import Contents
from declarative.engine.images.collect import drop_blobs, drop_chains
from declarative.engine.images.layout import IMAGE_NAME, REF_NAME, named
from declarative.engine.images.progress import Progress, Said
from declarative.engine.images.store import Source
from declarative.errors import Invalid, NotFound
from declarative.oci.config import chain_ids, parse_config
from declarative.oci.digest import Digest
from declarative.oci.documents import Descriptor, Index, Manifest, parse_document, parse_index
from declarative.oci.node import Node
from declarative.oci.platform import Platform
from declarative.oci.reference import Reference
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from declarative.engine.images.archive import Stored
    from declarative.engine.images.image import Image
    from declarative.engine.images.progress import Tell
    from declarative.engine.images.store import ImageStore

_READ = 1 << 20
_NESTED = 3
_SUBJECT = "archive"
_REMEDY = "make the archive again"


@record
class Loaded:
    """An image that was loaded, and the names that the archive gave it."""

    image: Image
    names: tuple[Reference, ...]


@record
class _Found:
    """An image as the archive describes it: configuration and layers by their names there. `parent` is an ID."""

    config: str
    layers: tuple[str, ...]
    names: tuple[Reference, ...]
    parent: str = ""


def load(
    store: ImageStore, chunks: Iterable[bytes], *, platform: Platform | None = None, tell: Tell = lambda _: None
) -> tuple[Loaded, ...]:
    """Load the images of an archive in any compression; of an index with several platforms, the one for `platform`.

    Invalid for an archive that is damaged, hostile, or has no images; Failed where the disk is full. Nothing is kept then.
    """
    contents = Contents(store, _SUBJECT)
    loading = _Loading(store, contents, tell)
    try:
        with contents:
            contents.read(chunks)
            found = _find(contents, platform or Platform.local())
            with store.leases.hold(digest for one in found for digest in loading.needs(one)):
                loaded = [Loaded(image=loading.load(one), names=one.names) for one in found]
                loading.name(loaded, found)
    except BaseException:
        for id_ in loading.added:
            contents.new += store.records.blobs(id_)
            store.forget(id_)
        drop_blobs(store, contents.new)
        drop_chains(store, loading.unpacked[::-1])
        raise
    return tuple(loaded)


class _Loading:
    """One load, once its archive was read."""

    def __init__(self, store: ImageStore, contents: Contents, tell: Tell) -> None:
        self._store = store
        self._contents = contents
        self._tell = tell
        self.unpacked: list[Digest] = []
        """Chain IDs of the layers that were not unpacked before, those below first."""
        self.added: list[Digest] = []
        """Images that were not in the store before."""

    def needs(self, found: _Found) -> tuple[Digest, ...]:
        """Give an image's ID, and what each layer is on those below it. Invalid where there is no such configuration."""
        raw = self._config(found)
        return Digest.of_bytes(raw), *chain_ids(parse_config(raw, f"{_SUBJECT}: {found.config}").diff_ids)

    def load(self, found: _Found) -> Image:
        """Bring one image into the store. Invalid."""
        raw = self._config(found)
        diff_ids = parse_config(raw).diff_ids
        if len(found.layers) != len(diff_ids):
            problem = f"{len(found.layers)} layers in the archive, {len(diff_ids)} in the configuration"
            raise Invalid(f"{_SUBJECT}: {found.config}", problem, _REMEDY)
        layers = [self._layer(name) for name in found.layers]
        below: Digest | None = None
        lowers: tuple[Path, ...] = ()
        for stored, diff_id, chain in zip(layers, diff_ids, chain_ids(diff_ids), strict=True):
            if stored.loose is not None:
                diff_id.require(stored.loose.diff_id, f"{_SUBJECT}: layer {diff_id.short}")
            if not self._store.snapshots.has(chain):
                self.unpacked.append(chain)
            descriptor = Descriptor(media_type=stored.media_type, digest=stored.digest, size=stored.size)
            source = partial(self._chunks, descriptor, diff_id)
            folder = self._store.snapshots.ensure(
                descriptor, diff_id, chain, below, lowers, source=source, loose=stored.loose
            )
            below, lowers = chain, (folder, *lowers)
        descriptors = [Descriptor(media_type=one.media_type, digest=one.digest, size=one.size) for one in layers]
        id_ = Digest.of_bytes(raw)
        if self._store.records.image(id_) is None:
            self.added.append(id_)
        return self._store.add(raw, descriptors, source=self._source(id_, layers))

    def name(self, loaded: list[Loaded], found: list[_Found]) -> None:
        """Give the images their names and parents, and say so."""
        store = self._store
        for one, described in zip(loaded, found, strict=True):
            for name in one.names:
                old = store.records.named(name)
                if old is not None and old != one.image.id:
                    said = f"The image {name.familiar()} already exists, renaming the old one with ID {old} to empty string"
                    self._tell(Said(text=said))
                store.tag(one.image.id, name, told=False)
                self._tell(Said(text=f"Loaded image: {name.familiar()}"))
            if not one.names:
                self._tell(Said(text=f"Loaded image ID: {one.image.id}"))
            if described.parent:
                parent = Digest.parse(described.parent)
                if store.records.image(parent) is not None and parent != one.image.id:
                    store.records.set_parent(one.image.id, parent)
            store.publish("load", str(one.image.id), str(one.image.id))

    def _config(self, found: _Found) -> bytes:
        raw = self._contents.document(found.config)
        if raw is None:
            raise Invalid(_SUBJECT, f"the configuration {found.config[:100]} is missing", _REMEDY)
        return raw

    def _layer(self, name: str) -> Stored:
        stored = self._contents.layer(name)
        if stored is None:
            raise Invalid(_SUBJECT, f"the layer {name[:100]} is missing", _REMEDY)
        return stored

    def _chunks(self, layer: Descriptor, diff_id: Digest) -> Iterator[bytes]:
        done = 0
        with self._store.blobs.open(layer.digest) as file:
            while chunk := file.read(_READ):
                done += len(chunk)
                self._tell(Progress(status="Loading layer", id=diff_id.short, current=done, total=layer.size))
                yield chunk

    def _source(self, config: Digest, layers: list[Stored]) -> Source | None:
        """Find the archive's own manifest of an image, if all that it names is in the store as it names it."""
        for entry in _listed(self._contents):
            content = self._contents.document(_place(entry.digest))
            if content is None or Digest.of_bytes(content) != entry.digest:
                continue
            document = parse_document(content, entry.media_type, _SUBJECT)
            if not isinstance(document, Manifest) or document.config.digest != config:
                continue
            if [layer.digest for layer in document.layers] == [layer.digest for layer in layers]:
                return Source(media_type=document.media_type, content=content)
        return None


def _find(contents: Contents, platform: Platform) -> list[_Found]:
    found = _of_docker(contents) or _of_layout(contents, platform)
    if not found:
        raise Invalid(_SUBJECT, "no images in it: neither manifest.json nor index.json names one", _REMEDY)
    return found


def _of_docker(contents: Contents) -> list[_Found]:
    """Read `manifest.json`, what `docker save` writes."""
    content = contents.document("manifest.json")
    if content is None:
        return []
    try:
        entries = json.loads(content)
        nodes = [Node(entry, "manifest.json", f"[{place}]") for place, entry in enumerate(entries)]
        return [_docker_entry(contents, node) for node in nodes]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Invalid(_SUBJECT, f"manifest.json is damaged: {str(error)[:100]}", _REMEDY) from error


def _docker_entry(contents: Contents, node: Node) -> _Found:
    return _Found(
        config=contents.inside(node.text("Config")),
        layers=tuple(contents.inside(name) for name in node.texts("Layers")),
        names=tuple(named(Reference.parse(text)) for text in node.texts("RepoTags")),
        parent=node.text("Parent", ""),
    )


def _of_layout(contents: Contents, platform: Platform) -> list[_Found]:
    """Read `index.json`, what an OCI image layout has."""
    found: dict[str, _Found] = {}
    for entry in _listed(contents):
        manifest = _manifest(contents, entry, platform)
        if manifest is None:
            continue
        config = _place(manifest.config.digest)
        names = found[config].names if config in found else ()
        name = _name(entry)
        layers = tuple(_place(layer.digest) for layer in manifest.layers)
        found[config] = _Found(config=config, layers=layers, names=(*names, *((name,) if name else ())))
    if not found and _listed(contents):
        raise NotFound("", f"no image for {platform} in the archive")
    return list(found.values())


def _listed(contents: Contents) -> tuple[Descriptor, ...]:
    content = contents.document("index.json")
    return parse_index(content, subject="index.json").manifests if content is not None else ()


def _manifest(contents: Contents, entry: Descriptor, platform: Platform) -> Manifest | None:
    """Give the manifest that an entry leads to; None where there is none for the platform, or it is no image's."""
    for _ in range(_NESTED):
        content = contents.document(_place(entry.digest))
        if content is None:
            raise Invalid(_SUBJECT, f"the manifest {entry.digest} is missing", _REMEDY)
        document = parse_document(entry.digest.check(content, _SUBJECT), entry.media_type, _SUBJECT)
        if isinstance(document, Manifest):
            return document
        chosen = _select(document, platform)
        if chosen is None:
            return None
        entry = chosen
    return None


def _select(index: Index, platform: Platform) -> Descriptor | None:
    chosen = index.select(platform)
    return chosen if chosen is not None or len(index.manifests) != 1 else index.manifests[0]


def _name(entry: Descriptor) -> Reference | None:
    """Read the name of an entry; a tag alone, as OCI tools write it, is none."""
    text = entry.annotations.get(IMAGE_NAME) or entry.annotations.get(REF_NAME) or ""
    if not any(mark in text for mark in "/:"):
        return None
    try:
        return named(Reference.parse(text))
    except Invalid:
        return None


def _place(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"
