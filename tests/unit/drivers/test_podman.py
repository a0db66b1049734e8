"""Podman in Docker's words: documents as Podman 4.3 writes them, and filters as it reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from declarative.core.resources import (
    Attachment,
    ContainerSpec,
    Healthcheck,
    ImageRef,
    Logging,
    Mount,
    NetworkSpec,
    Port,
    Resources,
)
from declarative.core.state import LABEL_KIND, LABEL_NAME, LABEL_STACK, ContainerState, ImageConfig, NetworkState
from declarative.drivers.docker import lock
from declarative.drivers.docker.container_read import read_state
from declarative.drivers.docker.labels import KIND_FILES, KIND_HISTORY, KIND_LOCK
from declarative.drivers.docker.podman import in_docker_s_names, in_docker_s_words, network_in_docker_s_words
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.dockerapi.client import EngineClient


def seen(applied: Mapping[str, Any], **spec: Any) -> ContainerState:
    return ContainerState(
        name="shop-web-1",
        id="1",
        image_id="sha256:1",
        spec=ContainerSpec(image=ImageRef(reference="busybox:latest"), **spec),
        applied=dict(applied),
        state="running",
    )


ADDED = {"HOME": "/root", "HOSTNAME": "b5af15134090", "TERM": "xterm", "container": "podman"}

USUAL = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)


@pytest.mark.parametrize(
    ("applied", "image", "left"),
    [
        ({}, {}, {"A": "1"}),
        ({"spec.environment.TERM": "xterm"}, {}, {"A": "1", "TERM": "xterm"}),
        ({}, {"HOME": "/root"}, {"A": "1", "HOME": "/root"}),
    ],
)
def test_its_own_environment_is_taken_off_and_no_other(
    applied: Mapping[str, str], image: Mapping[str, str], left: Mapping[str, str]
) -> None:
    state = in_docker_s_words(seen(applied, environment={"A": "1", **ADDED}), ImageConfig(environment=image))
    assert state.spec.environment == left


def test_the_rest_of_what_it_adds_is_taken_off() -> None:
    state = in_docker_s_words(
        seen(
            {"spec.cap_drop": ["ALL"], "spec.tmpfs./run": "size=1m,nosuid"},
            pid="private",
            stop_signal="9",
            read_only=True,
            tmpfs={"/run": "size=1m,nosuid,rw,rprivate,nodev", "/tmp": "rw,tmpcopyup", "/cache": "rw,tmpcopyup"},  # noqa: S108
            ports=(Port(target=80, published=8080, host_ip="0.0.0.0"),),  # noqa: S104 - shown
            volumes=(Mount(target="/data", source="shop_data", propagation="rprivate"),),
            cap_drop=USUAL,
            stop_grace_period=0,
            entrypoint=("",),
            networks={"podman": Attachment()},
            healthcheck=Healthcheck(test=("CMD", "true"), interval=1, timeout=30_000_000_000, retries=3),
            resources=Resources(memory=1, pids=2048),
        ),
        None,
    )
    assert state.spec == ContainerSpec(
        image=ImageRef(reference="busybox:latest"),
        stop_signal="SIGKILL",
        read_only=True,
        tmpfs={"/run": "size=1m,nosuid", "/cache": ""},
        ports=(Port(target=80, published=8080),),
        volumes=(Mount(target="/data", source="shop_data"),),
        cap_drop=("ALL",),
        networks={"bridge": Attachment()},
        healthcheck=Healthcheck(test=("CMD", "true"), interval=1),
        resources=Resources(memory=1),
    )


def test_what_it_does_not_tell_is_as_it_was_applied() -> None:
    applied = {
        "spec.sysctls.net.core.somaxconn": "100",
        "spec.logging.driver": "json-file",
        "spec.logging.options.max-size": "1m",
        "spec.init": False,
        "spec.expose": ["81/tcp"],
        "spec.devices": ["/dev/null:/dev/nothing:rw"],
        "spec.networks.front": {"aliases": ["web"], "ipv4_address": "10.77.3.9"},
        "spec.volumes./soft": {"type": "tmpfs", "size": 65536},
        "spec.ports": ["0.0.0.0::82/tcp"],
        "spec.ipc": "private",
    }
    state = seen(
        applied,
        logging=Logging(driver="json-file"),
        devices=("/dev/null:/dev/nothing:", "/dev/zero:/dev/zero:"),
        networks={"front": Attachment(aliases=("web",))},
        tmpfs={"/soft": "size=65536,mode=0"},
        ports=(Port(target=82, published=39605),),
        ipc="shareable",
    )
    assert in_docker_s_words(state, ImageConfig(exposed=("80/tcp",))).spec == ContainerSpec(
        image=ImageRef(reference="busybox:latest"),
        sysctls={"net.core.somaxconn": "100"},
        logging=Logging(driver="json-file", options={"max-size": "1m"}),
        init=False,
        expose=("80/tcp", "81/tcp"),
        devices=("/dev/null:/dev/nothing:rw", "/dev/zero:/dev/zero:rwm"),
        networks={"front": Attachment(aliases=("web",), ipv4_address="10.77.3.9")},
        volumes=(Mount(target="/soft", type="tmpfs", size=65536),),
        ports=(Port(target=82, host_ip="0.0.0.0"),),  # noqa: S104 - shown
        ipc="private",
    )


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (((), ()), ((), ("AUDIT_WRITE", "MKNOD", "NET_RAW"))),  # nobody is given these on Debian
        ((("MKNOD", "SYS_TIME"), ()), (("SYS_TIME",), ("AUDIT_WRITE", "NET_RAW"))),
        (((), ("CHOWN", "MKNOD", "SYS_ADMIN")), ((), ("AUDIT_WRITE", "CHOWN", "MKNOD", "NET_RAW"))),
        ((("KILL", "SYS_TIME"), ("ALL",)), (("SYS_TIME",), tuple(name for name in USUAL if name != "KILL"))),
        ((("ALL",), ()), (tuple(f"POWER_{number}" for number in range(26)), ())),
    ],
)
def test_capabilities_are_told_by_how_they_differ_from_the_usual(
    asked: tuple[tuple[str, ...], tuple[str, ...]], told: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    applied = {"spec.cap_add": list(asked[0]), "spec.cap_drop": list(asked[1])}
    spec = in_docker_s_words(seen(applied, cap_add=told[0], cap_drop=told[1]), None).spec
    assert (spec.cap_add, spec.cap_drop) == asked


def test_the_mtu_of_a_network_has_docker_s_name_unless_it_was_asked_for_by_its_own() -> None:
    state = NetworkState(name="shop_back", id="1", spec=NetworkSpec(options={"mtu": "1400"}))
    assert network_in_docker_s_words(state).spec.options == {"com.docker.network.driver.mtu": "1400"}
    asked = replace(state, applied={"spec.options.mtu": "1400"})
    assert network_in_docker_s_words(asked) == asked


@pytest.mark.parametrize("reference", ["localhost/shop/app:1", "docker.io/shop/app:1"])
def test_a_container_s_image_has_the_name_that_docker_would_show(reference: str) -> None:
    state = seen({})
    told = replace(state, spec=replace(state.spec, image=ImageRef(reference=reference)))
    assert in_docker_s_words(told, None).spec.image.reference == "shop/app:1"


@pytest.mark.parametrize("shown", ["", "0.0.0.0"])  # noqa: S104 - shown
def test_a_port_of_every_address_is_as_it_was_asked_for(shown: str) -> None:
    ports = (Port(target=80, published=8080, host_ip=shown),)
    for address in ("", "0.0.0.0"):  # noqa: S104 - shown
        asked = Port(target=80, published=8080, host_ip=address)
        state = in_docker_s_words(seen({"spec.ports": [str(asked)]}, ports=ports), None)
        assert state.spec.ports == (asked,)


def test_what_was_asked_for_stays() -> None:
    published = Port(target=80, published=8080, host_ip="127.0.0.1")
    applied = {
        "spec.resources.pids": 2048,
        "spec.volumes./data": {"propagation": "rprivate"},
        "spec.healthcheck.retries": 3,
        "spec.cap_drop": ["CHOWN"],
        "spec.ports": [str(published)],
    }
    state = seen(
        applied,
        stop_signal="SIGRTMIN+3",
        tmpfs={"/run": ""},
        ports=(published,),
        volumes=(Mount(target="/data", source="/host", type="bind", propagation="rprivate"),),
        cap_drop=("CHOWN",),
        healthcheck=Healthcheck(test=("CMD", "true"), retries=3),
        resources=Resources(pids=2048),
    )
    assert in_docker_s_words(state, None) == state


@pytest.mark.parametrize(
    ("word", "state"),
    [("stopped", "exited"), ("stopping", "running"), ("configured", "created"), ("running", "running")],
)
def test_its_states_are_ours(word: str, state: str) -> None:
    assert read_state(word) == state


def test_images_without_a_registry_have_their_names() -> None:
    document = {
        "Id": "1",
        "RepoTags": ["localhost/shop/app:1", "docker.io/library/busybox:latest"],
        "RepoDigests": None,
    }
    assert in_docker_s_names([document, None]) == [
        {"Id": "1", "RepoTags": ["shop/app:1", "docker.io/library/busybox:latest"], "RepoDigests": []}
    ]


class Lax:
    """An engine that gives everything, whatever filter is asked for: what is removed there must have been looked at by us."""

    def __init__(self) -> None:
        self.volumes = {
            "declarative-lock-shop": labels(KIND_LOCK, "declarative-lock-shop"),
            "declarative-lock-shop.beat-3": labels(KIND_LOCK, "declarative-lock-shop.beat-3"),
            "declarative-lock-other": {**labels(KIND_LOCK, "x"), LABEL_STACK: "other"},
            "files": labels(KIND_FILES, "web"),
            "shop_data": labels("Volume", "data"),
            "foreign": {},
        }
        self.containers = {
            "shop-web-1": labels("Container", "web"),
            "shop-web-2.making": labels("Container", "web"),
            "other-web-1.making": {**labels("Container", "web"), LABEL_STACK: "other"},
            "foreign.making": {},
        }
        entry = labels(KIND_HISTORY, "3")
        self.images: dict[str, tuple[list[str] | None, dict[str, str]]] = {
            "unfinished": (None, entry),
            "unfinished-too": (["<none>:<none>"], entry),
            "revision": (["declarative-history/shop:3"], entry),
            "other": (None, {**entry, LABEL_STACK: "other"}),
            "built": (None, labels("Image", "app")),
            "foreign": (None, {}),
        }
        self.removed: list[str] = []

    def get_json(self, path: str, query: object = None) -> Any:
        del query
        if path == "/volumes":
            return {"Volumes": [{"Name": name, "Labels": found or None} for name, found in self.volumes.items()]}
        if path == "/images/json":
            return [{"Id": name, "RepoTags": tags, "Labels": found} for name, (tags, found) in self.images.items()]
        if path == "/containers/json":
            return [{"Id": name, "Names": [f"/{name}"], "Labels": found} for name, found in self.containers.items()]
        return {"Mounts": [], "HostConfig": {}, "Config": {}}

    def delete(self, path: str, query: object = None) -> None:
        del query
        self.removed.append(path.rpartition("/")[2])


def labels(kind: str, name: str) -> dict[str, str]:
    return {LABEL_STACK: "shop", LABEL_KIND: kind, LABEL_NAME: name}


def test_a_filter_that_is_read_otherwise_costs_nobody_anything() -> None:
    engine: Any = Lax()
    client: EngineClient = engine
    lock._sweep(client, "shop")
    left = ["declarative-lock-shop.beat-3", "shop-web-2.making", "files", "unfinished", "unfinished-too"]
    assert engine.removed == left
