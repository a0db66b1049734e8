"""The port's promises about networks, volumes, images and tags, and about what belongs to whom."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from declarative.core import actions as do
from declarative.core.resources import ArchiveSource, Attachment, Mount, NetworkSpec, RootfsSource, VolumeSpec
from declarative.core.state import LABEL_BUILD, LABEL_NAME
from declarative.drivers.port import BuildFailed
from declarative.errors import Conflict, NotFound
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


def _root() -> bytes:
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        packed.addfile(tarfile.TarInfo("empty"))
    return buffer.getvalue()


def _remove_image(bench: Bench, name: str, image_id: str) -> None:
    bench.do(do.RemoveContainer(name=name))
    if bench.engine is not None:
        bench.engine.docker("rmi", image_id)
