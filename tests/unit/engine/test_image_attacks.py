"""The attack shapes that reach images: in layers, archives, and what a registry says. Each has its test, by its name."""

from __future__ import annotations

import gzip
import json
import os
import stat
import subprocess
from typing import TYPE_CHECKING, TypeAlias

import pytest

from declarative.engine.images.layers.apply import Whiteouts, apply_layer
from declarative.engine.images.layers.diff import layer_of
from declarative.engine.images.layers.entry import Entry, Kind
from declarative.engine.images.layers.gauge import Limits
from declarative.engine.images.layers.write import archive, header
from declarative.engine.images.loading import load
from declarative.engine.images.pull import Puller
from declarative.engine.images.registries import Registries, RegistrySettings
from declarative.errors import DeclarativeError, Denied, Invalid, NotFound, Unavailable
from declarative.oci import media
from declarative.oci.digest import Digest, DigestMismatch
from declarative.oci.reference import Reference
from declarative.registry.credentials import Credential
from declarative.registry.retry import ONCE
from tests.shared_cases import load_cases
from tests.unit.engine.archives import read_all
from tests.unit.engine.fake_registry import FakeRegistry, fake_registry
from tests.unit.engine.stores import make_image, opened
from tests.unit.engine.test_archive import docker_archive, tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from declarative.engine.images.store import ImageStore

    Made: TypeAlias = tuple[Entry, bytes]

BOTH = list(Whiteouts)


class Ground:
    """A folder with a root to apply layers to, and neighbours that no layer may touch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.roots = {way: folder / way.value / "root" for way in BOTH}
        self.lower = folder / "lower"
        for path in (*self.roots.values(), self.lower):
            path.mkdir(parents=True)
        for path in (folder / "overlay", folder / "remove", folder):
            (path / "victim").mkdir()
            (path / "victim" / "f").write_text("secret")
            (path / "root-evil").mkdir()
            (path / "root-evil" / "secret").write_text("secret")
        self.stem = folder.name
        self._before = self._look()

    def apply(self, *made: Made, way: Whiteouts | None = None) -> list[bool]:
        """Apply a layer both ways (or one); whether it was taken."""
        taken = []
        for each in BOTH if way is None else [way]:
            lowers = (self.lower,) if each is Whiteouts.OVERLAY else ()
            try:
                apply_layer([b"".join(archive(made))], self.roots[each], lowers, whiteouts=each)
            except Invalid:
                taken.append(False)
            else:
                taken.append(True)
        return taken

    def unharmed(self) -> bool:
        """Whether nothing outside the roots changed, and nothing was made where a host's file would be."""
        return self._look() == self._before and not os.path.lexists(f"/tmp/{self.stem}")  # noqa: S108 - as on a host

    def _look(self) -> list[tuple[str, int, int, bytes]]:
        found = []
        for folder, folders, files in os.walk(self.folder):
            here = self.folder / folder
            # a root may be deeper than a path can name
            folders[:] = [name for name in folders if here / name not in (*self.roots.values(), self.lower)]
            for path in [here / name for name in (*folders, *files)]:
                status = path.lstat()
                content = path.read_bytes() if path.is_file() else b""
                found.append((str(path), status.st_mode, status.st_nlink, content))
        return sorted(found)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    with opened(tmp_path / "store") as store:
        yield store


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


def file(name: str, content: bytes = b"x", **fields: object) -> Made:
    return Entry(name=name.encode(), size=len(content), stored=len(content), **fields), content  # type: ignore[arg-type]


def link(name: str, target: str, kind: Kind = Kind.SYMLINK, **fields: object) -> Made:
    return Entry(name=name.encode(), kind=kind, target=target.encode(), **fields), b""  # type: ignore[arg-type]


def folder(name: str) -> Made:
    return Entry(name=f"{name}/".encode(), kind=Kind.DIRECTORY, mode=0o755), b""


def pull(store: ImageStore, registry: FakeRegistry, name: str = "web:1", credential: Credential | None = None) -> None:
    registries = Registries(RegistrySettings(retry=ONCE))
    puller = Puller(store, registries)
    try:
        puller.pull(Reference.parse(f"{registry.server.address}/{name}"), credential=credential)
    finally:
        puller.close()
        registries.close()


def nothing_kept(store: ImageStore) -> bool:
    return not (store.list() or store.snapshots.chains() or store.records.names())


# ---- layers


