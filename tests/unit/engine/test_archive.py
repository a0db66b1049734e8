"""Archives of images: what is saved loads again, whoever wrote it; what is hostile leaves nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from backports import zstd

from declarative.engine.images.fsck import check
from declarative.engine.images.importing import import_image
from declarative.engine.images.layers.entry import Entry, Kind
from declarative.engine.images.layers.write import archive
from declarative.engine.images.loading import load
from declarative.engine.images.progress import Event, Said
from declarative.engine.images.saving import save
from declarative.errors import DeclarativeError, Invalid, NotFound
from declarative.oci import media
from declarative.oci.config import RunDefaults
from declarative.oci.digest import Digest, DigestMismatch
from declarative.oci.platform import Platform
from declarative.oci.reference import Reference
from tests.shared_cases import load_cases
from tests.unit.engine.archives import layer
from tests.unit.engine.fake_registry import described
from tests.unit.engine.stores import make_image, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from declarative.engine.images.store import ImageStore

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    with opened(tmp_path / "store") as store:
        yield store


@pytest.fixture
def other(tmp_path: Path) -> Iterator[ImageStore]:
    with opened(tmp_path / "other") as store:
        yield store


def ref(text: str) -> Reference:
    return Reference.parse(text)


def tar(files: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """Make an archive of files, or of other entries."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as written:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                written.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                written.addfile(info, io.BytesIO(content))
    return made.getvalue()


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def config_of(*tars: bytes) -> bytes:
    diff_ids = [str(Digest.of_bytes(content)) for content in tars]
    return json.dumps(
        {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()


def docker_archive(tags: list[str], *tars: bytes, **more: object) -> dict[str, bytes | tarfile.TarInfo]:
    """Give the files that `docker save` of 20.10 writes."""
    config = config_of(*tars)
    name = f"{Digest.of_bytes(config).hex}.json"
    layers = [f"{place}/layer.tar" for place in range(len(tars))]
    entry = {"Config": name, "RepoTags": tags, "Layers": layers, **more}
    return {**dict(zip(layers, tars, strict=True)), name: config, "manifest.json": json.dumps([entry]).encode()}


def a_layer(**files: str) -> bytes:
    return layer([{"type": "file", "path": name, "content": text} for name, text in files.items()])


def test_what_is_here_already_is_passed_over_whole(store: ImageStore) -> None:
    """Names of layers say what they are; what follows one that is known is read all the same."""
    first = make_image(store, {"a": Random(1).randbytes(100_000).hex()}, {"b": "b"})  # noqa: S311 - more than a buffer
    store.tag(first.id, ref("web:1"))
    saved = b"".join(save(store, ["web:1"]))
    store.untag(ref("web:1"))
    (again,) = load(store, (saved[at : at + 5000] for at in range(0, len(saved), 5000)))
    assert again.image.id == first.id
    assert store.resolve("web:1").id == first.id


def empty(store: ImageStore) -> bool:
    store.snapshots.close(60)
    assert not list((store.snapshots.root / "new").iterdir())
    return not (store.list() or list(store.blobs) or store.snapshots.chains() or store.records.names())


def files_of(store: ImageStore, name: str) -> dict[str, str]:
    lowers = store.snapshots.lowers(store.resolve(name))
    return {path.name: path.read_text() for folder in lowers for path in folder.iterdir()}


@pytest.mark.parametrize("packed", list(PACKERS))
def test_what_is_saved_loads_elsewhere(packed: str, store: ImageStore, other: ImageStore) -> None:
    image = make_image(store, {"a": "1"}, {"b": "2"})
    second = make_image(store, {"a": "1"}, {"c": "3"})
    for name in ("web:1", "web:2", "ghcr.io/acme/web:1"):
        store.tag(image.id, ref(name))
    content = PACKERS[packed](b"".join(save(store, ["web", "ghcr.io/acme/web:1", str(second.id)])))
    said: list[Event] = []
    loaded = load(other, (content[at : at + 5000] for at in range(0, len(content), 5000)), tell=said.append)
    assert [one.image for one in loaded] == [other.get(image.id), other.get(second.id)]
    assert other.get(image.id).manifest == image.manifest, "it is pushed with the same digest from both"
    assert other.get(image.id).size == image.size
    assert [name.familiar() for name in other.references(image.id)] == ["web:1", "web:2", "ghcr.io/acme/web:1"]
    assert files_of(other, "web:2") == {"a": "1", "b": "2"}
    assert [event.text for event in said if isinstance(event, Said)] == [
        "Loaded image: web:1",
        "Loaded image: web:2",
        "Loaded image: ghcr.io/acme/web:1",
        f"Loaded image ID: {second.id}",
    ]


def test_a_saved_archive_is_a_docker_archive_and_an_oci_layout(store: ImageStore) -> None:
    image = make_image(store, {"a": "1"})
    store.tag(image.id, ref("web:1"))
    with tarfile.open(fileobj=io.BytesIO(b"".join(save(store, ["web:1"])))) as saved:
        files = {member.name: saved.extractfile(member) for member in saved if member.isfile()}
        contents = {name: file.read() for name, file in files.items() if file is not None}
    (entry,) = json.loads(contents["manifest.json"])
    assert entry["RepoTags"] == ["web:1"]
    assert Digest.of_bytes(contents[entry["Config"]]) == image.id
    assert Digest.of_bytes(gzip.decompress(contents[entry["Layers"][0]])) == image.config.diff_ids[0]
    (listed,) = json.loads(contents["index.json"])["manifests"]
    assert listed["digest"] == str(image.manifest.digest)
    assert listed["annotations"]["org.opencontainers.image.ref.name"] == "1"
    assert json.loads(contents["repositories"]) == {"web": {"1": image.layers[0].digest.hex}}


def test_saving_what_is_not_there(store: ImageStore) -> None:
    with pytest.raises(NotFound, match="No such image: web:latest"):
        save(store, ["web"])


def test_a_zstd_layer_is_saved_so_that_older_engines_read_it(store: ImageStore, other: ImageStore) -> None:
    content = a_layer(a="1" * 100_000)
    files = layout({"web:1": manifest_files([zstd.compress(content)], [content])})
    load(store, [tar(files)])
    assert store.resolve("web:1").layers[0].media_type == media.OCI_LAYER_ZSTD
    saved = b"".join(save(store, ["web:1"]))
    assert content in saved
    load(other, [saved])
    assert files_of(other, "web:1") == {"a": "1" * 100_000}


def test_docker_20_with_a_layer_that_is_a_link_to_another(store: ImageStore) -> None:
    one = a_layer(a="1")
    files = docker_archive(["web:1"], one, one)
    files["1/layer.tar"] = link("../0/layer.tar")
    (loaded,) = load(store, [tar(files)])
    assert loaded.image.config.diff_ids[0] == loaded.image.config.diff_ids[1]
    assert files_of(store, "web:1") == {"a": "1"}


def test_parents_come_along(store: ImageStore) -> None:
    one, two = a_layer(a="1"), a_layer(b="1")
    parent = load(store, [tar(docker_archive([], one))])[0].image
    child = load(store, [tar(docker_archive(["web:1"], one, two, Parent=str(parent.id)))])[0].image
    assert store.parent(child.id) == parent.id


@pytest.mark.parametrize("case", load_cases("layers/tar-layers.json")["contained"], ids=lambda case: case["name"])
def test_layers_come_out_the_same_in_one_pass_as_upon_those_below(case: dict[str, Any], store: ImageStore) -> None:
    tars = [layer(part, "NAME") for part in (case["base"], case["layer"]) if part]
    try:
        load(store, [tar(docker_archive(["web:1"], *tars))])
    except Invalid:
        assert empty(store)
    assert check(store, mend=False) == ()


def test_the_root_folder_stays_as_it_is_below(store: ImageStore) -> None:
    """A layer that says nothing of the root does not change it, though it was unpacked before those below were known."""
    root = (Entry(name=b"./", kind=Kind.DIRECTORY, mode=0o711, uid=3), b"")
    load(store, [tar(docker_archive(["web:1"], b"".join(archive([root])), a_layer(a="1")))])
    for folder in store.snapshots.lowers(store.resolve("web:1")):
        assert (folder.stat().st_mode & 0o7777, folder.stat().st_uid) == (0o711, 3)


@pytest.mark.parametrize("below", ["usr/a", "usr/share/a", "opt/a"])
def test_folders_that_a_layer_does_not_name_are_as_below(below: str, store: ImageStore) -> None:
    """Without a layer below that has them they are root's own; else the layer is unpacked again."""
    folders = [(Entry(name=b"usr/", kind=Kind.DIRECTORY, mode=0o711, uid=5), b"")] if below.startswith("usr") else []
    base = b"".join(archive([*folders, (Entry(name=below.encode()), b"")]))
    load(store, [tar(docker_archive(["web:1"], base, a_layer(**{"usr/share/x": "1"})))])
    top = store.snapshots.lowers(store.resolve("web:1"))[0]
    assert (top / "usr").stat().st_uid == (5 if folders else 0)
    assert (top / "usr" / "share" / "x").read_text() == "1"
    assert check(store, mend=False) == ()


def test_loading_again_reads_no_layer_whose_name_says_what_it_is(store: ImageStore) -> None:
    image = make_image(store, {"a": "1" * 100_000})
    store.tag(image.id, ref("web:1"))
    content = bytearray(b"".join(save(store, ["web:1"])))
    packed = store.blobs.read(image.layers[0].digest)
    at = content.index(packed)
    content[at : at + len(packed)] = bytes(len(packed))
    assert load(store, [bytes(content)])[0].image == image
    assert not store.blobs.damage(image.layers[0].digest)


def test_an_empty_layer(store: ImageStore) -> None:
    load(store, [tar(docker_archive(["web:1"], layer([])))])
    assert store.resolve("web:1").size == 0


def test_a_name_that_moves_is_told(store: ImageStore) -> None:
    old = load(store, [tar(docker_archive(["web:1"], a_layer(a="1")))])[0].image
    said: list[Event] = []
    load(store, [tar(docker_archive(["web:1"], a_layer(a="2")))], tell=said.append)
    texts = [event.text for event in said if isinstance(event, Said)]
    assert texts[0] == f"The image web:1 already exists, renaming the old one with ID {old.id} to empty string"


def manifest_files(blobs: list[bytes], tars: list[bytes], kind: str = media.OCI_LAYER_ZSTD) -> dict[str, bytes]:
    """Give the blobs of an OCI image, its manifest last."""
    config = config_of(*tars)
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": described(media.OCI_CONFIG, config),
        "layers": [described(kind, blob) for blob in blobs],
    }
    return {f"blobs/sha256/{Digest.of_bytes(it).hex}": it for it in (*blobs, config, json.dumps(manifest).encode())}


def layout(images: dict[str, dict[str, bytes]]) -> dict[str, bytes | tarfile.TarInfo]:
    files: dict[str, bytes | tarfile.TarInfo] = {}
    entries = []
    for name, blobs in images.items():
        files |= blobs
        manifest = list(blobs.values())[-1]
        annotations = {"org.opencontainers.image.ref.name": name} if name else {}
        entries.append({**described(media.OCI_MANIFEST, manifest), "annotations": annotations})
    index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries}
    return files | {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}


