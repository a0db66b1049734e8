"""Images that `index.json` lists and the records do not know: another tool put them there, or the records were lost.

The rule that keeps it simple: such an image is read, checked and unpacked as one that was pulled, and has its name last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.images.store import Source
from declarative.errors import DeclarativeError, Invalid
from declarative.oci.config import chain_ids, parse_config
from declarative.oci.documents import Index, parse_document
from declarative.oci.platform import Platform

if TYPE_CHECKING:
    from declarative.engine.images.layout import Listed
    from declarative.engine.images.store import ImageStore
    from declarative.oci.documents import Manifest

_NESTED = 3


def adopt(store: ImageStore) -> tuple[tuple[Listed, str], ...]:
    """Take in what can be; give each entry with what is wrong with it, "" where nothing is. What is wrong stays listed."""
    done = []
    for entry in store.index.foreign():
        try:
            _adopt(store, entry)
            problem = ""
        except DeclarativeError as error:
            problem = str(error)
        done.append((entry, problem))
    return tuple(done)


def _adopt(store: ImageStore, entry: Listed) -> None:
    media_type, content, manifest = _manifest(store, entry)
    raw = store.blobs.read(manifest.config.digest)
    diff_ids = parse_config(raw).diff_ids
    with store.leases.hold([*chain_ids(diff_ids), *(layer.digest for layer in manifest.layers)]):
        store.snapshots.unpack(manifest.layers, diff_ids)
        image = store.add(raw, manifest.layers, source=Source(media_type=media_type, content=content))
    if entry.reference.digest is not None:
        store.note_digest(image.id, entry.reference.bare, entry.reference.digest)
    else:
        store.tag(image.id, entry.reference)


def _manifest(store: ImageStore, entry: Listed) -> tuple[str, bytes, Manifest]:
    described = entry.manifest
    for _ in range(_NESTED):
        content = store.blobs.read(described.digest)
        document = parse_document(content, described.media_type, entry.reference.familiar())
        if not isinstance(document, Index):
            return document.media_type, content, document
        chosen = document.select(Platform.local())
        if chosen is None:
            break
        described = chosen
    raise Invalid(entry.reference.familiar(), f"no image for {Platform.local()}")
