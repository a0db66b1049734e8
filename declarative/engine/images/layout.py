"""`index.json` of the image layout (image-spec, image-layout.md): every image that has a name, for other tools to read.

The rule that keeps it simple: it is written anew, whole, from the records whenever a name changes; the records win where they
know a name. A name that only the file knows was put there by another tool, or by us before the records were lost.

On a full disk names can still be taken away, which is how images go: beside the file lies one whose blocks are given up for that.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from declarative.engine.images.disk import is_full
from declarative.errors import Invalid
from declarative.oci import media
from declarative.oci.config_write import encode_document
from declarative.oci.documents import Descriptor, parse_index
from declarative.oci.reference import Reference
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"

_ROOM = 1 << 16  # bytes: of some hundred names


@record
class Listed:
    """One entry: a name in full, and the manifest it is for."""

    reference: Reference
    manifest: Descriptor


class IndexFile:
    """The file `index.json` in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.path = root / "index.json"
        self._written: bytes | None = None
        self._ours: set[Reference] = set()
        self._foreign: tuple[Listed, ...] = ()
        self._lock = threading.Lock()

    def write(self, entries: Iterable[Listed], *, gone: Collection[Reference] = ()) -> None:
        """Write the file anew, if anything changed; entries that others put there are kept, except those of `gone`.

        OSError where the disk is full: then the old file stays.
        """
        ours = list(entries)
        with self._lock:
            names = {entry.reference for entry in ours}
            self._look(names | self._ours)
            self._foreign = tuple(one for one in self._foreign if one.reference not in {*names, *gone})
            document = {
                "schemaVersion": 2,
                "mediaType": media.OCI_INDEX,
                "manifests": [_described(entry) for entry in (*ours, *self._foreign)],
            }
            content = encode_document(document)
            self._ours = names
            if content == self._written:
                return
            self._replace(content, shrinks=bool(gone))
            self._written = content

    def foreign(self) -> tuple[Listed, ...]:
        """Give the entries that the records do not know."""
        with self._lock:
            self._look(self._ours)
            return self._foreign

    def _replace(self, content: bytes, *, shrinks: bool) -> None:
        temporary, room = self.path.with_name("index.json.new"), self.path.with_name("index.json.room")
        try:
            temporary.write_bytes(content)
        except OSError as error:
            if not (shrinks and is_full(error)):
                raise
            room.unlink(missing_ok=True)
            temporary.write_bytes(content)
        temporary.rename(self.path)
        with suppress(OSError), room.open("ab") as file:  # none where the disk is full: then the next write makes it
            if file.tell() < len(content) + _ROOM // 2:
                os.posix_fallocate(file.fileno(), 0, len(content) + _ROOM)

    def _look(self, known: set[Reference]) -> None:
        """Look whether somebody else wrote the file, and what."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            content = b""
        if content == self._written:
            return
        self._written = content
        try:
            self._foreign = tuple(entry for entry in self.read() if entry.reference not in known)
        except Invalid:
            self._foreign = ()  # damaged, and written anew from the records

    def read(self) -> tuple[Listed, ...]:
        """Read what the file lists; nothing where it is missing. Invalid where it is damaged."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return ()
        found = []
        for entry in parse_index(content, subject=str(self.path)).manifests:
            text = entry.annotations.get(IMAGE_NAME) or entry.annotations.get(REF_NAME) or ""
            try:
                reference = Reference.parse(text)
            except Invalid:
                continue  # without a name it is no image of ours
            found.append(Listed(reference=named(reference), manifest=entry))
        return tuple(found)

    def damage(self) -> str:
        """Say what is wrong with the file, "" where nothing is."""
        try:
            json.loads(self.path.read_bytes())
            self.read()
        except FileNotFoundError:
            return "missing"
        except (ValueError, Invalid) as error:
            return f"damaged: {error}"
        return ""


def named(reference: Reference) -> Reference:
    """Give a name as it is recorded: with a digest alone, or with a tag, `latest` where none is said."""
    return reference.addressed()


def _described(entry: Listed) -> dict[str, Any]:
    name = entry.reference.canonical()
    return {
        "mediaType": entry.manifest.media_type,
        "digest": str(entry.manifest.digest),
        "size": entry.manifest.size,
        "annotations": {IMAGE_NAME: name, REF_NAME: name},
    }