@pytest.mark.parametrize("name", ["../x", "../../x", "..", "a/../../x", "a/b/../../../x"])
def test_tar_dotdot_name(name: str, ground: Ground) -> None:
    assert ground.apply(file("kept"), file(name)) == [False, False]
    assert ground.unharmed()


@pytest.mark.parametrize("name", ["/tmp/{}", "//tmp/{}", "/tmp//{}"])  # noqa: S108 - as on a host
def test_tar_absolute_name(name: str, ground: Ground) -> None:
    assert ground.apply(file(name.format(ground.stem))) == [True, True]
    assert all((root / "tmp" / ground.stem).is_file() for root in ground.roots.values())
    assert ground.unharmed()


@pytest.mark.parametrize("target", ["/", "../../..", "/tmp/..", "../../../tmp/.."])  # noqa: S108
@pytest.mark.parametrize("later", [False, True], ids=["same layer", "later layer"])
def test_tar_symlink_then_write(target: str, ground: Ground, *, later: bool) -> None:
    layers = [[link("a", target)], [file(f"a/tmp/{ground.stem}")]]
    for made in layers if later else [layers[0] + layers[1]]:
        assert ground.apply(*made) == [True, True]
    assert all((root / "tmp" / ground.stem).is_file() for root in ground.roots.values())
    assert ground.unharmed()


def test_tar_symlink_chain(ground: Ground) -> None:
    ground.apply(folder("d"), link("d/up", ".."), link("d/up/escape", "../victim"), file("d/up/escape/new"))
    assert ground.unharmed()


def test_tar_long_symlink_realpath(ground: Ground) -> None:
    part = "d" * 200
    made = [folder(part), link("l0", part)]
    path = part
    for number in range(1, 22):
        path = f"{path}/{part}"
        made += [folder(path)] if len(path) < 3600 else []  # 4096 with the test's own folder before it, which is walked
        made.append(link(f"l{number}", f"l{number - 1}/{part}"))
    made += [link("l21/out", "../" * 60 + "victim"), file("l21/out/new"), file("l21/out/f", b"overwritten")]
    ground.apply(*made)
    ground.apply(link("out", "l5/" + "../" * 40 + "victim"), file("out/f", b"overwritten"))
    assert ground.unharmed()


@pytest.mark.parametrize("target", ["../victim/f", "/etc/shadow", "s/victim/f", "../../victim/f"])
def test_tar_hardlink_out(target: str, ground: Ground) -> None:
    links = os.stat("/etc/shadow").st_nlink  # noqa: PTH116 - of the host
    assert ground.apply(link("s", ".."), link("h", target, Kind.HARDLINK)) == [False, False]
    assert os.stat("/etc/shadow").st_nlink == links  # noqa: PTH116
    assert ground.unharmed()


def test_tar_hardlink_to_symlink_chmod(ground: Ground, tmp_path: Path) -> None:
    victim = str(tmp_path / "victim" / "f")
    ground.apply(link("s", victim), link("h", "s", Kind.HARDLINK, mode=0o4777, uid=1234), link("s", "../../victim/f"))
    assert (tmp_path / "victim" / "f").stat().st_uid == os.getuid()
    assert ground.unharmed()


@pytest.mark.parametrize("target", ["/", "../../.."])
def test_tar_replace_dir_by_symlink(target: str, ground: Ground) -> None:
    (ground.lower / "x").mkdir()
    ground.apply(folder("x"), file("x/f"))
    ground.apply(link("x", target), file(f"x/tmp/{ground.stem}"))
    ground.apply(file(f"x/tmp/{ground.stem}"))
    assert ground.unharmed()


def test_tar_sibling_prefix(ground: Ground) -> None:
    ground.apply(
        link("l", "../root-evil/secret"), link("h", "l", Kind.HARDLINK), link("g", "../root-evil/secret", Kind.HARDLINK)
    )
    ground.apply(link("d", "../root-evil"), file("d/secret", b"overwritten"))
    assert ground.unharmed()


@pytest.mark.parametrize("name", [".wh..", ".wh...", ".wh.", "etc/.wh..."])
def test_whiteout_dotdot(name: str, ground: Ground) -> None:
    for root in ground.roots.values():
        (root / "etc").mkdir()
        (root / "etc" / "kept").touch()
    assert ground.apply(file(name, b"")) == [False, False]
    assert all((root / "etc" / "kept").exists() for root in ground.roots.values())
    assert ground.unharmed()


