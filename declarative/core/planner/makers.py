"""Which resource of a stack makes the image that a reference names: by these a Dockerfile's FROM leads to an Image.

The rule that keeps it simple: names alone, nothing of the engine. Versions take 3 ms to load, so only schemes load them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.planner.names import familiar
from declarative.core.resources import BuildSource, PullSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.core.resources import Desired, Image, TagScheme


def references_of(image: Image, desired: Desired) -> tuple[str, ...]:
    """Name what the image is tagged as when it is made: its own references, or the full tags of its schemes."""
    if image.spec.references or not desired.schemes:
        return image.spec.references
    from declarative.core.planner.published import full_references

    schemes = desired.schemes.values()
    return tuple(name for scheme in schemes if scheme.spec.image == image.name for name in full_references(scheme))


def makers_of(desired: Desired) -> dict[str, Image]:
    """Give reference → the Image that makes or pulls it."""
    images = desired.images.values()
    pulled = {
        familiar(image.spec.source.reference): image for image in images if isinstance(image.spec.source, PullSource)
    }
    return pulled | _tagged(desired)


def _tagged(desired: Desired) -> dict[str, Image]:
    images = desired.images.values()
    return {familiar(ref): image for image in images for ref in references_of(image, desired)}


def writers_of(desired: Desired) -> dict[str, TagScheme]:
    """Give reference → the TagScheme whose version competes for it, for all references of versions that are known."""
    if not desired.schemes:
        return {}
    from declarative.core.planner.published import references_written

    return {reference: scheme for scheme in desired.schemes.values() for reference in references_written(scheme)}


def bases_of(desired: Desired) -> Iterator[tuple[Image, str, Image]]:
    """Yield image, base, and the Image whose tag this base is, for all bases that the stack tags.

    Who names what an Image pulls by the name that it has elsewhere takes it from there, and does not depend on that Image.
    """
    sources = [(image, image.spec.source) for image in desired.images.values()]
    built = [(image, source.bases) for image, source in sources if isinstance(source, BuildSource) and source.bases]
    if not built:
        return
    tagged = {name: desired.images[scheme.spec.image] for name, scheme in writers_of(desired).items()}
    made = tagged | _tagged(desired)
    for image, bases in built:
        for base in bases:
            if (maker := made.get(familiar(base))) is not None:
                yield image, base, maker
