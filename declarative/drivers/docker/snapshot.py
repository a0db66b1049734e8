"""One look at an engine: everything that a stack owns and everything that a scope names.

The rule: a fixed number of lists, then one pipelined round of inspects (both asked in `ahead`); whatever disappears in between
was removed, whatever cannot be read raises. 200 containers take some 30 ms of the engine and less of ours, so nothing here is
done twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.state import (
    LABEL_KIND,
    LABEL_MADE,
    LABEL_STACK,
    LIVING,
    SUFFIX_MAKING,
    Actual,
    EngineInfo,
    Stranger,
)
from declarative.dockerapi.wire import quote_name
from declarative.drivers.docker.ahead import Ahead, is_owned, name_of
from declarative.drivers.docker.container_read import read_container
from declarative.drivers.docker.image_read import familiar, read_image, read_images, read_revisions
from declarative.drivers.docker.labels import CONTAINER_KINDS, KIND_LOCK
from declarative.drivers.docker.network_read import is_lost, known_networks, read_network, read_volume
from declarative.drivers.docker.podman import (
    in_docker_s_names,
    in_docker_s_words,
    is_podman,
    network_in_docker_s_words,
)
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from declarative.core.state import ContainerState, ImageState, NetworkState, Scope, VolumeState
    from declarative.dockerapi.client import EngineClient
    from declarative.dockerapi.wire import Json

_BUILDKIT_API = (1, 39)  # Docker 18.09, the first with BuildKit in the engine

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm/v7", "armv6l": "arm/v6", "i686": "386"}


def take(client: EngineClient, scope: Scope, *, buildkit: bool, ahead: Ahead | None = None) -> Actual:
    """Look. `buildkit`: a client that can drive BuildKit is on this machine. Registries are not asked here.

    `ahead`: what was asked already, where it is fresh. To be used once; it is done with afterwards.
    """
    if ahead is not None and not ahead.fresh:
        ahead.drop()
        ahead = None
    asked = ahead or Ahead(client)
    try:
        return _read(client, asked, scope, buildkit=buildkit)
    finally:
        asked.drop()


def _read(client: EngineClient, asked: Ahead, scope: Scope, *, buildkit: bool) -> Actual:
    listed = asked.listed()
    containers, strangers = _containers(asked, scope)
    image_list, network_list, volume_list = asked.lists()
    podman = is_podman(client)
    if podman:
        image_list = in_docker_s_names(image_list)
    for name, item in _foreign_copies(listed, image_list):
        state = containers.pop(name, None)
        if state is not None and name in scope.containers:
            containers[name] = replace(state, owner=None)
        elif state is not None:
            strangers.append(_stranger(item, name, {}))
    images, references = read_images(image_list)
    wanted = {state.image_id for state in containers.values()}
    wanted.update(references[name] for name in map(familiar, scope.references) if name in references)
    wanted.update(name for name in scope.references if name in images)
    images |= _inspected(client, sorted(wanted))
    revisions = read_revisions(image_list, scope.stack)
    engine = engine_info(client, asked.info(), buildkit=buildkit)
    networks = _networks(scope, network_list, listed)
    if podman:
        containers = _of_podman(containers, images)
        networks = {name: network_in_docker_s_words(state) for name, state in networks.items()}
    containers |= _off_lost_networks(containers, listed, network_list)
    return Actual(
        stack=scope.stack,
        engine=engine,
        images=images,
        references=references,
        containers=containers,
        strangers=tuple(strangers),
        networks=networks,
        volumes=_volumes(client, scope, volume_list),
        revision=revisions[-1] if revisions else None,
        leftovers=_leftovers(scope.stack, listed, volume_list),
    )


def is_embedded(client: EngineClient) -> bool:
    """Tell whether it is our own engine, whose one builder knows what BuildKit's frontend does."""
    return client.facts.server.startswith("Declarative/")


def has_buildkit(client: EngineClient) -> bool:
    """Tell whether BuildKit is in the engine, to be driven by buildx. Podman and our own have builders of their own."""
    return client.facts.api >= _BUILDKIT_API and not is_podman(client) and not is_embedded(client)


def engine_info(client: EngineClient, info: Json, *, buildkit: bool) -> EngineInfo:
    """Say what engine this is. `buildkit`: a client that can drive BuildKit is on this machine."""
    facts = client.facts
    name = "podman" if is_podman(client) else "declarative" if is_embedded(client) else "docker"
    machine = str(info.get("Architecture", ""))
    return EngineInfo(
        name=name,
        version=str(info.get("ServerVersion", "")),
        api_version="{}.{}".format(*facts.api),
        platform=f"{info.get('OSType') or 'linux'}/{_ARCHITECTURES.get(machine, machine or 'amd64')}",
        log_driver=info.get("LoggingDriver") or "json-file",
        processors=int(info.get("NCPU") or 0),
        buildkit=name == "declarative" or (buildkit and has_buildkit(client)),
    )


