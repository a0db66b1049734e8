"""Mount points of a container: `-v`, `--mount`, `--tmpfs`, `VOLUME` and `--volumes-from` as one kind of record.

The rule that keeps it simple: pure. Texts are taken apart here, once, with Docker's words for what is wrong; whether a source
exists, what a volume is called that nobody named, and the mounting itself are somebody else's.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from declarative.engine.containers.host import BindOptions, Mount, TmpfsOptions, VolumeOptions
from declarative.engine.containers.shapes import FLAG, PAIRS, TEXT, Shape, shape
from declarative.errors import Invalid
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

BIND, VOLUME, TMPFS = "bind", "volume", "tmpfs"
PROPAGATIONS = frozenset({"shared", "slave", "private", "rshared", "rslave", "rprivate"})
_READ_WRITE, _LABELS, _COPY = frozenset({"rw", "ro"}), frozenset({"z", "Z"}), frozenset({"nocopy"})
_CONSISTENCIES = frozenset({"consistent", "cached", "delegated", "default"})
_MODES = (_READ_WRITE, _LABELS, PROPAGATIONS, _COPY, _CONSISTENCIES)


@record
class Point:
    """One mount point. `source`: a path of the machine's, for a bind. `name` of a volume, "" until it has one.

    `anonymous`: nobody named the volume, so it may go with the container. `copy`: an empty volume gets the image's content.
    `create`: a bind's source that is not there is made. `options` of a tmpfs; `driver_options` and `labels` for a new volume.
    """

    kind: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    writable: bool = True
    propagation: str = ""
    anonymous: bool = False
    copy: bool = False
    create: bool = False
    recursive: bool = True
    subpath: str = ""
    options: str = ""
    driver_options: Mapping[str, str] | None = field(default=None, hash=False)
    labels: Mapping[str, str] | None = field(default=None, hash=False)


shape(
    Point,
    Shape("kind", "kind", TEXT),
    Shape("destination", "destination", TEXT),
    Shape("source", "source", TEXT, omit=True),
    Shape("name", "name", TEXT, omit=True),
    Shape("driver", "driver", TEXT, omit=True),
    Shape("mode", "mode", TEXT, omit=True),
    Shape("writable", "writable", FLAG),
    Shape("propagation", "propagation", TEXT, omit=True),
    Shape("anonymous", "anonymous", FLAG, omit=True),
    Shape("copy", "copy", FLAG, omit=True),
    Shape("create", "create", FLAG, omit=True),
    Shape("recursive", "recursive", FLAG),
    Shape("subpath", "subpath", TEXT, omit=True),
    Shape("options", "options", TEXT, omit=True),
    Shape("driver_options", "driver_options", PAIRS, omit=True),
    Shape("labels", "labels", PAIRS, omit=True),
)


def of_bind(text: str, driver: str = "") -> Point:
    """Read `[SOURCE:]TARGET[:MODE]` of HostConfig.Binds. Invalid."""
    parts = text.split(":")
    source, mode = "", ""
    if not text or len(parts) > 3 or "" in parts:
        raise Invalid("", f"invalid volume specification: '{text}'")
    if len(parts) == 1:
        target = text
    else:
        source, target = parts[0], parts[1]
        mode = parts[2] if len(parts) == 3 else ""
        if len(parts) == 2 and _is_mode(target):
            raise Invalid("", f"invalid volume specification: '{text}'")
    words = _words(mode)
    is_path = source.startswith("/")
    kind = BIND if is_path else VOLUME
    problem = _bind_problem(kind, target, words)
    if problem:
        raise Invalid(
            "", f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": {problem}"
        )
    if is_path:
        propagation = next((word for word in words if word in PROPAGATIONS), "rprivate")
        return Point(
            kind=BIND,
            destination=_clean(target),
            source=_clean(source),
            mode=mode,
            writable="ro" not in words,
            propagation=propagation,
            create=True,
        )
    return Point(
        kind=VOLUME,
        destination=_clean(target),
        name=source,
        driver=driver,
        mode=mode or ("z" if source and driver in {"", "local"} else ""),
        writable="ro" not in words,
        anonymous=not source,
        copy="nocopy" not in words,
    )


def _bind_problem(kind: str, target: str, words: tuple[str, ...]) -> str:
    if kind == VOLUME and PROPAGATIONS & set(words):
        return "field BindOptions must not be specified"
    if kind == BIND and "nocopy" in words:
        return "field VolumeOptions must not be specified"
    return _target_problem(target)


def _words(mode: str) -> tuple[str, ...]:
    words = tuple(mode.split(",")) if mode else ()
    for word in words:
        if not any(word in family for family in _MODES):
            raise Invalid("", f"invalid mode: {mode}")
    if any(len([word for word in words if word in family]) > 1 for family in _MODES):
        raise Invalid("", f"invalid mode: {mode}")
    return words


def _is_mode(text: str) -> bool:
    return all(any(word in family for family in _MODES) for word in text.split(","))


def _clean(path: str) -> str:
    cleaned = posixpath.normpath(path)
    return "/" + cleaned.lstrip("/") if path.startswith("/") else cleaned


def _target_problem(target: str) -> str:
    if not target:
        return "field Target must not be empty"
    if not target.startswith("/"):
        return f"invalid mount path: '{target}' mount path must be absolute"
    if _clean(target) == "/":
        return "invalid specification: destination can't be '/'"
    return ""


def of_mount(mount: Mount) -> Point:
    """Read one of HostConfig.Mounts. Invalid."""
    kind = mount.type
    for given, owner, name in (
        (mount.bind, BIND, "Bind"),
        (mount.volume, VOLUME, "Volume"),
        (mount.tmpfs, TMPFS, "Tmpfs"),
    ):
        if given is not None and owner != kind and kind in {BIND, VOLUME, TMPFS}:
            raise Invalid("", f'{name}Options must not be specified on mount type "{kind}"')
    problem = _target_problem(mount.target) or _mount_problem(mount)
    if problem:
        raise Invalid("", f'invalid mount config for type "{kind}": {problem}')
    if kind == BIND:
        return _bind(mount, mount.bind or BindOptions())
    if kind == VOLUME:
        return _volume(mount, mount.volume or VolumeOptions())
    return Point(
        kind=TMPFS,
        destination=_clean(mount.target),
        writable=not mount.read_only,
        options=_tmpfs_options(mount.tmpfs or TmpfsOptions(), read_only=mount.read_only),
    )


def _source_problem(mount: Mount) -> str:
    propagation = mount.bind.propagation if mount.bind else ""
    if not mount.source:
        return "field Source must not be empty"
    if not mount.source.startswith("/"):
        return f"invalid mount path: '{mount.source}' mount path must be absolute"
    return f"invalid propagation mode: {propagation}" if propagation and propagation not in PROPAGATIONS else ""


def _mount_problem(mount: Mount) -> str:
    if mount.type == BIND:
        return _source_problem(mount)
    if mount.type == VOLUME:
        subpath = mount.volume.subpath if mount.volume else ""
        if subpath and (subpath.startswith("/") or ".." in subpath.split("/")):
            return "subpath must be a relative path within the volume"
        return "must not set ReadOnly mode when using anonymous volumes" if mount.read_only and not mount.source else ""
    if mount.type == TMPFS:
        return "field Source must not be specified" if mount.source else ""
    return "mount type unknown"


def _bind(mount: Mount, options: BindOptions) -> Point:
    return Point(
        kind=BIND,
        destination=_clean(mount.target),
        source=_clean(mount.source),
        writable=not mount.read_only,
        propagation=options.propagation or "rprivate",
        create=options.create_mountpoint,
        recursive=not options.non_recursive,
    )


def _volume(mount: Mount, options: VolumeOptions) -> Point:
    driver = options.driver.name if options.driver else ""
    return Point(
        kind=VOLUME,
        destination=_clean(mount.target),
        name=mount.source,
        driver=driver,
        mode="z" if driver in {"", "local"} else "",
        writable=not mount.read_only,
        anonymous=not mount.source,
        copy=not options.no_copy,
        subpath=options.subpath,
        driver_options=options.driver.options if options.driver else None,
        labels=options.labels,
    )


def _tmpfs_options(options: TmpfsOptions, *, read_only: bool) -> str:
    words = ["ro"] if read_only else []
    if options.mode:
        words.append(f"mode={options.mode:o}")
    if options.size > 0:
        words.append(f"size={options.size}")
    words += ["=".join(option) for option in options.options or ()]
    return ",".join(words)


def of_volume(target: str) -> Point:
    """Give the point of Config.Volumes: a volume that nobody named."""
    return Point(kind=VOLUME, destination=_clean(target), anonymous=True, copy=True)


def check_tmpfs(target: str) -> None:
    """Check a target of `--tmpfs`. Invalid."""
    problem = _target_problem(target)
    if problem:
        raise Invalid("", problem)


def read_volumes_from(text: str) -> tuple[str, bool]:
    """Give the container of `--volumes-from NAME[:MODE]`, and whether its volumes are read-only here. Invalid."""
    name, _, mode = text.partition(":")
    if not name:
        raise Invalid("", "volumes-from specification cannot be an empty string")
    if mode and (PROPAGATIONS | _COPY) & set(_words(mode)):
        raise Invalid("", f"invalid mode: {mode}")
    return name, "ro" in _words(mode)


def from_other(point: Point, *, read_only: bool) -> Point:
    """Give the point of another container's as `--volumes-from` has it.

    A bind's source is made where it is missing, as in dockerd: the other container may start later.
    """
    return Point(
        kind=point.kind,
        destination=point.destination,
        source=point.source,
        name=point.name,
        driver=point.driver,
        writable=point.writable and not read_only,
        propagation=point.propagation,
        anonymous=point.anonymous,
        create=point.kind == BIND,
        options=point.options,
        recursive=point.recursive,
        subpath=point.subpath,
    )
