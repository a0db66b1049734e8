"""Which image a container runs: a plain reference, an Image of the stack, or a track of a TagScheme."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.planner.names import familiar

if TYPE_CHECKING:
    from declarative.core.planner.images import ImageOutcome, ImagePlanner
    from declarative.core.planner.publish import TagPlanner
    from declarative.core.resources import ImageRef, Places


class ImageResolver:
    """Answers what an `image` field will be once the plan is done, and which steps bring it about.

    `tags`: None where the stack has no scheme, so that no image follows one.
    """

    def __init__(self, images: ImagePlanner, tags: TagPlanner | None) -> None:
        self._images = images
        self._schemes = tags

    @property
    def _tags(self) -> TagPlanner:
        assert self._schemes is not None  # noqa: S101 - a manifest that names a scheme that is not there is refused
        return self._schemes

    def resolve(self, ref: ImageRef, resource: str, places: Places) -> ImageOutcome:
        """Say what will be run."""
        if ref.kept is not None:
            return self._images.kept(ref.kept, resource=resource, source=places.at("spec.image"))
        if ref.scheme:
            return self._tags.track(ref.scheme, ref.track, resource)
        if ref.image:
            return self._images.image(ref.image)
        return self._images.reference(ref.reference, resource=resource, source=places.at("spec.image"))

    def needs(self, ref: ImageRef) -> tuple[str, ...]:
        """Name what must have happened before the image can be run."""
        if ref.scheme:
            image = self._tags.image_of(ref.scheme)
            followed = self._tags.followed(ref.scheme, ref.track)
            return (f"tags:{ref.scheme}", f"image:{image}", f"pulled:{image}", f"ref:{followed}")
        if ref.image:
            return (f"image:{ref.image}", f"pulled:{ref.image}")
        return (f"ref:{familiar(ref.reference)}",)