def test_whiteout_through_symlink(ground: Ground, tmp_path: Path) -> None:
    assert ground.apply(link("l", "/etc"), link("v", str(tmp_path / "victim")), file("etc/passwd")) == [True, True]
    assert ground.apply(file("l/.wh.passwd", b""), file("v/.wh.f", b""), file("v/.wh..wh..opq", b"")) == [True, True]
    assert not (ground.roots[Whiteouts.REMOVE] / "etc" / "passwd").exists()
    assert os.stat("/etc/passwd").st_size  # noqa: PTH116 - of the host
    assert ground.unharmed()


def test_opaque_at_root(ground: Ground) -> None:
    (ground.lower / "old").mkdir()
    for way, root in ground.roots.items():
        if way is Whiteouts.REMOVE:
            (root / "old").mkdir()
        assert ground.apply(file(".wh..wh..opq", b""), file("new"), way=way) == [True]
    assert os.listdir(ground.roots[Whiteouts.REMOVE]) == ["new"]  # noqa: PTH208
    upper = ground.roots[Whiteouts.OVERLAY]
    assert stat.S_ISCHR((upper / "old").lstat().st_mode)
    assert (ground.lower / "old").is_dir()
    assert ground.unharmed()


@pytest.mark.parametrize(("major", "minor"), [(1 << 12, 0), (0, 1 << 20), (-1, 3), (1, -3), (1 << 40, 1 << 40)])
def test_device_node(major: int, minor: int, ground: Ground) -> None:
    block = bytearray(header(Entry(name=b"device", kind=Kind.CHARACTER)))
    for at, number in ((329, major), (337, minor)):
        value = bytearray(number.to_bytes(8, "big", signed=True))
        value[0] |= 0x80
        block[at : at + 8] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    for root in ground.roots.values():
        with pytest.raises(Invalid, match="out of range"):
            apply_layer([bytes(block)], root)
    good = [(Entry(name=b"null", kind=Kind.CHARACTER, major=1, minor=3, mode=0o666), b"")]
    assert ground.apply(*good) == [True, True]
    assert all((root / "null").stat().st_rdev == os.makedev(1, 3) for root in ground.roots.values())
    with pytest.raises(Invalid, match="not allowed here"):
        apply_layer([b"".join(archive(good))], ground.lower, devices=False)


def test_setuid_xattr(ground: Ground) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    made = [
        file("suid", mode=0o6755, uid=1, gid=2),
        file("ping", mode=0o755, xattrs=((b"security.capability", capability),)),
        (Entry(name=b"sticky/", kind=Kind.DIRECTORY, mode=0o1777), b""),
    ]
    assert ground.apply(*made) == [True, True]
    for root in ground.roots.values():
        assert (root / "suid").stat().st_mode & 0o7777 == 0o6755
        assert (root / "sticky").stat().st_mode & 0o7777 == 0o1777
        assert os.getxattr(root / "ping", "security.capability") == capability
        kept = {entry.name: entry for entry, _ in read_all(layer_of(root), "layer")}
        assert kept[b"ping"].xattrs == ((b"security.capability", capability),)


