"""Bringing a revision back with the images it had: what was built then is run again, not what its sources would give today.

The history keeps manifests, not build contexts. But it knows the id of every image of the stack, and the engine still has the
image unless somebody pruned it; then the plan is refused, for anything else would not be that revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.apply.scope import written
from declarative.core.planner.names import familiar
from declarative.core.resources import BuildSource, KeptSource, RootfsSource
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.core.resources import Desired, Image
    from declarative.core.state import Revision


def with_kept_images(desired: Desired, revision: Revision) -> Desired:
    """Let every image that is built or imported be the one that `revision` had."""
    images = {name: _kept(image, desired, revision) for name, image in desired.images.items()}
    return replace(desired, images=images)


def _kept(image: Image, desired: Desired, revision: Revision) -> Image:
    if not isinstance(image.spec.source, (BuildSource, RootfsSource)):
        return image
    names = [f"Tag/{familiar(reference)}" for reference in image.spec.references]
    schemes = [scheme for scheme in desired.schemes.values() if scheme.spec.image == image.name]
    names += [f"Version/{reference}" for scheme in schemes for reference in written(scheme)]
    image_id = next((revision.objects[name] for name in names if revision.objects.get(name)), "")
    if not image_id:
        return image
    return replace(image, spec=replace(image.spec, source=KeptSource(image_id=image_id, revision=revision.number)))
