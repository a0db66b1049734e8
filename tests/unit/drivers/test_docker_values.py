"""The small readers and writers of the Docker driver, by documents as engines write them."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.core.resources import Attachment, FileEntry, Mount, Port
from declarative.core.state import LABEL_KIND, LABEL_NAME, LABEL_SPEC, LABEL_STACK, Owner
from declarative.drivers.docker import labels
from declarative.drivers.docker.archive import archive_of
from declarative.drivers.docker.build import Transcript
from declarative.drivers.docker.container_read import read_bind, read_container
from declarative.drivers.docker.container_write import first_network, later_networks, write_bind, write_container
from declarative.drivers.docker.image_read import familiar, read_image, read_images, read_revisions
from declarative.drivers.docker.images import Layers, label_changes
from declarative.drivers.docker.logs import _Splitter
from declarative.drivers.docker.network_read import read_network
from declarative.drivers.docker.read_only import covered, folders_of
from declarative.drivers.docker.remote import side_by_side
from declarative.drivers.docker.subject import about
from declarative.errors import NotFound, Unavailable, Unsupported
from declarative.oci.dockerfile.lexer import lex
from tests.contract.bench import container

if TYPE_CHECKING:
    from declarative.drivers.port import Progress

ID = "0123456789ab" + "c" * 52
_TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=12)


def _document(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "Id": ID,
        "Name": "/web",
        "Image": "sha256:1",
        "Config": {"Image": "app:1", "Labels": None},
        "HostConfig": {"NetworkMode": "default"},
        "State": {"Status": "running", "StartedAt": "0001-01-01T00:00:00Z"},
        "NetworkSettings": {"Networks": {"bridge": {"Aliases": None}}},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = document
        for parent in parents:
            place = place[parent]
        place[last] = value
    return document


def test_a_container_of_which_little_is_told_is_read() -> None:
    state = read_container(_document(), {})
    assert (state.name, state.started, state.owner, state.health) == ("web", "", None, "")
    assert state.spec.image.reference == "app:1"
    assert state.spec.network_mode == "bridge"
    assert state.spec.networks == {}
    assert state.spec.restart is None


def test_what_engines_add_on_their_own_is_not_read_as_asked_for() -> None:
    networks = {"net": {"Aliases": [ID[:12], "web", "host"], "IPAMConfig": {}}}
    document = _document(
        Config__Hostname="host",
        HostConfig__NetworkMode="net",
        NetworkSettings__Networks=networks,
        HostConfig__Privileged=True,
        HostConfig__SecurityOpt=["label=disable"],
    )
    spec = read_container(document, {}).spec
    assert spec.networks == {"net": Attachment(aliases=("web",))}
    assert spec.security_opt == ()
    document["Config"]["Hostname"] = ID[:12]
    assert read_container(document, {}).spec.hostname is None


def test_other_containers_are_named_by_name() -> None:
    document = _document(HostConfig__NetworkMode=f"container:{ID}", HostConfig__PidMode="container:gone")
    spec = read_container(document, {ID: "app"}).spec
    assert (spec.network_mode, spec.pid, spec.networks) == ("container:app", "container:gone", {})


@pytest.mark.parametrize("broken", ["{broken", "[" * 50_000])
def test_a_label_that_somebody_broke_is_no_spec(broken: str) -> None:
    owner = {LABEL_STACK: "s", LABEL_KIND: "Container", LABEL_NAME: "web", LABEL_SPEC: broken}
    state = read_container(_document(Config__Labels=owner), {})
    assert state.owner == Owner(stack="s", kind="Container", name="web")
    assert state.applied is None
    assert not labels.same_spec(owner, Owner(stack="s", kind="Container", name="web"), {})


def test_quotas_set_by_hand_are_seen_as_cpus() -> None:
    document = _document(HostConfig__CpuQuota=50_000, HostConfig__CpuPeriod=100_000)
    assert read_container(document, {}).spec.resources.cpus == 500_000_000


@pytest.mark.parametrize(
    "mount",
    [
        Mount(target="/t", type="bind", source="/s", create_host_path=True),
        Mount(target="/t", type="bind", source="/s", create_host_path=True, read_only=True, propagation="rslave"),
    ],
)
def test_binds_are_read_as_they_were_written(mount: Mount) -> None:
    assert read_bind(write_bind(mount)) == mount


def test_binds_of_others_are_understood() -> None:
    assert read_bind("data:/d:nocopy,z") == Mount(target="/d", source="data", nocopy=True)
    assert read_bind(f"{'a' * 64}:/d") == Mount(target="/d")


def test_networks_at_creation_and_after_it() -> None:
    spec = container(networks={"a": Attachment(), "b": Attachment()})
    assert first_network(spec) == "a"
    assert later_networks(spec, (1, 41)) == ["b"]
    assert later_networks(spec, (1, 44)) == []
    old = write_container(spec, {}, {}, (1, 41))["NetworkingConfig"]["EndpointsConfig"]
    new = write_container(spec, {}, {}, (1, 44))["NetworkingConfig"]["EndpointsConfig"]
    assert (set(old), set(new)) == ({"a"}, {"a", "b"})


def test_a_port_published_twice_is_one_key() -> None:
    spec = container(ports=(Port(target=80, published=1), Port(target=80, published=2)))
    bindings = write_container(spec, {}, {}, (1, 44))["HostConfig"]["PortBindings"]
    assert bindings == {"80/tcp": [{"HostIp": "", "HostPort": "1"}, {"HostIp": "", "HostPort": "2"}]}


@pytest.mark.parametrize("address", ["", "0.0.0.0", "::", "127.0.0.1"])  # noqa: S104 - shown
def test_a_port_has_the_address_that_was_asked_for(address: str) -> None:
    ports = (Port(target=80, published=1, host_ip=address), Port(target=81, host_ip=address))
    written = write_container(container(ports=ports), {}, {}, (1, 44))["HostConfig"]["PortBindings"]
    assert read_container(_document(HostConfig__PortBindings=written), {}).spec.ports == ports


def test_images_of_engines_that_write_references_out() -> None:
    documents = [
        {
            "Id": "sha256:1",
            "RepoTags": ["docker.io/library/busybox:latest"],
            "RepoDigests": ["docker.io/library/busybox@sha256:d"],
        },
        {"Id": "sha256:2", "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"], "Labels": None},
    ]
    images, references = read_images(documents)
    assert references == {"busybox:latest": "sha256:1", "busybox@sha256:d": "sha256:1"}
    assert images["sha256:2"].references == ()
    assert familiar("docker.io/library/redis") == "redis:latest"
    assert (
        read_image({"Id": "sha256:3", "Os": "linux", "Architecture": "arm", "Variant": "v7"}).platform == "linux/arm/v7"
    )


def test_images_that_only_look_like_history_are_none() -> None:
    documents = [
        {"Id": "a", "RepoTags": ["declarative-history/s:1"], "Labels": {"declarative.revision": "x"}},
        {
            "Id": "b",
            "RepoTags": ["declarative-history/s:2"],
            "Labels": {"declarative.revision": "2", "declarative.objects": "{", "declarative.updates": "[" * 50_000},
        },
        {"Id": "c", "RepoTags": ["declarative-history/sx:3"], "Labels": {"declarative.revision": "3"}},
    ]
    (only,) = read_revisions(documents, "s")
    assert (only.number, only.objects, only.updates) == (2, {}, {})


def test_the_address_range_that_was_asked_for_is_read() -> None:
    config = [{"Subnet": "10.0.0.0/24"}, {"Subnet": "fd00::/64"}]
    owner = {LABEL_STACK: "s", LABEL_KIND: "Network", LABEL_SPEC: '{"spec.subnet":"fd00::/64"}'}
    document = {"Id": "i", "Name": "n", "IPAM": {"Config": config}}
    assert read_network({**document, "Labels": owner}).spec.subnet == "fd00::/64"
    assert read_network(document).spec.subnet == "10.0.0.0/24"
    assert read_network({"Id": "i", "Name": "host", "IPAM": None}).spec.subnet is None


@given(st.dictionaries(_TEXT.filter(str.strip), _TEXT, max_size=4))
def test_labels_pass_through_instructions(found: dict[str, str]) -> None:
    found = {name.strip(): text for name, text in found.items()}
    instructions = lex(("FROM scratch\n" + label_changes(found) + "\n").encode()).instructions[1:]
    assert len(instructions) == len(found)


@given(st.lists(st.binary(max_size=8).filter(lambda line: b"\n" not in line), max_size=6), st.integers(1, 5))
def test_log_lines_are_whole_however_they_are_split(lines: list[bytes], size: int) -> None:
    whole = b"\n".join(lines)
    splitter = _Splitter("web", timed=False)
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    found = [line.text for piece in pieces for line in splitter.feed("stdout", piece)]
    found += [line.text for line in splitter.end()]
    expected = [line.removesuffix(b"\r") for line in lines]
    assert found == (expected[:-1] if expected and not lines[-1] else expected)


def test_a_transcript_knows_where_it_is() -> None:
    transcript = Transcript()
    for line in ("Step 1/2 : FROM busybox\n", " ---> 0123456789ab\n", "Step 2/2 : RUN false\n", " ---> Running in 1\n"):
        transcript.take(line)
    assert (transcript.text, transcript.layer) == ("RUN false", "0123456789ab")


def test_layers_add_up() -> None:
    said: list[Progress] = []
    layers = Layers(said.append)
    layers.take({"status": "Pulling from x"})
    for name, current in (("a", 5), ("b", 3), ("a", 10)):
        layers.take({"status": "Downloading", "id": name, "progressDetail": {"current": current, "total": 10}})
    assert [(progress.done, progress.total) for progress in said] == [(0, 0), (5, 10), (8, 20), (13, 20)]


def test_folders_that_become_volumes_are_the_outermost() -> None:
    files = [FileEntry(target=path, content=b"") for path in ("/etc/app/x", "/etc/y", "/opt/z", "/etcetera/w")]
    assert folders_of("web", files) == ["/etc", "/etcetera", "/opt"]
    assert covered("/etc/x", ["/etc"])
    assert not covered("/etcetera", ["/etc"])
    with pytest.raises(Unsupported):
        folders_of("web", [FileEntry(target="/x", content=b"")])
    assert archive_of(files) == archive_of(files)


def test_nothing_follows_the_end_of_an_archive_of_files() -> None:
    packed = archive_of([FileEntry(target="/etc/motd", content=b"x" * 600)])
    assert len(packed) == 512 + 2 * 512 + 2 * 512  # one header, two blocks of content, two of zeros: tar(5)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getnames() == ["etc/motd"]


def test_errors_get_the_subject_they_are_about() -> None:
    with pytest.raises(NotFound) as absent, about("container web", "unix:///x"):
        raise NotFound("unix:///x", "no such container")
    assert absent.value.subject == "container web"
    with pytest.raises(Unavailable) as silent, about("container web", "unix:///x"):
        raise Unavailable("unix:///x", "does not answer")
    assert silent.value.subject == "container web at unix:///x"
    with pytest.raises(NotFound) as other, about("container web", "unix:///x"):
        raise NotFound("image app", "not there")
    assert other.value.subject == "image app"


def test_side_by_side_keeps_order_and_raises_the_first_error() -> None:
    assert side_by_side(lambda number: number * 2, range(50)) == [number * 2 for number in range(50)]
    assert side_by_side(str, []) == []

    def fail(number: int) -> int:
        raise NotFound(str(number), "no")

    with pytest.raises(NotFound):
        side_by_side(fail, range(20))
