"""A root file system as an image: `docker import`.

The rule that keeps it simple: the archive is unpacked and packed in one pass, and is the image's only layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.oci.config import HistoryEntry, ImageConfig, RunDefaults
from declarative.oci.config_write import encode_config
from declarative.oci.digest import Digest
from declarative.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.engine.images.image import Image
    from declarative.engine.images.store import ImageStore
    from declarative.oci.reference import Reference


def import_image(
    store: ImageStore,
    chunks: Iterable[bytes],
    *,
    created: str,
    reference: Reference | None = None,
    run: RunDefaults | None = None,
    message: str = "Imported from -",
    platform: Platform | None = None,
) -> Image:
    """Make an image of a tar stream in any compression; `created` is RFC 3339 text, `run` what containers of it get.

    Invalid for an archive that is damaged or hostile, Failed where the disk is full.
    """
    layer = store.snapshots.take(chunks, "import")
    config = ImageConfig(
        platform=platform or Platform.local(),
        diff_ids=(layer.diff_id,),
        run=run or RunDefaults(),
        history=(HistoryEntry(created=created, comment=message),),
        created=created,
    )
    raw = encode_config(config)
    with store.leases.hold([Digest.of_bytes(raw)]):  # who prunes takes what has no name
        image = store.add(raw, (layer.descriptor,))
        store.leases.settle(layer.descriptor.digest, layer.chain)
        if reference is not None:
            store.tag(image.id, reference)
    store.publish("import", str(image.id), str(image.id))
    return image
