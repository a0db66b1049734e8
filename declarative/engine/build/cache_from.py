"""`--cache-from`: images made elsewhere, as if their steps had been built here.

The rule that keeps it simple: an image tells its steps by its history. Where an image goes on from exactly what we have, and its
next line of history is the one that our step would write, its next layer is our layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.errors import DeclarativeError
from declarative.oci.config import ImageConfig
from declarative.oci.config_write import encode_config

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.engine.build.state import State
    from declarative.engine.images.image import Image
    from declarative.engine.images.store import ImageStore


class Ancestry:
    """The images to take steps from."""

    def __init__(self, images: ImageStore, names: Iterable[str]) -> None:
        self._images = images
        self._found: list[Image] = []
        for name in names:
            try:
                self._found.append(images.resolve(name))
            except DeclarativeError:
                continue  # as in Docker: a cache that is not there is no cache

    def find(self, state: State, says: str) -> Image | None:
        """Give the image that one of them had after this step, made now, or None."""
        for image in self._found:
            made = self._next(state, image, says)
            if made is not None:
                return made
        return None

    def _next(self, state: State, image: Image, says: str) -> Image | None:
        before = state.image.config if state.image is not None else None
        history = before.history if before else ()
        diff_ids = before.diff_ids if before else ()
        theirs = image.config
        at, depth = len(history), len(diff_ids)
        if len(theirs.history) <= at or theirs.history[at].created_by != says:
            return None
        if theirs.diff_ids[:depth] != diff_ids or [it.created_by for it in theirs.history[:at]] != [
            it.created_by for it in history
        ]:
            return None
        entry = theirs.history[at]
        if not entry.empty_layer and len(theirs.diff_ids) <= depth:
            return None
        deeper = depth if entry.empty_layer else depth + 1
        config = ImageConfig(
            platform=state.platform,
            diff_ids=theirs.diff_ids[:deeper],
            run=state.draft.run,
            history=theirs.history[: at + 1],
            created=entry.created,
            author=state.draft.author,
        )
        if at + 1 == len(theirs.history) and config == theirs:
            return image
        raw = encode_config(config, state.image.raw if state.image is not None else b"{}")
        return self._images.add(raw, image.layers[:deeper], state.id)