@pytest.mark.parametrize(("name", "expected"), [("web:1", ["web:1"]), ("latest", []), ("", [])])
def test_an_oci_layout_keeps_its_manifest(name: str, expected: list[str], store: ImageStore) -> None:
    content = a_layer(a="1")
    blobs = manifest_files([gzip.compress(content)], [content], media.OCI_LAYER_GZIP)
    (loaded,) = load(store, [tar(layout({name: blobs}))])
    assert [one.familiar() for one in loaded.names] == expected
    assert loaded.image.manifest.digest == Digest.of_bytes(list(blobs.values())[-1])


def test_an_index_in_the_index_gives_the_platform(store: ImageStore) -> None:
    content = a_layer(a="1")
    blobs = manifest_files([gzip.compress(content)], [content], media.OCI_LAYER_GZIP)
    manifest = list(blobs.values())[-1]
    entry = {**described(media.OCI_MANIFEST, manifest), "platform": {"os": "linux", "architecture": "amd64"}}
    attestation = {**described(media.OCI_MANIFEST, b"{}"), "platform": {"os": "unknown", "architecture": "unknown"}}
    inner = json.dumps({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [entry, attestation]}).encode()
    listed = {
        **described(media.OCI_INDEX, inner),
        "annotations": {"io.containerd.image.name": "docker.io/library/web:1"},
    }
    index = json.dumps({"schemaVersion": 2, "manifests": [listed]}).encode()
    files = {**blobs, f"blobs/sha256/{Digest.of_bytes(inner).hex}": inner, "index.json": index}
    load(store, [tar(files)], platform=Platform.parse("linux/amd64"))
    assert files_of(store, "web:1") == {"a": "1"}


