"""Images as one tar archive: as `docker save` writes it, and an OCI image layout in the same files, as dockerd does since 25.

The rule that keeps it simple: the documents come first and the blobs follow bottom first, byte for byte; so an archive is
made, and read again, in one pass. Layers stay packed: dockerd unpacks gzip on loading; what older ones cannot, we unpack here.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from declarative.engine.images.image import encode_manifest
from declarative.engine.images.layers.compression import unpacked
from declarative.engine.images.layers.entry import Entry, Kind
from declarative.engine.images.layers.write import END, header, padding
from declarative.engine.images.layout import IMAGE_NAME, REF_NAME, named
from declarative.errors import Invalid
from declarative.oci import media
from declarative.oci.config_write import encode_document
from declarative.oci.digest import Digest
from declarative.oci.documents import Descriptor, parse_manifest
from declarative.oci.reference import Reference
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from declarative.engine.images.image import Image
    from declarative.engine.images.store import ImageStore

_CHUNK = 1 << 20
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_EVERYBODY_READS = frozenset({media.OCI_LAYER_GZIP, media.OCI_LAYER, media.DOCKER_LAYER_GZIP})


@record
class _Saved:
    """One image of the archive: its names, and its manifest and layers as the archive has them."""

    image: Image
    names: tuple[Reference, ...]
    manifest: bytes
    layers: tuple[Descriptor, ...]


def save(store: ImageStore, names: Sequence[str]) -> Iterator[bytes]:
    """Give an archive of these images: by ID without names, by repository with all its tags, by reference with that one.

    NotFound, in Docker's words, before the first byte.
    """
    chosen = [_chosen(store, image, tags) for image, tags in _choose(store, names)]
    return _written(store, chosen)


def _choose(store: ImageStore, names: Sequence[str]) -> list[tuple[Image, tuple[Reference, ...]]]:
    found: dict[Digest, tuple[Image, list[Reference]]] = {}
    for name in names:
        image = store.resolve(name) if not _is_repository(store, name) else None
        chosen = [(image.id, _tag(store, name, image.id))] if image else _tags(store, Reference.parse(name))
        for id_, tag in chosen:
            _, tags = found.setdefault(id_, (store.get(id_), []))
            if tag is not None and tag not in tags:
                tags.append(tag)
    return [(image, tuple(tags)) for image, tags in found.values()]


def _is_repository(store: ImageStore, name: str) -> bool:
    """Tell whether a name has no tag and no digest, and is that of a repository with tags."""
    try:
        reference = Reference.parse(name)
    except Invalid:
        return False
    return reference == reference.bare and bool(_tags(store, reference))


def _tags(store: ImageStore, repository: Reference) -> list[tuple[Digest, Reference | None]]:
    return [(id_, one) for one, id_ in store.records.names() if one.name == repository.name and one.digest is None]


def _tag(store: ImageStore, name: str, id_: Digest) -> Reference | None:
    try:
        reference = named(Reference.parse(name))
    except Invalid:
        return None
    return reference if reference.digest is None and store.records.named(reference) == id_ else None


def _chosen(store: ImageStore, image: Image, names: tuple[Reference, ...]) -> _Saved:
    row = store.records.image(image.id)
    content = store.blobs.read(row.listed.digest if row is not None else image.manifest.digest)
    layers = image.layers
    if not all(layer.media_type in _EVERYBODY_READS for layer in layers):
        layers = tuple(_readable(store, *pair) for pair in zip(image.layers, image.config.diff_ids, strict=True))
        _, content = encode_manifest(image.raw, layers)
    return _Saved(image=image, names=names, manifest=content, layers=layers)


def _readable(store: ImageStore, layer: Descriptor, diff_id: Digest) -> Descriptor:
    """Give the layer as the archive has it: unpacked, under its diff ID, where it is zstd or something rarer."""
    if layer.media_type in _EVERYBODY_READS:
        return layer
    with store.blobs.open(layer.digest) as file:
        size = sum(
            len(piece) for piece in unpacked(iter(lambda: file.read(_CHUNK), b""), f"layer {layer.digest.short}")
        )
    return Descriptor(media_type=media.OCI_LAYER, digest=diff_id, size=size)


def _written(store: ImageStore, saved: list[_Saved]) -> Iterator[bytes]:
    with ExitStack() as stack:
        for one in saved:
            stack.enter_context(store.leases.hold([one.image.id, *(layer.digest for layer in one.image.layers)]))
            store.publish("save", str(one.image.id), str(one.image.id))
        yield from _file("oci-layout", _LAYOUT)
        yield from _file("index.json", _index(saved))
        yield from _file("manifest.json", _docker_manifest(saved))
        if repositories := _repositories(saved):
            yield from _file("repositories", encode_document(repositories))
        for folder in ("blobs/", "blobs/sha256/"):
            yield header(Entry(name=folder.encode(), kind=Kind.DIRECTORY, mode=0o755))
        written: set[Digest] = set()
        for one in saved:
            for content in (one.manifest, one.image.raw):
                yield from _once(written, Digest.of_bytes(content), len(content), (content,))
            for layer, stored in zip(one.layers, one.image.layers, strict=True):
                content_of = _blob(store, stored.digest, packed=layer.digest == stored.digest)
                yield from _once(written, layer.digest, layer.size, content_of)
        yield END


def _once(written: set[Digest], digest: Digest, size: int, content: Iterable[bytes]) -> Iterator[bytes]:
    if digest in written:
        return
    written.add(digest)
    yield header(Entry(name=_place(digest).encode(), size=size, stored=size))
    yield from content
    yield padding(size)


def _blob(store: ImageStore, digest: Digest, *, packed: bool) -> Iterator[bytes]:
    with store.blobs.open(digest) as file:
        chunks = iter(lambda: file.read(_CHUNK), b"")
        yield from chunks if packed else unpacked(chunks, f"layer {digest.short}")


def _file(name: str, content: bytes) -> Iterator[bytes]:
    yield header(Entry(name=name.encode(), size=len(content), stored=len(content)))
    yield content + padding(len(content))


def _place(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _index(saved: list[_Saved]) -> bytes:
    entries: list[dict[str, Any]] = []
    for one in saved:
        kind = parse_manifest(one.manifest).media_type
        entry = {"mediaType": kind, "digest": str(Digest.of_bytes(one.manifest)), "size": len(one.manifest)}
        platform = one.image.config.platform
        entry["platform"] = {
            name: value
            for name, value in (
                ("architecture", platform.architecture),
                ("os", platform.os),
                ("variant", platform.variant),
            )
            if value
        }
        annotations = [{IMAGE_NAME: name.canonical(), REF_NAME: name.tag} for name in one.names]
        entries += [{**entry, "annotations": each} for each in annotations] or [entry]
    return encode_document({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries})


def _docker_manifest(saved: list[_Saved]) -> bytes:
    return json.dumps(
        [
            {
                "Config": _place(one.image.id),
                "RepoTags": [name.familiar() for name in one.names] or None,
                "Layers": [_place(layer.digest) for layer in one.layers],
            }
            for one in saved
        ],
        separators=(",", ":"),
    ).encode()


def _repositories(saved: list[_Saved]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for one in saved:
        for name in one.names:
            top = one.layers[-1].digest if one.layers else one.image.id
            found.setdefault(name.repository, {})[name.tag or "latest"] = top.hex
    return found
