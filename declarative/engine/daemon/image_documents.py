"""Images as Docker's API writes them: rows of a list, the answer of inspect, lines of history.

The rule that keeps it simple: pure; what is not known is left empty as dockerd leaves it, never made up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.engine.daemon.times import SECOND, parse_instant, rfc3339
from declarative.errors import Invalid
from declarative.oci.json_text import parse
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from declarative.engine.images.image import Image
    from declarative.oci.digest import Digest
    from declarative.oci.reference import Reference

_NOWHEN = "0001-01-01T00:00:00Z"  # Go's zero time
_NO_TAG = ("<none>:<none>",)
_NO_DIGEST = ("<none>@<none>",)


@record
class Named:
    """An image with what the store knows around it."""

    image: Image
    parent: Digest | None = None
    tags: tuple[Reference, ...] = ()
    digests: tuple[Reference, ...] = ()
    tagged: int = 0


def created(image: Image) -> int:
    """Give when an image was made, in nanoseconds since 1970; 0 where it does not say."""
    try:
        return parse_instant(image.config.created, 0) if image.config.created else 0
    except Invalid:
        return 0


def summary(named: Named, version: tuple[int, int], *, containers: int = -1, shared: int = -1) -> dict[str, Any]:
    """Write a row of /images/json. Sizes in bytes; -1 for what was not counted."""
    image = named.image
    tags, digests = [tag.familiar() for tag in named.tags], [name.familiar() for name in named.digests]
    if not tags and not digests and version < (1, 43):
        tags, digests = list(_NO_TAG), list(_NO_DIGEST)
    document: dict[str, Any] = {
        "Id": str(image.id),
        "ParentId": str(named.parent or ""),
        "RepoTags": tags,
        "RepoDigests": digests,
        "Created": created(image) // SECOND,
        "Size": image.size,
        "SharedSize": shared,
        "Labels": dict(image.config.run.labels),
        "Containers": containers,
    }
    if version < (1, 44):
        document["VirtualSize"] = image.size
    return document


def inspect(named: Named, version: tuple[int, int], driver: Mapping[str, Any]) -> dict[str, Any]:
    """Write the answer of /images/NAME/json. `driver`: how its layers lie here."""
    image, raw = named.image, parse(named.image.raw)
    platform = image.config.platform
    last = image.config.history[-1] if image.config.history else None
    document: dict[str, Any] = {
        "Id": str(image.id),
        "RepoTags": [tag.familiar() for tag in named.tags],
        "RepoDigests": [name.familiar() for name in named.digests],
        "Parent": str(named.parent or ""),
        "Comment": raw.get("comment") or (last.comment if last else ""),
        "Created": image.config.created or _NOWHEN,
        "DockerVersion": raw.get("docker_version") or "",
        "Author": image.config.author,
        "Config": run_config(raw.get("config") or {}),
        "Architecture": platform.architecture,
        "Os": platform.os,
        "Size": image.size,
        "GraphDriver": dict(driver),
        "RootFS": {"Type": "layers", "Layers": [str(digest) for digest in image.config.diff_ids]},
        "Metadata": {"LastTagTime": rfc3339(named.tagged) if named.tagged else _NOWHEN},
    }
    if platform.variant:
        document["Variant"] = platform.variant
    if platform.os_version:
        document["OsVersion"] = platform.os_version
    if version < (1, 44):
        document["VirtualSize"] = image.size
    if version < (1, 45):
        document["Container"] = raw.get("container") or ""
        document["ContainerConfig"] = run_config(raw.get("container_config") or {})
    return document


def run_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Write `Config`: fields that dockerd always writes are there, whatever the image's document says."""
    document: dict[str, Any] = {
        "Hostname": "",
        "Domainname": "",
        "User": "",
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": None,
        "Cmd": None,
        "Image": "",
        "Volumes": None,
        "WorkingDir": "",
        "Entrypoint": None,
        "OnBuild": None,
        "Labels": None,
    }
    document.update({name: value for name, value in config.items() if value is not None})
    return document


def history(
    image: Image, ids: Sequence[Digest | None], tags_of: Callable[[Digest], Sequence[str]], sizes: Sequence[int]
) -> list[dict[str, Any]]:
    """Write /images/NAME/history, newest first.

    `ids`: of the image and its ancestors here, newest first; `sizes`: of each layer, bottom first, in bytes.
    """
    rows: list[dict[str, Any]] = []
    layer = 0
    for entry in image.config.history:
        size = 0
        if not entry.empty_layer:
            size = sizes[layer] if layer < len(sizes) else 0
            layer += 1
        rows.append(
            {
                "Id": "<missing>",
                "Created": _seconds(entry.created),
                "CreatedBy": entry.created_by,
                "Tags": None,
                "Size": size,
                "Comment": entry.comment,
            }
        )
    rows.reverse()
    for row, id_ in zip(rows, ids, strict=False):
        if id_ is not None:
            row["Id"] = str(id_)
            row["Tags"] = list(tags_of(id_)) or None
    return rows


def _seconds(text: str) -> int:
    try:
        return parse_instant(text, 0) // SECOND if text else 0
    except Invalid:
        return 0
