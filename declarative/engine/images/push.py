"""Images to registries: what is missing there, in parallel; the manifest last, so that whatever has a name there is whole.

The rule that keeps it simple: the bytes that came are the bytes that go, so an image has one digest everywhere.
"""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from declarative.engine.images.progress import Board, Progress, Pushed
from declarative.errors import Denied, Interrupted, NotFound, Unavailable
from declarative.oci.documents import Descriptor
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from declarative.engine.images.image import Image
    from declarative.engine.images.progress import Tell
    from declarative.engine.images.registries import Registries
    from declarative.engine.images.store import ImageStore
    from declarative.oci.digest import Digest
    from declarative.oci.reference import Reference
    from declarative.registry.client import RegistryClient
    from declarative.registry.credentials import Credential

_AT_ONCE = 5
"""As many blobs at a time as dockerd sends."""
_TELL_SECONDS = 0.1
_READ = 256 << 10
_MOST_SOURCES = 3
"""Repositories that are asked for a mount, as in dockerd: each try costs a question."""


def push(
    store: ImageStore,
    registries: Registries,
    reference: Reference,
    *,
    everything: bool = False,
    credential: Credential | None = None,
    tell: Tell = lambda _: None,
    gone: Callable[[], bool] = lambda: False,
) -> tuple[Pushed, ...]:
    """Push what a tag (`latest` where none is said) names here, or with `everything` all tags of its repository.

    What `tell` raises ends the push; so does `gone`, which is asked a few times a second, with Interrupted.
    NotFound, in Docker's words, where there is no such image here; errors of a registry as
    of `RegistryClient`.
    """
    names = _names(store, reference, everything=everything)
    tell(Progress(status=f"The push refers to repository [{reference.name}]"))
    client = registries.client(reference.domain, credential)
    try:
        return tuple(_Push(store, client, name, tell=tell, gone=gone).run() for name in names)
    except (Unavailable, Denied):
        registries.forget(client)
        raise


def _names(store: ImageStore, reference: Reference, *, everything: bool) -> list[Reference]:
    name = reference.addressed()
    if everything:
        known = [one for one, _ in store.records.names() if one.name == name.name and one.digest is None]
        if not known:
            raise NotFound("", f"An image does not exist locally with the tag: {name.repository}")
        return known
    if name.digest is not None:
        raise NotFound("", "cannot push a digest reference")
    if store.records.named(name) is None:
        raise NotFound("", f"An image does not exist locally with the tag: {name.repository}")
    return [name]


@record
class _Part:
    """A blob of the image; `id` is what Docker shows for it, "" for the configuration, which it does not show."""

    blob: Descriptor
    id: str


class _Push:
    """One tag on its way: workers send, and the caller's own thread tells."""

    def __init__(
        self, store: ImageStore, client: RegistryClient, name: Reference, *, tell: Tell, gone: Callable[[], bool]
    ) -> None:
        self._store = store
        self._client = client
        self._name = name
        self._repository = name.path
        self._tell = tell
        self._gone = gone
        self._board = Board()
        self._given_up = False

    def run(self) -> Pushed:
        store, name = self._store, self._name
        image = store.resolve(name.canonical())
        manifest = store.blobs.read(image.manifest.digest)
        with store.leases.hold([image.id, image.manifest.digest, *(layer.digest for layer in image.layers)]):
            self._send_all(_parts(image, len(image.raw)))
            digest = self._client.put_manifest(
                self._repository, name.tag or "latest", image.manifest.media_type, manifest
            )
        store.note_digest(image.id, name.bare, digest)
        pushed = Pushed(tag=name.tag or "latest", digest=digest, size=len(manifest))
        self._tell(Progress(status=f"{pushed.tag}: digest: {digest} size: {len(manifest)}"))
        self._tell(pushed)
        store.publish("push", name.familiar(), name.repository)
        return pushed

    def _send_all(self, parts: list[_Part]) -> None:
        for part in parts[::-1]:
            self._post("Preparing", part)
        with ThreadPoolExecutor(_AT_ONCE, "push") as pool:
            try:
                sending = [pool.submit(self._send, part) for part in parts]
                for one in sending:
                    one.add_done_callback(lambda _: self._board.wake())
                while wait(sending, 0, FIRST_EXCEPTION).not_done:
                    self._tell_news(_TELL_SECONDS)
                    failed = next((one.exception() for one in sending if one.done() and one.exception()), None)
                    if failed is not None:
                        raise failed
            finally:
                self._given_up = True
                pool.shutdown(wait=True, cancel_futures=True)
            self._tell_news(0)
            for one in sending:
                one.result()

    def _tell_news(self, seconds: float) -> None:
        if self._gone():
            raise Interrupted(self._name.familiar(), "the push was given up")
        for event in self._board.take(seconds):
            self._tell(event)

    def _post(self, status: str, part: _Part) -> None:
        if part.id:
            self._board.post(Progress(status=status, id=part.id))

    def _send(self, part: _Part) -> None:
        """Bring one blob there, in the cheapest way that works."""
        digest, size = part.blob.digest, part.blob.size
        if self._client.blob_exists(self._repository, digest):
            self._post("Layer already exists", part)
            return
        for source in self._sources(digest):
            if self._client.mount_blob(self._repository, digest, source):
                self._post(f"Mounted from {source}", part)
                return
        sent = _Sent(self._board, part)
        self._client.upload_blob(self._repository, digest, lambda at: self._read(digest, at), size=size, progress=sent)
        self._post("Pushed", part)

    def _sources(self, digest: Digest) -> list[str]:
        """Give other repositories of that registry that should have the blob: what came from there, or went there, does."""
        paths = [
            name.path
            for image in self._store.records.with_blob(digest)
            for name, _ in self._store.records.names(image)
            if name.digest is not None and name.domain == self._name.domain and name.path != self._repository
        ]
        return list(dict.fromkeys(paths))[:_MOST_SOURCES]

    def _read(self, digest: Digest, offset: int) -> Iterator[bytes]:
        with self._store.blobs.open(digest) as file:
            file.seek(offset)
            while piece := file.read(_READ):
                if self._given_up:
                    raise Interrupted(self._name.familiar(), "the push was given up")
                yield piece


class _Sent:
    """Counts what was sent of one blob."""

    def __init__(self, board: Board, part: _Part) -> None:
        self._board = board
        self._part = part
        self._lock = threading.Lock()
        self._sent = 0

    def __call__(self, more: int) -> None:
        with self._lock:
            self._sent += more
            now = self._sent
        if self._part.id:
            self._board.count(Progress(status="Pushing", id=self._part.id, current=now, total=self._part.blob.size))


def _parts(image: Image, config_size: int) -> list[_Part]:
    """Give what is to be sent, each blob once, the layers bottom first."""
    parts = {
        layer.digest: _Part(blob=layer, id=diff_id.short)
        for layer, diff_id in zip(image.layers, image.config.diff_ids, strict=True)
    }
    config = Descriptor(media_type="", digest=image.id, size=config_size)
    return [*parts.values(), _Part(blob=config, id="")]
