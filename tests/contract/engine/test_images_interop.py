"""Images between our store and other tools: dockerd of two releases, skopeo, umoci, the registry program; digests are equal."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from declarative.engine.images.fsck import check
from declarative.engine.images.loading import load
from declarative.engine.images.pull import Pulled, Puller
from declarative.engine.images.push import push
from declarative.engine.images.registries import Registries
from declarative.engine.images.saving import save
from declarative.oci import media
from declarative.oci.config import ImageConfig, RunDefaults
from declarative.oci.config_write import encode_config
from declarative.oci.platform import Platform
from declarative.oci.reference import Reference
from tests import base_image
from tests.unit.engine.stores import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from declarative.engine.images.image import Image
    from declarative.engine.images.store import ImageStore
    from tests.engines import Engine

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


class Ours:
    """Our store, and what it talks to registries with."""

    def __init__(self, store: ImageStore) -> None:
        self.store = store
        self.registries = Registries()
        self.puller = Puller(store, self.registries)
        self.root = store.blobs.root

    def pull(self, name: str) -> Pulled:
        return self.puller.pull(Reference.parse(name))

    def push(self, name: str) -> str:
        (pushed,) = push(self.store, self.registries, Reference.parse(name))
        return str(pushed.digest)

    def close(self) -> None:
        self.puller.close()
        self.registries.close()


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Ours]:
    with opened(tmp_path / "ours") as store:
        made = Ours(store)
        yield made
        made.close()


@pytest.fixture(params=["docker_engine", "docker26"])
def dockerd(request: pytest.FixtureRequest, registry: str) -> Iterator[Engine]:
    engine: Engine = request.getfixturevalue(request.param)
    engine.reach(int(registry.rpartition(":")[2]))
    yield engine
    engine.clear_images()


@pytest.fixture
def image(ours: Ours) -> Image:
    """Make an image of two layers on busybox that have a bit of everything."""
    store = ours.store
    base = load(store, [base_image.archive()])[0].image
    upper = store.snapshots.root / "upper"
    for folder in ("", "app", "gone", "etc"):
        (upper / folder).mkdir(mode=0o755, parents=True)
    (upper / "app" / "big").write_bytes(os.urandom(3_000_000))
    (upper / "app" / "twin").hardlink_to(upper / "app" / "big")
    (upper / "app" / ("n" * 150)).write_text("long")
    (upper / "app" / "ünïcode").symlink_to("big")
    (upper / "app" / "tool").write_text("#!/bin/sh\necho it runs\n")
    (upper / "app" / "tool").chmod(0o4755)
    os.setxattr(upper / "app" / "tool", "security.capability", CAPABILITY)
    os.mkfifo(upper / "app" / "fifo")
    os.chown(upper / "app" / "fifo", 1000, 3_000_000)
    (upper / "gone" / "x").write_text("1")
    lowers = store.snapshots.lowers(base)
    one = store.snapshots.commit(upper, lowers)
    for folder in ("", "gone", "etc"):
        (upper / folder).mkdir(mode=0o755, parents=True)
    os.setxattr(upper / "gone", "trusted.overlay.opaque", b"y")
    os.mknod(upper / "etc" / "group", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    two = store.snapshots.commit(upper, (store.snapshots.chains()[one.chain], *lowers))
    config = ImageConfig(
        platform=Platform.local(),
        diff_ids=(*base.config.diff_ids, one.diff_id, two.diff_id),
        run=RunDefaults(cmd=("/app/tool",), env=("PATH=/bin",), on_build=("RUN true",)),
    )
    made = store.add(encode_config(config, base.raw), (*base.layers, one.descriptor, two.descriptor), base.id)
    store.tag(made.id, Reference.parse("web:1"))
    return made


def run(*argv: object) -> str:
    ended = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{argv}: {ended.stderr}"
    return ended.stdout.strip()


def inspected(engine: Engine, name: str, what: str) -> str:
    return engine.docker("image", "inspect", "--format", what, name).stdout.strip()


SHOWN = "ls -l /app /etc; ls -a /gone; cat /app/n*; /app/tool"


def shown(engine: Engine, name: str) -> str:
    return engine.docker("run", "--rm", "--network", "none", name, "sh", "-c", SHOWN).stdout


@pytest.mark.engine
def test_what_we_push_dockerd_pulls(ours: Ours, image: Image, dockerd: Engine, registry: str) -> None:
    name = f"{registry}/acme/web:1"
    ours.store.tag(image.id, Reference.parse(name))
    digest = ours.push(name)
    assert digest == str(image.manifest.digest)
    dockerd.docker("pull", "--quiet", name)
    assert inspected(dockerd, name, "{{.Id}}") == str(image.id)
    assert inspected(dockerd, name, "{{index .RepoDigests 0}}") == f"{registry}/acme/web@{digest}"
    said = shown(dockerd, name)
    assert "it runs" in said
    assert " group" not in said
    assert "-rwsr-xr-x" in said
    assert int(inspected(dockerd, name, "{{.Size}}")) == image.size


@pytest.mark.engine
def test_what_dockerd_pushes_we_pull_and_push_on(ours: Ours, dockerd: Engine, registry: str) -> None:
    name = f"{registry}/from/dockerd:1"
    dockerd.docker("tag", "busybox", name)
    dockerd.docker("push", "--quiet", name)
    pulled = ours.pull(name)
    assert str(pulled.image.id) == inspected(dockerd, name, "{{.Id}}")
    assert inspected(dockerd, name, "{{index .RepoDigests 0}}") == f"{registry}/from/dockerd@{pulled.digest}"
    assert pulled.image.size == int(inspected(dockerd, name, "{{.Size}}"))
    again = f"{registry}/from/us:2"
    ours.store.tag(pulled.image.id, Reference.parse(again))
    assert ours.push(again) == str(pulled.digest)
    dockerd.docker("pull", "--quiet", again)
    assert inspected(dockerd, again, "{{.Id}}") == str(pulled.image.id)
    assert check(ours.store, mend=False) == ()


@pytest.mark.engine
def test_what_we_save_dockerd_loads(ours: Ours, image: Image, dockerd: Engine, tmp_path: Path) -> None:
    ours.store.tag(image.id, Reference.parse("ghcr.io/acme/web:2"))
    archive = tmp_path / "archive.tar"
    archive.write_bytes(b"".join(save(ours.store, ["web:1", "ghcr.io/acme/web", "busybox"])))
    said = dockerd.docker("load", "--input", str(archive)).stdout.splitlines()
    assert sorted(line for line in said if "Loaded" in line) == [
        "Loaded image: busybox:latest",
        "Loaded image: ghcr.io/acme/web:2",
        "Loaded image: web:1",
    ]
    assert (
        inspected(dockerd, "web:1", "{{.Id}}") == inspected(dockerd, "ghcr.io/acme/web:2", "{{.Id}}") == str(image.id)
    )
    assert "it runs" in shown(dockerd, "web:1")


@pytest.mark.engine
def test_what_dockerd_saves_we_load(ours: Ours, image: Image, dockerd: Engine, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    archive.write_bytes(b"".join(save(ours.store, ["web:1"])))
    dockerd.docker("load", "--input", str(archive))
    dockerd.docker("tag", "web:1", "acme/web:3")
    dockerd.docker("save", "--output", str(archive), "web:1", "acme/web:3", "busybox")
    with opened(tmp_path / "other") as store:
        with archive.open("rb") as file:
            loaded = load(store, iter(lambda: file.read(1 << 16), b""))
        names = sorted(name.familiar() for one in loaded for name in one.names)
        assert names == ["acme/web:3", "busybox:latest", "web:1"]
        assert store.resolve("web:1").id == image.id
        assert store.resolve("web:1").size == image.size
        assert check(store, mend=False) == ()


def test_skopeo_reads_our_layout(ours: Ours, image: Image, registry: str, tmp_path: Path) -> None:
    source = f"oci:{ours.root}:docker.io/library/web:1"
    assert run("skopeo", "inspect", "--format", "{{.Digest}}", source) == str(image.manifest.digest)
    run("skopeo", "copy", "--dest-tls-verify=false", source, f"docker://{registry}/by/skopeo:1")
    with opened(tmp_path / "other") as store:
        other = Ours(store)
        assert other.pull(f"{registry}/by/skopeo:1").digest == image.manifest.digest
        other.close()


def test_skopeo_writes_into_our_layout(ours: Ours, image: Image, registry: str, tmp_path: Path) -> None:
    name = f"{registry}/acme/web:1"
    ours.store.tag(image.id, Reference.parse(name))
    ours.push(name)
    with opened(tmp_path / "other") as store:
        root = store.blobs.root
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{root}:docker.io/library/copied:1")
    with opened(tmp_path / "other") as store:
        assert store.resolve("copied:1").id == image.id
        assert check(store, mend=False) == ()


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_skopeo_reads_what_we_save(kind: str, ours: Ours, image: Image, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    archive.write_bytes(b"".join(save(ours.store, ["web:1"])))
    run("skopeo", "copy", f"{kind}:{archive}", f"dir:{tmp_path / 'dir'}")
    config = (tmp_path / "dir" / image.id.hex).read_bytes()
    assert config == image.raw


@pytest.mark.parametrize(
    ("kind", "packing"), [("docker-archive", ""), ("oci-archive", ""), ("oci-archive", "gzip"), ("oci-archive", "zstd")]
)
def test_we_load_what_skopeo_saves(kind: str, packing: str, ours: Ours, image: Image, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    how = [f"--dest-compress-format={packing}", "--dest-compress"] if packing else ["--dest-decompress"]
    how = [] if kind == "docker-archive" else how
    run("skopeo", "copy", *how, f"oci:{ours.root}:docker.io/library/web:1", f"{kind}:{archive}:example.com/acme/web:9")
    with opened(tmp_path / "other") as store:
        load(store, [archive.read_bytes()])
        assert store.resolve("example.com/acme/web:9").id == image.id
        assert store.resolve(image.id.hex).size == image.size
        if packing == "zstd":
            assert {layer.media_type for layer in store.get(image.id).layers} == {media.OCI_LAYER_ZSTD}
        assert check(store, mend=False) == ()


def test_a_zstd_image_comes_and_goes_as_it_is(ours: Ours, image: Image, registry: str, tmp_path: Path) -> None:
    there = f"{registry}/acme/zstd:1"
    how = ["--dest-tls-verify=false", "--dest-compress", "--dest-compress-format=zstd"]
    run("skopeo", "copy", *how, f"oci:{ours.root}:docker.io/library/web:1", f"docker://{there}")
    with opened(tmp_path / "other") as store:
        other = Ours(store)
        pulled = other.pull(there)
        assert pulled.image.id == image.id
        assert {layer.media_type for layer in pulled.image.layers} == {media.OCI_LAYER_ZSTD}
        store.tag(image.id, Reference.parse(f"{registry}/acme/again:1"))
        assert other.push(f"{registry}/acme/again:1") == str(pulled.digest)
        other.close()


@pytest.mark.parametrize("family", ["oci", "docker"])
def test_umoci_unpacks_out_of_our_layout(family: str, ours: Ours, image: Image, registry: str, tmp_path: Path) -> None:
    """Umoci knows OCI's names of types alone: what came with Docker's is listed with OCI's."""
    name = "docker.io/library/web:1"
    if family == "docker":
        there = f"{registry}/acme/v2s2:1"
        source = f"oci:{ours.root}:docker.io/library/web:1"
        run("skopeo", "copy", "--dest-tls-verify=false", "--format=v2s2", source, f"docker://{there}")
        pulled = ours.pull(there)
        assert pulled.image.id == image.id
        assert pulled.image.manifest.media_type == media.DOCKER_MANIFEST
        name = there
    tags = run("umoci", "list", "--layout", ours.root).splitlines()
    assert name in tags
    run("umoci", "unpack", "--image", f"{ours.root}:{name}", tmp_path / "bundle")
    root = tmp_path / "bundle" / "rootfs"
    lowers = ours.store.snapshots.lowers(image)
    assert (root / "app" / "tool").read_bytes() == (lowers[1] / "app" / "tool").read_bytes()
    assert (root / "app" / "tool").stat().st_mode & 0o7777 == 0o4755
    assert os.getxattr(root / "app" / "tool", "security.capability") == CAPABILITY
    assert (root / "app" / "big").samefile(root / "app" / "twin")
    assert (root / "app" / "fifo").stat().st_gid == 3_000_000
    assert not (root / "etc" / "group").exists()
    assert list((root / "gone").iterdir()) == []


