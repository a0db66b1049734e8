"""`fsck` of images: every kind of damage is found, named, and mended where that is possible."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from declarative.engine.images.fsck import check
from declarative.engine.images.importing import import_image
from declarative.oci.reference import Reference
from tests.unit.engine.archives import layer
from tests.unit.engine.stores import make_image, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from declarative.engine.images.image import Image
    from declarative.engine.images.store import ImageStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    with opened(tmp_path) as store:
        yield store


@pytest.fixture
def image(store: ImageStore) -> Image:
    image = make_image(store, {"a": "1", "dir/b": "2"}, {"c": "3"})
    store.tag(image.id, Reference.parse("web"))
    return image


def told(store: ImageStore, *, mend: bool) -> list[str]:
    return [str(finding) for finding in check(store, mend=mend)]


def only(store: ImageStore) -> str:
    """Find one thing wrong, the same without mending and with it, and nothing afterwards."""
    (seen,) = check(store, mend=False)
    (found,) = check(store, mend=True)
    assert (seen.subject, seen.problem, seen.mended) == (found.subject, found.problem, "")
    assert told(store, mend=False) == []
    return str(found)


def test_a_sound_store(store: ImageStore, image: Image) -> None:
    assert told(store, mend=True) == []
    assert store.resolve("web") == image


@pytest.mark.parametrize("how", ["gone", "other bytes", "empty"])
def test_a_layer_that_was_packed_here_is_packed_again(how: str, store: ImageStore, image: Image) -> None:
    digest = image.layers[0].digest
    path = store.blobs.path(digest)
    before = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(b"" if how == "empty" else before[:-1] + b"x")
    found = told(store, mend=True)
    said = "missing" if how == "gone" else "damaged: its bytes are others"
    assert found == [f"blob {digest} of image {image.id.short}: {said} — packed again out of the unpacked layer"]
    assert path.read_bytes() == before
    assert told(store, mend=False) == []


def test_an_image_that_cannot_be_made_again_is_named_and_forgotten(store: ImageStore, image: Image) -> None:
    store.blobs.path(image.id).write_bytes(b"{}")
    seen = told(store, mend=False)
    assert f"blob {image.id} of image {image.id.short}: damaged: its bytes are others" in seen
    found = told(store, mend=True)
    lost = f"image {image.id.short} (web:latest): lost blobs that nothing here can make again"
    assert f"{lost} — forgotten: pull, load or build it again" in found
    assert store.list() == ()
    assert json.loads(store.index.path.read_bytes())["manifests"] == []
    assert store.blobs.damage(image.id) == "missing"


def test_a_pulled_layer_with_holes_is_unpacked_again(store: ImageStore, image: Image) -> None:
    folder = store.snapshots.lowers(image)[1]
    (folder / "dir" / "b").unlink()
    found = only(store)
    assert f"unpacked layer {image.chain[0]} of image {image.id.short}: {folder} is not what its blob says" in found
    assert (folder / "dir" / "b").read_text() == "2"


@pytest.mark.parametrize("change", ["content", "mode", "more"])
def test_a_changed_file_of_a_layer_is_found(change: str, store: ImageStore, image: Image) -> None:
    folder = store.snapshots.lowers(image)[0]
    if change == "content":
        (folder / "c").write_text("4")
    elif change == "mode":
        (folder / "c").chmod(0o7777)
    else:
        (folder / "extra").touch()
    assert "is not what its blob says — unpacked again" in only(store)
    assert (folder / "c").read_text() == "3"


def test_a_missing_layer_is_unpacked_again(store: ImageStore, image: Image) -> None:
    folder = store.snapshots.lowers(image)[1]
    shutil.rmtree(folder)
    found = told(store, mend=True)
    assert any(f"{folder} is missing — unpacked again" in line for line in found)
    assert (folder / "dir" / "b").read_text() == "2"
    assert told(store, mend=True) == []


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]"])
def test_index_json(content: bytes | None, store: ImageStore, image: Image) -> None:
    before = store.index.path.read_bytes()
    if content is None:
        store.index.path.unlink()
    else:
        store.index.path.write_bytes(content)
    assert only(store).endswith("written anew from the records")
    assert store.index.path.read_bytes() == before
    assert store.resolve("web") == image


def test_blobs_and_folders_of_nobody(store: ImageStore, image: Image) -> None:
    store.blobs.add(b"of a pull that was cut")
    (store.snapshots.root / "l" / "stranger").mkdir()
    found = told(store, mend=True)
    assert found == [
        f"{store.snapshots.root}/l/stranger: belongs to no layer — removed",
        "1 blobs of 22 bytes: belong to no image — 1 removed",
    ]
    assert told(store, mend=False) == []
    assert store.resolve("web") == image


def test_images_that_another_tool_put_into_the_layout(tmp_path: Path) -> None:
    with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
        image = make_image(two, {"a": "1"})
        two.tag(image.id, Reference.parse("web:1"))
        mine = import_image(one, [layer([{"type": "file", "path": "x", "content": "1"}])], created="")
        one.tag(mine.id, Reference.parse("mine"))
        for digest in two.records.blobs(image.id):
            one.blobs.add(two.blobs.read(digest))
        document = json.loads(one.index.path.read_bytes())
        document["manifests"] += json.loads(two.index.path.read_bytes())["manifests"]
        one.index.path.write_text(json.dumps(document))
        one.tag(mine.id, Reference.parse("mine:2"))
        names = [
            entry["annotations"]["io.containerd.image.name"]
            for entry in json.loads(one.index.path.read_bytes())["manifests"]
        ]
        assert names[-1] == "docker.io/library/web:1", "what we do not know stays listed"
        assert "web:1: is listed in index.json and not recorded" in told(one, mend=False)
        assert told(one, mend=True) == ["web:1: is listed in index.json and not recorded — taken in"]
        assert one.resolve("web:1").id == image.id


def test_the_records_are_made_again_out_of_the_layout(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        image = make_image(store, {"a": "1"}, {"b": "2"})
        store.tag(image.id, Reference.parse("web:1"))
        store.tag(image.id, Reference.parse("web:2"))
        store.note_digest(image.id, Reference.parse("web"), image.manifest.digest)
    for path in tmp_path.glob("engine.db*"):
        path.unlink()
    with opened(tmp_path) as store:
        found = store.resolve("web:2")
        assert (found.id, found.layers, found.size) == (image.id, image.layers, image.size)
        assert [name.familiar() for name in store.references(image.id)] == ["web:1", "web:2"]
        assert [name.digest for name in store.digests(image.id)] == [image.manifest.digest]
        assert len(store.snapshots.chains()) == 2
        assert told(store, mend=False) == []


def test_a_listed_image_without_its_blobs_is_named(store: ImageStore, image: Image) -> None:
    document = json.loads(store.index.path.read_bytes())
    document["manifests"][0]["annotations"]["io.containerd.image.name"] = "docker.io/library/half:1"
    document["manifests"][0]["digest"] = "sha256:" + "0" * 64
    store.index.path.write_text(json.dumps(document))
    (found,) = check(store, mend=True)
    assert found.subject == "half:1"
    assert "no such blob" in found.problem
    assert not found.mended
    assert store.resolve("web") == image
