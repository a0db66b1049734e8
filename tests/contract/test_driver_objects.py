"""The port's promises about networks, volumes, images and tags, and about what belongs to whom."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from declarative.core import actions as do
from declarative.core.resources import ArchiveSource, Attachment, Mount, NetworkSpec, RootfsSource, VolumeSpec
from declarative.core.state import LABEL_BUILD, LABEL_NAME
from declarative.drivers.port import BuildFailed
from declarative.errors import Conflict, DeclarativeError, NotFound
from tests.base_image import BASE_IMAGE, archive
from tests.contract.bench import container

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.bench import Bench


def test_networks_are_created_once_and_removed_for_good(bench: Bench) -> None:
    name = bench.network()
    before = bench.look().networks[name]
    assert before.owner == bench.owner("Network", "back")
    bench.network()
    assert bench.look().networks[name].id == before.id
    with pytest.raises(Conflict) as caught:
        bench.network(spec=NetworkSpec(internal=True))
    assert name in str(caught.value)
    for _ in range(2):
        bench.do(do.RemoveNetwork(name=name))
    assert name not in bench.look().networks


def test_a_network_is_taken_from_under_running_containers(bench: Bench) -> None:
    network, other = bench.network(), bench.network("other")
    name = bench.start(container(networks={network: Attachment(), other: Attachment()}))
    bench.do(do.RemoveNetwork(name=network))
    assert set(bench.see(name).spec.networks) == {other}
    assert bench.see(name).state == "running"


def test_a_stopped_container_starts_again_whose_network_was_made_anew(bench: Bench) -> None:
    """Dockerd has it on the network that is gone, and starts it when it was attached to the new one."""
    network = bench.network()
    attachment = Attachment(aliases=("web",))
    name = bench.start(container(networks={network: attachment}))
    bench.do(do.StopContainer(name=name))
    bench.do(do.RemoveNetwork(name=network))
    bench.network()
    if network not in bench.look().containers[name].spec.networks:
        bench.do(do.ConnectNetwork(container=name, network=network, attachment=attachment))
    bench.do(do.StartContainer(name=name))

    assert bench.see(name).state == "running"
    assert bench.look().containers[name].spec.networks == {network: attachment}


def test_foreign_networks_and_volumes_are_not_taken(bench: Bench) -> None:
    network, volume = f"{bench.stack}_back", f"{bench.stack}_data"
    bench.hand.network(network)
    bench.hand.volume(volume)
    data = bench.hand.data(volume)
    with pytest.raises(Conflict):
        bench.network()
    with pytest.raises(Conflict):
        bench.volume()
    actual = bench.look(networks=frozenset({network}), volumes=frozenset({volume}))
    assert actual.networks[network].owner is None
    assert actual.volumes[volume].owner is None
    assert network not in bench.look().networks
    assert volume not in bench.look().volumes
    assert bench.hand.data(volume) == data


def test_volumes_keep_their_data_until_they_are_removed(bench: Bench) -> None:
    name = bench.volume()
    data = bench.hand.data(name)
    bench.volume()
    holder = bench.create(container(volumes=(Mount(target="/v", source=name),)))
    with pytest.raises(Conflict) as caught:
        bench.do(do.RemoveVolume(name=name))
    assert name in str(caught.value)
    bench.do(do.RemoveContainer(name=holder, volumes=True))
    assert bench.hand.data(name) == data
    with pytest.raises(Conflict):
        bench.volume(spec=VolumeSpec(labels={"other": "spec"}))
    for _ in range(2):
        bench.do(do.RemoveVolume(name=name))
    assert name not in bench.hand.volumes()


def test_a_build_is_labelled_with_what_it_was_built_of(bench: Bench) -> None:
    reference = bench.build("FROM busybox\nENV A=1\n", "app:1", "app:2")
    actual = bench.look(references=frozenset({reference}))
    image = actual.images[actual.references[reference]]
    assert image.references == (f"{bench.stack}/app:1", f"{bench.stack}/app:2")
    parts = json.loads(image.labels[LABEL_BUILD])
    assert parts[f"base:{BASE_IMAGE}"] == actual.references[BASE_IMAGE]
    assert parts["dockerfile"].startswith("sha256:")
    assert image.labels[LABEL_NAME] == "app"
    assert image.config is not None
    assert image.config.environment["A"] == "1"
    assert image.platform == "linux/amd64"


def test_a_failed_build_names_step_and_line_and_makes_no_image(bench: Bench) -> None:
    with pytest.raises(BuildFailed) as caught:
        bench.build("FROM busybox\n# fine\nRUN echo fine\n\nRUN echo out; \\\n  exit 3\n")
    error = caught.value
    assert error.line == 5
    assert "exit 3" in error.step
    assert error.place.endswith(":5")
    assert "out" in error.output
    assert f"{bench.stack}/app:1" not in bench.look().references


def test_tags_move_and_go(bench: Bench) -> None:
    one = bench.build("FROM busybox\nENV A=1\n", "app:1")
    two = bench.build("FROM busybox\nENV A=2\n", "app:2")
    latest = f"{bench.stack}/app:latest"
    for source in (one, two, two):
        bench.do(do.TagImage(source=source, reference=latest))
    references = bench.look().references
    assert references[latest] == references[two] != references[one]
    bench.do(do.TagImage(source=references[one], reference=latest))
    assert bench.look().references[latest] == references[one]
    for _ in range(2):
        bench.do(do.UntagImage(reference=latest))
    assert latest not in bench.look().references
    bench.do(do.UntagImage(reference=two))
    assert references[two] not in bench.look().images
    with pytest.raises(NotFound):
        bench.do(do.TagImage(source=two, reference=latest))


@pytest.mark.parametrize("running", [True, False])
def test_an_image_stays_while_a_container_is_made_of_it(bench: Bench, *, running: bool) -> None:
    reference = bench.build("FROM busybox\nENV A=1\n")
    name = bench.start(container(image=reference)) if running else bench.create(container(image=reference))
    bench.do(do.UntagImage(reference=reference))
    actual = bench.look()
    assert reference not in actual.references
    state = actual.containers[name]
    config = actual.images[state.image_id].config
    assert config is not None
    assert config.environment["A"] == "1"
    bench.do(do.StartContainer(name=name))
    _remove_image(bench, name, state.image_id)


def test_a_root_file_system_becomes_an_image(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "root.tar"
    path.write_bytes(_root())
    reference = f"{bench.stack}/root:1"
    source = RootfsSource(path=str(path), digest="sha256:abc")
    other = f"{bench.stack}/root:2"
    bench.do(do.ImportImage(source=source, references=(reference, other), owner=bench.owner("Image", "root")))
    actual = bench.look()
    assert actual.references[reference] == actual.references[other]
    labels = actual.images[actual.references[reference]].labels
    assert json.loads(labels[LABEL_BUILD]) == {"rootfs": "sha256:abc"}
    assert labels[LABEL_NAME] == "root"


def test_an_archive_is_loaded_and_tagged(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "busybox.tar"
    path.write_bytes(archive())
    image_id = bench.look().references[BASE_IMAGE]
    reference = f"{bench.stack}/loaded:1"
    source = ArchiveSource(path=str(path), image_id=image_id)
    bench.do(do.LoadImage(source=source, references=(reference,), owner=bench.owner("Image", "loaded")))
    assert bench.look().references[reference] == image_id


def test_an_archive_in_oci_layout_is_loaded(real_bench: Bench, tmp_path: Path) -> None:
    built = real_bench.build("FROM busybox\nENV OCI=1\n")
    assert real_bench.engine is not None
    saved = tmp_path / "saved.tar"
    real_bench.engine.docker("save", "-o", str(saved), built)
    image_id = real_bench.look().references[built]
    real_bench.do(do.UntagImage(reference=built))
    path = tmp_path / "oci.tar.gz"
    path.write_bytes(_oci_layout(saved))
    reference = f"{real_bench.stack}/oci:1"
    source = ArchiveSource(path=str(path), image_id=image_id)
    real_bench.do(do.LoadImage(source=source, references=(reference,), owner=real_bench.owner("Image", "oci")))
    actual = real_bench.look(references=frozenset({reference}))
    config = actual.images[actual.references[reference]].config
    assert actual.references[reference] == image_id
    assert config is not None
    assert config.environment["OCI"] == "1"


def _packed(layer: bytes) -> bytes:
    """Pack a layer, unless the engine saves them packed."""
    return layer if layer.startswith(b"\x1f\x8b") else gzip.compress(layer)


def _oci_layout(saved: Path) -> bytes:
    """Turn what `docker save` wrote into a gzipped OCI layout with gzipped layers."""
    with tarfile.open(saved) as archive:
        manifest = json.loads(_member(archive, "manifest.json"))[0]
        config = _member(archive, manifest["Config"])
        layers = [_packed(_member(archive, name)) for name in manifest["Layers"]]
    descriptors = [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer) for layer in layers]
    head = {"schemaVersion": 2, "config": _descriptor("application/vnd.oci.image.config.v1+json", config)}
    listed = json.dumps({**head, "layers": descriptors}).encode()
    index = {"schemaVersion": 2, "manifests": [_descriptor("application/vnd.oci.image.manifest.v1+json", listed)]}
    files = {f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}": blob for blob in (config, listed, *layers)}
    files |= {"index.json": json.dumps(index).encode(), "oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}


def test_archives_that_cannot_be_read_are_errors_that_name_them(real_bench: Bench, tmp_path: Path) -> None:
    broken, owner = tmp_path / "broken.tar", real_bench.owner("Image", "x")
    broken.write_bytes(b"no archive at all" * 100)
    references = (f"{real_bench.stack}/x:1",)
    for path in (broken, tmp_path / "none.tar"):
        for action in (
            do.LoadImage(source=ArchiveSource(path=str(path), image_id="sha256:1"), references=references, owner=owner),
            do.ImportImage(source=RootfsSource(path=str(path), digest="sha256:1"), references=references, owner=owner),
        ):
            with pytest.raises(DeclarativeError) as caught:
                real_bench.do(action)
            assert str(path) in str(caught.value) or references[0] in str(caught.value)
    assert references[0] not in real_bench.look().references


@pytest.mark.parametrize("program", ["gzip", "xz", "bzip2", "zstd"])
def test_packed_root_file_systems_become_images(real_bench: Bench, tmp_path: Path, program: str) -> None:
    path = tmp_path / "root"
    path.write_bytes(subprocess.run([program, "-c"], input=_root(), stdout=subprocess.PIPE, check=True).stdout)
    references = (f"{real_bench.stack}/root:{program}",)
    source = RootfsSource(path=str(path), digest="sha256:abc")
    real_bench.do(do.ImportImage(source=source, references=references, owner=real_bench.owner("Image", "root")))
    assert references[0] in real_bench.look().references


def _root() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        packed.addfile(tarfile.TarInfo("empty"))
    return buffer.getvalue()


def _remove_image(bench: Bench, name: str, image_id: str) -> None:
    bench.do(do.RemoveContainer(name=name))
    if bench.engine is not None:
        bench.engine.docker("rmi", image_id)