def test_a_second_push_sends_nothing_and_another_repository_mounts(ours: Ours, image: Image, registry: str) -> None:
    from declarative.engine.images.progress import Event, Progress

    def steps(name: str) -> set[str]:
        ours.store.tag(image.id, Reference.parse(name))
        events: list[Event] = []
        push(ours.store, ours.registries, Reference.parse(name), tell=events.append)
        told = [event for event in events if isinstance(event, Progress) and event.id and not event.bar]
        assert len([event for event in told if event.status != "Preparing"]) == len(image.layers)
        return {event.status for event in told} - {"Preparing"}

    assert steps(f"{registry}/acme/web:1") == {"Pushed"}
    assert steps(f"{registry}/acme/web:2") == {"Layer already exists"}
    assert steps(f"{registry}/acme/other:1") == {"Mounted from acme/web"}


def test_all_tags_go_and_come(ours: Ours, image: Image, registry: str, tmp_path: Path) -> None:
    repository = Reference.parse(f"{registry}/acme/web")
    for tag in ("1", "2", "latest"):
        ours.store.tag(image.id, repository.with_tag(tag))
    assert {pushed.tag for pushed in push(ours.store, ours.registries, repository, everything=True)} == {
        "1",
        "2",
        "latest",
    }
    with opened(tmp_path / "other") as store:
        other = Ours(store)
        pulled = other.puller.pull_all(repository)
        assert {one.image.id for one in pulled} == {image.id}
        assert sorted(name.tag or "" for name in store.references(image.id)) == ["1", "2", "latest"]
        other.close()
