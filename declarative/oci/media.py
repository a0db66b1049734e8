"""Media types of image documents and layers, of OCI and of Docker (schema 2), side by side.

The rule: both families are read everywhere; what is written keeps the family it came in.
"""

from __future__ import annotations

import re

from declarative.errors import Invalid

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_FOREIGN_LAYER_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
# Schema 1: never asked for, named so that an old registry's answer gets a clear error.
DOCKER_SCHEMA1 = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)

MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
# What a registry is told we read. All four, or it converts (and the digest changes) or says "not found".
ACCEPT = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)

# RFC 6838, section 4.2: the names that may stand on either side of the slash.
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}", re.ASCII)


def check_media_type(text: str, subject: str) -> str:
    """Return `text` if it is a media type without parameters (RFC 6838, section 4.2); raise Invalid if not."""
    if _MEDIA_TYPE.fullmatch(text) is None:
        raise Invalid(subject, f"{text[:80]!r} is not a media type")
    return text


def of_header(value: str) -> str:
    """Return the media type of a Content-Type header, in lower case and without parameters (RFC 9110, section 8.3)."""
    return value.partition(";")[0].strip().lower()
