"""Unpacked layers: made once, from blobs or from what overlayfs wrote, and nothing in doubt is kept."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest

from declarative.engine.images import snapshots as module
from declarative.engine.images.layers.apply import apply_layer
from declarative.engine.images.layers.diff import layer_of
from declarative.engine.images.pack import pack
from declarative.errors import Failed, Invalid
from declarative.oci.digest import Digest, DigestMismatch
from tests.unit.engine.archives import read_all
from tests.unit.engine.stores import make_image, make_layer, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from declarative.engine.images.store import ImageStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    with opened(tmp_path) as store:
        yield store


def drop_unpacked(store: ImageStore) -> None:
    for chain in store.snapshots.chains():
        folder = store.snapshots.take_out(chain)
        assert folder is not None
        store.snapshots.erase(folder)
    store.snapshots.close()


def leftovers(store: ImageStore) -> list[str]:
    store.snapshots.close(60)
    return [path.name for path in (store.snapshots.root / "new").iterdir()]


def test_an_upper_folder_becomes_the_layer_without_a_copy(store: ImageStore) -> None:
    upper = store.snapshots.root / "upper"
    upper.mkdir()
    (upper / "file").write_text("content")
    inode = (upper / "file").stat().st_ino
    layer = store.snapshots.commit(upper, ())
    folder = store.snapshots.chains()[layer.chain]
    assert not upper.exists()
    assert (folder / "file").stat().st_ino == inode
    assert layer.chain == layer.diff_id
    assert layer.size == len("content")
    packed = store.blobs.read(layer.descriptor.digest)
    assert Digest.of_bytes(gzip.decompress(packed)) == layer.diff_id
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getnames() == ["file"]


def test_without_a_move_the_upper_folder_stays_and_the_blob_is_unpacked_later(store: ImageStore) -> None:
    upper = store.snapshots.root / "upper"
    upper.mkdir()
    (upper / "file").write_text("content")
    layer = store.snapshots.commit(upper, (), move=False)
    assert (upper / "file").read_text() == "content"
    assert store.snapshots.chains() == {}
    (folder,) = store.snapshots.unpack([layer.descriptor], [layer.diff_id])
    assert (folder / "file").read_text() == "content"


def test_the_same_folder_twice_is_one_layer(store: ImageStore) -> None:
    first = make_layer(store, {})
    again = make_layer(store, {})
    assert first == again
    assert len(store.snapshots.chains()) == 1
    assert leftovers(store) == []


def test_what_overlayfs_wrote_is_the_same_unpacked_from_its_blob(store: ImageStore, tmp_path: Path) -> None:
    base = make_image(store, {"kept": "1", "gone": "1", "dir/old": "1"})
    lowers = store.snapshots.lowers(base)
    upper, work, root = tmp_path / "upper", tmp_path / "work", tmp_path / "root"
    for folder in (upper, work, root):
        folder.mkdir()
    options = f"lowerdir={':'.join(map(str, lowers))},upperdir={upper},workdir={work},redirect_dir=off,metacopy=off"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)], check=True)
    try:
        (root / "gone").unlink()
        (root / "dir" / "old").unlink()
        (root / "dir").rmdir()
        (root / "dir").mkdir()
        (root / "dir" / "new").write_text("2")
        os.setxattr(root / "kept", "user.note", b"x")
    finally:
        subprocess.run(["umount", str(root)], check=True)
    layer = store.snapshots.commit(upper, lowers)
    image = store.add(base.raw, base.layers)
    moved = read_all(layer_of(store.snapshots.chains()[layer.chain]), "moved")
    drop_unpacked(store)
    diff_ids = (*image.config.diff_ids, layer.diff_id)
    unpacked = store.snapshots.unpack((*image.layers, layer.descriptor), diff_ids)[0]
    assert read_all(layer_of(unpacked), "unpacked") == moved
    assert [entry.name for entry, _ in moved] == [b"dir/", b"dir/.wh..wh..opq", b"dir/new", b".wh.gone", b"kept"]


def test_many_ask_and_it_is_unpacked_once(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make_image(store, {"a": "1"}, {"b": "1"})
    drop_unpacked(store)
    times = []

    def counted(*args: object, **options: object) -> object:
        times.append(1)
        return apply_layer(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "apply_layer", counted)
    found: list[tuple[Path, ...]] = []
    threads = [threading.Thread(target=lambda: found.append(store.snapshots.lowers(image))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 2
    assert len(set(found)) == 1
    assert len(found) == 8


def test_a_blob_that_unpacks_to_something_else_leaves_nothing(store: ImageStore) -> None:
    layer, other = make_layer(store, {"a": "1"}), make_layer(store, {"a": "2"})
    drop_unpacked(store)
    with pytest.raises(DigestMismatch, match=str(layer.descriptor.digest)):
        store.snapshots.unpack([layer.descriptor], [other.diff_id])
    assert store.snapshots.chains() == {}
    assert leftovers(store) == []
    assert store.snapshots.orphans() == ()


def test_a_missing_blob_is_named(store: ImageStore) -> None:
    image = make_image(store, {"a": "1"})
    drop_unpacked(store)
    store.blobs.remove(image.layers[0].digest)
    with pytest.raises(Exception, match=str(image.layers[0].digest)):
        store.snapshots.lowers(image)
    assert leftovers(store) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    try:
        with opened(disk) as store:
            image = make_image(store, {"a": "1" * 1_500_000})
            drop_unpacked(store)
            free = os.statvfs(disk)
            (disk / "filler").write_bytes(bytes(free.f_bavail * free.f_bsize - 1_000_000))
            with pytest.raises(Failed, match="disk full"):
                store.snapshots.lowers(image)
            assert leftovers(store) == []
            (disk / "filler").unlink()
            assert len(store.snapshots.lowers(image)) == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_of_somebody_else_is_no_layer(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no unpacked layer"):
        store.snapshots.commit(tmp_path, (tmp_path,))


def test_the_root_folder_is_as_it_is_below(store: ImageStore) -> None:
    base = make_layer(store, {"a": "1"})
    below = store.snapshots.chains()[base.chain]
    below.chmod(0o1711)
    os.chown(below, 7, 8)
    top = make_layer(store, {"b": "1"}, (below,))
    folder = store.snapshots.take_out(top.chain)
    assert folder is not None
    store.snapshots.erase(folder)
    above = store.snapshots.unpack([base.descriptor, top.descriptor], [base.diff_id, top.diff_id])[0].stat()
    assert (above.st_mode & 0o7777, above.st_uid, above.st_gid) == (0o1711, 7, 8)


def test_a_restart_removes_what_was_not_finished(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        image = make_image(store, {"a": "1"})
        (folder,) = store.snapshots.lowers(image)
        (store.snapshots.root / "l" / "orphan").mkdir()
        (store.snapshots.root / "new" / "part" / "deep").mkdir(parents=True)
    with opened(tmp_path) as store:
        assert [path.name for path in (store.snapshots.root / "l").iterdir()] == [folder.name]
        assert leftovers(store) == []


def test_a_reboot_throws_away_what_may_not_have_reached_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        settled, doubtful = make_image(store, {"a": "1"}), make_image(store, {"a": "2"})
        store.flush()
        with store.records.transaction() as connection:
            connection.execute("UPDATE snapshots SET settled = 0 WHERE chain = ?", (str(doubtful.chain[0]),))
    with opened(tmp_path) as store:
        assert len(store.snapshots.chains()) == 2, "the kernel still has it"
        with store.records.transaction() as connection:
            connection.execute("UPDATE snapshots SET settled = 0 WHERE chain = ?", (str(doubtful.chain[0]),))
        store._settler._noted.clear()
    with opened(tmp_path, boot="boot-2") as store:
        assert set(store.snapshots.chains()) == {settled.chain[0]}
        (folder,) = store.snapshots.lowers(doubtful)
        assert (folder / "a").read_text() == "2"


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 9_000_000])
def test_packing_hashes_what_it_packs(size: int) -> None:
    content = os.urandom(4096) * (size // 4096 + 1)
    content = content[:size]
    packed = io.BytesIO()
    digest = pack((content[at : at + 70_000] for at in range(0, size, 70_000)), packed.write)
    assert digest == Digest.of_bytes(content)
    assert gzip.decompress(packed.getvalue()) == content


def test_an_error_of_the_writer_comes_out_of_packing() -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        pack((os.urandom(1 << 20) for _ in range(40)), full)
