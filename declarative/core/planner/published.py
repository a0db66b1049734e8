"""What registries hold already of an image that is to be made: then it is pulled, and not made once more under the same version.

The rule that keeps it simple: only a full tag of the image's own schemes counts, and only what was made of the same inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.planner.names import familiar, repository_of
from declarative.core.tags.rules import Rules
from declarative.core.tags.scheme import releases_of, tags_of
from declarative.errors import DeclarativeError

if TYPE_CHECKING:
    from declarative.core.planner.inputs import Inputs
    from declarative.core.resources import TagScheme
    from declarative.core.state import Actual, RemoteTag


def full_references(scheme: TagScheme) -> tuple[str, ...]:
    """Name the full tags of the scheme's version; none where it is not known, or cannot be read."""
    spec = scheme.spec
    if not spec.version:
        return ()
    rules = Rules.of(spec)
    try:
        return tuple(f"{spec.repository}:{rules.write(found.full)}" for found in releases_of(rules, spec.version))
    except DeclarativeError:
        return ()  # reported by the tag planner, with the scheme's place


def references_written(scheme: TagScheme) -> tuple[str, ...]:
    """Name all that the scheme's version would be tagged as were it alone; none where it is not known, or cannot be read."""
    spec = scheme.spec
    try:
        tags = tags_of(Rules.of(spec), spec.version) if spec.version else ()
    except DeclarativeError:
        return ()  # as above
    return tuple(familiar(f"{spec.repository}:{tag}") for tag in tags)


def find_published(
    actual: Actual, scheme: TagScheme, inputs: Inputs, labels: dict[str, str], platform: str
) -> tuple[str, RemoteTag] | None:
    """Find the scheme's version in its registry, made of `inputs` for `platform`, and labelled so: its reference, and it."""
    held = actual.registry.get(repository_of(scheme.spec.repository), {}) if scheme.spec.push else {}
    for reference in map(familiar, full_references(scheme)):
        found = held.get(reference.rpartition(":")[2])
        ours = found is not None and found.image_id and labels.items() <= found.labels.items()
        if found is not None and ours and inputs.made(found.labels) and _runs_on(found, platform):
            return reference, found
    return None


def _runs_on(found: RemoteTag, platform: str) -> bool:
    """Compare system and architecture; variants are written or left out as builders like."""
    return not found.platform or found.platform.split("/")[:2] == platform.split("/")[:2]
