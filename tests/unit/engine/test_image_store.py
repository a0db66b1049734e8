"""The image store: names, use, removal by dockerd's rules, and what a restart finds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from declarative.engine.events import Events
from declarative.engine.images.blobs import BlobStore
from declarative.engine.images.collect import collect
from declarative.engine.images.leases import Leases
from declarative.engine.images.remembered import Remembered
from declarative.engine.images.removing import Deleted, Untagged, prune_images, remove
from declarative.errors import Conflict, Invalid, NotFound
from declarative.oci.digest import Digest
from declarative.oci.reference import Reference
from tests.unit.engine.stores import make_image, make_layer, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from declarative.engine.images.store import ImageStore

DIGEST = Digest.of_bytes(b"a manifest of some registry")
CONTAINER = "c0ffee" * 10 + "0000"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    with opened(tmp_path) as store:
        yield store


def ref(text: str) -> Reference:
    return Reference.parse(text)


def shown(removals: object) -> list[str]:
    return [f"Untagged: {it.name}" if isinstance(it, Untagged) else f"Deleted: {it.digest}" for it in removals]  # type: ignore[attr-defined]


def keep_none(_: object) -> bool:
    return False


def index(store: ImageStore) -> dict[str, str]:
    document = json.loads((store.blobs.root / "index.json").read_bytes())
    return {
        entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in document["manifests"]
    }


def test_an_image_is_found_by_all_its_names(store: ImageStore) -> None:
    image = make_image(store, {"a": "1"})
    store.tag(image.id, ref("web"))
    store.note_digest(image.id, ref("ghcr.io/acme/web"), DIGEST)
    names = [str(image.id), image.id.hex, image.id.hex[:1], f"sha256:{image.id.hex[:12]}", "web", "web:latest"]
    names += ["docker.io/library/web", f"ghcr.io/acme/web@{DIGEST}", f"ghcr.io/acme/web:1.0@{DIGEST}"]
    assert {store.resolve(name).id for name in names} == {image.id}
    assert [name.familiar() for name in store.references(image.id)] == ["web:latest"]
    assert [name.familiar() for name in store.digests(image.id)] == [f"ghcr.io/acme/web@{DIGEST}"]
    assert image.size == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("web", "No such image: web:latest"),
        ("web:2", "No such image: web:2"),
        ("sha256:" + "0" * 64, "No such image: sha256:" + "0" * 64),
        (f"web@{DIGEST}", f"No such image: web@{DIGEST}"),
    ],
)
def test_no_such_image(name: str, said: str, store: ImageStore) -> None:
    with pytest.raises(NotFound) as error:
        store.resolve(name)
    assert str(error.value) == said


def test_the_beginning_of_two_ids_is_of_neither(store: ImageStore) -> None:
    seen: dict[str, Digest] = {}
    for number in range(40):
        image = make_image(store, label=str(number))
        if image.id.hex[0] in seen:
            break
        seen[image.id.hex[0]] = image.id
    with pytest.raises(NotFound, match="No such image"):
        store.resolve(image.id.hex[0])


def test_a_tag_moves_and_leaves_the_image_it_had(store: ImageStore) -> None:
    old, new = make_image(store, {"a": "1"}), make_image(store, {"a": "2"})
    store.tag(old.id, ref("web:1"))
    store.tag(new.id, ref("web:1"))
    assert store.resolve("web:1").id == new.id
    assert store.references(old.id) == ()
    assert store.get(old.id).id == old.id
    assert index(store) == {"docker.io/library/web:1": str(new.manifest.digest)}


@pytest.mark.parametrize("name", [f"web@{DIGEST}", "sha256:1", "sha256"])
def test_a_name_that_is_no_tag_is_refused(name: str, store: ImageStore) -> None:
    image = make_image(store)
    with pytest.raises(Invalid, match="refusing to create"):
        store.tag(image.id, ref(name))


def test_an_untagged_image_stays_while_another_name_is_left(store: ImageStore) -> None:
    image = make_image(store, {"a": "1"})
    store.tag(image.id, ref("web:1"))
    store.tag(image.id, ref("web:2"))
    assert shown(remove(store, "web:1")) == ["Untagged: web:1"]
    assert shown(remove(store, "web:2")) == ["Untagged: web:2", f"Deleted: {image.id}"]
    collected = collect(store, older=0)
    assert (collected.blobs, collected.layers) == (0, 0), "what was made within the hour is leased"


def test_a_blob_that_goes_while_all_are_collected_is_no_trouble(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BlobStore, "__iter__", lambda _: iter([DIGEST]))  # it was listed, and is not there
    assert collect(store, older=0).blobs == 0


def test_what_two_have_made_stays_until_both_have_an_image_of_it() -> None:
    leases = Leases()
    for _ in range(2):
        leases.touch(DIGEST)
    leases.settle(DIGEST)
    assert leases.has(DIGEST)
    leases.settle(DIGEST)
    assert not leases.has(DIGEST)
    leases.settle(DIGEST)


def test_a_removed_image_takes_its_blobs_and_layers_along(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        base = make_image(store, {"a": "1"})
        image = make_image(store, {"b": "2"}, {"c": "3"}, base=base)
        store.tag(image.id, ref("web"))
    with opened(tmp_path) as store:  # a restart ends the leases
        chain = image.chain
        expected = [f"Deleted: {image.id}", f"Deleted: {chain[2]}", f"Deleted: {chain[1]}"]
        assert shown(remove(store, "web")) == ["Untagged: web:latest", *expected]
        assert list(store.snapshots.chains()) == [chain[0]]
        assert set(store.blobs) == {base.id, base.manifest.digest, base.layers[0].digest}
        assert index(store) == {}
        assert store.snapshots.orphans() == ()


def test_the_digests_of_a_repository_go_with_its_last_tag(store: ImageStore) -> None:
    image = make_image(store)
    store.tag(image.id, ref("web:1"))
    store.tag(image.id, ref("other:1"))
    store.note_digest(image.id, ref("web"), DIGEST)
    assert shown(remove(store, "web:1")) == ["Untagged: web:1", f"Untagged: web@{DIGEST}"]


def test_an_id_removes_all_names_of_one_repository_only(store: ImageStore) -> None:
    image = make_image(store)
    store.tag(image.id, ref("web:1"))
    store.tag(image.id, ref("web:2"))
    with pytest.raises(Conflict) as error:
        remove(store, image.id.hex[:12])
    reason = "(must be forced) - image is referenced in multiple repositories"
    assert str(error.value) == f"conflict: unable to delete {image.id.short} {reason}"
    removed = shown(remove(store, image.id.hex[:12], force=True))
    assert removed == ["Untagged: web:1", "Untagged: web:2", f"Deleted: {image.id}"]


def test_an_id_of_an_image_with_one_tag_and_its_digest(store: ImageStore) -> None:
    image = make_image(store)
    store.tag(image.id, ref("web:1"))
    store.note_digest(image.id, ref("web"), DIGEST)
    expected = ["Untagged: web:1", f"Untagged: web@{DIGEST}", f"Deleted: {image.id}"]
    assert sorted(shown(remove(store, image.id.hex))) == sorted(expected)


def test_what_a_stopped_container_uses_needs_force(store: ImageStore) -> None:
    image = make_image(store, {"a": "1"})
    store.tag(image.id, ref("web"))
    store.hold(image.id, CONTAINER)
    with pytest.raises(Conflict) as error:
        remove(store, "web")
    reason = f"(must force) - container {CONTAINER[:12]} is using its referenced image {image.id.short}"
    assert str(error.value) == f'conflict: unable to remove repository reference "web" {reason}'
    with pytest.raises(Conflict) as error:
        remove(store, image.id.hex)
    reason = f"(must be forced) - image is being used by stopped container {CONTAINER[:12]}"
    assert str(error.value) == f"conflict: unable to delete {image.id.short} {reason}"
    assert store.resolve("web").id == image.id
    assert shown(remove(store, "web", force=True)) == ["Untagged: web:latest", f"Deleted: {image.id}"]
    assert store.snapshots.has(image.chain[0]), "the container is still made of it"


def test_the_layers_of_a_removed_image_go_with_its_last_container(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        image = make_image(store, {"a": "1"}, {"b": "1"})
        store.hold(image.id, CONTAINER)
        store.hold(image.id, "another")
    with opened(tmp_path) as store:
        remove(store, image.id.hex, force=True)
        store.release(CONTAINER)
        assert store.snapshots.has(image.chain[1])
        store.release("another")
        assert store.snapshots.chains() == {}


def test_what_a_running_container_uses_stays_even_by_force(store: ImageStore) -> None:
    image = make_image(store)
    store.tag(image.id, ref("web"))
    store.hold(image.id, CONTAINER)
    store.is_running = lambda holder: holder == CONTAINER
    with pytest.raises(Conflict, match=r"\(cannot be forced\) - image is being used by running container c0ffeec0ffee"):
        remove(store, image.id.hex, force=True)
    assert shown(remove(store, "web", force=True)) == ["Untagged: web:latest"], "as dockerd does it"
    assert store.get(image.id).id == image.id


def test_a_build_keeps_its_images(store: ImageStore) -> None:
    image = make_image(store)
    store.hold(image.id, "build/b1")
    with pytest.raises(Conflict, match=r"\(cannot be forced\) - image is being used by running build b1"):
        remove(store, image.id.hex, force=True)


def test_parents(store: ImageStore) -> None:
    parent = make_image(store, {"a": "1"})
    middle = make_image(store, {"b": "1"}, base=parent, parent=parent.id)
    child = make_image(store, {"c": "1"}, base=middle, parent=middle.id)
    store.tag(child.id, ref("web"))
    store.tag(parent.id, ref("base"))
    with pytest.raises(Conflict) as error:
        remove(store, middle.id.hex, force=True)
    reason = "(cannot be forced) - image has dependent child images"
    assert str(error.value) == f"conflict: unable to delete {middle.id.short} {reason}"
    assert shown(remove(store, "base")) == ["Untagged: base:latest"], "its children keep the image"
    gone = [it.digest for it in remove(store, "web") if isinstance(it, Deleted)]
    assert gone == [child.id, middle.id, parent.id]


def test_parents_stay_when_asked_or_named(store: ImageStore) -> None:
    parent = make_image(store)
    child = make_image(store, {"c": "1"}, parent=parent.id)
    store.tag(parent.id, ref("base"))
    assert [it.digest for it in remove(store, str(child.id)) if isinstance(it, Deleted)] == [child.id]
    again = make_image(store, {"c": "1"}, parent=parent.id)
    store.untag(ref("base"))
    assert [it.digest for it in remove(store, str(again.id), prune=False) if isinstance(it, Deleted)] == [again.id]
    assert store.get(parent.id).id == parent.id


def test_prune_takes_what_has_no_name(store: ImageStore) -> None:
    named, used, dangling = (make_image(store, {"a": str(number)}) for number in range(3))
    store.tag(named.id, ref("web"))
    store.hold(used.id, CONTAINER)
    pruned = prune_images(store, everything=False, keep=keep_none)
    assert shown(pruned.removed) == [f"Deleted: {dangling.id}"]
    assert {image.id for image in store.list()} == {named.id, used.id}
    assert shown(prune_images(store, everything=True, keep=keep_none).removed) == [
        "Untagged: web:latest",
        f"Deleted: {named.id}",
    ]


def test_prune_tells_all_that_went_with_a_name(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        image = make_image(store, {"a": "12345"})
        store.tag(image.id, ref("web"))
        store.note_digest(image.id, ref("web"), DIGEST)
    with opened(tmp_path) as store:
        pruned = prune_images(store, everything=True, keep=keep_none)
    gone = ["Untagged: web:latest", f"Untagged: web@{DIGEST}", f"Deleted: {image.id}", f"Deleted: {image.chain[0]}"]
    assert sorted(shown(pruned.removed)) == sorted(gone)
    assert pruned.size == 5


def test_prune_keeps_what_it_is_told_to_and_parents(store: ImageStore) -> None:
    parent = make_image(store)
    child = make_image(store, {"a": "1"}, parent=parent.id)
    store.tag(child.id, ref("web"))
    assert prune_images(store, everything=False, keep=keep_none).removed == ()
    assert prune_images(store, everything=True, keep=lambda image: image.id == child.id).removed == ()
    gone = shown(prune_images(store, everything=True, keep=keep_none).removed)
    assert gone == ["Untagged: web:latest", f"Deleted: {child.id}", f"Deleted: {parent.id}"]


def test_a_configuration_of_other_layers_is_refused(store: ImageStore) -> None:
    image = make_image(store, {"a": "1"})
    other = make_layer(store, {"a": "2"})
    with pytest.raises(Invalid, match="1 layers in its configuration, 2 in all"):
        store.add(image.raw, (*image.layers, other.descriptor))
    with pytest.raises(Exception, match="expected"):
        store.add(image.raw, (other.descriptor,))


def test_a_restart_finds_everything(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        image = make_image(store, {"a": "1"})
        store.tag(image.id, ref("web"))
        store.hold(image.id, CONTAINER)
        lowers = store.snapshots.lowers(image)
    with opened(tmp_path, boot="boot-2") as store:
        assert store.resolve("web") == image
        assert store.holders(image.id) == (CONTAINER,)
        assert store.snapshots.lowers(image) == lowers


def test_index_json_is_written_anew_when_it_is_lost(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        image = make_image(store, {"a": "1"})
        store.tag(image.id, ref("web"))
        before = index(store)
        store.index.path.write_text("{")
    with opened(tmp_path) as store:
        assert index(store) == before


@pytest.mark.parametrize("unpacked", [True, False])
def test_after_a_power_cut_what_was_lost_is_made_again_or_absent(tmp_path: Path, *, unpacked: bool) -> None:
    with opened(tmp_path) as store:
        good, hurt = make_image(store, {"a": "1"}), make_image(store, {"a": "2"})
        store.tag(good.id, ref("good"))
        store.tag(hurt.id, ref("hurt"))
        if not unpacked:
            folder = store.snapshots.take_out(hurt.chain[0])
            assert folder is not None
            store.snapshots.erase(folder)
    blob = store.blobs.path(hurt.layers[0].digest)
    before = blob.read_bytes()
    blob.chmod(0o600)  # as it is before it was brought to the disk
    blob.write_bytes(bytes(len(before)))
    with opened(tmp_path, boot="boot-2") as store:
        assert [image.id for image in store.list()] == ([good.id, hurt.id] if unpacked else [good.id])
        assert list(index(store)) == [
            f"docker.io/library/{name}:latest" for name in ("good", *(("hurt",) if unpacked else ()))
        ]
        assert blob.read_bytes() == before if unpacked else not blob.exists()


def test_events_tell_what_happened(tmp_path: Path) -> None:
    events = Events(lambda: 0)
    with opened(tmp_path, events=events) as store, events.listen() as heard:
        image = make_image(store)
        store.tag(image.id, ref("web"))
        remove(store, "web")
        found = [heard.get_nowait() for _ in range(heard.qsize())]
    assert [(event.action, event.attributes["name"]) for event in found if event] == [
        ("tag", "web:latest"),
        ("untag", str(image.id)),
        ("delete", str(image.id)),
    ]


def test_as_many_images_are_remembered_as_there_is_room_for(store: ImageStore) -> None:
    one, two, three = (make_image(store, {"a": text}) for text in "123")
    remembered = Remembered(2 * len(one.raw))
    for image in (one, two):
        remembered.put(image)
    assert remembered.get(one.id) is one
    remembered.put(three)
    assert remembered.get(two.id) is None
    assert remembered.get(one.id) is one
    remembered.forget(one.id)
    assert remembered.get(one.id) is None
    remembered.put(two)
    assert len(remembered) == 2


def test_images_that_are_not_remembered_are_read_again(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_images", Remembered(1))
    made = [make_image(store, {"a": str(number)}) for number in range(3)]
    assert [image.id for image in store.list()] == [image.id for image in made]
    assert len(store._images) == 0
