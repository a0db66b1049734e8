"""Builds: POST /build, and what is kept of them: POST /build/prune.

The rule that keeps it simple: a handler reads its parameters into a `BuildRequest`; the builder speaks in typed messages, and
here they become Docker's lines.

Secrets for `RUN --mount=type=secret`: the classic API has no way to send them, so this engine takes a header of its own,
`X-Build-Secrets`: base64url of a JSON object, from each secret's id to its content in base64.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from declarative.engine.build.output import Made, Report, Text
from declarative.engine.build.request import DOCKERFILE, BuildRequest
from declarative.engine.build.running import CommandFailed
from declarative.engine.daemon.credentials import of_config_header
from declarative.engine.daemon.filters import check_names, labels_allow
from declarative.engine.daemon.http import Answer, Feed, Request, Response, Route
from declarative.engine.daemon.progress import encode, line
from declarative.engine.daemon.times import parse_instant, rfc3339
from declarative.engine.runtime.sandbox import DEFAULT_SHM_SIZE, Resources, Rlimit
from declarative.errors import DeclarativeError, Interrupted, Invalid, Unsupported
from declarative.oci.platform import Platform
from declarative.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from declarative.engine.build.leftovers import Leftover
    from declarative.engine.build.output import Message
    from declarative.engine.daemon.filters import Filters
    from declarative.engine.daemon.http import Query
    from declarative.engine.engine import Engine

_BUILDKIT = "2"
_FILTERS = ("until", "unused-for", "id", "label", "label!")
_SECRETS_MAX = 1 << 20


def build(engine: Engine, request: Request) -> Response:
    """Build an image; the body is the context."""
    wanted = read_request(request)

    def write(send: Callable[[bytes], None]) -> None:
        teller = _Teller(send, quiet=wanted.quiet)
        try:
            id_ = engine.builder.build(wanted, request.body, teller, request.gone)
        except Interrupted:
            teller.flush()
            raise
        except DeclarativeError as error:
            if not teller.begun:
                raise
            teller.flush()
            send(encode(_failure(error)))
        else:
            teller.done(str(id_))

    return Feed(write=write)


def prune(engine: Engine, request: Request) -> Response:
    """Remove what builds have left: POST /build/prune."""
    filters = request.query.filters()
    check_names(filters, _FILTERS)
    keep = request.query.integer("keep-storage") or request.query.integer("reserved-space")
    wanted = _chosen(filters, engine.clock()) if filters else None
    pruned = engine.builder.leftovers.prune(everything=request.query.flag("all"), keep=keep, wanted=wanted)
    engine.events.publish("builder", "prune", "", {"reclaimed": str(pruned.size)})
    return Answer(document={"CachesDeleted": list(pruned.ids) or None, "SpaceReclaimed": pruned.size})


def _chosen(filters: Filters, now: int) -> Callable[[Leftover], bool]:
    """Give who passes the filters. Labels count here too: a `system prune` of some labels prunes builds with the same filter."""
    ages = [parse_instant(text, now, "until") for name in ("until", "unused-for") for text in filters.get(name, ())]
    before = ages[-1] if ages else None
    ids = tuple(id_.removeprefix("sha256:") for id_ in filters.get("id", ()))

    def chosen(leftover: Leftover) -> bool:
        if ids and not leftover.id.startswith(ids):
            return False
        return labels_allow(filters, leftover.labels) and (before is None or leftover.used < before)

    return chosen


def cache_rows(engine: Engine) -> list[dict[str, Any]]:
    """Give what builds have left, as GET /system/df lists it."""
    return [
        {
            "ID": left.id,
            "Type": left.kind,
            "Description": left.says,
            "InUse": left.in_use,
            "Shared": False,
            "Size": left.size,
            "CreatedAt": rfc3339(left.made),
            "LastUsedAt": rfc3339(left.used),
            "UsageCount": left.uses,
        }
        | ({"Parents": [left.parent], "Parent": left.parent} if left.parent else {})
        for left in engine.builder.leftovers.list()
    ]


def read_request(request: Request) -> BuildRequest:
    """Read the parameters. Invalid; Unsupported for what only another builder or system has."""
    query = request.query
    _refuse(query)
    return BuildRequest(
        tags=tuple(_tag(text) for text in query.texts("t") if text),
        dockerfile=query.text("dockerfile").replace("\\", "/").lstrip("/") or DOCKERFILE,
        remote=query.text("remote"),
        target=query.text("target"),
        args={name: value for name, value in _pairs(query, "buildargs").items() if value is not None},
        labels={name: value or "" for name, value in _pairs(query, "labels").items()},
        network=query.text("networkmode"),
        extra_hosts=_hosts(query),
        no_cache=query.flag("nocache"),
        pull=query.flag("pull"),
        quiet=query.flag("q"),
        remove=query.flag("rm", default=True) or query.flag("forcerm"),
        force_remove=query.flag("forcerm"),
        cache_from=_list(query, "cachefrom"),
        platform=Platform.parse(query.text("platform")) if query.text("platform") else None,
        shm_size=query.integer("shmsize") or DEFAULT_SHM_SIZE,
        resources=_resources(query),
        rlimits=_rlimits(query),
        cgroup_parent=_cgroup(query.text("cgroupparent")),
        secrets=_secrets(request.headers),
        credentials=of_config_header(request.headers),
    )


class _Teller:
    """Writes a build's messages as lines; a quiet one keeps them for the case that it fails."""

    def __init__(self, send: Callable[[bytes], None], *, quiet: bool) -> None:
        self._send = send
        self._quiet = quiet
        self._kept: list[bytes] = []
        self.begun = False

    def __call__(self, message: Message) -> None:
        """Tell, or keep, one message."""
        self.begun = True
        match message:
            case Text(text=text):
                written = encode({"stream": text})
            case Made(id=id_):
                written = encode({"aux": {"ID": id_}})
            case Report(progress=progress):
                written = line(progress)
        if self._quiet:
            self._kept.append(written)
        else:
            self._send(written)

    def flush(self) -> None:
        """Tell what was kept."""
        for written in self._kept:
            self._send(written)
        self._kept.clear()

    def done(self, id_: str) -> None:
        """End well; a quiet build tells the id, and nothing else."""
        if self._quiet:
            self._send(encode({"stream": f"{id_}\n"}))