GOOD = docker_archive(["web:1"], a_layer(a="1"))


def described_so(old: bytes, new: bytes) -> dict[str, bytes | tarfile.TarInfo]:
    """Give the good archive with something else in its manifest.json."""
    manifest = GOOD["manifest.json"]
    assert isinstance(manifest, bytes)
    return {**GOOD, "manifest.json": manifest.replace(old, new)}


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"../escape": b"x", **GOOD}, "leads out of the archive"),
        ({"a/../../escape": b"x", **GOOD}, "leads out of the archive"),
        ({**GOOD, "0/layer.tar": link("../../../../etc/passwd")}, "leads out of the archive"),
        ({**GOOD, "0/layer.tar": link("/etc/passwd")}, "is missing"),
        ({**GOOD, "0/layer.tar": link("layer.tar")}, "is a link to itself"),
        ({**GOOD, "0/layer.tar": link("../../etc/passwd", tarfile.LNKTYPE)}, "leads out of the archive"),
        ({**GOOD, "device": link("", tarfile.CHRTYPE)}, "is a character device"),
        ({**GOOD, "manifest.json": b"{"}, "manifest.json is damaged"),
        ({**GOOD, "manifest.json": b"[1]"}, "manifest.json is damaged"),
        ({**GOOD, "manifest.json": b"[" * 100_000}, "manifest.json is damaged"),
        ({**GOOD, "manifest.json": b'[{"Config": 1}]'}, "Config must be a string"),
        (described_so(b"web:1", b"Web:1"), "must be lower case"),
        (described_so(b"0/layer.tar", b"../0/layer.tar"), "leads out"),
        (
            described_so(b'"Layers": ["0/layer.tar"]', b'"Layers": []'),
            "0 layers in the archive, 1",
        ),
        ({name: content for name, content in GOOD.items() if name != "0/layer.tar"}, "layer 0/layer.tar is missing"),
        ({"file": b"x"}, "no images in it"),
        ({**GOOD, "0/layer.tar": a_layer(a="2")}, "expected sha256"),
        ({**GOOD, "0/layer.tar": gzip.compress(a_layer(a="1"))[:-9]}, "ends in the middle of its compressed data"),
    ],
)
def test_a_hostile_archive_leaves_nothing(
    shape: dict[str, bytes | tarfile.TarInfo], said: str, store: ImageStore
) -> None:
    with pytest.raises((Invalid, DigestMismatch)) as error:
        load(store, [tar(shape)])
    assert said in str(error.value)
    assert empty(store)


