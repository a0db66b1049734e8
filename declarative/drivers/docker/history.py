"""A stack's history in the engine: each revision is a tiny image with the rendered manifests in it.

The rule: the image is made by us, byte by byte, and loaded, so that labels of any length come through as they are; what is read
back is the archive that the engine exports.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from declarative.core.state import LABEL_KIND, LABEL_REVISION, LABEL_STACK, Owner
from declarative.drivers.docker.image_read import history_repository, read_image_summary, read_revisions
from declarative.drivers.docker.images import TAR, path_of, tag, untag
from declarative.drivers.docker.labels import KIND_HISTORY, owned_labels
from declarative.drivers.docker.podman import in_docker_s_names, is_podman
from declarative.errors import DeclarativeError, Invalid, NotFound

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Mapping

    from declarative.core.actions import WriteRevision
    from declarative.core.state import Revision
    from declarative.dockerapi.client import EngineClient

_LAYER = "layer.tar"
_LOADED = re.compile(r"Loaded image ID: (sha256:[0-9a-f]{64})")


def write(client: EngineClient, action: WriteRevision, prepared: str = "") -> None:
    """Keep one revision; `prepared` is what `prepare` gave for it. Writing the same number again replaces it.

    The caller holds the stack's lock: whatever has no name then is of no use to anybody.
    """
    reference = reference_of(action.stack, action.number)
    if prepared:
        with suppress(NotFound):  # somebody has cleaned up
            tag(client, prepared, reference)
            return
    _load(client, action, reference)
    with suppress(DeclarativeError):  # what had this number; else the next lock sweeps it
        sweep(client, action.stack)


def prepare(client: EngineClient, action: WriteRevision) -> str:
    """Load a revision without a name, so that nobody takes it for one yet; gives its id, "" where the engine does not tell.

    Podman does not tell: nothing is loaded there.
    """
    return "" if is_podman(client) else _load(client, action, None)


def sweep(client: EngineClient, stack: str) -> None:
    """Remove revisions without a name: prepared by an apply that was killed, or replaced."""
    filters = {"dangling": ["true"], "label": [f"{LABEL_STACK}={stack}", f"{LABEL_KIND}={KIND_HISTORY}"]}
    for item in client.get_json("/images/json", {"filters": filters}) or ():
        image = read_image_summary(item)
        ours = image.labels.get(LABEL_STACK) == stack and image.labels.get(LABEL_KIND) == KIND_HISTORY
        if ours and not image.references:
            untag(client, image.id)


def _load(client: EngineClient, action: WriteRevision, reference: str | None) -> str:
    info = client.get_json("/info")
    owner = owned_labels(Owner(stack=action.stack, kind=KIND_HISTORY, name=str(action.number)))
    labels = {**action.labels, **owner, LABEL_REVISION: str(action.number)}
    archive = image_archive(reference, action.files, labels, created=str(info.get("SystemTime", "")))
    lines = client.stream_lines("POST", "/images/load", {"quiet": True}, body=archive, headers=TAR)
    found = [match[1] for line in lines if (match := _LOADED.search(str(line.get("stream", ""))))]
    return found[-1] if found else ""


def reference_of(stack: str, number: int) -> str:
    """Name the image of a revision."""
    return f"{history_repository(stack)}:{number}"


def image_archive(reference: str | None, files: Mapping[str, str], labels: Mapping[str, str], *, created: str) -> bytes:
    """Make a `docker save` archive of an image with one layer (image-spec v1.2 of Docker, "Combined Image JSON")."""
    layer = _packed({name: text.encode() for name, text in sorted(files.items())})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": created or "1970-01-01T00:00:00Z",
        "config": {"Labels": dict(sorted(labels.items()))},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": created or "1970-01-01T00:00:00Z", "created_by": "declarative"}],
    }
    encoded = json.dumps(config).encode()
    name = hashlib.sha256(encoded).hexdigest() + ".json"
    manifest = [{"Config": name, "RepoTags": [reference] if reference else None, "Layers": [_LAYER]}]
    return _packed({name: encoded, _LAYER: layer, "manifest.json": json.dumps(manifest).encode()})


def _packed(files: Mapping[str, bytes]) -> bytes:
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o444
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def revisions(client: EngineClient, stack: str) -> tuple[Revision, ...]:
    """List the history of a stack, oldest first."""
    filters = {"reference": [history_repository(stack)]}
    found = client.get_json("/images/json", {"filters": filters})
    return tuple(read_revisions(in_docker_s_names(found) if is_podman(client) else found, stack))


def revision_files(client: EngineClient, stack: str, number: int) -> dict[str, str]:
    """Read the rendered manifests of one revision; NotFound where there is none."""
    import tarfile

    reference = reference_of(stack, number)
    try:
        packed = b"".join(client.stream_bytes(path_of(reference, "/get")))
    except NotFound:
        known = ", ".join(str(revision.number) for revision in revisions(client, stack)) or "none"
        raise NotFound(f"stack {stack}", f"has no revision {number}", f"known revisions: {known}") from None
    with tarfile.open(fileobj=io.BytesIO(packed)) as outer:
        manifest = json.loads(_read(outer, "manifest.json"))
        layer = _read(outer, manifest[0]["Layers"][-1])
    with tarfile.open(fileobj=io.BytesIO(layer)) as inner:
        return {member.name: _read(inner, member.name).decode() for member in inner if member.isfile()}


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    """Read a member; the engine may have stored it as a link to another one."""
    file = archive.extractfile(name)
    if file is None:
        raise Invalid(name, "is not in the exported image", "")
    return file.read()
