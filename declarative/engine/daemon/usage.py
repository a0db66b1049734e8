"""What things take on disk, for `docker system df`: one function for each kind of thing.

The rule that keeps it simple: bytes are counted once where they lie; a row tells what would go with it, and what it shares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.engine.daemon import build, image_documents, images, volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from declarative.engine.engine import Engine

    Count = Callable[[Engine, tuple[int, int]], dict[str, Any]]


def layers(engine: Engine) -> int:
    """Give the bytes of the files in all layers of all images, each layer once."""
    sizes: dict[object, int] = {}
    for image in engine.images.list():
        sizes.update(zip(image.chain, images.layer_sizes(engine, image), strict=True))
    return sum(sizes.values())


def _images(engine: Engine, version: tuple[int, int]) -> dict[str, Any]:
    found = list(images.select(engine, {}, everything=False))
    shared = images.shared_sizes(engine, [one.image for one in found])
    rows = [
        image_documents.summary(
            one, version, containers=len(engine.images.holders(one.image.id)), shared=shared[one.image.id]
        )
        for one in found
    ]
    return {"Images": rows}


def _containers(engine: Engine, version: tuple[int, int]) -> dict[str, Any]:
    return {"Containers": engine.containers.rows(version)}


def _volumes(engine: Engine, version: tuple[int, int]) -> dict[str, Any]:
    del version
    return {"Volumes": volumes.usage(engine)}


def _build_cache(engine: Engine, version: tuple[int, int]) -> dict[str, Any]:
    del version
    return {"BuildCache": build.cache_rows(engine)}


KINDS: Mapping[str, Count] = {
    "container": _containers,
    "image": _images,
    "volume": _volumes,
    "build-cache": _build_cache,
}
"""The types that `type=` asks for."""
