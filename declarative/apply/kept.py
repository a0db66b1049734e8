"""Bringing a revision back with the images it had: what was built then is run again, not what its sources would give today.

The history keeps manifests, not build contexts. But it knows the id of every image of the stack, and the engine still has the
image unless somebody pruned it; then the plan is refused, for anything else would not be that revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from declarative.core.resources import BuildSource, KeptSource, RootfsSource
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.core.resources import Container, Desired, Image, Job
    from declarative.core.state import Revision

    Follower = TypeVar("Follower", Container, Job)


def with_kept_images(desired: Desired, revision: Revision) -> Desired:
    """Let every image that is built or imported be the one that `revision` had, and so what a track is followed to."""
    had, stack = revision.objects, desired.stack
    return replace(
        desired,
        images={name: _kept(image, revision) for name, image in desired.images.items()},
        containers={
            name: _holding(container, had.get(f"Container/{container.engine_name(stack, 1)}"), revision)
            for name, container in desired.containers.items()
        },
        jobs={
            name: _holding(job, had.get(f"Track/{job.engine_name(stack)}"), revision)
            for name, job in desired.jobs.items()
        },
    )


def made_by(revision: Revision) -> frozenset[str]:
    """Name the Images of which a revision knows what they were."""
    names = (name.partition("/") for name, image_id in revision.objects.items() if image_id)
    return frozenset(name for kind, _, name in names if kind == "Image")


def _holding(resource: Follower, image_id: str | None, revision: Revision) -> Follower:
    if not image_id:
        return resource
    kept = KeptSource(image_id=image_id, revision=revision.number)
    return replace(resource, spec=replace(resource.spec, image=replace(resource.spec.image, kept=kept)))


def _kept(image: Image, revision: Revision) -> Image:
    if not isinstance(image.spec.source, (BuildSource, RootfsSource)):
        return image
    image_id = revision.objects.get(f"Image/{image.name}")
    if not image_id:
        return image
    return replace(image, spec=replace(image.spec, source=KeptSource(image_id=image_id, revision=revision.number)))
