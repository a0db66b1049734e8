"""Blobs on their way from a registry, each once, however many pulls want it; readable while they come.

The rule that keeps it simple: a download belongs to those who want it. It goes on while one of them is left, and what it has
got so far stays in the store when the last one leaves, for the next to continue.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from declarative.engine.images.progress import Progress
from declarative.errors import Failed, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from declarative.engine.images.blobs import BlobStore
    from declarative.engine.images.progress import Board
    from declarative.oci.digest import Digest
    from declarative.oci.documents import Descriptor
    from declarative.registry.client import RegistryClient

_AT_ONCE = 5
"""Blobs at a time: dockerd takes three; a few more fill a line where one server is slow."""
_PIECE = 1 << 20


class Download:
    """One blob on its way. Made, joined and left through `Downloads`."""

    def __init__(self, blobs: BlobStore, layer: Descriptor) -> None:
        self.layer = layer
        self.boards: list[Board] = []
        self._blobs = blobs
        self._changed = threading.Condition()
        self._arrived = 0
        self._fd = -1
        self._ended = False
        self._error: BaseException | None = None
        self._given_up = False

    @property
    def id(self) -> str:
        """As Docker shows it: the first twelve digits of the digest."""
        return self.layer.digest.short

    def run(self, client: RegistryClient, repository: str) -> None:
        """Fetch it. What goes wrong comes out of `wait` and `chunks`."""
        try:
            self._fetch(client, repository)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            self._error = error
        with self._changed:
            self._ended = True
            if self._given_up:
                self._close()
            self._changed.notify_all()
        for board in list(self.boards):
            if self._error is None:
                board.post(Progress(status="Download complete", id=self.id))
            else:
                board.wake()

    def give_up(self) -> None:
        """Hear that nobody wants it any more, or reads from it."""
        with self._changed:
            self._given_up = True
            if self._ended:
                self._close()

    def add(self, board: Board) -> None:
        """Tell another one how it goes, beginning with how far it is."""
        self.boards.append(board)
        if self._arrived:
            board.count(self._count(self._arrived))

    @property
    def complete(self) -> bool:
        """Whether all of it is in the store."""
        return self._ended and self._error is None

    def nudge(self) -> None:
        """Let whoever waits look at their `stop`."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, stop: Callable[[], bool]) -> None:
        """Wait until it is in the store, and raise what went wrong; Interrupted where `stop` says so."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or stop())
        self._check(stop)

    def chunks(self, stop: Callable[[], bool]) -> Iterator[bytes]:
        """Give the bytes as they come, not checked yet; at the end, they are checked and in the store. Errors as of `wait`."""
        offset = 0
        while True:
            with self._changed:
                while not (self._ended or self._arrived > offset or stop()):
                    self._changed.wait()
            self._check(stop)
            if self._ended and self._arrived == offset:
                return
            chunk = os.pread(self._fd, min(_PIECE, self._arrived - offset), offset)
            if not chunk:
                raise Failed(str(self.layer.digest), "its file became shorter while it was read", "pull it again")
            offset += len(chunk)
            yield chunk

    def _check(self, stop: Callable[[], bool]) -> None:
        if stop():
            raise Interrupted(str(self.layer.digest), "the pull was given up")
        if self._ended and self._error is not None:
            raise self._error

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _fetch(self, client: RegistryClient, repository: str) -> None:
        digest = self.layer.digest
        if self._given_up:
            raise Interrupted(str(digest), "nobody wants it any more")
        with self._blobs.ingest(digest, f"{client.domain}/{repository}: layer {digest}") as ingest:
            self._fd = os.open(ingest.path, os.O_RDONLY | os.O_CLOEXEC)
            self._here(ingest.offset)
            for piece in client.read_blob(repository, digest, offset=ingest.offset, size=self.layer.size):
                if self._given_up:
                    raise Interrupted(str(digest), "nobody wants it any more")
                ingest.write(piece)
                self._here(ingest.offset)
            for board in list(self.boards):
                board.post(Progress(status="Verifying Checksum", id=self.id))

    def _here(self, offset: int) -> None:
        with self._changed:
            self._arrived = offset
            self._changed.notify_all()
        for board in list(self.boards):
            board.count(self._count(offset))

    def _count(self, offset: int) -> Progress:
        return Progress(status="Downloading", id=self.id, current=offset, total=self.layer.size)


class Downloads:
    """All downloads of one store, a few at a time. Safe to use from several threads."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._running: dict[Digest, Download] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE, "download")

    def join(self, layer: Descriptor, board: Board, client: RegistryClient, repository: str) -> Download:
        """Want a blob: begin its download, or take part in one that runs. `leave` it in the end."""
        with self._lock:
            download = self._running.get(layer.digest)
            if download is None:
                download = self._running[layer.digest] = Download(self._blobs, layer)
                self._pool.submit(download.run, client, repository)
            download.add(board)
        return download

    def leave(self, download: Download, board: Board) -> None:
        """Have no use for it any more."""
        with self._lock:
            download.boards.remove(board)
            if download.boards:
                return
            if self._running.get(download.layer.digest) is download:
                del self._running[download.layer.digest]
        download.give_up()

    def close(self) -> None:
        """Give up all downloads; what they got so far stays."""
        with self._lock:
            running = list(self._running.values())
        for download in running:
            download.give_up()
        self._pool.shutdown(cancel_futures=True)
