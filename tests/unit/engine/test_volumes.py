"""Volumes: made once, kept while anybody refers to them, removed whole; on real folders and, as root, real mounts."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from declarative.engine.db import Database
from declarative.engine.events import Events
from declarative.engine.paths import Paths
from declarative.engine.volumes import ANONYMOUS, SCHEMA, Volumes
from declarative.errors import Conflict, DeclarativeError, Failed, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


@dataclass(slots=True)
class Store:
    volumes: Volumes
    events: Events
    db: Database


def open_store(root: Path) -> Store:
    paths = Paths(root=root)
    db = Database(paths.database, (SCHEMA,))
    clock = itertools.count(1_700_000_000_000_000_000)
    events = Events(lambda: next(clock))
    return Store(Volumes(paths, db, events, clock=lambda: next(clock)), events, db)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path)
    yield made
    made.db.close()


def told(store: Store) -> list[tuple[str, str]]:
    return [(event.action, event.id) for event in store.events._past if event.kind == "volume"]


def test_a_volume_is_a_folder_with_a_name(store: Store, tmp_path: Path) -> None:
    made = store.volumes.create("data", labels={"a": "b"})
    assert (made.name, made.driver, made.labels, made.options) == ("data", "local", {"a": "b"}, {})
    assert made.path == tmp_path / "volumes" / "data" / "_data"
    assert made.path.is_dir()
    assert made.path.stat().st_mode & 0o777 == 0o755
    assert store.volumes.get("data") == made
    assert store.volumes.list() == (made,)
    assert told(store) == [("create", "data")]
    assert not made.anonymous


def test_making_it_again_gives_the_one_that_is_there(store: Store) -> None:
    first = store.volumes.create("data", labels={"a": "b"})
    (first.path / "file").write_text("kept")
    assert store.volumes.create("data", labels={"other": "c"}) == first
    assert (first.path / "file").read_text() == "kept"
    assert told(store) == [("create", "data")]


def test_one_without_a_name_is_anonymous(store: Store) -> None:
    first, second = store.volumes.create(), store.volumes.create(labels={"a": "b"})
    assert first.name != second.name
    assert len(first.name) == 64
    assert int(first.name, 16) >= 0
    assert first.anonymous
    assert second.labels == {"a": "b", ANONYMOUS: ""}


@pytest.mark.parametrize(
    ("name", "more", "kind", "words"),
    [
        ("a", {}, Invalid, "create a: volume name is too short, names should be at least two alphanumeric characters"),
        (
            "../x",
            {},
            Invalid,
            'includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are',
        ),
        ("a/b", {}, Invalid, "If you intended to pass a host directory, use absolute path"),
        ("ä" * 3, {}, Invalid, "includes invalid characters"),
        ("x\n", {}, Invalid, "includes invalid characters"),
        ("x" * 255, {}, Invalid, "includes invalid characters"),
        (
            "data",
            {"driver": "nfs"},
            Failed,
            'create data: error looking up volume plugin nfs: plugin "nfs" not found',
        ),
        ("data", {"options": {"x": "y"}}, Invalid, 'create data: invalid option: "x"'),
        ("data", {"options": {"type": "tmpfs"}}, Invalid, 'create data: missing required option: "device"'),
        ("data", {"options": {"o": "bind", "device": "/"}}, Invalid, 'create data: missing required option: "type"'),
    ],
)
def test_what_is_refused(
    store: Store, tmp_path: Path, name: str, more: dict[str, object], kind: type[DeclarativeError], words: str
) -> None:
    with pytest.raises(kind) as refused:
        store.volumes.create(name, **more)  # type: ignore[arg-type]
    assert words in str(refused.value)
    assert store.volumes.list() == ()
    assert list((tmp_path / "volumes").iterdir()) == []


def test_one_of_another_driver_is_refused(store: Store) -> None:
    store.volumes.create("data")
    with pytest.raises(Conflict, match="create data: conflict: volume name must be unique"):
        store.volumes.create("data", driver="other")


# ---- removed


def test_it_goes_with_all_that_is_in_it(store: Store, tmp_path: Path) -> None:
    made = store.volumes.create("data")
    (made.path / "deep" / "er").mkdir(parents=True)
    (made.path / "deep" / "er" / "file").write_text("x")
    (made.path / "out").symlink_to(tmp_path)
    (tmp_path / "kept").write_text("x")
    store.volumes.remove("data")
    assert list((tmp_path / "volumes").iterdir()) == []
    assert (tmp_path / "kept").exists()
    with pytest.raises(NotFound, match="get data: no such volume"):
        store.volumes.get("data")
    with pytest.raises(NotFound, match="get data: no such volume"):
        store.volumes.remove("data")
    store.volumes.remove("data", force=True)
    assert told(store) == [("create", "data"), ("destroy", "data")]


def test_one_that_is_used_stays(store: Store) -> None:
    store.volumes.create("data")
    for holder in ("bb", "aa"):
        store.volumes.use("data", holder)
        store.volumes.use("data", holder)
    for force in (False, True):
        with pytest.raises(Conflict, match=r"^remove data: volume is in use - \[aa, bb\]$"):
            store.volumes.remove("data", force=force)
    assert [volume.name for volume in store.volumes.release("aa")] == ["data"]
    with pytest.raises(Conflict):
        store.volumes.remove("data")
    store.volumes.release("bb")
    store.volumes.remove("data")


def test_prune_takes_what_nobody_uses(store: Store) -> None:
    named, kept = store.volumes.create("named"), store.volumes.create("labelled", labels={"keep": ""})
    used, free = store.volumes.create(), store.volumes.create()
    store.volumes.use(used.name, "container")
    (free.path / "file").write_bytes(b"x" * 1000)
    os.link(free.path / "file", free.path / "again")
    names, size = store.volumes.prune()
    assert names == (free.name,)
    assert size == 1000, "a file with two names counts once"
    names, _ = store.volumes.prune(everything=True, keep=lambda volume: "keep" in volume.labels)
    assert names == (named.name,)
    assert {volume.name for volume in store.volumes.list()} == {kept.name, used.name}


@pytest.mark.parametrize("moment", ["before the folder is set aside", "before the record goes", "before the data goes"])
def test_a_removal_that_was_cut_short_is_finished_or_undone(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    made = store.volumes.create("data")
    (made.path / "file").write_text("x")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if moment.startswith("before the folder"):
            patched.setattr("pathlib.Path.rename", die)
        elif moment.startswith("before the record"):
            patched.setattr(Database, "transaction", die)
        else:
            patched.setattr("shutil.rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            store.volumes.remove("data")
    store.db.close()
    again = open_store(tmp_path)
    there = [volume.name for volume in again.volumes.list()]
    if moment.startswith("before the folder"):
        assert there == ["data"]
        assert (made.path / "file").read_text() == "x"
    else:
        assert there == []
        assert list((tmp_path / "volumes").iterdir()) == []
    assert again.volumes.create("data").path.is_dir()
    again.db.close()


def test_a_folder_that_no_record_knows_is_left_alone(tmp_path: Path) -> None:
    """Records can be lost, or put back from an older copy: data must not go with them."""
    stray = tmp_path / "volumes" / "stray" / "_data"
    stray.mkdir(parents=True)
    (stray / "file").write_text("precious")
    store = open_store(tmp_path)
    store.volumes.restore((), ())
    assert (stray / "file").read_text() == "precious"
    assert store.volumes.create("stray").path == stray
    assert (stray / "file").read_text() == "precious"
    store.db.close()


# ---- used


def test_what_a_container_sees(store: Store) -> None:
    store.volumes.create("data")
    path = store.volumes.mount("data", "container", {"destination": "/srv"})
    assert store.volumes.is_empty("data")
    (path / "file").write_text("x")
    assert not store.volumes.is_empty("data")
    store.volumes.unmount("container")
    store.volumes.unmount("container")
    assert store.volumes.holders("data") == ("container",)
    assert told(store) == [("create", "data"), ("mount", "data"), ("unmount", "data")]
    assert store.events._past[1].attributes == {"container": "container", "driver": "local", "destination": "/srv"}
    with pytest.raises(NotFound):
        store.volumes.mount("nosuch", "container")


def test_a_folder_that_vanished_is_made_again(store: Store) -> None:
    made = store.volumes.create("data")
    made.path.rmdir()
    made.path.parent.rmdir()
    assert store.volumes.path("data").is_dir()


def test_a_restart_forgets_containers_that_are_gone(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.volumes.create("data")
    for holder in ("lives", "stopped", "gone"):
        store.volumes.mount("data", holder)
    store.db.close()
    again = open_store(tmp_path)
    again.volumes.restore(running=["lives"], known=["lives", "stopped"])
    assert again.volumes.holders("data") == ("lives", "stopped")
    again.db.close()


# ---- mounts


def mounted(path: Path) -> bool:
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:  # noqa: PTH123 - not a file of ours
        return any(line.split()[4] == str(path) for line in lines)


@as_root
def test_a_tmpfs_is_mounted_while_it_is_used(store: Store) -> None:
    made = store.volumes.create("fast", options={"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=1777"})
    assert not mounted(made.path)
    try:
        for holder in ("one", "two"):
            store.volumes.mount("fast", holder)
        assert mounted(made.path)
        assert os.statvfs(made.path).f_blocks * os.statvfs(made.path).f_frsize == 1 << 20
        assert store.volumes.size(made) == -1
        store.volumes.unmount("one")
        assert mounted(made.path)
        store.volumes.unmount("two")
        assert not mounted(made.path)
        store.volumes.release("one")
        store.volumes.release("two")
        store.volumes.remove("fast")
    finally:
        subprocess.run(["umount", str(made.path)], check=False, capture_output=True)


@as_root
def test_data_that_is_mounted_from_elsewhere_outlives_the_volume(store: Store, tmp_path: Path) -> None:
    """The folder is on the same file system as what is bound there: only the table of mounts tells that it is one."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    made = store.volumes.create("bound", options={"type": "none", "o": "bind", "device": str(elsewhere)})
    try:
        assert (store.volumes.mount("bound", "one") / "precious").read_text() == "x"
        store.volumes._mounted.clear()  # as after a daemon that was killed
        store.volumes.release("one")
        assert mounted(made.path)
        store.volumes.remove("bound")
        assert (elsewhere / "precious").read_text() == "x"
        assert not made.path.exists()
    finally:
        subprocess.run(["umount", str(made.path)], check=False, capture_output=True)