def _failure(error: DeclarativeError) -> dict[str, Any]:
    detail: dict[str, Any] = {"message": str(error)}
    if isinstance(error, CommandFailed):
        detail = {"code": error.code} | detail
    return {"errorDetail": detail, "error": str(error)}


def _refuse(query: Query) -> None:
    if query.text("version") == _BUILDKIT:
        raise Unsupported("", "this engine builds without BuildKit", "set DOCKER_BUILDKIT=0")
    if query.flag("squash"):
        raise Unsupported("", "squash is not supported", "build in stages, and copy the result into the last one")
    if query.document("outputs"):
        raise Unsupported("", "build outputs are not supported", "build an image, then docker create and docker cp")
    if query.texts("securityopt") and any(query.texts("securityopt")):
        raise Unsupported("", "The daemon on this platform does not support setting security options on build")
    if query.text("isolation") not in ("", "default"):
        raise Unsupported("", f"isolation {query.text('isolation')!r} is not supported on Linux")


def _tag(text: str) -> Reference:
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise Invalid("", "refusing to create a tag with a digest reference")
    return reference


def _pairs(query: Query, name: str) -> dict[str, str | None]:
    found = query.document(name)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(value is None or _is_text(value) for value in found.values()):
        raise Invalid(name, "is no JSON object of texts")
    if not all(map(_is_text, found)):
        raise Invalid(name, "has a name that is no text")
    return dict(found)


def _is_text(value: object) -> bool:
    """Tell a text from other values, and from one that no encoding can carry: half a surrogate pair, a NUL."""
    try:
        return isinstance(value, str) and b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _list(query: Query, name: str) -> tuple[str, ...]:
    found = query.document(name)
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(value, str) for value in found):
        raise Invalid(name, "is no JSON list of texts")
    return tuple(found)


def _hosts(query: Query) -> tuple[str, ...]:
    """Read NAME:ADDRESS, several or one with commas (old clients)."""
    found = tuple(entry for text in query.texts("extrahosts") for entry in text.split(",") if entry)
    for entry in found:
        if not all(entry.partition(":")[::2]):
            raise Invalid("", f"bad format for add-host: {entry!r}", "write NAME:ADDRESS")
    return found


def _resources(query: Query) -> Resources:
    return Resources(
        memory=query.integer("memory"),
        memory_swap=query.integer("memswap"),
        cpu_shares=query.integer("cpushares"),
        cpu_period=query.integer("cpuperiod"),
        cpu_quota=query.integer("cpuquota"),
        cpuset_cpus=query.text("cpusetcpus"),
        cpuset_mems=query.text("cpusetmems"),
    )


def _rlimits(query: Query) -> tuple[Rlimit, ...]:
    found = query.document("ulimits") or []
    try:
        return tuple(
            Rlimit(name=f"RLIMIT_{entry['Name'].upper()}", soft=int(entry["Soft"]), hard=int(entry["Hard"]))
            for entry in found
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Invalid("ulimits", "is no JSON list of limits, each with Name, Soft and Hard") from None


def _cgroup(text: str) -> str:
    if ".." in text.split("/") or "\0" in text:
        raise Invalid("", f"invalid cgroup parent: {text!r}")
    return text


def _secrets(headers: Mapping[str, str]) -> dict[str, bytes]:
    text = headers.get("x-build-secrets", "")
    if not text:
        return {}
    try:
        document = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        found = {str(name): base64.b64decode(value, validate=True) for name, value in document.items()}
    except (AttributeError, TypeError, ValueError, binascii.Error, RecursionError):
        raise Invalid("X-Build-Secrets", "is no base64url of a JSON object of base64 texts") from None
    if sum(map(len, found.values())) > _SECRETS_MAX:
        raise Invalid("X-Build-Secrets", f"has more than {_SECRETS_MAX} bytes")
    return found


ROUTES: tuple[Route, ...] = (
    Route(method="POST", path="/build", handler=build),
    Route(method="POST", path="/build/prune", handler=prune, since=(1, 31)),
)
