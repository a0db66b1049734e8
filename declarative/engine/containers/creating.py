"""Making a container: from what a client asks for to a record, a folder, references to its image and volumes.

The rule that keeps it simple: all is checked before anything is made, and the record comes last; what an interrupted attempt
leaves has no record, and is swept.
"""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING

from declarative.engine.containers import check, defaults, modes, mounting, names, points, user_namespaces, wishes
from declarative.engine.containers.check_limits import check_limits
from declarative.engine.containers.config import Config, NetworkingConfig
from declarative.engine.containers.container import Container, State
from declarative.engine.containers.host import HostConfig
from declarative.engine.runtime import grace
from declarative.errors import Invalid, NotFound
from declarative.oci.digest import Digest
from declarative.oci.platform import Platform
from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from declarative.engine.containers.parts import Parts
    from declarative.engine.containers.points import Point
    from declarative.engine.images.image import Image

_DEPRECATED_MAC = (
    "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
)
_HINT = " (hint: use IpcMode:shareable for the donor container)"


@record
class CreateRequest:
    """What a client asks for. `name`: "" to have one made up; `platform`: "" for any; `version` of the client's API."""

    config: Config
    host: HostConfig = field(default_factory=HostConfig)
    networking: NetworkingConfig = field(default_factory=NetworkingConfig)
    name: str = ""
    platform: str = ""
    version: tuple[int, int] = (1, 47)


@record
class Created:
    """A container that was made, and what Docker would warn of."""

    id: str
    warnings: tuple[str, ...] = ()


def create(parts: Parts, request: CreateRequest, choose: Callable[[int], int] = secrets.randbelow) -> Created:
    """Make a container. Invalid, NotFound, Conflict in Docker's words; then nothing of it is left."""
    name = names.check(request.name) if request.name else ""
    config, host, warnings = _checked(parts, request)
    image = _image(parts, config.image, request.platform)
    config = defaults.of_image(config, image.config.run if image else None)
    check.check_config(config)
    host = _joined(parts, defaults.of_engine(host, parts.machine))
    id_ = parts.new_id()
    if name:
        parts.index.reserve(name, id_)
    else:
        name = parts.index.reserve_free(lambda taken: names.make_up(choose, taken), id_)
    try:
        config = defaults.of_hostname(config, host, id_, parts.machine)
        networks = wishes.networks_of(parts, config, host, request.networking)
        container = Container(
            id=id_,
            name=name,
            created=parts.clock(),
            image_id=str(image.id) if image else "",
            config=config,
            host=_with_links(parts, host, name),
            networks=networks,
            points=tuple(_points(parts, config, host)),
            state=State(),
        )
        mounting.check_sources(container)
        _make(parts, container)
    except BaseException:
        parts.index.release(name, id_)
        raise
    parts.index.add(container)
    parts.tell(container, "create")
    parts.runtime.expect_process(grace.AGAIN)
    if config.mac_address and request.version >= (1, 44):
        warnings = (*warnings, _DEPRECATED_MAC)
    return Created(id=id_, warnings=warnings)


def _checked(parts: Parts, request: CreateRequest) -> tuple[Config, HostConfig, tuple[str, ...]]:
    config, host = defaults.of_version(request.config, request.host, request.networking, request.version)
    check.check_config(config)
    warnings = check.check_host(config, host)
    host, more = check_limits(host, parts.machine)
    check.check_networking(request.networking, config, host)
    if user_namespaces.is_wanted(parts, host):
        check.check_user_namespace(host)
        user_namespaces.maps(parts)
        # written down: it must not be started in the machine's by a daemon without the option
        host = replace(host, userns_mode=user_namespaces.PRIVATE)
    return config, host, warnings + more


