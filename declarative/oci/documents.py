"""Image documents as types: descriptor, manifest, index (OCI image-spec 1.1 and Docker schema 2).

The rule: the bytes of a document are its identity and are kept by whoever fetched them; these types are what the bytes
say. Nothing is ever re-encoded to be compared.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from declarative.errors import Invalid
from declarative.oci import media
from declarative.oci.digest import Digest
from declarative.oci.node import Node
from declarative.oci.platform import Platform
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

# RFC 3986, section 3.1: a URI begins with a scheme.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", re.ASCII)


@record
class Descriptor:
    """Content named by type, digest and size in bytes (image-spec, descriptor.md)."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    data: bytes | None = None
    artifact_type: str = ""
    platform: Platform | None = None


@record
class Manifest:
    """One image for one platform (image-spec, manifest.md; Docker image manifest version 2, schema 2)."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)


@record
class Index:
    """Images for several platforms (image-spec, image-index.md; Docker manifest list)."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def select(self, wanted: Platform) -> Descriptor | None:
        """Return the image that runs best on `wanted`, the first of equals; one without a platform comes last."""
        for platform in wanted.runnable():
            for descriptor in self.manifests:
                if descriptor.platform is not None and _same(descriptor.platform, platform):
                    return descriptor
        return next((descriptor for descriptor in self.manifests if descriptor.platform is None), None)


def parse_document(content: bytes, media_type: str = "", subject: str = "image document") -> Manifest | Index:
    """Parse a manifest or an index, told apart by its media type; raise Invalid.

    `media_type` is what the server said; a document that contradicts it is refused (CVE-2021-41190).
    """
    node = Node.parse(content, subject)
    stated = node.text("mediaType", "")
    if media_type and stated and stated != media_type:
        raise Invalid(subject, f"served as {media_type} but says it is {stated}")
    found = stated or media_type
    if found in media.DOCKER_SCHEMA1:
        raise Invalid(subject, "a schema 1 manifest, which nothing trusts any more", "push the image again")
    if found in media.INDEXES or (found not in media.MANIFESTS and node.has("manifests")):
        return _parse_index(node, found or media.OCI_INDEX)
    return _parse_manifest(node, found or media.OCI_MANIFEST)


def parse_manifest(content: bytes, media_type: str = "", subject: str = "image manifest") -> Manifest:
    """Parse an image manifest; raise Invalid, also for an index."""
    document = parse_document(content, media_type, subject)
    if not isinstance(document, Manifest):
        raise Invalid(subject, "an index of several images, not one image")
    return document


def parse_index(content: bytes, media_type: str = "", subject: str = "image index") -> Index:
    """Parse an image index or manifest list; raise Invalid, also for a single image."""
    document = parse_document(content, media_type, subject)
    if not isinstance(document, Index):
        raise Invalid(subject, "one image, not an index")
    return document


def _parse_manifest(node: Node, media_type: str) -> Manifest:
    _check_version(node)
    if node.has("manifests"):  # CVE-2021-41190: one document must not be read as both
        raise Invalid(node.subject, "both an image and an index")
    layers = tuple(_parse_descriptor(child) for child in node.children("layers"))
    # Docker's `FROM scratch` with metadata alone has none; image-spec's schema asks for one.
    if not node.has("layers") or (not layers and media_type == media.OCI_MANIFEST):
        raise Invalid(node.subject, ".layers is missing or empty")
    return Manifest(
        media_type=media_type,
        config=_parse_descriptor(node.child("config")),
        layers=layers,
        subject=_parse_subject(node),
        artifact_type=_media_type(node, "artifactType"),
        annotations=node.pairs("annotations"),
    )


def _parse_index(node: Node, media_type: str) -> Index:
    _check_version(node)
    if node.has("layers") or node.has("config"):  # CVE-2021-41190
        raise Invalid(node.subject, "both an image and an index")
    if not node.has("manifests"):
        raise Invalid(node.subject, ".manifests is missing")
    return Index(
        media_type=media_type,
        manifests=tuple(_parse_descriptor(child) for child in node.children("manifests")),
        subject=_parse_subject(node),
        artifact_type=_media_type(node, "artifactType"),
        annotations=node.pairs("annotations"),
    )


def _parse_descriptor(node: Node) -> Descriptor:
    place = f"{node.subject} {node.path}".rstrip()
    urls = node.texts("urls")
    for url in urls:
        if _URI.fullmatch(url) is None:
            raise Invalid(place, f"{url[:80]!r} is not a URL")
    return Descriptor(
        media_type=media.check_media_type(node.text("mediaType"), place),
        digest=Digest.parse(node.text("digest"), unregistered=True),
        size=node.natural("size"),
        urls=urls,
        annotations=node.pairs("annotations"),
        data=_parse_data(node),
        artifact_type=_media_type(node, "artifactType"),
        platform=_parse_platform(node.child("platform")) if node.has("platform") else None,
    )


def _parse_data(node: Node) -> bytes | None:
    if not node.has("data"):
        return None
    try:
        return base64.b64decode(node.text("data"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise node.wrong("data", "base64", node.text("data")) from error


def _parse_platform(node: Node) -> Platform:
    return Platform(
        os=node.text("os"),
        architecture=node.text("architecture"),
        variant=node.text("variant", ""),
        os_version=node.text("os.version", ""),
    ).normalised()


def _parse_subject(node: Node) -> Descriptor | None:
    return _parse_descriptor(node.child("subject")) if node.has("subject") else None


def _media_type(node: Node, key: str) -> str:
    text = node.text(key, "")
    return media.check_media_type(text, f"{node.subject} {node.path}.{key}") if text else ""


def _check_version(node: Node) -> None:
    version = node.integer("schemaVersion")
    if version != 2:
        raise Invalid(node.subject, f"schema version {version}, only 2 is known")


def _same(found: Platform, wanted: Platform) -> bool:
    return (found.os, found.architecture, found.variant) == (wanted.os, wanted.architecture, wanted.variant)
