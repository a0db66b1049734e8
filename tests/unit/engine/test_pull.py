"""Pulling: every fault of a registry, against one that has it; nothing half is ever kept or named."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from declarative.engine.images.importing import import_image
from declarative.engine.images.loading import load
from declarative.engine.images.progress import Event, Progress
from declarative.engine.images.pull import Pulled, Puller
from declarative.engine.images.registries import Registries, RegistrySettings, docker_hub_mirrors
from declarative.engine.images.removing import prune_images, remove
from declarative.engine.images.saving import save
from declarative.engine.images.store import ImageStore
from declarative.errors import DeclarativeError, Failed, Interrupted, Invalid, NotFound, Unavailable
from declarative.oci import media
from declarative.oci.digest import Digest, DigestMismatch
from declarative.oci.platform import Platform
from declarative.oci.reference import Reference
from declarative.registry.retry import RetryPolicy
from tests.unit.engine.fake_registry import FakeRegistry, fake_registry
from tests.unit.engine.stores import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.contract.registry.misbehaving import Request

BIG = random.Random(7).randbytes(3_000_000).hex()  # noqa: S311 - what does not compress
QUICK = RegistrySettings(retry=RetryPolicy(attempts=3, first_wait=0.001))


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    with opened(tmp_path) as store:
        yield store


@pytest.fixture
def pull(store: ImageStore, registry: FakeRegistry) -> Iterator[Callable[..., Pulled]]:
    registries = Registries(QUICK)
    puller = Puller(store, registries)

    def pull(name: str = "web:1", **options: object) -> Pulled:
        return puller.pull(Reference.parse(f"{registry.server.address}/{name}"), **options)  # type: ignore[arg-type]

    yield pull
    puller.close()
    registries.close()


def lines(events: list[Event]) -> list[str]:
    """Give what a person sees who has no bars."""
    told = [event for event in events if isinstance(event, Progress) and not event.bar]
    return [f"{event.id}: {event.status}" if event.id else event.status for event in told]


def nothing_left(store: ImageStore) -> bool:
    return not (store.list() or store.snapshots.chains() or list(store.blobs) or store.snapshots.orphans())


def stop(request: Request) -> None:
    """End the connection, in the middle of the answer; what was sent arrives."""
    request.wfile.flush()
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RDWR)


def layer_digests(manifest: bytes) -> list[Digest]:
    return [Digest.parse(layer["digest"]) for layer in json.loads(manifest)["layers"]]


@pytest.mark.parametrize("oci", [True, False])
def test_an_image_comes_whole(
    store: ImageStore, registry: FakeRegistry, pull: Callable[..., Pulled], *, oci: bool
) -> None:
    manifest = registry.image("1", {"etc/a": "1"}, {"b": "2"}, oci=oci, author="ada")
    events: list[Event] = []
    pulled = pull(tell=events.append)
    one, two = (digest.short for digest in layer_digests(manifest))
    name = f"{registry.server.address}/web:1"
    assert pulled.newer
    assert pulled.digest == Digest.of_bytes(manifest) == pulled.image.manifest.digest
    assert store.resolve(name).config.author == "ada"
    assert [str(name) for name in store.digests(pulled.image.id)] == [f"{registry.server.address}/web@{pulled.digest}"]
    lowers = store.snapshots.lowers(pulled.image)
    assert [(lowers[1] / "etc/a").read_text(), (lowers[0] / "b").read_text()] == ["1", "2"]
    told = lines(events)
    assert told[0] == "1: Pulling from web"
    assert told[-2:] == [f"Digest: {pulled.digest}", f"Status: Downloaded newer image for {name}"]
    for short in (one, two):
        steps = [line.partition(": ")[2] for line in told if line.startswith(short)]
        assert steps == ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"]


def test_again_it_is_up_to_date(registry: FakeRegistry, pull: Callable[..., Pulled]) -> None:
    manifest = registry.image("1", {"a": "1"})
    pull()
    asked = len(registry.server.log)
    events: list[Event] = []
    assert not pull(tell=events.append).newer
    assert lines(events)[1:] == [
        f"{layer_digests(manifest)[0].short}: Already exists",
        f"Digest: {Digest.of_bytes(manifest)}",
        f"Status: Image is up to date for {registry.server.address}/web:1",
    ]
    assert len(registry.server.log) == asked + 1, "the manifest alone"


def test_a_tag_that_moved_is_newer_and_shares_what_it_can(registry: FakeRegistry, pull: Callable[..., Pulled]) -> None:
    registry.image("1", {"a": "1"}, {"b": "1"})
    old = pull()
    shared = layer_digests(registry.image("1", {"a": "1"}, {"b": "2"}))[0]
    new = pull()
    assert new.newer
    assert new.image.id != old.image.id
    assert registry.times(str(shared)) == 1


def test_by_digest(store: ImageStore, registry: FakeRegistry, pull: Callable[..., Pulled]) -> None:
    digest = Digest.of_bytes(registry.image("1", {"a": "1"}))
    pulled = pull(f"web@{digest}")
    assert pulled.newer
    assert store.references(pulled.image.id) == ()
    assert not pull(f"web@{digest}").newer


def test_an_index_gives_the_image_for_the_platform(registry: FakeRegistry, pull: Callable[..., Pulled]) -> None:
    mine = registry.image("mine", {"a": "amd64"})
    arm = registry.image("arm", {"a": "arm"}, architecture="arm", variant="v6")
    index = registry.index("1", {"linux/arm/v6": arm, "linux/amd64": mine, "unknown/unknown": mine})
    pulled = pull(platform=Platform.parse("linux/amd64"))
    assert pulled.digest == Digest.of_bytes(index)
    assert pulled.image.manifest.digest == Digest.of_bytes(mine)
    other = pull(platform=Platform.parse("linux/arm/v7"))
    assert other.image.manifest.digest == Digest.of_bytes(arm)
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list entries"):
        pull(platform=Platform.parse("linux/s390x"))


def test_a_single_image_of_another_platform_is_told(registry: FakeRegistry, pull: Callable[..., Pulled]) -> None:
    registry.image("1", {"a": "1"}, architecture="arm64")
    pull()
    with pytest.raises(
        NotFound, match="does not match the specified platform: wanted linux/amd64, actual: linux/arm64"
    ):
        pull(platform=Platform.parse("linux/amd64"))


def test_a_cut_blob_goes_on_where_it_was_cut(registry: FakeRegistry, pull: Callable[..., Pulled]) -> None:
    digest = layer_digests(registry.image("1", {"big": BIG}))[0]
    offsets: list[str] = []

    def cut(request: Request, blob: Digest, content: bytes) -> bool:
        if blob != digest:
            return False
        offsets.append(request.headers.get("Range", ""))
        if len(offsets) > 2:
            return False
        start = int(offsets[-1].removeprefix("bytes=").rstrip("-") or 0)
        request.answer(
            206 if start else 200,
            content[start : start + 1_000_000],
            {
                "Content-Length": str(len(content) - start),
                "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}",
            },
        )
        stop(request)
        return True

    registry.faults.append(cut)
    pull()
    begun = [int(offset.removeprefix("bytes=").rstrip("-")) for offset in offsets[1:]]
    assert offsets[0] == ""
    assert 0 < begun[0] < begun[1]


def test_a_pull_that_failed_is_continued_by_the_next(
    store: ImageStore, registry: FakeRegistry, pull: Callable[..., Pulled]
) -> None:
    digest = layer_digests(registry.image("1", {"big": BIG}))[0]
    broken = [True]
    seen: list[str] = []

    def cut(request: Request, blob: Digest, content: bytes) -> bool:
        if blob != digest:
            return False
        seen.append(request.headers.get("Range", ""))
        if broken[0]:
            if not seen[-1]:
                request.answer(200, content[:1_000_000], {"Content-Length": str(len(content))})
            stop(request)
        return broken[0]

    registry.faults.append(cut)
    with pytest.raises(Unavailable):
        pull()
    assert store.list() == ()
    broken[0] = False
    pull()
    assert seen[-1].startswith("bytes=")


def test_a_wrong_digest_is_refused_and_nothing_kept(
    store: ImageStore, registry: FakeRegistry, pull: Callable[..., Pulled]
) -> None:
    digest = layer_digests(registry.image("1", {"a": "1"}))[0]
    good = registry.blobs[digest]
    registry.blobs[digest] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(DeclarativeError, match=str(digest)) as error:
        pull()
    assert isinstance(error.value, (DigestMismatch, Invalid))
    assert nothing_left(store)
    assert not list((store.blobs.root / "ingest").iterdir())
    registry.blobs[digest] = good
    assert pull().newer


def test_a_layer_that_is_not_what_the_configuration_says_is_refused(
    store: ImageStore, registry: FakeRegistry, pull: Callable[..., Pulled]
) -> None:
    manifest = json.loads(registry.image("1", {"a": "1"}))
    other = json.loads(registry.image("other", {"a": "2"}))
    manifest["layers"] = other["layers"]
    registry.name("1", media.DOCKER_MANIFEST, json.dumps(manifest).encode())
    with pytest.raises(DigestMismatch):
        pull()
    assert store.list() == ()
    assert store.snapshots.chains() == {}


def test_a_manifest_of_other_layers_than_the_configuration_is_refused(
    store: ImageStore, registry: FakeRegistry, pull: Callable[..., Pulled]
) -> None:
    manifest = json.loads(registry.image("1", {"a": "1"}))
    manifest["layers"] *= 2
    registry.name("1", media.DOCKER_MANIFEST, json.dumps(manifest).encode())
    with pytest.raises(Invalid, match="2 layers, its configuration 1"):
        pull()
    assert nothing_left(store)


def test_what_is_no_image_is_told(registry: FakeRegistry, pull: Callable[..., Pulled]) -> None:
    document = json.loads(registry.image("1", {"a": "1"}, oci=True))
    document["config"] = registry.keep(media.OCI_EMPTY, b"{}")
    registry.name("1", media.OCI_MANIFEST, json.dumps(document).encode())
    with pytest.raises(Invalid, match=r"no container image: its configuration is application/vnd\.oci\.empty"):
        pull()


def test_a_missing_tag(pull: Callable[..., Pulled]) -> None:
    with pytest.raises(NotFound, match=r"manifest for .*/web:nope not found: manifest unknown: manifest unknown"):
        pull("web:nope")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_registry_is_asked_again(status: int, registry: FakeRegistry, pull: Callable[..., Pulled]) -> None:
    registry.image("1", {"a": "1"})
    seen: list[Digest] = []

    def busy(request: Request, blob: Digest, _: bytes) -> bool:
        seen.append(blob)
        if seen.count(blob) > 2:
            return False
        request.answer(status, b"busy")
        return True

    registry.faults.append(busy)
    assert pull().newer


def test_a_registry_that_stays_busy_is_a_clear_error(
    store: ImageStore, registry: FakeRegistry, pull: Callable[..., Pulled]
) -> None:
    registry.image("1", {"a": "1"})
    registry.faults.append(lambda request, *_: request.answer(503, b"overloaded") is None)
    with pytest.raises(Unavailable, match=r"the registry answered 503 to GET blob"):
        pull()
    assert nothing_left(store)


def test_a_full_disk_leaves_no_image_and_a_sound_store(tmp_path: Path, registry: FakeRegistry) -> None:
    disk = tmp_path / "small"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(disk)], check=True)
    registry.image("1", {"a": "1"}, {"big": BIG})
    registry.image("small", {"a": "1"})
    try:
        with opened(disk) as store:
            puller = Puller(store, Registries(QUICK))
            with pytest.raises(Failed, match="disk full"):
                puller.pull(Reference.parse(f"{registry.server.address}/web:1"))
            assert store.list() == ()
            assert os.statvfs(disk).f_bavail > os.statvfs(disk).f_blocks // 2, "what was got is gone"
            assert puller.pull(Reference.parse(f"{registry.server.address}/web:small")).newer
            puller.close()
        with opened(disk) as store:
            assert len(store.list()) == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_two_pulls_of_one_image_are_one_download(registry: FakeRegistry, pull: Callable[..., Pulled]) -> None:
    manifest = registry.image("1", {"big": BIG}, {"b": "1"})
    digests = layer_digests(manifest)
    together = threading.Barrier(2)

    def slow(*_: object) -> bool:
        time.sleep(0.05)
        return False

    registry.faults.append(slow)
    found: list[Pulled] = []

    def run() -> None:
        together.wait()
        found.append(pull())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0].image == found[1].image
    assert [registry.times(str(digest)) for digest in digests] == [1, 1]


def held_back(registry: FakeRegistry, digest: Digest, go_on: threading.Event) -> None:
    """Let the registry send half of a blob, and the rest when it is told to."""

    def half(request: Request, blob: Digest, content: bytes) -> bool:
        if blob != digest or go_on.is_set():
            return False
        request.answer(200, content[: len(content) // 2], {"Content-Length": str(len(content))})
        request.wfile.flush()
        go_on.wait(60)
        with contextlib.suppress(OSError):
            request.wfile.write(content[len(content) // 2 :])
        return True

    registry.faults.append(half)


def test_who_gives_up_does_not_stop_the_other(registry: FakeRegistry, pull: Callable[..., Pulled]) -> None:
    digest = layer_digests(registry.image("1", {"big": BIG}))[0]
    go_on, leave = threading.Event(), threading.Event()
    held_back(registry, digest, go_on)
    bars: list[Progress] = []
    failed: list[BaseException] = []
    found: list[Pulled] = []

    def first() -> None:
        try:
            pull(gone=leave.is_set)
        except Interrupted as error:
            failed.append(error)

    def tell(event: Event) -> None:
        if isinstance(event, Progress) and event.bar:
            bars.append(event)
            leave.set()

    one = threading.Thread(target=first)
    one.start()
    while not registry.times(str(digest)):
        time.sleep(0.01)
    two = threading.Thread(target=lambda: found.append(pull(tell=tell)))
    two.start()
    one.join()
    go_on.set()
    two.join()
    assert len(failed) == 1
    assert found[0].newer
    assert registry.times(str(digest)) == 1
    assert 0 < bars[0].current <= bars[0].total


def test_an_image_that_has_its_name_in_a_moment_is_not_pruned(
    store: ImageStore, registry: FakeRegistry, pull: Callable[..., Pulled], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.image("1", {"a": "1"})
    tag = ImageStore.tag

    def prune_before(self: ImageStore, *args: Any, **more: Any) -> None:
        prune_images(self, everything=False, keep=lambda _: False)
        tag(self, *args, **more)

    monkeypatch.setattr(ImageStore, "tag", prune_before)
    monkeypatch.setattr(ImageStore, "note_digest", lambda *_: None)  # a name, too
    image = pull().image
    (name,) = store.references(image.id)
    archive = b"".join(save(store, [name.familiar()]))
    remove(store, name.familiar())
    load(store, [archive])
    assert store.references(image.id) == (name,)
    import_image(store, [archive], created="2026-01-01T00:00:00Z", reference=Reference.parse("imported:1"))
    assert store.records.named(Reference.parse("docker.io/library/imported:1")) is not None


@pytest.mark.parametrize("how", ["tell", "gone"])
def test_a_client_that_is_gone_ends_the_pull(
    how: str, store: ImageStore, registry: FakeRegistry, pull: Callable[..., Pulled]
) -> None:
    digest = layer_digests(registry.image("1", {"big": BIG}))[0]
    go_on = threading.Event()
    held_back(registry, digest, go_on)
    half = threading.Event()

    def tell(event: Event) -> None:
        if isinstance(event, Progress) and event.current:
            half.set()
            if how == "tell":
                raise BrokenPipeError

    options = {"gone": half.is_set} if how == "gone" else {}
    with pytest.raises(Interrupted if how == "gone" else BrokenPipeError):
        pull(tell=tell, **options)
    assert store.list() == ()
    assert store.snapshots.chains() == {}
    go_on.set()
    assert pull().newer


def test_the_same_layer_from_two_builders_is_checked_and_unpacked_once(
    store: ImageStore, registry: FakeRegistry, pull: Callable[..., Pulled]
) -> None:
    """Another gzip of a layer that is here has another digest; it has to be fetched, and to be the same inside."""
    manifest = json.loads(registry.image("1", {"a": "1"}))
    pull()
    blob = registry.blobs[Digest.parse(manifest["layers"][0]["digest"])]
    again = gzip.compress(gzip.decompress(blob), 9, mtime=1)
    manifest["layers"] = [registry.keep(media.DOCKER_LAYER_GZIP, again)]
    registry.name("2", media.DOCKER_MANIFEST, json.dumps(manifest).encode())
    pulled = pull("web:2")
    assert not pull("web:2").newer
    assert len(store.list()) == len(store.snapshots.chains()) == 1
    assert pulled.image.layers[0].digest == Digest.of_bytes(again)
    assert not store.blobs.has(Digest.of_bytes(blob)), "nothing refers to it any more"


def test_a_mirror_is_asked_first_and_the_registry_when_it_fails(store: ImageStore, registry: FakeRegistry) -> None:
    registry.image("latest", {"a": "1"})
    with fake_registry() as broken:
        mirrors = docker_hub_mirrors(f"http://{broken.server.address}", f"http://{registry.server.address}/")
        registries = Registries(RegistrySettings(mirrors=mirrors, retry=QUICK.retry))
        puller = Puller(store, registries)
        pulled = puller.pull(Reference.parse("busybox"))
        assert broken.times("/v2/library/busybox/manifests/latest") == 1
        puller.close()
    assert store.resolve("busybox").id == pulled.image.id
    assert [name.familiar() for name in store.digests(pulled.image.id)] == [f"busybox@{pulled.digest}"]


def test_an_image_is_found_sound_after_a_restart(tmp_path: Path, registry: FakeRegistry) -> None:
    registry.image("1", {"a": "1"})
    with opened(tmp_path) as store:
        puller = Puller(store, Registries(QUICK))
        pulled = puller.pull(Reference.parse(f"{registry.server.address}/web:1"))
        puller.close()
    with opened(tmp_path, boot="boot-2") as store:
        assert store.list() == (pulled.image,)
        assert len(store.snapshots.chains()) == 1
