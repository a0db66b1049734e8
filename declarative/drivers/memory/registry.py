"""Registries in memory: repositories with tags, and the faults a test wants them to have.

The rule: a tag is a digest; what a digest stands for is kept for good.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from declarative.core.state import ImageConfig, RemoteTag
from declarative.errors import NotFound
from declarative.oci.reference import Reference
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.errors import DeclarativeError


@record
class Published:
    """An image as a registry holds it."""

    image_id: str
    config: ImageConfig
    labels: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The digest of its manifest: the same image, the same digest."""
        return "sha256:" + hashlib.sha256(f"manifest of {self.image_id}".encode()).hexdigest()


@record(frozen=False, kw_only=False)
class MemoryRegistry:
    """All registries there are. `faults`: repository (familiar) → what every question about it raises."""

    repositories: dict[str, dict[str, str]] = field(default_factory=dict)  # repository → tag → digest
    contents: dict[str, Published] = field(default_factory=dict)
    faults: dict[str, DeclarativeError] = field(default_factory=dict)

    def publish(self, reference: str, config: ImageConfig | None = None, image_id: str = "") -> str:
        """Put an image under a reference, as somebody else's push; its id."""
        config = config or ImageConfig()
        identity = image_id or "sha256:" + hashlib.sha256(f"{reference} {config!r}".encode()).hexdigest()
        self.store(reference, Published(image_id=identity, config=config, labels=config.labels))
        return identity

    def store(self, reference: str, image: Published) -> None:
        """Let a reference point to an image."""
        parsed = self._checked(reference)
        self.contents[image.digest] = image
        self.repositories.setdefault(parsed.repository, {})[str(parsed.tag)] = image.digest

    def find(self, reference: str) -> Published:
        """Fetch what a reference points to; NotFound where nothing is."""
        parsed = self._checked(reference)
        tags = self.repositories.get(parsed.repository, {})
        digest = str(parsed.digest) if parsed.digest else tags.get(str(parsed.tag), "")
        if digest not in self.contents:
            raise NotFound(f"image {reference}", "the registry has no such image", "check repository and tag")
        return self.contents[digest]

    def tags(self, repository: str) -> dict[str, RemoteTag]:
        """Read all tags of a repository."""
        name = self._checked(repository).repository
        return {
            tag: RemoteTag(digest=digest, image_id=self.contents[digest].image_id, labels=self.contents[digest].labels)
            for tag, digest in self.repositories.get(name, {}).items()
        }

    def remove(self, repository: str, tag: str) -> None:
        """Remove a tag; done where it is not there."""
        self.repositories.get(self._checked(repository).repository, {}).pop(tag, None)

    def _checked(self, reference: str) -> Reference:
        parsed = Reference.parse(reference).addressed()
        if fault := self.faults.get(parsed.repository):
            raise fault
        return parsed