@as_root
def test_an_open_file_does_not_keep_a_volume_mounted(store: Store, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    made = store.volumes.create("bound", options={"type": "none", "o": "bind", "device": str(elsewhere)})
    store.volumes.mount("bound", "one")
    with (made.path / "open").open("w") as held:
        store.volumes.release("one")
        assert not mounted(made.path)
        store.volumes.remove("bound")
        held.write("late")
    assert (elsewhere / "open").read_text() == "late"


@as_root
def test_what_is_mounted_for_nobody_is_unmounted_at_the_start(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    options = {"type": "tmpfs", "device": "tmpfs"}
    idle, busy = store.volumes.create("idle", options=options), store.volumes.create("busy", options=options)
    try:
        store.volumes.mount("idle", "stopped")
        store.volumes.mount("busy", "lives")
        store.db.close()
        store = open_store(tmp_path)
        store.volumes.restore(running=["lives"], known=["lives", "stopped"])
        assert (mounted(idle.path), mounted(busy.path)) == (False, True)
        store.volumes.unmount("lives")
        assert not mounted(busy.path)
    finally:
        store.db.close()
        for made in (idle, busy):
            subprocess.run(["umount", str(made.path)], check=False, capture_output=True)


@as_root
def test_a_mount_that_fails_says_so_and_leaves_nothing(store: Store) -> None:
    store.volumes.create("bad", options={"type": "nosuchfs", "device": "none", "o": "x=y"})
    with pytest.raises(Failed, match=r"failed to mount local volume: mount none:"):
        store.volumes.mount("bad", "one")
    store.volumes.create("far", options={"type": "nfs", "device": ":/x", "o": "addr=no-such-host.invalid"})
    with pytest.raises(Failed, match=r"error resolving passed in network volume address: no-such-host.invalid"):
        store.volumes.mount("far", "one")
    with contextlib.suppress(Conflict):
        store.volumes.release("one")
    store.volumes.remove("bad")
    store.volumes.remove("far")
