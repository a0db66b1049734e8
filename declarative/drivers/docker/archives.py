"""Archives as engines take them: root file systems and images, out of files as people have them.

The rule: what the engine reads itself is sent as it is. Two things it may not read: an archive in OCI layout, which gets the list
that `docker load` looks for appended on its way, and zstd, which engines before 23.0 do not know.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.drivers.port import Progress
from declarative.errors import Failed, Invalid, Unsupported, reason_of

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Iterator

    Report = Callable[[Progress], None]

CHUNK = 1 << 20
ZSTD_API = (1, 42)
"""Docker 23.0, the first that unpacks zstd."""

_ZSTD = b"\x28\xb5\x2f\xfd"
_BLOCK = 512
_LARGEST_DOCUMENT = 4 << 20  # manifests and indexes have kilobytes


def rootfs_chunks(path: str, api: tuple[int, int], report: Report) -> Iterator[bytes]:
    """Read a root file system archive for `POST /images/create`."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is not loaded on this path otherwise
            packed = file.read(4) == _ZSTD
    except OSError as error:
        raise unreadable(path, error) from error
    return _unpacked(path) if packed and api < ZSTD_API else file_chunks(path, report)


def file_chunks(path: str, report: Report) -> Iterator[bytes]:
    """Read a file as it is."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            size = file.seek(0, 2)
            file.seek(0)
            while chunk := file.read(CHUNK):
                yield chunk
                report(Progress(done=file.tell(), total=size))
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: OSError) -> Invalid:
    """Say that a file cannot be read."""
    return Invalid(path, f"cannot be read: {reason_of(error)}", "mend the path")


def _unpacked(path: str) -> Iterator[bytes]:
    import subprocess

    try:
        process = subprocess.Popen(["zstd", "-dcq", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    except FileNotFoundError as error:
        remedy = "install the zstd program, or pack the archive with gzip"
        raise Unsupported(
            path, "this engine does not unpack zstd, and there is no zstd program here", remedy
        ) from error
    with process:
        while process.stdout is not None and (chunk := process.stdout.read(CHUNK)):
            yield chunk
    if process.returncode != 0:
        raise Failed(path, "cannot be unpacked: it is no proper zstd archive", "make the archive again")


def image_chunks(path: str, image_id: str, report: Report) -> Iterator[bytes]:
    """Read an image archive for `POST /images/load`; one in OCI layout gets a `manifest.json` for the image `image_id`."""
    import tarfile

    try:
        listed = _listing(path, image_id)
        return file_chunks(path, report) if listed is None else _appended(path, listed)
    except OSError as error:
        raise unreadable(path, error) from error
    except (tarfile.TarError, EOFError) as error:
        raise Invalid(path, "is not an image archive", "make it with docker save") from error


def _listing(path: str, image_id: str) -> bytes | None:
    """Write `manifest.json` for an archive in OCI layout; None where it has one."""
    import tarfile

    documents: dict[str, Any] = {}
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if name == "manifest.json":
                return None
            if member.isreg() and member.size <= _LARGEST_DOCUMENT and name.startswith("blobs/"):
                documents[name] = _document(archive, member)
    for document in documents.values():
        if not isinstance(document, dict) or (document.get("config") or {}).get("digest") != image_id:
            continue
        layers = [_blob(layer["digest"]) for layer in document.get("layers") or ()]
        return json.dumps([{"Config": _blob(image_id), "RepoTags": None, "Layers": layers}]).encode()
    raise Invalid(path, f"does not hold the image {image_id}", "make the archive again")


def _document(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    file = archive.extractfile(member)
    try:
        return json.loads(file.read()) if file is not None else None
    except ValueError:  # a small layer
        return None


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _appended(path: str, listing: bytes) -> Iterator[bytes]:
    """Copy an archive, unpacked and with `manifest.json` at its end."""
    import tarfile

    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            yield member.tobuf(tarfile.PAX_FORMAT)
            if member.isreg() and (file := archive.extractfile(member)) is not None:
                while chunk := file.read(CHUNK):
                    yield chunk
                yield bytes(-member.size % _BLOCK)
    last = tarfile.TarInfo("manifest.json")
    last.size, last.mode = len(listing), 0o644
    yield last.tobuf(tarfile.PAX_FORMAT) + listing + bytes(-len(listing) % _BLOCK) + bytes(2 * _BLOCK)
