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
from declarative.engine.images.pack import Packing, gathered
from declarative.errors import Invalid
from declarative.oci import media
from declarative.oci.digest import Digest
from declarative.oci.node import DOCUMENT_MAX
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from declarative.engine.images.layers.entry import Entry
    from declarative.engine.images.layers.reader import Member
    from declarative.engine.images.loose import Loose
    from declarative.engine.images.store import ImageStore

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
    """A layer of the archive, in the store now: what its blob is; `loose`, unpacked, where it does not need those below."""

    media_type: str
    digest: Digest
    size: int
    loose: Loose | None = None


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
        for stored in self.layers.values():
            if stored.loose is not None:
                self._store.snapshots.drop(stored.loose)
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
            self._file(name, entry, iter(member.pieces()))
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
        """Bring a layer into the store; it is unpacked on the way, since what it is on is mostly of no account."""
        known = self._known(name)
        if known is not None:
            for _ in chunks:  # the next header is behind it
                pass
            self.layers[name] = known
            return
        kind = _PACKED.get(packed)
        with self._store.blobs.ingest(subject=self.subject) as ingest:
            if kind is None:
                with Packing(ingest.write) as packing:
                    loose = self._unpack(name, _Fed(gathered(unpacked(chunks, self.subject)), packing.feed))
            else:
                loose = self._unpack(name, _Fed(chunks, ingest.write))
            digest = ingest.digest
            self._leases.enter_context(self._store.leases.hold([digest]))
            if not self._store.blobs.has(digest):
                self.new.append(digest)
        media_type = kind or media.OCI_LAYER_GZIP
        self.layers[name] = Stored(media_type=media_type, digest=digest, size=ingest.offset, loose=loose)

    def _unpack(self, name: str, chunks: Iterator[bytes]) -> Loose | None:
        loose = self._store.snapshots.try_out(chunks, f"{self.subject}: {name[:80]}")
        for _ in chunks:  # whatever was wrong with it is said where it is needed
            pass
        return loose

    def _known(self, name: str) -> Stored | None:
        """Find a layer in the store whose name says what it is: then nothing of the archive's is needed."""
        try:
            digest = Digest.parse(name.removeprefix("blobs/").replace("/", ":"))
        except Invalid:
            return None
        records = self._store.records
        for known in (records.layer_blob(digest), records.blob_of(digest)):
            if known is not None:
                self._leases.enter_context(self._store.leases.hold([known.digest]))
                if self._store.blobs.has(known.digest):
                    return Stored(
                        media_type=self._media_type(known.digest),
                        digest=known.digest,
                        size=self._store.blobs.size(known.digest),
                    )
        return None

    def _media_type(self, digest: Digest) -> str:
        with self._store.blobs.open(digest) as file:
            return _PACKED.get(detect(file.read(_MAGIC)), media.OCI_LAYER)


class _Fed:
    """Chunks that are fed elsewhere as they are read. No generator: who gives up reading must not end them for who goes on."""

    def __init__(self, chunks: Iterable[bytes], feed: Callable[[bytes], None]) -> None:
        self._chunks = iter(chunks)
        self._feed = feed

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self._feed(chunk)
        return chunk


def _joined(start: bytes, pieces: Iterator[memoryview]) -> Iterator[bytes]:
    yield start
    for piece in pieces:
        yield bytes(piece)
