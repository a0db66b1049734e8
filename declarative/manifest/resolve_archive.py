"""Reads which image a `docker save` or OCI archive holds, without unpacking it.

The rule that keeps it simple: one pass over the archive keeps the few small documents that name images; layers are passed over.
An image's id is the digest of its config (OCI image specification, image-layout and manifest; docker image specification v1.2).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.errors import Invalid
from declarative.oci.reference import Reference

if TYPE_CHECKING:
    import tarfile

# Manifests and indexes have kilobytes; layers have megabytes. What lies between is not looked at.
_LARGEST_DOCUMENT = 4 * 1024 * 1024
_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"


def image_id(path: str, reference: str = "") -> str:
    """Give the id ("sha256:…") of the archive's image, that of `reference` where it holds several. Raises Invalid, OSError."""
    documents = _documents(path)
    images = _docker_images(documents) or _oci_images(documents)
    if not images:
        raise Invalid(path, f"{path} holds no image", "give an archive made by docker save, or in OCI image layout")
    ids = {identity for identity, _ in images}
    if reference:
        ids = {identity for identity, names in images if reference in names}
    if len(ids) == 1:
        return ids.pop()
    known = ", ".join(sorted({name for _, names in images for name in names})) or "none has a name"
    if reference:
        raise Invalid(path, f"{path} holds no image {reference}", f"it holds {known}")
    raise Invalid(path, f"{path} holds {len(ids)} images", f"say which: {{path: …, reference: …}}; it holds {known}")


def _documents(path: str) -> dict[str, bytes]:
    """Keep what may name an image: manifest.json, index.json and small blobs."""
    import tarfile

    kept: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if _is_document(name, member):
                    file = archive.extractfile(member)
                    kept[name] = file.read() if file is not None else b""
    except (tarfile.TarError, EOFError) as error:
        raise Invalid(path, f"{path} is not an image archive", "make it with docker save") from error
    return kept


def _is_document(name: str, member: tarfile.TarInfo) -> bool:
    wanted = name in {"manifest.json", "index.json"} or name.startswith("blobs/")
    return wanted and member.isreg() and member.size <= _LARGEST_DOCUMENT


def _json(content: bytes | None) -> Any:
    try:
        return json.loads(content or b"null")
    except ValueError:
        return None


def _docker_images(documents: dict[str, bytes]) -> list[tuple[str, list[str]]]:
    entries = _json(documents.get("manifest.json"))
    images: list[tuple[str, list[str]]] = []
    for entry in entries if isinstance(entries, list) else ():
        config = entry.get("Config") if isinstance(entry, dict) else None
        if isinstance(config, str):
            digest = config.rsplit("/", 1)[-1].removesuffix(".json")
            images.append((f"sha256:{digest}", [_familiar(tag) for tag in entry.get("RepoTags") or ()]))
    return images


def _oci_images(documents: dict[str, bytes]) -> list[tuple[str, list[str]]]:
    index = _json(documents.get("index.json"))
    images: list[tuple[str, list[str]]] = []
    for descriptor in _list(index, "manifests"):
        notes = descriptor.get("annotations") or {}
        names = [_familiar(notes[key]) for key in (_IMAGE_NAME, _REF_NAME) if isinstance(notes.get(key), str)]
        manifest = _json(documents.get(_blob(descriptor.get("digest"))))
        inner = [
            manifest,
            *(_json(documents.get(_blob(below.get("digest")))) for below in _list(manifest, "manifests")),
        ]
        for document in inner:
            config = document.get("config") if isinstance(document, dict) else None
            if isinstance(config, dict) and isinstance(config.get("digest"), str):
                images.append((config["digest"], names))
    return images


def _list(document: Any, key: str) -> list[dict[str, Any]]:
    found = document.get(key) if isinstance(document, dict) else None
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _blob(digest: Any) -> str:
    return "blobs/" + str(digest).replace(":", "/", 1)


def _familiar(name: str) -> str:
    try:
        return Reference.parse(name).familiar()
    except Invalid:
        return name