def test_gzip_bomb(ground: Ground, tmp_path: Path) -> None:
    bomb = gzip.compress(header(Entry(name=b"big", size=1 << 40, stored=1 << 40)) + bytes(64 << 20))
    root = ground.roots[Whiteouts.OVERLAY]
    with pytest.raises(Invalid, match="unpacks to more than 1048576 bytes"):
        apply_layer([bomb], root, limits=Limits(size=1 << 20))
    with pytest.raises(Invalid, match="ends in the middle"):
        apply_layer([header(Entry(name=b"absurd", size=1 << 60, stored=1 << 60)) + bytes(512)], root)
    long = header(Entry(name=b"n" * 90)).replace(b"\x000\x00", b"\x000\x00")
    record = bytearray(long)
    record[156:157] = b"x"
    record[124:136] = b"%011o\0" % (1 << 30)
    record[148:156] = b" " * 8
    record[148:156] = b"%06o\0 " % sum(record[:512])
    with pytest.raises(Invalid, match="an extended header of 1073741824 bytes"):
        apply_layer([bytes(record)], root)
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        with pytest.raises(DeclarativeError, match="disk full"):
            apply_layer([bomb], disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# ---- registries and archives


def test_manifest_confusion(store: ImageStore, registry: FakeRegistry) -> None:
    both = json.loads(registry.image("1", {"a": "1"}))
    both["manifests"] = []
    del both["mediaType"]
    for kind in (media.OCI_MANIFEST, media.OCI_INDEX, "application/json"):
        registry.name("1", kind, json.dumps(both).encode())
        with pytest.raises(Invalid):
            pull(store, registry)
    manifest = registry.image("2", {"a": "1"})
    registry.name("2", media.OCI_INDEX, manifest)
    with pytest.raises(Invalid, match="served as"):
        pull(store, registry, "web:2")
    assert nothing_kept(store)


@pytest.mark.parametrize(
    "how", ["other bytes", "cut", "longer", "size", "diff id", "unknown algorithm", "short digest"]
)
def test_bad_digest(how: str, store: ImageStore, registry: FakeRegistry) -> None:
    manifest = json.loads(registry.image("1", {"a": "1" * 1000}))
    described = manifest["layers"][0]
    digest = Digest.parse(described["digest"])
    blob = registry.blobs[digest]
    match how:
        case "other bytes":
            registry.blobs[digest] = bytes(len(blob))
        case "cut":
            registry.blobs[digest] = blob[:-1]
        case "longer":
            registry.blobs[digest] = blob + b"x"
        case "size":
            described["size"] -= 1
        case "diff id":
            described |= json.loads(registry.image("2", {"a": "2"}))["layers"][0]
        case "unknown algorithm":
            described["digest"] = "md5:" + "0" * 32
        case "short digest":
            described["digest"] = str(digest)[:-1]
    registry.name("1", media.DOCKER_MANIFEST, json.dumps(manifest).encode())
    with pytest.raises((DigestMismatch, Invalid, Unavailable)):
        pull(store, registry)
    assert nothing_kept(store)
    assert all(not store.blobs.damage(kept) for kept in store.blobs)


PATHS = ["sha256:../../x", "sha256:" + "../" * 21 + "x", "../x", "sha256:" + "0" * 63 + "/"]


@pytest.mark.parametrize("text", PATHS)
def test_digest_as_path(text: str, store: ImageStore, registry: FakeRegistry, tmp_path: Path) -> None:
    manifest = json.loads(registry.image("1", {"a": "1"}))
    for place in (manifest["config"], manifest["layers"][0]):
        before, place["digest"] = place["digest"], text
        registry.name("1", media.DOCKER_MANIFEST, json.dumps(manifest).encode())
        with pytest.raises(Invalid):
            pull(store, registry)
        place["digest"] = before
    for name in (text, f"web:{text}", f"web@{text}"):
        with pytest.raises((Invalid, NotFound)):
            store.resolve(name)
    files = docker_archive(["web:1"], b"".join(archive([file("a")])))
    (entry,) = json.loads(files["manifest.json"])  # type: ignore[arg-type]
    for change in ({"Layers": ["../../etc/passwd"]}, {"Config": "../../etc/passwd"}, {"RepoTags": [f"web:{text}"]}):
        with pytest.raises((Invalid, NotFound)):
            load(store, [tar({**files, "manifest.json": json.dumps([entry | change]).encode()})])
    assert nothing_kept(store)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_foreign_layer_urls(store: ImageStore, registry: FakeRegistry) -> None:
    with fake_registry() as elsewhere:
        manifest = json.loads(registry.image("1", {"a": "1"}))
        described = manifest["layers"][0]
        described["mediaType"] = media.DOCKER_FOREIGN_LAYER_GZIP
        described["urls"] = [f"http://{elsewhere.server.address}/v2/web/blobs/{described['digest']}"]
        elsewhere.blobs[Digest.parse(described["digest"])] = registry.blobs.pop(Digest.parse(described["digest"]))
        registry.name("1", media.DOCKER_MANIFEST, json.dumps(manifest).encode())
        with pytest.raises(NotFound):
            pull(store, registry, credential=Credential(username="ada", password="secret"))
        assert elsewhere.server.log == []
    assert nothing_kept(store)


@pytest.mark.parametrize("realm", ["http://192.0.2.1/token", "ftp://example.com/", "", "//", "file:///etc/passwd"])
def test_auth_realm_leak(realm: str, store: ImageStore, registry: FakeRegistry) -> None:
    """A registry over TLS may not send us to a token server without; `test_tokens` has the rest, with certificates."""
    from declarative.registry.auth import Authorizer

    asked: list[object] = []

    def fetch(request: object) -> bytes:
        asked.append(request)
        return b"{}"

    authorizer = Authorizer(
        "registry.example",
        credential=lambda: Credential(username="ada", password="secret"),
        fetch=fetch,
        clock=lambda: 0.0,
    )
    with pytest.raises(Denied):
        authorizer.challenged(f'Bearer realm="{realm}",service="x"', frozenset({"repository:web:pull"}), None)
    assert asked == []
    with fake_registry() as elsewhere:
        registry.faults.append(lambda request, *_: moved(request, elsewhere))
        registry.image("1", {"a": "1"})
        with pytest.raises(DeclarativeError):
            pull(store, registry, credential=Credential(username="ada", password="secret"))
        assert all("Authorization" not in one.headers for one in elsewhere.server.log)


def moved(request: object, elsewhere: FakeRegistry) -> bool:
    request.answer(307, b"", {"Location": f"http://{elsewhere.server.address}/v2/x/blobs/y"})  # type: ignore[attr-defined]
    return True


MALFORMED = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"[" * 100_000,
    b"{}",
    b'{"schemaVersion": 1}',
    b'{"schemaVersion": 2}',
    b'{"schemaVersion": 2, "config": null, "layers": null}',
    b'{"schemaVersion": 2, "config": {}, "layers": [null]}',
    b'{"schemaVersion": 2, "config": {"mediaType": "a/b", "digest": "sha256:%s", "size": -1}, "layers": []}'
    % (b"0" * 64),
    b'{"schemaVersion": 2, "manifests": [{"mediaType": "a/b"}]}',
    b'{"schemaVersion": 2, "manifests": 7}',
    b"\xff\xfe\0",
    b'{"schemaVersion": 2, "layers": [{"size": 1e999}]}',
    b'{"schemaVersion": "2", "config": "\\ud800"}',
]