def _containers(asked: Ahead, scope: Scope) -> tuple[dict[str, ContainerState], list[Stranger]]:
    wanted: list[str] = []
    strangers: list[Stranger] = []
    names: dict[str, str] = {}
    for item in asked.listed():
        name = names[item["Id"]] = name_of(item)
        labels = item.get("Labels") or {}
        if name in scope.containers or is_owned(item, scope.stack):
            wanted.append(item["Id"])
        elif labels.get(LABEL_STACK) != scope.stack or labels.get(LABEL_KIND) not in CONTAINER_KINDS:
            strangers.append(_stranger(item, name, labels))
    states = [read_container(document, names) for document in asked.inspected(wanted)]
    return {state.name: state for state in states}, strangers


def _foreign_copies(listed: list[Json], images: list[Json]) -> Iterator[tuple[str, Json]]:
    """Yield containers that others made from an image that was committed of one of ours: their labels came with it."""
    of_images = {image["Id"]: (image.get("Labels") or {}).get(LABEL_MADE) for image in images}
    for item in listed:
        made = (item.get("Labels") or {}).get(LABEL_MADE)
        if made and of_images.get(item.get("ImageID", "")) == made:
            yield name_of(item), item


def _off_lost_networks(
    containers: Mapping[str, ContainerState], listed: list[Json], networks: list[Json]
) -> dict[str, ContainerState]:
    """Give the stopped containers that dockerd has on networks that are gone, and be there others of their names, without them.

    It knows them by their ids, and starts no container whose network was removed meanwhile, until it is taken off and attached.
    """
    known = known_networks(networks)
    found = {}
    for item in listed:
        state = containers.get(name_of(item))
        if state is None or state.state in LIVING:
            continue
        on = (item.get("NetworkSettings") or {}).get("Networks") or {}
        lost = {name for name, endpoint in on.items() if is_lost(endpoint, known)}
        if lost & state.spec.networks.keys():
            left = {name: attachment for name, attachment in state.spec.networks.items() if name not in lost}
            found[state.name] = replace(state, spec=replace(state.spec, networks=left))
    return found


def _of_podman(containers: Mapping[str, ContainerState], images: Mapping[str, ImageState]) -> dict[str, ContainerState]:
    found = ((name, state, images.get(state.image_id)) for name, state in containers.items())
    return {name: in_docker_s_words(state, image.config if image else None) for name, state, image in found}


def _stranger(item: Json, name: str, labels: Mapping[str, str]) -> Stranger:
    ports = {
        (port.get("IP", ""), port["PublicPort"], port.get("Type", "tcp"))
        for port in item.get("Ports") or ()
        if port.get("PublicPort")
    }
    return Stranger(
        name=name,
        running=item.get("State") in LIVING,
        ports=tuple(sorted(ports)),
        stack=labels.get(LABEL_STACK, "") if labels.get(LABEL_KIND) in CONTAINER_KINDS else "",
    )


def _inspected(client: EngineClient, ids: Iterable[str]) -> dict[str, ImageState]:
    documents = client.get_many([f"/images/{name}/json" for name in ids])
    if is_podman(client):
        documents = in_docker_s_names(documents)
    return {state.id: state for state in (read_image(document) for document in documents if document is not None)}


def _networks(scope: Scope, documents: Json, listed: Json) -> dict[str, NetworkState]:
    attached: dict[str, list[str]] = {}
    for item in listed:
        for network in (item.get("NetworkSettings") or {}).get("Networks") or ():
            attached.setdefault(network, []).append(name_of(item))
    found: dict[str, NetworkState] = {}
    for document in documents:
        name = document["Name"]
        state = read_network(document, attached.get(name, ()))
        if name in scope.networks or (state.owner is not None and state.owner.stack == scope.stack):
            found[name] = state
    return found


def _volumes(client: EngineClient, scope: Scope, documents: Json) -> dict[str, VolumeState]:
    states = [read_volume(document) for document in documents.get("Volumes") or ()]
    found = {state.name: state for state in states if state.owner is not None and state.owner.stack == scope.stack}
    others = sorted(scope.volumes - found.keys())
    for document in client.get_many([f"/volumes/{quote_name(name)}" for name in others]):
        if document is not None:
            found[document["Name"]] = read_volume(document)
    return found


def _leftovers(stack: str, listed: Json, volumes: Json) -> tuple[str, ...]:
    """Name what a killed apply leaves (or a living one has under way): locks, and containers that are half made."""
    making = [
        name_of(item)
        for item in listed
        if (item.get("Labels") or {}).get(LABEL_STACK) == stack and name_of(item).endswith(SUFFIX_MAKING)
    ]
    marks = {item["Name"]: item.get("Labels") or {} for item in volumes.get("Volumes") or ()}
    locks = [name for name, of in marks.items() if of.get(LABEL_STACK) == stack and of.get(LABEL_KIND) == KIND_LOCK]
    return tuple(sorted([*making, *locks]))
