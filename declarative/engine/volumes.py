"""Volumes: folders for data that outlives containers, by name.

The rule that keeps it simple: a volume's data goes only when somebody removes the volume, and never while a container refers to
it. The record is made before the folder; the folder is set aside in one step before the record goes, so that a crash leaves the
volume or a removal that is finished at the next start. A folder that no record knows is left alone.

A container that was made refers to its volumes (`use`, `release`); while it runs it has them mounted (`mount`, `unmount`), which
for most volumes is nothing to do, and for those with options of mount(8) a mount on their folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import threading
import time
from typing import TYPE_CHECKING

from declarative.engine import volume_mounts
from declarative.engine.runtime.rootfs import mounts_below
from declarative.errors import Conflict, Failed, Invalid, NotFound
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from sqlite3 import Row

    from declarative.engine.db import Database
    from declarative.engine.events import Events
    from declarative.engine.paths import Paths

SCHEMA = """
CREATE TABLE IF NOT EXISTS volumes (name TEXT PRIMARY KEY, created INTEGER NOT NULL, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS volume_holders (
    volume TEXT NOT NULL REFERENCES volumes (name), holder TEXT NOT NULL, PRIMARY KEY (volume, holder)
);
"""
ANONYMOUS = "com.docker.volume.anonymous"
"""The label of a volume that nobody gave a name."""

UNREADABLE = "its record cannot be read ({}): copy what you need out of {}, remove it, and create it again"

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_NAME_MAX = 255  # bytes of a file's name
_GONE = ".gone-"


@record
class Volume:
    """A volume. `created`: nanoseconds since 1970; `path`: where its data is; `options`: of mount(8), none for a plain folder.

    `broken`: what cannot be read of its record. Its data is kept, and no container gets it, since it may belong elsewhere.
    """

    name: str
    created: int
    path: Path
    driver: str = "local"
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    broken: str = ""

    @property
    def anonymous(self) -> bool:
        """Whether nobody gave it a name."""
        return ANONYMOUS in self.labels


class Volumes:
    """The volumes of one engine. `clock` gives nanoseconds since 1970. Safe to use from several threads."""

    def __init__(
        self,
        paths: Paths,
        db: Database,
        events: Events,
        *,
        clock: Callable[[], int] = time.time_ns,
        new_name: Callable[[], str] = lambda: secrets.token_hex(32),
    ) -> None:
        self._root = paths.volumes
        self._db = db
        self._events = events
        self._clock = clock
        self._new_name = new_name
        self._lock = threading.RLock()
        self._mounted: dict[str, set[str]] = {}  # volume → the running containers that have it
        self._root.mkdir(mode=0o701, parents=True, exist_ok=True)
        self._finish_removals()

    # ---- what there is

    def list(self) -> tuple[Volume, ...]:
        """Give every volume, by name."""
        return load(self._db, self._root)

    def get(self, name: str) -> Volume:
        """Give a volume. NotFound."""
        rows = self._db.rows("SELECT * FROM volumes WHERE name = ?", (name,))
        if not rows:
            raise NotFound("", f"get {name}: no such volume")
        return self._volume(rows[0])

    def path(self, name: str) -> Path:
        """Give the folder of a volume's data, made if it is missing. NotFound."""
        volume = self.get(name)
        self._make_folder(volume)
        return volume.path

    def holders(self, name: str) -> tuple[str, ...]:
        """Give the containers that refer to a volume."""
        rows = self._db.rows("SELECT holder FROM volume_holders WHERE volume = ? ORDER BY holder", (name,))
        return tuple(row["holder"] for row in rows)

    def is_empty(self, name: str) -> bool:
        """Whether a volume has no content yet, so that it takes that of the image. NotFound."""
        with os.scandir(self.path(name)) as entries:
            return next(entries, None) is None

    def size(self, volume: Volume) -> int:
        """Give the bytes on disk of a volume's data; -1 for one that is mounted from elsewhere, whose size is not ours."""
        return -1 if volume.options else _size(volume.path)

    # ---- made and removed

    def create(
        self,
        name: str = "",
        driver: str = "local",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        *,
        holder: str = "",
    ) -> Volume:
        """Make a volume, or give the one of this name; without a name an anonymous one. Invalid, Conflict, Failed.

        `holder`: a container that refers to it from the first moment on, so that nobody who prunes finds it free.
        """
        with self._lock:
            found = self._find(name) if name else None
            volume = self._same(found, driver) if found else self._make(name, driver, options or {}, labels or {})
            if holder:
                self.use(volume.name, holder)
        if found is None:
            self._events.publish("volume", "create", volume.name, {"driver": volume.driver})
        return volume

    def _find(self, name: str) -> Volume | None:
        _check_name(name)
        rows = self._db.rows("SELECT * FROM volumes WHERE name = ?", (name,))
        return self._volume(rows[0]) if rows else None

    def _make(self, name: str, driver: str, options: Mapping[str, str], labels: Mapping[str, str]) -> Volume:
        marked = dict(labels)
        if not name:
            name = self._new_name()
            marked.setdefault(ANONYMOUS, "")
        if driver not in {"", "local"}:  # not NotFound: to a client that creates a container, that means the image
            raise Failed("", f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')
        chosen = dict(options)
        volume_mounts.check(name, chosen)
        document = json.dumps({"driver": "local", "options": chosen, "labels": marked})
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO volumes (name, created, document) VALUES (?, ?, ?)", (name, self._clock(), document)
            )
        volume = self.get(name)
        self._make_folder(volume)
        return volume

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume and its data. Conflict while containers refer to it; NotFound unless `force`. Failed."""
        with self._lock:
            try:
                volume = self.get(name)
            except NotFound:
                if force:
                    return
                raise
            if holders := self.holders(name):
                raise Conflict("", f"remove {name}: volume is in use - [{', '.join(holders)}]")
            volume_mounts.unmount(volume.name, volume.path)
            gone = self._root / f"{_GONE}{name}"
            try:
                if gone.exists():  # of an earlier try that failed
                    shutil.rmtree(gone)
                with contextlib.suppress(FileNotFoundError):
                    volume.path.parent.rename(gone)
                with self._db.transaction() as connection:
                    connection.execute("DELETE FROM volumes WHERE name = ?", (name,))
                if gone.exists():
                    shutil.rmtree(gone)
            except OSError as error:
                raise Failed(
                    f"volume {name}", f"its data cannot be removed: {error.strerror}: {error.filename}"
                ) from error
        self._events.publish("volume", "destroy", name, {"driver": volume.driver})

    def prune(
        self, *, everything: bool = False, keep: Callable[[Volume], bool] = lambda _: False
    ) -> tuple[tuple[str, ...], int]:
        """Remove the anonymous volumes, or `everything`, that no container refers to; give their names and the bytes won.

        One with options stays: what it says of a disk or a server is not in the data. So does one of which nobody knows.
        """
        names, size = [], 0
        for volume in self.list():
            kept = volume.options or volume.broken or not (everything or volume.anonymous)
            if kept or self.holders(volume.name) or keep(volume):
                continue
            bytes_of_it = max(self.size(volume), 0)
            try:
                self.remove(volume.name)
            except (Conflict, NotFound):  # somebody came in between
                continue
            names.append(volume.name)
            size += bytes_of_it
        self._events.publish("volume", "prune", "", {"reclaimed": str(size)})
        return tuple(names), size

    # ---- used

    def use(self, name: str, holder: str) -> Volume:
        """Let a container refer to a volume, which is kept as long as it does. NotFound; Failed for one that is broken."""
        with self._lock:
            volume = self.get(name)
            if volume.broken:
                raise Failed("", f"volume {name}: {UNREADABLE.format(volume.broken, volume.path)}")
            with self._db.transaction() as connection:
                connection.execute(
                    "INSERT OR IGNORE INTO volume_holders (volume, holder) VALUES (?, ?)", (name, holder)
                )
            return volume

    def release(self, holder: str) -> tuple[Volume, ...]:
        """Let a container refer to none of its volumes any more, and give them: it is removed."""
        with self._lock:
            rows = self._db.rows(
                "SELECT volumes.* FROM volumes JOIN volume_holders ON volume = name WHERE holder = ? ORDER BY name",
                (holder,),
            )
            if rows:
                self.unmount(holder)
                with self._db.transaction() as connection:
                    connection.execute("DELETE FROM volume_holders WHERE holder = ?", (holder,))
            return tuple(self._volume(row) for row in rows)

    def mount(self, name: str, holder: str, attributes: Mapping[str, str] | None = None) -> Path:
        """Have a volume ready for a container that starts, and give its folder. `attributes`: of the event. NotFound, Failed."""
        with self._lock:
            volume = self.use(name, holder)
            self._make_folder(volume)
            if volume.options and not mounts_below(volume.path.resolve()):
                volume_mounts.mount(name, volume.path, volume.options)
            self._mounted.setdefault(name, set()).add(holder)
        told = {"container": holder, "driver": volume.driver} | dict(attributes or {})
        self._events.publish("volume", "mount", name, told)
        return volume.path

    def unmount(self, holder: str) -> None:
        """Tell that a container runs no more: what was mounted for it alone is unmounted."""
        with self._lock:
            names = [name for name, holders in self._mounted.items() if holder in holders]
            for name in names:
                self._mounted[name].discard(holder)
                if not self._mounted[name]:
                    del self._mounted[name]
                    volume_mounts.unmount(name, self.get(name).path)
        for name in names:
            self._events.publish("volume", "unmount", name, {"container": holder, "driver": "local"})

    def restore(self, running: Iterable[str], known: Iterable[str]) -> None:
        """Take up after an earlier daemon. `running`: containers that run; `known`: all that there are."""
        alive, there = set(running), set(known)
        with self._lock:
            rows = self._db.rows("SELECT volume, holder FROM volume_holders")
            with self._db.transaction() as connection:
                for holder in {row["holder"] for row in rows} - there:
                    connection.execute("DELETE FROM volume_holders WHERE holder = ?", (holder,))
            self._mounted = {}
            for row in rows:
                if row["holder"] in alive:
                    self._mounted.setdefault(row["volume"], set()).add(row["holder"])
            for volume in self.list():
                if volume.options and volume.name not in self._mounted:
                    volume_mounts.unmount(volume.name, volume.path)

    # ---- inside

    def _volume(self, row: Row) -> Volume:
        return _read(row, self._root)

    def _same(self, volume: Volume, driver: str) -> Volume:
        if driver not in {"", volume.driver}:
            raise Conflict("", f"create {volume.name}: conflict: volume name must be unique")
        return volume

    def _make_folder(self, volume: Volume) -> None:
        if not volume.path.is_dir():
            volume.path.parent.mkdir(mode=0o701, exist_ok=True)
            volume.path.mkdir(mode=0o755, exist_ok=True)
            volume.path.chmod(0o755)  # whatever the daemon's umask

    def _finish_removals(self) -> None:
        for gone in self._root.glob(f"{_GONE}*"):
            name = gone.name.removeprefix(_GONE)
            if not (self._root / name).exists():
                with self._db.transaction() as connection:
                    connection.execute("DELETE FROM volume_holders WHERE volume = ?", (name,))
                    connection.execute("DELETE FROM volumes WHERE name = ?", (name,))
            with contextlib.suppress(OSError):  # it is tried again at the next start
                shutil.rmtree(gone)


def load(db: Database, root: Path) -> tuple[Volume, ...]:
    """Give every volume that is recorded, by name. `root`: the folder of their data."""
    return tuple(_read(row, root) for row in db.rows("SELECT * FROM volumes ORDER BY name"))


def _read(row: Row, root: Path) -> Volume:
    name = str(row["name"])
    path = root / name / "_data"
    created = row["created"] if isinstance(row["created"], int) else 0
    try:
        document = json.loads(row["document"])
        options, labels = dict(document["options"]), dict(document["labels"])
    except (ValueError, TypeError, KeyError) as error:  # as many ways as there are to be no such document
        return Volume(name=name, created=created, path=path, broken=f"{type(error).__name__}: {error}")
    return Volume(name=name, created=created, path=path, options=options, labels=labels)


def _check_name(name: str) -> None:
    if len(name) < 2:
        raise Invalid(
            "", f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _NAME.fullmatch(name) or len(name) > _NAME_MAX - len(_GONE):
        raise Invalid(
            "",
            f'create {name[:300]}: "{name[:300]}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path',
        )


def _size(folder: Path) -> int:
    """Give the bytes on disk below a folder; files with several names count once, what vanishes meanwhile not at all."""
    total, seen, waiting = 0, set(), [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        elif status.st_nlink == 1 or (status.st_dev, status.st_ino) not in seen:
                            seen.add((status.st_dev, status.st_ino))
                            total += status.st_size
        except OSError:
            continue
    return total
