"""The image configuration as a type (image-spec, config.md), and what follows from its layers.

The rule: fields that only Docker writes (health check, ONBUILD, shell) are read beside those of OCI; unknown fields are
ignored, as both specifications ask.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from declarative.errors import Invalid
from declarative.oci.digest import Digest
from declarative.oci.node import Node
from declarative.oci.platform import Platform
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@record
class HealthCheck:
    """The image's own health check; durations in nanoseconds, 0 where the engine's default counts."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@record
class RunDefaults:
    """What a container of the image gets where nothing else is said (config.md, `config`)."""

    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    stop_signal: str = ""
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()
    health_check: HealthCheck | None = None


@record
class HistoryEntry:
    """How one step of the build came about; `created` is RFC 3339 text, "" where unknown."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@record
class ImageConfig:
    """One image's configuration. `created` is RFC 3339 text, "" where unknown."""

    platform: Platform
    diff_ids: tuple[Digest, ...]
    run: RunDefaults = field(default_factory=RunDefaults)
    history: tuple[HistoryEntry, ...] = ()
    created: str = ""
    author: str = ""


def parse_config(content: bytes, subject: str = "image config") -> ImageConfig:
    """Parse an image configuration; raise Invalid."""
    node = Node.parse(content, subject)
    return ImageConfig(
        platform=Platform(
            os=node.text("os"),
            architecture=node.text("architecture"),
            variant=node.text("variant", ""),
            os_version=node.text("os.version", ""),
        ).normalised(),
        diff_ids=_parse_diff_ids(node.child("rootfs")),
        run=_parse_run(node.child("config")) if node.has("config") else RunDefaults(),
        history=tuple(_parse_history(child) for child in node.children("history")),
        created=node.text("created", ""),
        author=node.text("author", ""),
    )


def chain_ids(diff_ids: Sequence[Digest]) -> tuple[Digest, ...]:
    """Return what each layer is on top of those below it (config.md, "Layer ChainID")."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        text = f"{chain[-1]} {diff_id}".encode() if chain else b""
        chain.append(Digest(algorithm="sha256", hex=hashlib.sha256(text).hexdigest()) if text else diff_id)
    return tuple(chain)


def _parse_diff_ids(node: Node) -> tuple[Digest, ...]:
    if node.text("type") != "layers":
        raise node.wrong("type", "layers", node.text("type"))
    return tuple(Digest.parse(text) for text in node.texts("diff_ids"))


def _parse_run(node: Node) -> RunDefaults:
    env = node.texts("Env")
    for entry in env:
        if "=" not in entry:
            raise Invalid(node.subject, f"{node.path}.Env holds {entry[:80]!r}, which is not NAME=VALUE")
    return RunDefaults(
        user=node.text("User", ""),
        env=env,
        entrypoint=node.texts("Entrypoint") if node.has("Entrypoint") else None,
        cmd=node.texts("Cmd") if node.has("Cmd") else None,
        working_dir=node.text("WorkingDir", ""),
        exposed_ports=node.names("ExposedPorts"),
        volumes=node.names("Volumes"),
        labels=node.pairs("Labels"),
        stop_signal=node.text("StopSignal", ""),
        shell=node.texts("Shell"),
        on_build=node.texts("OnBuild"),
        health_check=_parse_health_check(node.child("Healthcheck")) if node.has("Healthcheck") else None,
    )


def _parse_health_check(node: Node) -> HealthCheck:
    return HealthCheck(
        test=node.texts("Test"),
        interval=node.natural("Interval", 0),
        timeout=node.natural("Timeout", 0),
        start_period=node.natural("StartPeriod", 0),
        start_interval=node.natural("StartInterval", 0),
        retries=node.natural("Retries", 0),
    )


def _parse_history(node: Node) -> HistoryEntry:
    return HistoryEntry(
        created=node.text("created", ""),
        created_by=node.text("created_by", ""),
        author=node.text("author", ""),
        comment=node.text("comment", ""),
        empty_layer=node.flag("empty_layer"),
    )
