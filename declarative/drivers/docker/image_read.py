"""The engine's answers about images, read into `ImageState`, `ImageConfig` and `Revision`.

The rule: one list tells ids, references and labels of all images; only those that containers run are inspected for more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from declarative.core import canonical
from declarative.core.state import (
    LABEL_APPLIED,
    LABEL_NOTED,
    LABEL_OBJECTS,
    LABEL_REVISION,
    LABEL_SUMMARY,
    LABEL_TARGETS,
    LABEL_UPDATES,
    ImageConfig,
    ImageState,
    Revision,
)
from declarative.drivers.docker.container_read import read_environment, read_healthcheck
from declarative.oci.reference import Reference

if TYPE_CHECKING:
    from declarative.dockerapi.wire import Json

_T = TypeVar("_T")
_NONE = "<none>"
HISTORY = "declarative-history"


def familiar(reference: str) -> str:
    """Write a reference as docker does, by digest or tag; engines other than docker write it out in full."""
    return reference if reference.startswith("sha256:") else Reference.parse(reference).addressed().familiar()


def shortened(name: str) -> str:
    """Write what an engine lists as a person would: only Podman's are written out in full."""
    return Reference.parse(name).familiar() if name.startswith("docker.io/") else name


def read_images(documents: Json) -> tuple[dict[str, ImageState], dict[str, str]]:
    """Read `GET /images/json`: images by id, and id by reference (tags and digests)."""
    images: dict[str, ImageState] = {}
    references: dict[str, str] = {}
    for document in documents or ():
        found = read_image_summary(document)
        images[found.id] = found
        for reference in found.references:
            references[reference] = found.id
        for repository, digest in found.digests.items():
            references[f"{repository}@{digest}"] = found.id
    return images, references


def read_image_summary(document: Json) -> ImageState:
    """Read an item of `GET /images/json`, or an inspected image whose labels are given as `Labels`."""
    digests = (item.partition("@") for item in document.get("RepoDigests") or () if not item.startswith(_NONE))
    return ImageState(
        id=document["Id"],
        references=tuple(sorted(shortened(tag) for tag in document.get("RepoTags") or () if not tag.startswith(_NONE))),
        digests={shortened(repository): digest for repository, _, digest in digests},
        labels=document.get("Labels") or {},
    )


def read_image(document: Json) -> ImageState:
    """Read `GET /images/NAME/json`."""
    config = document.get("Config") or {}
    state = read_image_summary({**document, "Labels": config.get("Labels")})
    variant = document.get("Variant", "")
    return ImageState(
        id=state.id,
        references=state.references,
        digests=state.digests,
        labels=state.labels,
        config=_config(config),
        platform="/".join(part for part in (document.get("Os"), document.get("Architecture"), variant) if part),
    )


def _config(config: dict[str, Any]) -> ImageConfig:
    return ImageConfig(
        environment=read_environment(config.get("Env")),
        command=tuple(config["Cmd"]) if config.get("Cmd") else None,
        entrypoint=tuple(config["Entrypoint"]) if config.get("Entrypoint") else None,
        labels=config.get("Labels") or {},
        volumes=tuple(sorted(config.get("Volumes") or ())),
        exposed=tuple(sorted(config.get("ExposedPorts") or ())),
        healthcheck=read_healthcheck(config.get("Healthcheck")),
        user=config.get("User") or "",
        working_dir=config.get("WorkingDir") or "",
        stop_signal=config.get("StopSignal") or "",
    )


def history_repository(stack: str) -> str:
    """Name the repository of a stack's history images. References are lower case; a stack's name is already."""
    return f"{HISTORY}/{stack}"


def read_revisions(documents: Json, stack: str) -> list[Revision]:
    """Read the history of `stack` out of `GET /images/json`, oldest first."""
    wanted = history_repository(stack) + ":"
    return sorted(
        (
            _revision(document)
            for document in documents or ()
            if any(tag.startswith(wanted) for tag in document.get("RepoTags") or ())
            and (document.get("Labels") or {}).get(LABEL_REVISION, "").isdecimal()
        ),
        key=lambda revision: revision.number,
    )


def _revision(document: Json) -> Revision:
    labels = document["Labels"]
    updates = _decoded(labels.get(LABEL_UPDATES, ""), dict)
    created = _rfc3339(document.get("Created", 0))
    return Revision(
        number=int(labels[LABEL_REVISION]),
        applied_at=labels.get(LABEL_APPLIED, created),
        noted_at=labels.get(LABEL_NOTED, created),
        image_id=document["Id"],
        summary=labels.get(LABEL_SUMMARY, ""),
        updates={name: canonical.decode(json.dumps(flat)) or {} for name, flat in updates.items()},
        objects={name: str(value) for name, value in _decoded(labels.get(LABEL_OBJECTS, ""), dict).items()},
        targets=frozenset(map(str, _decoded(labels.get(LABEL_TARGETS, ""), list))),
    )


def _decoded(text: str, kind: type[_T]) -> _T:
    """Decode a label; empty where it is not what we write there."""
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return kind()
    return found if isinstance(found, kind) else kind()


def _rfc3339(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
