"""An image of the store: its configuration, its layers, the manifest that names them.

The rule that keeps it simple: an image is its configuration, and its ID is the configuration's digest, as in dockerd; a
manifest is one way to ship it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.oci import media
from declarative.oci.config import ImageConfig, chain_ids
from declarative.oci.config_write import encode_document
from declarative.oci.digest import Digest
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from declarative.oci.documents import Descriptor

DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
_TO_OCI = {
    media.DOCKER_MANIFEST: media.OCI_MANIFEST,
    media.DOCKER_CONFIG: media.OCI_CONFIG,
    media.DOCKER_LAYER_GZIP: media.OCI_LAYER_GZIP,
    media.DOCKER_FOREIGN_LAYER_GZIP: media.OCI_LAYER_GZIP,
    DOCKER_LAYER: media.OCI_LAYER,
    DOCKER_LAYER_ZSTD: media.OCI_LAYER_ZSTD,
}


@record
class Image:
    """One image. `layers` are the blobs, bottom first; `size` is that of all its files, in bytes; `raw` the configuration.

    `manifest` is how it came, or how it would be pushed. `added` in nanoseconds since 1970.
    """

    id: Digest
    raw: bytes
    config: ImageConfig
    layers: tuple[Descriptor, ...]
    manifest: Descriptor
    size: int
    added: int = 0

    @property
    def chain(self) -> tuple[Digest, ...]:
        """What each layer is on top of those below it, bottom first."""
        return chain_ids(self.config.diff_ids)


def encode_manifest(config: bytes, layers: Sequence[Descriptor]) -> tuple[str, bytes]:
    """Write the manifest of an image (image-spec, manifest.md), after its media type.

    OCI's must have layers. An image without any, such as one of metadata alone, gets Docker's, which need not.
    """
    kind, config_kind = (
        (media.OCI_MANIFEST, media.OCI_CONFIG) if layers else (media.DOCKER_MANIFEST, media.DOCKER_CONFIG)
    )
    document = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": _written(config_kind, Digest.of_bytes(config), len(config)),
        "layers": [_written(layer.media_type, layer.digest, layer.size) for layer in layers],
    }
    return kind, encode_document(document)


def as_oci(manifest: bytes) -> bytes:
    """Write a Docker manifest (version 2, schema 2) as an OCI one: the same blobs, other names for their types."""
    document: dict[str, Any] = json.loads(manifest)
    for described in (document, document["config"], *document["layers"]):
        known = described.get("mediaType", "")
        described["mediaType"] = _TO_OCI.get(known, known)
    return encode_document(document)


def _written(media_type: str, digest: Digest, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(digest), "size": size}
