"""Shapes of what a container finds in its file system: mounts, files, temporary file systems, devices.

The rule that keeps it simple: a source that begins with `.`, `/` or `~` is a path on the host, everything else names a Volume.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from declarative.core.resources import FileEntry, Mount
from declarative.errors import Invalid
from declarative.manifest.decode import BAD, Field, Record, Schema, Shape
from declarative.manifest.decode_collections import ByShape, ListOf
from declarative.manifest.decode_process import NAME
from declarative.manifest.decode_scalars import Boolean, Enum, Integer, Size, Text
from declarative.manifest.decode_secrets import (
    FilePath,
    PlainValue,
    absolute_text,
    octal,
    read_bytes,
    secret_or,
    secret_source,
)
from declarative.manifest.suggest import did_you_mean
from declarative.manifest.yaml_nodes import Scalar

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping, Node

_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_MODES = ("ro", "rw", "nocopy", *_PROPAGATIONS)


def _inside(text: str) -> str:
    """Give a path in the container without a slash at its end, and without `.` and `//`; raises Invalid."""
    if not text.startswith("/"):
        raise Invalid(f"`{text[:80]}`", "is not an absolute path", "paths in a container begin with /")
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise Invalid(f"`{text[:80]}`", "goes up with ..", "write the path that is meant")
    return "/" + "/".join(parts)


INSIDE = Text("an absolute path in the container", clean=_inside)


class _MountText(Shape):
    """The short form of a mount: `[SOURCE:]TARGET[:MODE]`."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give a mount."""
        if type(node) is not Scalar or type(node.value) is not str:
            return reading.wrong(node, "a mount")
        parts = node.value.split(":")
        if not 1 <= len(parts) <= 3 or not all(parts):
            remedy = "write SOURCE:TARGET or SOURCE:TARGET:ro, or use the long form"
            return reading.complain(node, f"`{node.value[:80]}` is not a mount", remedy)
        try:
            return self._mount(parts, node, reading)
        except Invalid as error:
            return reading.refuse(node, error)

    @staticmethod
    def _mount(parts: list[str], node: Scalar, reading: Reading) -> Mount:
        if len(parts) == 1:
            return Mount(target=_inside(parts[0]))
        options = _modes(parts[2]) if len(parts) == 3 else {}
        source, target = parts[0], _inside(parts[1])
        if source[0] in "./~":
            if "nocopy" in options:
                raise Invalid("`nocopy`", "is for volumes", "remove it")
            path = absolute_text(source, node, reading)
            return Mount(type="bind", source=path, target=target, create_host_path=True, **options)
        if not re.fullmatch(NAME, source):
            remedy = f"write ./{source} for a folder beside the manifest, or name a Volume"
            raise Invalid(f"`{source[:60]}`", "is not a volume's name", remedy)
        if "propagation" in options:
            raise Invalid(f"`{options['propagation']}`", "is for host paths", "remove it")
        return Mount(type="volume", source=source, target=target, **options)

    def schema(self) -> Schema:
        """Text with at most two colons."""
        return {"type": "string", "pattern": "^[^:]+(?::[^:]+){0,2}$"}

    def words(self) -> str:
        """Say how it is written."""
        return "[SOURCE:]TARGET[:MODE]"