def test_a_layer_that_climbs_out_leaves_nothing_and_the_other_image_of_the_archive_neither(store: ImageStore) -> None:
    hostile = layer([{"type": "file", "path": "../escape", "content": "x"}])
    good, bad = docker_archive(["good:1"], a_layer(a="1")), docker_archive(["bad:1"], hostile)
    entries = [json.loads(files["manifest.json"])[0] for files in (good, bad)]  # type: ignore[arg-type]
    entries[1]["Layers"] = ["bad/layer.tar"]
    files = {**good, **bad, "0/layer.tar": good["0/layer.tar"], "bad/layer.tar": hostile}
    with pytest.raises(Invalid, match="leads out of the layer"):
        load(store, [tar({**files, "manifest.json": json.dumps(entries).encode()})])
    assert empty(store)


def test_a_cut_archive_leaves_nothing(store: ImageStore) -> None:
    content = tar(docker_archive(["web:1"], a_layer(a="1" * 10_000)))
    for end in range(0, len(content) - 10_240, 3000):
        with pytest.raises(DeclarativeError):
            load(store, [content[:end]])
        assert empty(store)


@pytest.mark.parametrize("packed", list(PACKERS))
def test_import_makes_an_image_of_one_layer(packed: str, store: ImageStore) -> None:
    content = a_layer(a="1" * 3_000_000)
    image = import_image(
        store,
        [PACKERS[packed](content)],
        created="2026-01-01T00:00:00Z",
        reference=ref("base:1"),
        run=RunDefaults(cmd=("sh",)),
        message="from a test",
    )
    assert store.resolve("base:1") == image
    assert image.config.diff_ids == (Digest.of_bytes(content),)
    assert image.config.run.cmd == ("sh",)
    assert image.config.history[0].comment == "from a test"
    assert gzip.decompress(store.blobs.read(image.layers[0].digest)) == content
    assert files_of(store, "base:1") == {"a": "1" * 3_000_000}
    again = import_image(store, [content], created="2026-01-01T00:00:01Z")
    assert again.layers == image.layers
    assert len(store.snapshots.chains()) == 1


def test_a_hostile_import_leaves_nothing(store: ImageStore) -> None:
    with pytest.raises(Invalid, match="leads out"):
        import_image(store, [layer([{"type": "file", "path": "../a", "content": "x"}])], created="")
    assert empty(store)
    assert not list((store.snapshots.root / "new").iterdir())
