"""Making an image of a container (`docker commit`): its own layer, and its configuration.

The rule that keeps it simple: what the container wrote is read where it is, while its processes stand still.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from declarative.engine.containers import moments, mounting
from declarative.engine.containers.life import Move, Status, move
from declarative.engine.containers.parts import UPPER
from declarative.errors import NotFound
from declarative.oci.config import HealthCheck, HistoryEntry, ImageConfig, RunDefaults
from declarative.oci.config_write import encode_config
from declarative.oci.digest import Digest
from declarative.oci.platform import Platform
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from declarative.engine.containers.config import Config
    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts
    from declarative.engine.images.image import Image
    from declarative.oci.reference import Reference


@record
class CommitRequest:
    """What is asked for. `config`: what the client sends to lay over the container's, None for nothing."""

    reference: Reference | None = None
    comment: str = ""
    author: str = ""
    pause: bool = True
    config: Config | None = None


def commit(
    parts: Parts, container: Container, request: CommitRequest, change: Callable[[RunDefaults], RunDefaults]
) -> Image:
    """Make the image, and give it its name. Invalid where `change` refuses."""
    container.insist_on_record()
    run = change(_run(container, request.config))
    base = parts.images.get(Digest.parse(container.image_id)) if container.image_id else None
    with _standing_still(parts, container, wanted=request.pause):
        lowers = mounting.image_layers(parts, container)
        layer = parts.snapshots.commit(
            parts.folder(container) / UPPER, lowers, f"container {container.id[:12]}", move=False
        )
        created = moments.write(parts.clock())
        argv = (*(container.config.entrypoint or ()), *(container.config.cmd or ()))
        entry = HistoryEntry(created=created, created_by=" ".join(argv), author=request.author, comment=request.comment)
        config = ImageConfig(
            platform=base.config.platform if base else Platform.local(),
            diff_ids=(*(base.config.diff_ids if base else ()), layer.diff_id),
            run=run,
            history=(*(base.config.history if base else ()), entry),
            created=created,
            author=request.author,
        )
        raw = encode_config(config, base.raw if base else b"{}")
        layers = (*(base.layers if base else ()), layer.descriptor)
        with parts.images.leases.hold([Digest.of_bytes(raw)]):  # who prunes takes what has no name
            image = parts.images.add(raw, layers, base.id if base else None)
            parts.images.leases.settle(layer.descriptor.digest, layer.chain)
            if request.reference is not None:
                parts.images.tag(image.id, request.reference)
        parts.tell(
            container,
            "commit",
            comment=request.comment,
            imageID=str(image.id),
            imageRef=request.reference.familiar() if request.reference else "",
        )
    return image


@contextmanager
def _standing_still(parts: Parts, container: Container, *, wanted: bool) -> Iterator[None]:
    """Keep the container as it is meanwhile: nobody starts or removes it, and its processes are paused if `wanted`."""
    with container.lock:
        if container.removed:
            raise NotFound("", f"No such container: {container.id}")
        pauses = wanted and container.state.status is Status.RUNNING
        if pauses:
            parts.runtime.pause(container.id)
            container.become(status=move(Status.RUNNING, Move.PAUSE))
            parts.tell(container, "pause")
        try:
            yield
        finally:
            if pauses:
                parts.runtime.resume(container.id)
                container.become(status=move(Status.PAUSED, Move.UNPAUSE))
                parts.tell(container, "unpause")


def _run(container: Container, asked: Config | None) -> RunDefaults:
    """Give the image's defaults: the container's configuration, with what the client sends over it."""
    own = container.config
    config = own if asked is None else _over(asked, own)
    check = config.healthcheck
    return RunDefaults(
        user=config.user,
        env=tuple(entry for entry in config.env or () if "=" in entry),
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        working_dir=config.working_dir,
        exposed_ports=config.exposed_ports or (),
        volumes=config.volumes or (),
        labels=dict(config.labels or {}),
        stop_signal=config.stop_signal,
        shell=config.shell or (),
        on_build=config.on_build or (),
        health_check=HealthCheck(
            test=check.test or (),
            interval=check.interval,
            timeout=check.timeout,
            start_period=check.start_period,
            start_interval=check.start_interval,
            retries=check.retries,
        )
        if check is not None
        else None,
    )


def _over(asked: Config, own: Config) -> Config:
    """Lay what a client sends over the container's configuration, as dockerd does when it commits."""
    names = {entry.partition("=")[0] for entry in asked.env or ()}
    env = (*(asked.env or ()), *(entry for entry in own.env or () if entry.partition("=")[0] not in names))
    return replace(
        asked,
        user=asked.user or own.user,
        exposed_ports=tuple(dict.fromkeys((*(asked.exposed_ports or ()), *(own.exposed_ports or ())))),
        env=env,
        labels={**(own.labels or {}), **(asked.labels or {})},
        cmd=asked.cmd or (own.cmd if not asked.entrypoint else None),
        entrypoint=own.entrypoint if asked.entrypoint is None else asked.entrypoint,
        working_dir=asked.working_dir or own.working_dir,
        volumes=tuple(dict.fromkeys((*(asked.volumes or ()), *(own.volumes or ())))),
        healthcheck=asked.healthcheck or own.healthcheck,
        stop_signal=asked.stop_signal or own.stop_signal,
        shell=asked.shell or own.shell,
    )
