"""Images from registries: the manifest for this machine, its layers in parallel, each unpacked while it comes.

The rule that keeps it simple: layers are fetched in any order and unpacked bottom first; a layer counts when its bytes and
what they unpack to are what the digests say; the image is there when all are, and has its name last.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from declarative.engine.images.collect import drop_blobs, drop_chains
from declarative.engine.images.disk import is_full
from declarative.engine.images.downloads import Downloads
from declarative.engine.images.progress import Board, Progress
from declarative.engine.images.store import Source
from declarative.errors import DeclarativeError, Denied, Interrupted, Invalid, NotFound, Unavailable
from declarative.oci import media
from declarative.oci.config import chain_ids, parse_config
from declarative.oci.digest import DigestMismatch
from declarative.oci.documents import Index, Manifest, parse_document
from declarative.oci.node import DOCUMENT_MAX
from declarative.oci.platform import Platform
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from declarative.engine.images.downloads import Download
    from declarative.engine.images.image import Image
    from declarative.engine.images.progress import Tell
    from declarative.engine.images.registries import Origin, Registries
    from declarative.engine.images.store import ImageStore
    from declarative.oci.config import ImageConfig
    from declarative.oci.digest import Digest
    from declarative.oci.documents import Descriptor
    from declarative.oci.reference import Reference
    from declarative.registry.client import StoredManifest
    from declarative.registry.credentials import Credential

_READ = 1 << 20
_TELL_SECONDS = 0.1
"""How often a bar moves, as in dockerd (pkg/progress limits it to ten times a second)."""
_NESTED = 3
"""Indexes in indexes; one in another is the most that is seen."""


@record
class Pulled:
    """An image that was pulled: the digest of what its name stands for, and whether the name means another image now."""

    image: Image
    digest: Digest
    newer: bool


@record
class _Wanted:
    """What a name stands for in a registry: the document it names, and the manifest for the wanted platform."""

    origin: Origin
    digest: Digest
    stored: StoredManifest
    manifest: Manifest


class Puller:
    """Pulls images into a store. Safe to use from several threads; what several pull at once is fetched once."""

    def __init__(self, store: ImageStore, registries: Registries) -> None:
        self._store = store
        self._registries = registries
        self._downloads = Downloads(store.blobs)

    def close(self) -> None:
        """Give up what is being fetched."""
        self._downloads.close()

    def pull(
        self,
        reference: Reference,
        *,
        platform: Platform | None = None,
        credential: Credential | None = None,
        tell: Tell = lambda _: None,
        gone: Callable[[], bool] = lambda: False,
    ) -> Pulled:
        """Pull what a tag (`latest` where none is said) or a digest names, for a platform (this machine's by default).

        What `tell` raises ends the pull; so does `gone`, which is asked a few times a second, with Interrupted.
        Errors of a registry as of `RegistryClient`; NotFound where there is nothing for
        the platform; Invalid, DigestMismatch for what is not what it says; Failed where the disk is full.
        """
        name = reference.addressed()
        tell(Progress(status=f"Pulling from {name.path}", id=name.tag or str(name.digest)))
        wanted = self._find(name, platform, credential)
        try:
            pulled = _Pull(self._store, self._downloads, wanted, name, tell=tell, gone=gone).run(platform)
        except (Unavailable, Denied):
            self._registries.forget(wanted.origin.client)
            raise
        tell(Progress(status=f"Digest: {pulled.digest}"))
        what = "Downloaded newer image for" if pulled.newer else "Image is up to date for"
        tell(Progress(status=f"Status: {what} {name.familiar()}"))
        return pulled

    def pull_all(
        self,
        repository: Reference,
        *,
        platform: Platform | None = None,
        credential: Credential | None = None,
        tell: Tell = lambda _: None,
        gone: Callable[[], bool] = lambda: False,
    ) -> tuple[Pulled, ...]:
        """Pull every tag of a repository. NotFound where it has none."""
        tags = self._registries.client(repository.domain, credential).tags(repository.path)
        if not tags:
            raise NotFound("", f"manifest for {repository.familiar()} not found: it has no tags")
        names = [repository.bare.with_tag(tag) for tag in tags]
        return tuple(self.pull(name, platform=platform, credential=credential, tell=tell, gone=gone) for name in names)

    def _find(self, name: Reference, platform: Platform | None, credential: Credential | None) -> _Wanted:
        """Fetch the manifest, from the first of the mirrors and the registry that has it."""
        *mirrors, registry = self._registries.origins(name, credential)
        for origin in mirrors:
            try:
                return _find_at(origin, platform)
            except DeclarativeError:
                self._registries.forget(origin.client)
        try:
            return _find_at(registry, platform)
        except (Unavailable, Denied):
            self._registries.forget(registry.client)
            raise


def _find_at(origin: Origin, platform: Platform | None) -> _Wanted:
    try:
        stored = origin.client.manifest(origin.reference)
    except NotFound as error:
        said = f"manifest for {origin.reference.familiar()} not found: manifest unknown: manifest unknown"
        raise NotFound("", said) from error
    top = stored.digest
    for _ in range(_NESTED):
        document = parse_document(stored.content, stored.media_type, origin.reference.familiar())
        if isinstance(document, Manifest):
            return _Wanted(origin=origin, digest=top, stored=stored, manifest=document)
        chosen = _select(document, platform or Platform.local())
        stored = origin.client.manifest(replace(origin.reference, tag=None, digest=chosen.digest))
    raise Invalid(origin.reference.familiar(), "an index of indexes of indexes", "pull one image of it by its digest")


def _select(index: Index, platform: Platform) -> Descriptor:
    chosen = index.select(platform)
    if chosen is None:
        raise NotFound("", f"no matching manifest for {platform} in the manifest list entries")
    return chosen


class _Pull:
    """One pull: workers fetch, one thread unpacks, and the caller's own thread tells."""

    def __init__(
        self,
        store: ImageStore,
        downloads: Downloads,
        wanted: _Wanted,
        name: Reference,
        *,
        tell: Tell,
        gone: Callable[[], bool],
    ) -> None:
        self._store = store
        self._downloads = downloads
        self._wanted = wanted
        self._name = name
        self._subject = name.familiar()
        self._tell = tell
        self._gone = gone
        self._board = Board()
        self._given_up = False
        self._done = False
        self._error: BaseException | None = None

    def run(self, platform: Platform | None) -> Pulled:
        """Do it all; the name comes last."""
        with self._store.leases.hold([self._wanted.manifest.config.digest]):  # who prunes takes what has no name
            return self._run(platform)

    def _run(self, platform: Platform | None) -> Pulled:
        wanted, store = self._wanted, self._store
        raw = self._config()
        config = parse_config(raw, f"{self._subject}: image config")
        layers = wanted.manifest.layers
        self._check(config, layers, platform)
        before = store.records.named(self._name)
        chain = chain_ids(config.diff_ids)
        try:
            with store.leases.hold([*(layer.digest for layer in layers), *chain]):
                self._fetch(layers, config)
                source = Source(media_type=wanted.manifest.media_type, content=wanted.stored.content)
                old = store.records.blobs(wanted.manifest.config.digest)
                image = store.add(raw, layers, source=source)
        except DeclarativeError as error:
            if is_full(error):  # what was got is in the way of everything else
                drop_blobs(store, [layer.digest for layer in layers])
                drop_chains(store, chain[::-1])
            raise
        drop_blobs(store, set(old) - set(store.records.blobs(image.id)))
        store.note_digest(image.id, self._name.bare, wanted.digest)
        if self._name.tag is not None:
            store.tag(image.id, self._name, told=False)
        store.publish("pull", self._subject, self._name.repository)
        return Pulled(image=image, digest=wanted.digest, newer=before != image.id)

    def _config(self) -> bytes:
        """Fetch the configuration, unless it is here."""
        described = self._wanted.manifest.config
        if described.media_type == media.OCI_EMPTY or described.size > DOCUMENT_MAX:
            raise Invalid(self._subject, f"no container image: its configuration is {described.media_type}")
        if self._store.blobs.has(described.digest):
            return self._store.blobs.read(described.digest)
        origin = self._wanted.origin
        pieces = origin.client.open_blob(origin.reference.path, described.digest, size=described.size)
        return b"".join(pieces)

    def _check(self, config: ImageConfig, layers: Sequence[Descriptor], platform: Platform | None) -> None:
        if len(layers) != len(config.diff_ids):
            problem = f"its manifest has {len(layers)} layers, its configuration {len(config.diff_ids)}"
            raise Invalid(self._subject, problem, "push the image again")
        if platform is not None and config.platform not in platform.runnable():
            found = f"image with reference {self._subject} was found but does not match the specified platform"
            raise NotFound("", f"{found}: wanted {platform}, actual: {config.platform}")

    def _fetch(self, layers: Sequence[Descriptor], config: ImageConfig) -> None:
        """Bring all layers into the store, unpacked; tell what happens meanwhile."""
        with ExitStack() as stack:
            downloads = self._join(layers, config, stack)
            worker = threading.Thread(target=self._unpack_all, args=(layers, config, downloads), name="unpack")
            worker.start()
            try:
                while not self._done:
                    self._tell_news(_TELL_SECONDS)
            finally:
                self._given_up = True
                for download in downloads.values():
                    download.nudge()
                worker.join()
            self._tell_news(0)
        if self._error is not None:
            raise self._error

    def _join(self, layers: Sequence[Descriptor], config: ImageConfig, stack: ExitStack) -> dict[Digest, Download]:
        """Begin the downloads of what is missing, to be left at the end of `stack`."""
        origin = self._wanted.origin
        downloads: dict[Digest, Download] = {}
        for layer, chain in zip(layers, chain_ids(config.diff_ids), strict=True):
            if self._is_here(layer) and self._store.snapshots.has(chain):
                self._board.post(Progress(status="Already exists", id=layer.digest.short))
                continue
            self._board.post(Progress(status="Pulling fs layer", id=layer.digest.short))
            if not self._store.blobs.has(layer.digest) and layer.digest not in downloads:
                joined = self._downloads.join(layer, self._board, origin.client, origin.reference.path)
                downloads[layer.digest] = joined
                stack.callback(self._downloads.leave, joined, self._board)
        return downloads

    def _is_here(self, layer: Descriptor) -> bool:
        return self._store.blobs.has(layer.digest) and self._store.records.layer_blob(layer.digest) is not None

    def _tell_news(self, seconds: float) -> None:
        if self._gone():
            raise Interrupted(self._subject, "the pull was given up")
        for event in self._board.take(seconds):
            self._tell(event)

    def _unpack_all(self, layers: Sequence[Descriptor], config: ImageConfig, downloads: dict[Digest, Download]) -> None:
        try:
            lowers: tuple[Path, ...] = ()
            below = None
            for layer, diff_id, chain in zip(layers, config.diff_ids, chain_ids(config.diff_ids), strict=True):
                before = self._is_here(layer) and self._store.snapshots.has(chain)
                download = downloads.get(layer.digest)
                source = partial(self._chunks, layer, download)
                try:
                    folder = self._store.snapshots.ensure(layer, diff_id, chain, below, lowers, source=source)
                except (Invalid, DigestMismatch):
                    if download is not None:  # that the bytes are wrong says more than what is wrong with them
                        download.wait(lambda: self._given_up)
                    raise
                if not before:
                    self._board.post(Progress(status="Pull complete", id=layer.digest.short))
                lowers, below = (folder, *lowers), chain
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            self._error = error
        self._done = True
        self._board.wake()

    def _chunks(self, layer: Descriptor, download: Download | None) -> Iterator[bytes]:
        """Give the bytes of a layer, from the download while it runs; count them once there is nothing else to show."""
        done = 0
        chunks = self._stored(layer) if download is None else download.chunks(lambda: self._given_up)
        for chunk in chunks:
            done += len(chunk)
            if download is None or download.complete:
                self._board.count(Progress(status="Extracting", id=layer.digest.short, current=done, total=layer.size))
            yield chunk

    def _stored(self, layer: Descriptor) -> Iterator[bytes]:
        with self._store.blobs.open(layer.digest) as file:
            while chunk := file.read(_READ):
                if self._given_up:
                    raise Interrupted(self._subject, "the pull was given up")
                yield chunk
