"""Files for a container whose root file system is read-only: engines put nothing in there, before its start or after.

The way that works in every engine: the folder of a file becomes a volume. A helper container of the same image, never started,
has the volume mounted where the file shall be: the engine copies the image's folder into it, and we put the files in. Then
the real container mounts the volume there, read-only. The volume has no name of its own, carries a label by which it is told
from what the spec asks for, goes with its container, and is swept by the next lock where a crash left it alone.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from declarative.core.state import LABEL_KIND, LABEL_NAME, LABEL_STACK, SUFFIX_MAKING
from declarative.drivers.docker.archive import archive_of
from declarative.drivers.docker.containers import path_of, remove
from declarative.drivers.docker.labels import KIND_FILES
from declarative.errors import NotFound, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from declarative.core.actions import CreateContainer
    from declarative.core.resources import FileEntry
    from declarative.core.state import Owner
    from declarative.dockerapi.client import EngineClient


def covered(path: str, folders: Iterable[str]) -> bool:
    """Whether `path` is one of `folders` or below one."""
    return any(posixpath.commonpath([folder, path]) == folder.rstrip("/") for folder in folders if folder != "/")


def folders_of(name: str, files: Sequence[FileEntry]) -> list[str]:
    """Give the outermost folders that hold `files`. Unsupported for a file in the root folder itself."""
    found: list[str] = []
    for folder in sorted({posixpath.dirname(entry.target) for entry in files}):
        if folder == "/":
            entry = next(entry.target for entry in files if posixpath.dirname(entry.target) == "/")
            problem = f"the file {entry} cannot be put into the root folder of a container with read_only"
            raise Unsupported(f"container {name}", problem, "put it into a folder")
        if not covered(folder, found):
            found.append(folder)
    return found


def mounts_for(
    client: EngineClient, action: CreateContainer, files: Sequence[FileEntry], labels: dict[str, str]
) -> list[dict[str, Any]]:
    """Make the volumes that hold `files` and give them as mounts of the real container."""
    folders = folders_of(action.name, files)
    helper = action.name + SUFFIX_MAKING
    marks = _marks(action.owner)
    volumes = {folder: _volume(client, marks) for folder in folders}
    mounts = [{"Type": "volume", "Source": volumes[folder], "Target": folder} for folder in folders]
    body = {"Image": action.spec.image.reference, "Cmd": ["-"], "Labels": labels, "HostConfig": {"Mounts": mounts}}
    try:
        client.post_json("/containers/create", {"name": helper}, {**body, "NetworkDisabled": True})
        client.put(path_of(helper, "/archive"), {"path": "/"}, archive_of(files))
    except BaseException:
        remove(client, helper, volumes=True)
        drop(client, volumes.values())
        raise
    # with the anonymous volumes that the image asks for; ours are mounted by name, and stay
    client.delete(path_of(helper), {"force": True, "v": True})
    options = {"NoCopy": True, "Labels": marks}
    return [{**mount, "ReadOnly": True, "VolumeOptions": options} for mount in mounts]


def _marks(owner: Owner) -> dict[str, str]:
    return {LABEL_STACK: owner.stack, LABEL_KIND: KIND_FILES, LABEL_NAME: owner.name}


def _volume(client: EngineClient, marks: dict[str, str]) -> str:
    return str(client.post_json("/volumes/create", None, {"Driver": "local", "Labels": marks})["Name"])


def drop(client: EngineClient, volumes: Iterable[str]) -> None:
    """Remove volumes whose container was not made, or is gone."""
    for volume in volumes:
        try:
            client.delete(f"/volumes/{volume}")
        except NotFound:
            continue