@pytest.mark.parametrize("content", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_manifest_crash(content: bytes, store: ImageStore, registry: FakeRegistry) -> None:
    for kind in (media.OCI_MANIFEST, media.DOCKER_LIST):
        registry.name("1", kind, content)
        with pytest.raises(DeclarativeError):
            pull(store, registry)
    manifest = json.loads(registry.image("1", {"a": "1"}))
    manifest["config"] = registry.keep(media.DOCKER_CONFIG, content or b" ")
    registry.name("1", media.DOCKER_MANIFEST, json.dumps(manifest).encode())
    with pytest.raises(DeclarativeError):
        pull(store, registry)
    assert nothing_kept(store)
    registry.image("1", {"a": "1"})
    pull(store, registry)
    assert len(store.list()) == 1, "the store lives on"


def test_datadir_perms(store: ImageStore) -> None:
    image = make_image(store, {"a": "1"})
    for folder in (store.blobs.root, store.snapshots.root, store.snapshots.root / "l"):
        assert not folder.stat().st_mode & 0o077, folder
    path = store.snapshots.lowers(image)[0] / "a"
    seen = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "cat", str(path)], check=False, capture_output=True
    )
    assert seen.returncode != 0


@pytest.mark.parametrize(
    "name",
    ["a\nb", "a\0b", "../a", "a/../b", "A", "0" * 64 + "x/", "a" * 256, "a:" + "t" * 129, "a@sha256:x", " a", "-a", ""],
)
def test_ref_injection(name: str, store: ImageStore) -> None:
    image = make_image(store)
    with pytest.raises(Invalid):
        store.tag(image.id, Reference.parse(name))
    with pytest.raises((Invalid, NotFound)):
        store.resolve(name)
    assert store.records.names() == ()


ELSEWHERE = {
    "image-volume-symlink": "containers",
    "workdir-fd": "runtime",
    "workdir-symlink": "build",
    "mount-source-symlink": "build",
    "mount-stub-cleaner": "build",
    "bind-propagation-option": "build",
    "copy-context-escape": "build",
    "copy-from-symlink": "build",
    "cp-toctou": "containers",
    "cp-host-binaries": "containers",
    "cp-chmod-host": "containers",
    "passwd-lookup-symlink": "runtime",
    "supplementary-groups": "runtime",
    "hostname-hosts-files": "containers",
    "proc-mount-target": "containers",
    "exec-self-exe": "runtime",
    "cache-poison": "build",
    "git-context-injection": "build",
    "api-body-dropped": "daemon",
    "label-env-injection": "containers",
}
"""Shapes that do not reach images, and whose tests have them."""


def test_every_shape_has_its_test() -> None:
    shapes = {shape["id"] for shape in load_cases("layers/attack-shapes.json")["shapes"]}
    here = {name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")}
    assert shapes - set(ELSEWHERE) <= here
    assert set(ELSEWHERE) <= shapes
