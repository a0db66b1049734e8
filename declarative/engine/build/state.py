"""Where a stage has got to: an image, what is about to change in it, and the variables.

The rule that keeps it simple: a state is a value, and each step gives the next. What is in the image is in the store already.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from declarative.oci.config import HistoryEntry, ImageConfig
from declarative.oci.config_write import encode_config
from declarative.record import record, replace

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.engine.build.draft import Draft
    from declarative.engine.build.scope import Scope
    from declarative.engine.images.image import Image
    from declarative.engine.images.snapshots import Layer
    from declarative.engine.images.store import ImageStore
    from declarative.oci.digest import Digest
    from declarative.oci.platform import Platform

_SECOND = 1_000_000_000


@record
class State:
    """One place in a stage. `image` is None as long as nothing was made on scratch."""

    draft: Draft
    scope: Scope
    platform: Platform
    image: Image | None = None

    @property
    def id(self) -> Digest | None:
        """The image's id."""
        return self.image.id if self.image is not None else None

    @property
    def short(self) -> str:
        """The image's id as it is shown; "" for scratch."""
        return self.image.id.short if self.image is not None else ""

    def lowers(self, images: ImageStore) -> tuple[Path, ...]:
        """Give the folders of its layers, the uppermost first."""
        return images.snapshots.lowers(self.image) if self.image is not None else ()


def make_image(images: ImageStore, state: State, layer: Layer | None, says: str, now: int) -> State:
    """Add the image that a step makes: the state's draft, with one more layer or none, and one more line of history."""
    before = state.image
    created = timestamp(now)
    entry = HistoryEntry(created=created, created_by=says, empty_layer=layer is None, author=state.draft.author)
    config = ImageConfig(
        platform=state.platform,
        diff_ids=(*(before.config.diff_ids if before else ()), *((layer.diff_id,) if layer else ())),
        run=state.draft.run,
        history=(*(before.config.history if before else ()), entry),
        created=created,
        author=state.draft.author,
    )
    layers = (*(before.layers if before else ()), *((layer.descriptor,) if layer else ()))
    image = images.add(encode_config(config, before.raw if before else b"{}"), layers, state.id)
    if layer is not None:
        images.leases.settle(layer.descriptor.digest, layer.chain)
    return replace(state, image=image)


def timestamp(now: int) -> str:
    """Write a time, in nanoseconds since 1970, as RFC 3339."""
    seconds, rest = divmod(now, _SECOND)
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
