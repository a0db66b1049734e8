"""What is done to images without a build: pull, push, tag, untag, import, load.

The rule: an image is reached by its reference; the engine's lines go to progress as they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.build_label import write_inputs
from declarative.core.state import LABEL_BUILD
from declarative.dockerapi.wire import quote_name
from declarative.drivers.docker import podman
from declarative.drivers.docker.archives import image_chunks, rootfs_chunks
from declarative.drivers.docker.labels import owned_labels
from declarative.drivers.port import Progress
from declarative.errors import Conflict, Failed, NotFound
from declarative.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from declarative.core.actions import ImportImage, LoadImage, PullImage, PushImage
    from declarative.dockerapi.client import EngineClient
    from declarative.dockerapi.wire import QueryValue

    Report = Callable[[Progress], None]
    AuthHeader = Callable[[str], str]  # registry domain → X-Registry-Auth


def path_of(name: str, rest: str = "") -> str:
    """Give the API's path of an image."""
    return f"/images/{quote_name(name)}{rest}"


def find_image(client: EngineClient, name: str) -> dict[str, Any] | None:
    """Give the engine's document of the image that a reference or id names; None where there is none."""
    try:
        return dict(client.get_json(path_of(name, "/json")))
    except NotFound:
        return None


def image_id(client: EngineClient, name: str) -> str | None:
    """Give the id of the image that a reference or id names; None where there is none."""
    found = find_image(client, name)
    return str(found["Id"]) if found is not None else None


class Layers:
    """Adds up the progress of the layers of one pull or push: bytes done and bytes in all, as far as they are known."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._sizes: dict[str, tuple[int, int]] = {}

    def take(self, line: dict[str, Any]) -> None:
        """Read one line of the engine's stream."""
        detail = line.get("progressDetail") or {}
        status, layer = str(line.get("status", "")), str(line.get("id", ""))
        if layer and detail.get("total"):
            self._sizes[layer + status] = (min(detail.get("current", 0), detail["total"]), detail["total"])
            done = sum(size[0] for size in self._sizes.values())
            self._report(Progress(text=status, done=done, total=sum(size[1] for size in self._sizes.values())))
        elif status and not layer:
            self._report(Progress(text=status))


def pull(client: EngineClient, action: PullImage, auth: AuthHeader, report: Report) -> None:
    """Pull one reference."""
    reference = Reference.parse(action.reference)
    query = {"fromImage": reference.name, "platform": action.platform or None}
    query["tag"] = str(reference.digest) if reference.digest else (reference.tag or "latest")
    layers = Layers(report)
    headers = {"X-Registry-Auth": auth(reference.domain)}
    for line in client.stream_lines("POST", "/images/create", query, headers=headers):
        layers.take(line)


def push(client: EngineClient, action: PushImage, auth: AuthHeader, report: Report) -> None:
    """Push one reference, content and tag. NotFound where it is not there."""
    reference = Reference.parse(action.reference).addressed()
    layers = Layers(report)
    headers = {"X-Registry-Auth": auth(reference.domain)}
    path = path_of(reference.name, "/push")
    try:
        for line in client.stream_lines("POST", path, {"tag": reference.tag}, headers=headers):
            layers.take(line)
    except Failed as error:
        if "does not exist locally" not in error.problem:
            raise
        raise NotFound(error.subject, error.problem, "build or tag it first") from error


def tag(client: EngineClient, source: str, reference: str) -> None:
    """Let `reference` point to the image of `source`."""
    parsed = Reference.parse(reference).addressed()
    client.post_json(path_of(source, "/tag"), {"repo": parsed.name, "tag": parsed.tag})


def untag(client: EngineClient, reference: str) -> None:
    """Remove a reference. The image stays while a container, running or not, is made of it."""
    try:
        client.delete(path_of(reference))
    except NotFound:
        return
    except Conflict:
        _move_away(client, reference)


def _move_away(client: EngineClient, reference: str) -> None:
    """Take the last reference off an image that containers use.

    Engines refuse to do so, and by force they would remove the image under a stopped container. So the reference is moved to
    an empty image, which then goes with it.
    """
    for _ in client.stream_lines("POST", "/images/create", _import_as(reference), body=EMPTY_TAR, headers=TAR):
        pass
    client.delete(path_of(reference))


def _import_as(reference: str) -> dict[str, QueryValue]:
    """Give the query of an import under this name. Its tag is part of it, for Podman heeds no parameter `tag` there."""
    return {"fromSrc": "-", "repo": Reference.parse(reference).addressed().canonical()}


EMPTY_TAR = bytes(1024)
TAR = {"Content-Type": "application/x-tar"}


def import_image(client: EngineClient, action: ImportImage, report: Report) -> None:
    """Make an image of a root file system archive, labelled as ours."""
    first, *others = action.references
    labels = {**owned_labels(action.owner), LABEL_BUILD: write_inputs({"rootfs": action.source.digest})}
    changes = podman.label_changes(labels) if podman.is_podman(client) else label_changes(labels)
    query: dict[str, QueryValue] = {**_import_as(first), "changes": changes}
    body = rootfs_chunks(action.source.path, client.facts.api, report)
    for _ in client.stream_lines("POST", "/images/create", query, body=body, headers=TAR):
        pass
    for other in others:
        tag(client, first, other)


def label_changes(labels: Mapping[str, str]) -> str:
    """Write short labels as the instructions of a Dockerfile, quoted as its parser unquotes, for the parameter `changes`."""
    return "\n".join(f"LABEL {_quoted(name)}={_quoted(value)}" for name, value in labels.items())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return '"' + escaped.replace("\n", " ") + '"'


def load(client: EngineClient, action: LoadImage, report: Report) -> None:
    """Load an archive and tag the image it holds. The tags that the archive brings along come too, as with `docker load`."""
    body = image_chunks(action.source.path, action.source.image_id, report)
    for line in client.stream_lines("POST", "/images/load", {"quiet": True}, body=body, headers=TAR):
        if text := str(line.get("stream", "")).strip():
            report(Progress(text=text))
    source = next((name for name in (action.source.image_id, action.source.reference) if name), "")
    if not source or image_id(client, source) is None:
        raise Failed(
            f"archive {action.source.path}",
            "was loaded, but the image it was read to hold is not there",
            "check archive.reference",
        )
    for reference in action.references:
        tag(client, source, reference)
