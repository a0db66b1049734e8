"""One look at an engine: everything that a stack owns and everything that a scope names.

The rule: a fixed number of lists, then one pipelined round of inspects; whatever disappears in between was removed, whatever
cannot be read raises. 200 containers take some 30 ms of the engine and less of ours, so nothing here is done twice.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from declarative.core.state import LABEL_KIND, LABEL_STACK, SUFFIX_MAKING, Actual, EngineInfo, Stranger
from declarative.dockerapi.wire import encode_query, quote_name
from declarative.drivers.docker.container_read import read_container
from declarative.drivers.docker.image_read import familiar, read_image, read_images, read_revisions
from declarative.drivers.docker.labels import CONTAINER_KINDS, KIND_LOCK
from declarative.drivers.docker.network_read import read_network, read_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from declarative.core.state import ContainerState, ImageState, NetworkState, Scope, VolumeState
    from declarative.dockerapi.client import EngineClient
    from declarative.dockerapi.wire import Json

BUILDKIT_API = (1, 39)
"""Docker 18.09, the first with BuildKit in the engine."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "armv6l": "arm/v6", "i686": "386"}


def take(client: EngineClient, scope: Scope, *, buildkit: bool) -> Actual:
    """Look. `buildkit`: a client that can drive BuildKit is on this machine. Registries are not asked here."""
    info = _meanwhile(lambda: client.get_json("/info"))
    listed, image_list, network_list, volume_list = client.get_many(
        [
            "/containers/json?all=1",
            "/images/json",
            "/networks",
            "/volumes" + _label_filter(scope.stack),
        ]
    )
    names = {item["Id"]: _name(item) for item in listed}
    images, references = read_images(image_list)
    containers, strangers = _containers(client, scope, listed, names)
    wanted = {state.image_id for state in containers.values()}
    wanted.update(references[name] for name in map(familiar, scope.references) if name in references)
    wanted.update(name for name in scope.references if name in images)
    revisions = read_revisions(image_list, scope.stack)
    return Actual(
        stack=scope.stack,
        engine=engine_info(client, info(), buildkit=buildkit),
        images=images | _inspected(client, sorted(wanted)),
        references=references,
        containers=containers,
        strangers=strangers,
        networks=_networks(scope, network_list, listed),
        volumes=_volumes(client, scope, volume_list),
        revision=revisions[-1] if revisions else None,
        leftovers=_leftovers(scope.stack, listed, volume_list),
    )


def _meanwhile(ask: Callable[[], Json]) -> Callable[[], Json]:
    """Ask on a connection of its own; what is given waits for the answer. `/info` alone takes dockerd 10 ms."""
    answer: list[Json] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            answer.append(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def wait() -> Json:
        thread.join()
        if errors:
            raise errors[0]
        return answer[0]

    return wait


def _label_filter(stack: str) -> str:
    return "?" + encode_query({"filters": {"label": [f"{LABEL_STACK}={stack}"]}})


def _name(item: Json) -> str:
    """Give a container's own name; links made by others are listed beside it, as `/other/alias`."""
    own = next((name for name in item.get("Names") or () if name.count("/") == 1), "")
    return str(own).removeprefix("/")


def engine_info(client: EngineClient, info: Json, *, buildkit: bool) -> EngineInfo:
    """Say what engine this is. BuildKit is in Docker from 18.09 on (API 1.39); Podman has its own builder."""
    facts = client.facts
    podman = "libpod" in facts.server.lower() or "podman" in str(info.get("ServerVersion", "")).lower()
    machine = str(info.get("Architecture", ""))
    return EngineInfo(
        name="podman" if podman else "docker",
        version=str(info.get("ServerVersion", "")),
        api_version="{}.{}".format(*facts.api),
        platform=f"{info.get('OSType') or 'linux'}/{_ARCHITECTURES.get(machine, machine or 'amd64')}",
        log_driver=info.get("LoggingDriver") or "json-file",
        buildkit=buildkit and not podman and facts.api >= BUILDKIT_API,
    )


def _containers(
    client: EngineClient, scope: Scope, listed: Json, names: Mapping[str, str]
) -> tuple[dict[str, ContainerState], tuple[Stranger, ...]]:
    wanted: list[str] = []
    strangers: list[Stranger] = []
    for item in listed:
        labels = item.get("Labels") or {}
        name = names[item["Id"]]
        ours = labels.get(LABEL_STACK) == scope.stack and labels.get(LABEL_KIND) in CONTAINER_KINDS
        if name in scope.containers or (ours and not name.endswith(SUFFIX_MAKING)):
            wanted.append(f"/containers/{item['Id']}/json")
        elif not ours:
            strangers.append(_stranger(item, name, labels))
    states = [read_container(document, names) for document in client.get_many(wanted) if document is not None]
    return {state.name: state for state in states}, tuple(strangers)


def _stranger(item: Json, name: str, labels: Mapping[str, str]) -> Stranger:
    ports = {
        (port.get("IP", ""), port["PublicPort"], port.get("Type", "tcp"))
        for port in item.get("Ports") or ()
        if port.get("PublicPort")
    }
    return Stranger(
        name=name,
        running=item.get("State") in {"running", "paused", "restarting"},
        ports=tuple(sorted(ports)),
        stack=labels.get(LABEL_STACK, "") if labels.get(LABEL_KIND) in CONTAINER_KINDS else "",
    )


def _inspected(client: EngineClient, ids: Iterable[str]) -> dict[str, ImageState]:
    documents = client.get_many([f"/images/{name}/json" for name in ids])
    return {state.id: state for state in (read_image(document) for document in documents if document is not None)}


def _networks(scope: Scope, documents: Json, listed: Json) -> dict[str, NetworkState]:
    attached: dict[str, list[str]] = {}
    for item in listed:
        for network in (item.get("NetworkSettings") or {}).get("Networks") or ():
            attached.setdefault(network, []).append(_name(item))
    found: dict[str, NetworkState] = {}
    for document in documents:
        name = document["Name"]
        state = read_network(document, attached.get(name, ()))
        if name in scope.networks or (state.owner is not None and state.owner.stack == scope.stack):
            found[name] = state
    return found


def _volumes(client: EngineClient, scope: Scope, documents: Json) -> dict[str, VolumeState]:
    states = [read_volume(document) for document in documents.get("Volumes") or ()]
    found = {state.name: state for state in states if state.owner is not None}
    others = sorted(scope.volumes - found.keys())
    for document in client.get_many([f"/volumes/{quote_name(name)}" for name in others]):
        if document is not None:
            found[document["Name"]] = read_volume(document)
    return found


def _leftovers(stack: str, listed: Json, volumes: Json) -> tuple[str, ...]:
    """Name what a killed apply leaves (or a living one has under way): locks, and containers that are half made."""
    making = [
        _name(item)
        for item in listed
        if (item.get("Labels") or {}).get(LABEL_STACK) == stack and _name(item).endswith(SUFFIX_MAKING)
    ]
    locks = [
        item["Name"] for item in volumes.get("Volumes") or () if (item.get("Labels") or {}).get(LABEL_KIND) == KIND_LOCK
    ]
    return tuple(sorted([*making, *locks]))