def _modes(text: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for word in text.split(","):
        if word not in _MODES:
            raise Invalid(f"`{word[:40]}`", "is not a mount mode", did_you_mean(word, _MODES) or "write ro or rw")
        if word == "ro":
            options["read_only"] = True
        elif word == "nocopy":
            options["nocopy"] = True
        elif word != "rw":
            options["propagation"] = word
    return options


def _mount(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    kind = values["type"]
    for other in ("bind", "volume", "tmpfs"):
        if other in values and other != kind:
            return reading.complain(
                node.keys[other], f"is for mounts of type {other}", f"remove it, or set type: {other}"
            )
    values |= values.pop(kind, {})
    source = node.get("source")
    if kind == "tmpfs" and source is not None:
        return reading.complain(node.keys["source"], "a tmpfs has no source", "remove it")
    if kind == "bind":
        if not isinstance(source, Scalar):
            return reading.complain(node, "lacks `source`", "add source: the path on the host")
        values["source"] = absolute_text(values["source"], source, reading)
    if kind == "volume" and source is not None and not re.fullmatch(NAME, values["source"]):
        return reading.complain(
            source, f"`{values['source'][:60]}` is not a volume's name", "set type: bind for a host path"
        )
    return Mount(**values)


_BIND = Record(
    "settings of a bind mount",
    (
        Field(
            name="propagation",
            type=Enum(*_PROPAGATIONS),
            doc="How mounts below spread.",
            example="rslave",
            default="rprivate",
        ),
        Field(
            name="create_host_path",
            type=Boolean(),
            doc="Make the host's folder if it is missing.",
            example=True,
            default="false in the long form, true in the short one",
        ),
    ),
)
_VOLUME = Record(
    "settings of a volume mount",
    (
        Field(
            name="nocopy",
            type=Boolean(),
            doc="Do not copy the image's files into a new volume.",
            example=True,
            default="false",
        ),
    ),
)
_MODE = Text("a file mode", number=True, clean=octal)
_TMPFS = Record(
    "settings of a tmpfs mount",
    (
        Field(name="size", type=Size(), doc="Largest size.", example="64m", default="unlimited"),
        Field(name="mode", type=_MODE, doc="Mode of its root, in octal.", example="1777", default="1777"),
    ),
)
MOUNT = ByShape(
    "a mount, as data:/var/lib or {type, source, target}",
    scalar=_MountText(),
    mapping=Record(
        "a mount",
        (
            Field(
                name="type", type=Enum("volume", "bind", "tmpfs"), doc="Sort of mount.", example="bind", required=True
            ),
            Field(
                name="source",
                type=Text("a volume's name or a path"),
                doc="A Volume's name, or a path on the host. Absent: an anonymous volume.",
                example="./conf",
            ),
            Field(name="target", type=INSIDE, doc="Path in the container.", example="/etc/app", required=True),
            Field(name="read_only", type=Boolean(), doc="Mount it read-only.", example=True, default="false"),
            Field(name="bind", type=_BIND, doc="For type bind.", example={"propagation": "rslave"}),
            Field(name="volume", type=_VOLUME, doc="For type volume.", example={"nocopy": True}),
            Field(name="tmpfs", type=_TMPFS, doc="For type tmpfs.", example={"size": "64m"}),
        ),
        _mount,
    ),
)


class _Mounts(ListOf):
    """Mounts, sorted by target."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give mounts, one at most for each target."""
        mounts = super().decode(node, reading)
        return BAD if mounts is BAD else tuple(sorted(mounts, key=_target))


def _target(entry: Any) -> Any:
    return entry.target


MOUNTS = _Mounts(MOUNT, "a list of mounts", key=_target)

# ---- files ------------------------------------------------------------------------------------------------------


def _owner(text: str) -> tuple[int, int]:
    uid, mark, gid = text.partition(":")
    if not re.fullmatch(r"[0-9]{1,10}(?::[0-9]{1,10})?", text):
        raise Invalid(f"`{text[:40]}`", "is not an owner", 'write numbers, as in "1000:1000"')
    return int(uid), int(gid if mark else uid)


def _file(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    sources = [name for name in ("content", "file", "secret") if name in values]
    if len(sources) != 1:
        found = " and ".join(sources) if sources else "none"
        return reading.complain(node, f"a file has one source, here: {found}", "write one of content, file, secret")
    if "owner" in values and ("uid" in values or "gid" in values):
        return reading.complain(node.keys["owner"], "stands beside uid or gid", "write either owner, or uid and gid")
    content = values.pop(sources[0])
    if sources[0] == "file":
        content = read_bytes(Path(content), node.items["file"], reading)
    elif isinstance(content, str):
        content = content.encode()
    if content is BAD:
        return BAD
    if "owner" in values:
        values["uid"], values["gid"] = values.pop("owner")
    return FileEntry(content=content, **values)


_ID = Integer("a number", largest=2**32 - 2)
FILE = Record(
    "a file",
    (
        Field(name="target", type=INSIDE, doc="Path in the container.", example="/etc/app/app.conf", required=True),
        Field(
            name="content",
            type=secret_or(PlainValue(), "text or {secret: …}", strip=False),
            doc="What the file holds: text, or {secret: …}.",
            example="debug = false\n",
        ),
        Field(name="file", type=FilePath(), doc="File on this machine whose content to take.", example="./app.conf"),
        Field(
            name="secret",
            type=secret_source(strip=False),
            doc="Secret whose content to take: {env: NAME} or {file: PATH}.",
            example={"env": "HOME"},
        ),
        Field(name="mode", type=_MODE, doc="Mode, in octal.", example="0440", default="0444"),
        Field(name="uid", type=_ID, doc="Owner's number.", example=1000, default="0"),
        Field(name="gid", type=_ID, doc="Group's number.", example=1000, default="0"),
        Field(
            name="owner",
            type=Text('numbers, as "1000:1000"', number=True, clean=_owner),
            doc="Owner and group in one.",
            example="1000:1000",
            default='"0:0"',
        ),
    ),
    _file,
)


class _Files(_Mounts):
    """Files, sorted by target."""

    __slots__ = ()


FILES = _Files(FILE, "a list of files", key=_target)

# ---- temporary file systems, devices ------------------------------------------------------------------------------


def _tmpfs(text: str) -> tuple[str, str]:
    path, _, options = text.partition(":")
    return _inside(path), options


class _TmpfsList(ListOf):
    """Paths with options, to a map."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give path → options."""
        pairs = super().decode(node, reading)
        return BAD if pairs is BAD else dict(pairs)


TMPFS = _TmpfsList(
    Text("PATH[:OPTIONS]", clean=_tmpfs),
    "PATH[:OPTIONS], or a list of them",
    single=True,
    key=lambda pair: pair[0],
)


def _device(text: str) -> str:
    parts = text.split(":")
    host, rest = parts[0], parts[1:]
    rights = rest.pop() if rest and re.fullmatch("[rwm]{1,3}", rest[-1]) else "rwm"
    target = rest.pop() if rest else host
    if rest or not host.startswith("/") or not target.startswith("/"):
        raise Invalid(f"`{text[:80]}`", "is not a device", "write HOST_PATH[:CONTAINER_PATH[:rwm]]")
    return f"{host}:{target}:{''.join(right for right in 'rwm' if right in rights)}"


_DEVICE = Record(
    "a device",
    (
        Field(
            name="source",
            type=Text("a path", pattern=r"/[^:]*"),
            doc="Path on the host.",
            example="/dev/fuse",
            required=True,
        ),
        Field(name="target", type=Text("a path", pattern=r"/[^:]*"), doc="Path in the container.", example="/dev/fuse"),
        Field(
            name="permissions",
            type=Text("rights", pattern="[rwm]{1,3}", says="write some of r, w and m"),
            doc="What the container may do: read, write, mknod.",
            example="rw",
            default="rwm",
        ),
    ),
    lambda values, _node, _reading: _device(
        f"{values['source']}:{values.get('target', values['source'])}:{values.get('permissions', 'rwm')}"
    ),
)
DEVICES = ListOf(
    ByShape("a device", scalar=Text("HOST_PATH[:CONTAINER_PATH[:rwm]]", clean=_device), mapping=_DEVICE),
    "a list of devices",
    sort=True,
)
