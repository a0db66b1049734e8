"""An image store in a temporary folder, and images to put into it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from declarative.engine.db import Database
from declarative.engine.events import Events
from declarative.engine.images.records import SCHEMA
from declarative.engine.images.store import ImageStore, open_store
from declarative.engine.paths import Paths
from declarative.oci.config import HistoryEntry, ImageConfig
from declarative.oci.config_write import encode_config
from declarative.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from declarative.engine.images.image import Image
    from declarative.engine.images.snapshots import Layer
    from declarative.oci.digest import Digest

AMD64 = Platform(os="linux", architecture="amd64")


@contextmanager
def opened(
    root: Path, *, boot: str = "boot-1", events: Events | None = None, settle: float = 0.01
) -> Iterator[ImageStore]:
    """Open the store below `root`, as the daemon does; close it at the end."""
    paths = Paths(root=root, run=root / "run")
    db = Database(paths.database, [SCHEMA])
    store = open_store(paths, db, events or Events(lambda: 0), boot=boot, settle=settle)
    try:
        yield store
    finally:
        store.close()
        db.close()


def make_layer(store: ImageStore, files: Mapping[str, str], lowers: tuple[Path, ...] = ()) -> Layer:
    """Commit a layer of these files."""
    upper = store.snapshots.root / "upper"
    upper.mkdir(mode=0o755)
    for name, content in files.items():
        path = upper / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return store.snapshots.commit(upper, lowers)


def make_image(
    store: ImageStore,
    *layers: Mapping[str, str],
    parent: Digest | None = None,
    label: str = "",
    base: Image | None = None,
) -> Image:
    """Add an image of layers of these files, on those of `base`; `label` tells images of the same files apart."""
    lowers = store.snapshots.lowers(base) if base else ()
    made = []
    for files in layers:
        made.append(make_layer(store, files, lowers))
        lowers = (store.snapshots.chains()[made[-1].chain], *lowers)
    diff_ids = (*(base.config.diff_ids if base else ()), *(layer.diff_id for layer in made))
    history = tuple(HistoryEntry(created_by=f"layer {place}") for place in range(len(diff_ids)))
    config = ImageConfig(platform=AMD64, diff_ids=diff_ids, history=history, author=label)
    descriptors = (*(base.layers if base else ()), *(layer.descriptor for layer in made))
    return store.add(encode_config(config), descriptors, parent)