def _image(parts: Parts, name: str, platform: str) -> Image | None:
    if not name:
        return None
    image = parts.images.resolve(name)
    if platform:
        wanted, found = Platform.parse(platform), image.config.platform
        if found not in wanted.runnable():
            raise NotFound(
                "",
                f"image with reference {name} was found but does not match the specified platform: "
                f"wanted {wanted}, actual: {found}",
            )
    return image


def _joined(parts: Parts, host: HostConfig) -> HostConfig:
    """Name the containers whose namespaces it joins by their ids. The network's may be missing until the start, as in Docker."""
    changed = {}
    for attribute in ("pid_mode", "ipc_mode", "network_mode"):
        other = modes.joined(getattr(host, attribute))
        if not other:
            continue
        found = parts.index.find(other)
        if found is None and attribute != "network_mode":
            raise Invalid("", f"No such container: {other}")
        if found is not None:
            if attribute == "ipc_mode" and found.host.ipc_mode == "private":
                raise Invalid("", f"cannot join IPC of container {found.id}: non-shareable IPC{_HINT}")
            changed[attribute] = f"{modes.PREFIX}{found.id}"
    return replace(host, **changed) if changed else host


def _with_links(parts: Parts, host: HostConfig, name: str) -> HostConfig:
    """Write links as Docker keeps them: `/target:/owner/alias`. On a network of one's own they are the endpoint's."""
    if modes.is_user_defined(host.network_mode):
        return replace(host, links=None)
    if not host.links:
        return host
    written = []
    for text in host.links:
        target, alias = check.read_link(text)
        found = parts.index.find(target)
        if found is None:
            raise Invalid("", f"could not get container for {target}: No such container: {target}")
        written.append(f"/{found.name}:/{name}/{alias}")
    return replace(host, links=tuple(written))


def _points(parts: Parts, config: Config, host: HostConfig) -> Iterator[Point]:
    """Give the mount points, each place once: other containers', binds and mounts, then the volumes of the image."""
    found: dict[str, Point] = {}
    for text in host.volumes_from or ():
        name, read_only = points.read_volumes_from(text)
        other = parts.index.find(name)
        if other is None:
            raise Invalid("", f"No such container: {name}")
        for point in other.points:
            found[point.destination] = points.from_other(point, read_only=read_only)
    for target in host.tmpfs or ():
        points.check_tmpfs(target)
    asked: set[str] = set(host.tmpfs or ())
    own = [points.of_bind(text, host.volume_driver) for text in host.binds or ()]
    own += [points.of_mount(mount) for mount in host.mounts or ()]
    for point in own:
        if point.destination in asked:
            raise Invalid("", f"Duplicate mount point: {point.destination}")
        asked.add(point.destination)
        found[point.destination] = point
    for target in config.volumes or ():
        point = points.of_volume(target)
        if point.destination not in asked:  # also where a tmpfs takes its place
            found.setdefault(point.destination, point)
    yield from found.values()


def _make(parts: Parts, container: Container) -> None:
    folder = parts.folder(container)
    try:
        mounting.make_folder(parts, container)
        made: list[str] = []
        try:
            container.points = tuple(_named(parts, container, point, made) for point in container.points)
            if container.image_id:
                parts.images.hold(Digest.parse(container.image_id), container.id)
            mounting.fill_volumes(parts, container)
            parts.records.add(container)
        except BaseException:
            _unmake(parts, container, made)
            raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _unmake(parts: Parts, container: Container, made: list[str]) -> None:
    parts.images.release(container.id)
    parts.volumes.release(container.id)
    for name in made:
        parts.volumes.remove(name, force=True)


def _named(parts: Parts, container: Container, point: Point, made: list[str]) -> Point:
    """Give a volume's mount point the volume: made if there is none, and referred to."""
    if point.kind != points.VOLUME:
        return point
    driver = point.driver or "local"
    volume = parts.volumes.create(point.name, driver, point.driver_options, point.labels, holder=container.id)
    if not point.name:
        made.append(volume.name)
    return replace(point, name=volume.name, driver=volume.driver, driver_options=None, labels=None)
