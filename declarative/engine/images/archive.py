"""What is in an archive of images, read in one pass: documents in memory, layers straight into the store.

The rule that keeps it simple: what a file is, is told by its first bytes, since names differ from writer to writer. Layers
are kept packed: a packed one as it is, byte for byte, a plain one packed on its way in. Links between the archive's files are
followed by name alone.
"""

from __future__ import annotations

import posixpath
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from declarative.engine.images.layers.compression import detect, unpacked
from declarative.engine.images.layers.entry import Kind
from declarative.engine.images.layers.reader import members
from declarative.engine.images.layers.source import Source
from declarative.engine.images.pack import pack
from declarative.errors import Invalid
from declarative.oci import media
from declarative.oci.node import DOCUMENT_MAX
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from declarative.engine.images.layers.entry import Entry
    from declarative.engine.images.layers.reader import Member
    from declarative.engine.images.store import ImageStore
    from declarative.oci.digest import Digest

_MOST_DOCUMENTS = 64 << 20
"""Bytes of all documents together: an archive of a thousand images has a tenth of it."""
_MOST_FILES = 100_000
_MOST_BYTES = 256 << 30
_REFUSE = "do not use this archive"
_PACKED = {"gzip": media.OCI_LAYER_GZIP, "zstd": media.OCI_LAYER_ZSTD}
_MAGIC = 512
"""Bytes that tell what a file is: a tar header has its mark at 257."""


@record
class Stored:
    """A layer of the archive, in the store now: what its blob is; `diff_id` where it is known already."""

    media_type: str
    digest: Digest
    size: int
    diff_id: Digest | None = None


class Contents:
    """The files of one archive. What it brought into the store is leased until the end of the block."""

    def __init__(self, store: ImageStore, subject: str) -> None:
        self.subject = subject
        self.documents: dict[str, bytes] = {}
        self.layers: dict[str, Stored] = {}
        self._links: dict[str, str] = {}
        self._store = store
        self._leases = ExitStack()
        self._files = self._bytes = 0
        self.new: list[Digest] = []
        """Blobs that were not in the store before."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leases.close()

    def read(self, chunks: Iterable[bytes]) -> None:
        """Read the archive, in any compression, to its end. Invalid where it is damaged or hostile; Failed: disk full."""
        for member in members(Source(unpacked(chunks, self.subject), self.subject)):
            self._read(member)

    def document(self, name: str) -> bytes | None:
        """Give a small file by its name in the archive, through links."""
        return self.documents.get(self._resolved(name))

    def layer(self, name: str) -> Stored | None:
        """Give a layer by its name in the archive, through links."""
        name = self._resolved(name)
        if name not in self.layers and name in self.documents:  # too small or too old to look like one
            self._keep(name, iter((self.documents[name],)), "")
        return self.layers.get(name)

    def _resolved(self, name: str) -> str:
        for _ in range(len(self._links) + 1):
            if name not in self._links:
                return name
            name = self._links[name]
        raise Invalid(self.subject, f"{name[:80]} is a link to itself", _REFUSE)

    def _read(self, member: Member) -> None:
        entry = member.entry
        name = self._name(entry)
        self._files += 1
        self._bytes += entry.size
        if self._files > _MOST_FILES or self._bytes > _MOST_BYTES:
            raise Invalid(self.subject, "more files or bytes than an archive of images has", _REFUSE)
        if entry.kind is Kind.FILE and entry.extents is None:
            self._file(name, entry, member.pieces())
        elif entry.kind is Kind.SYMLINK:
            target = posixpath.join(posixpath.dirname(name), entry.target.decode(errors="surrogateescape"))
            self._links[name] = self.inside(target)
        elif entry.kind is Kind.HARDLINK:
            self._links[name] = self.inside(entry.target.decode(errors="surrogateescape"))
        elif entry.kind is not Kind.DIRECTORY:
            raise Invalid(self.subject, f"{name[:80]} is a {entry.kind.value}, which no archive of images has", _REFUSE)

    def _name(self, entry: Entry) -> str:
        return self.inside(entry.name.decode(errors="surrogateescape"))

    def inside(self, name: str) -> str:
        """Give a name as it is kept: relative to the archive's root. Invalid where it leads out of it."""
        clean = posixpath.normpath(name.lstrip("/"))
        if clean == ".." or clean.startswith("../"):
            raise Invalid(f"{self.subject}: {name[:80]!a}", "leads out of the archive", _REFUSE)
        return clean

    def _file(self, name: str, entry: Entry, pieces: Iterator[memoryview]) -> None:
        start = b""
        while len(start) < min(_MAGIC, entry.size) and (piece := next(pieces, None)) is not None:
            start += piece
        if packed := detect(start):
            self._keep(name, _joined(start, pieces), packed)
        elif start[257:262] == b"ustar" or name.endswith(".tar") or entry.size > DOCUMENT_MAX:
            self._keep(name, _joined(start, pieces), "")
        else:
            self._keep_document(name, start, pieces)

    def _keep_document(self, name: str, start: bytes, pieces: Iterator[memoryview]) -> None:
        content = b"".join((start, *pieces))
        if sum(map(len, self.documents.values())) + len(content) > _MOST_DOCUMENTS:
            raise Invalid(self.subject, f"more than {_MOST_DOCUMENTS} bytes of documents", _REFUSE)
        self.documents[name] = content

    def _keep(self, name: str, chunks: Iterator[bytes], packed: str) -> None:
        diff_id = None
        kind = _PACKED.get(packed)
        with self._store.blobs.ingest(subject=self.subject) as ingest:
            if kind is None:
                diff_id = pack(unpacked(chunks, self.subject), ingest.write)
            else:
                for chunk in chunks:
                    ingest.write(chunk)
            digest = ingest.digest
            self._leases.enter_context(self._store.leases.hold([digest]))
            if not self._store.blobs.has(digest):
                self.new.append(digest)
        self.layers[name] = Stored(
            media_type=kind or media.OCI_LAYER_GZIP, digest=digest, size=ingest.offset, diff_id=diff_id
        )


def _joined(start: bytes, pieces: Iterator[memoryview]) -> Iterator[bytes]:
    yield start
    for piece in pieces:
        yield bytes(piece)
