"""Run by `test_images_killed.py`: one piece of work on an image store, killed before each of its steps in turn.

    python -m tests.unit.engine.killed_images FOLDER WORK EVERY REGISTRY

A step is a call that changes the file system, or a statement of SQL. After each kill another process opens the store as after
a crash, or as after a power cut: then what was not settled is spoilt first. It checks that whatever is named is whole, and does
the work again. Prints the number of kills; ends with a traceback and what was killed where anything is wrong.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import stat
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.images.fsck import check
from declarative.engine.images.importing import import_image
from declarative.engine.images.loading import load
from declarative.engine.images.pull import Puller
from declarative.engine.images.registries import Registries
from declarative.engine.images.removing import prune_images, remove
from declarative.engine.images.saving import save
from declarative.oci.reference import Reference
from tests.unit.engine.archives import layer
from tests.unit.engine.stores import make_image, opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.engine.images.store import ImageStore

CHANGES = {
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.chown",
    "os.utime",
}
CHANGES |= {"os.setxattr", "os.truncate", "open"}
NEW = {"a": "new", "dir/b": "new", "c": "1" * 300_000}


def ref(text: str) -> Reference:
    return Reference.parse(text)


def prepare(folder: Path) -> None:
    """Make a store with two images, one on the other, and an archive with another one that takes a name from them."""
    with opened(folder / "other") as other:
        image = make_image(other, NEW, {"d": "new"})
        other.tag(image.id, ref("web:1"))
        other.tag(image.id, ref("new:1"))
        (folder / "archive").write_bytes(b"".join(save(other, ["web:1", "new:1"])))
    with opened(folder / "base") as store:
        base = make_image(store, {"a": "old"})
        child = make_image(store, {"b": "old"}, base=base, parent=base.id)
        make_image(store, {"dangling": "1"})
        store.tag(child.id, ref("web:1"))
        store.note_digest(child.id, ref("web"), child.manifest.digest)


def do_load(store: ImageStore, folder: Path) -> None:
    load(store, [(folder / "archive").read_bytes()])


def do_import(store: ImageStore, _: Path) -> None:
    import_image(store, [layer([{"type": "file", "path": "x", "content": "1"}])], created="", reference=ref("web:1"))


def do_build(store: ImageStore, _: Path) -> None:
    shutil.rmtree(store.snapshots.root / "upper", ignore_errors=True)
    image = make_image(store, {"built": "1"}, base=store.resolve("web:1"))
    store.tag(image.id, ref("built"))


def do_remove(store: ImageStore, _: Path) -> None:
    if store.records.named(ref("web:1")) is not None:
        remove(store, "web:1")


def do_prune(store: ImageStore, _: Path) -> None:
    prune_images(store, everything=True, keep=lambda _: False)


def do_pull(store: ImageStore, _: Path) -> None:
    puller = Puller(store, Registries())
    puller.pull(ref(f"{sys.argv[4]}/web:1"))
    puller.close()


def do_fsck(store: ImageStore, _: Path) -> None:
    check(store, mend=True)


def damage(root: Path) -> None:
    """Give fsck something to mend."""
    with opened(root) as store:
        image = store.resolve("web:1")
        folder = store.snapshots.lowers(image)[0]
        digest = image.layers[0].digest
    store.blobs.path(digest).unlink()
    (folder / "b").write_text("other")
    store.index.path.write_text("{")


WORK: dict[str, Callable[[ImageStore, Path], None]] = {
    name.removeprefix("do_"): act for name, act in list(globals().items()) if name.startswith("do_")
}


def kill_before(step: int, store: ImageStore) -> None:
    """Kill this process before its step of this number."""
    left = [step]

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, args: tuple[object, ...]) -> None:
        if event in CHANGES and (event != "open" or int(str(args[2])) & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)):
            count()

    store.records._db._connection.set_trace_callback(lambda _: count())
    sys.addaudithook(hear)


def in_child(act: Callable[[], None]) -> int:
    """Run in a process of its own: how it ended, as `waitpid` says."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - it is printed
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def spoil(root: Path) -> None:
    """Do what a power cut does to what was not brought to the disk: files lose their ends, or are zeros."""
    chance = random.Random(1)  # noqa: S311 - the same in every run
    for blob in (root / "images" / "blobs" / "sha256").iterdir():
        if stat.S_IMODE(blob.stat().st_mode) == 0o600:
            content = blob.read_bytes()
            end = chance.randrange(len(content))
            blob.write_bytes(
                chance.choice([content, content[:end], bytes(len(content)), content[:end] + bytes(len(content) - end)])
            )
    rows = sqlite3.connect(root / "engine.db").execute("SELECT folder FROM snapshots WHERE settled = 0")
    for (name,) in rows:
        for path in (root / "layers" / "l" / name).rglob("*"):
            if path.is_file() and chance.random() < 0.5:
                os.truncate(path, 0)


def verify(root: Path, boot: str, act: Callable[[ImageStore, Path], None], folder: Path) -> None:
    """Open, check, and do the work again."""
    with opened(root, boot=boot) as store:
        if act is do_fsck:
            act(store, folder)
        wrong = [str(found) for found in check(store, mend=False) if "belong to no image" not in found.problem]
        assert not wrong, wrong
        for image in store.list():
            lowers = store.snapshots.lowers(image)
            assert len(lowers) == len(image.layers)
            assert (
                sum(path.lstat().st_size for lower in lowers for path in lower.rglob("*") if path.is_file())
                == image.size
            )
        act(store, folder)
        wrong = [str(found) for found in check(store, mend=False) if "belong to no image" not in found.problem]
        assert not wrong, wrong
        store.snapshots.close(60)
        assert not list((root / "layers" / "new").iterdir())


def main() -> None:
    folder, act, every = Path(sys.argv[1]), WORK[sys.argv[2]], int(sys.argv[3])
    prepare(folder)
    if act is do_fsck:
        damage(folder / "base")
    root = folder / "root"

    def work(step: int) -> None:
        with opened(root, settle=60) as store:
            kill_before(step, store)
            act(store, folder)
            os._exit(0)

    kills = 0
    for step in range(1, 100_000, every):
        for boot in ("boot-1", "boot-2"):
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(folder / "base", root, symlinks=True)
            ended = in_child(lambda step=step: work(step))  # type: ignore[misc]
            if boot == "boot-2":
                spoil(root)
            if in_child(lambda boot=boot: verify(root, boot, act, folder)):  # type: ignore[misc]
                sys.exit(f"{sys.argv[2]}, killed before step {step}, opened with {boot}: the store is not sound")
            kills += os.WIFSIGNALED(ended)
        if not os.WIFSIGNALED(ended):
            assert os.WEXITSTATUS(ended) == 0
            break
    print(kills)


if __name__ == "__main__":
    main()
