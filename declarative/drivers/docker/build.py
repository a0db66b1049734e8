"""Building an image: what both builders have in common, and the classic one (`POST /build`).

The rule: bases are pulled and resolved before, so that the label of the image says what it was built on; the builder's lines
go to progress as they come, and a failure says which step, where it stands, and what it printed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from declarative.core.actions import PullImage
from declarative.core.build_label import known_by, write_inputs
from declarative.core.secret import Secret
from declarative.core.state import LABEL_BUILD
from declarative.drivers.docker.image_read import familiar
from declarative.drivers.docker.images import find_image, pull
from declarative.drivers.docker.labels import owned_labels
from declarative.drivers.port import BuildFailed, Progress
from declarative.errors import DeclarativeError, Failed, Invalid, NotFound, Unsupported
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from declarative.core.actions import BuildImage
    from declarative.core.resources import BuildSource
    from declarative.dockerapi.client import EngineClient
    from declarative.drivers.docker.images import AuthHeader, Report

_STEP = re.compile(r"Step \d+/\d+ : (?P<text>.*)")
_LAYER = re.compile(r" ---> (?P<id>[0-9a-f]{12})\n?")


@record
class ContextTar:
    """A build context as the builder takes it: a tar in pieces, and the Dockerfile's name in it."""

    dockerfile: str
    chunks: Iterable[bytes]


@record(frozen=False, kw_only=False)
class Transcript:
    """What a builder printed so far: enough to say where it failed."""

    output: list[str] = field(default_factory=list)
    text: str = ""
    layer: str = ""

    def take(self, line: str) -> None:
        """Read one line of the classic builder."""
        self.output.append(line)
        if found := _STEP.match(line):
            self.text = found["text"].strip()
        elif found := _LAYER.fullmatch(line):
            self.layer = found["id"]


def build_labels(client: EngineClient, action: BuildImage, auth: AuthHeader, report: Report) -> dict[str, str]:
    """Resolve the bases, pulling those that are missing (NotFound), and write all labels of the image to be built."""
    source = action.source
    parts = dict(source.parts)
    for base in source.bases:
        found = find_image(client, base)
        if found is None:
            report(Progress(text=f"pulling {base}"))
            pull(client, PullImage(reference=base, platform=source.platform), auth, report)
            found = find_image(client, base)
        if found is None:
            raise NotFound(f"image {base}", "was pulled, and is not there", "run again")
        name = familiar(base)
        inputs = known_by(found["Config"].get("Labels") or {}) if name in action.made else ""
        parts[f"base:{name}"] = inputs or found["Id"]
    return {**source.labels, **owned_labels(action.owner), LABEL_BUILD: write_inputs(parts)}


def build_classic(
    client: EngineClient,
    action: BuildImage,
    labels: Mapping[str, str],
    open_context: Callable[[BuildSource], ContextTar],
    report: Report,
    *,
    full: bool = False,
) -> None:
    """Build through `POST /build`, with the classic builder, or, `full`, with one that knows what BuildKit does."""
    source = action.source
    if source.needs_buildkit and not full:
        raise Unsupported(
            _subject(action), f"{source.needs_buildkit[0]} needs BuildKit", "write the Dockerfile without it"
        )
    context = open_context(source)
    transcript = Transcript()
    headers = {"Content-Type": "application/x-tar", "X-Registry-Config": "e30=", **_secrets(source)}
    query = _query(source, action.references, labels, context.dockerfile)
    try:
        for line in client.stream_lines("POST", "/build", query, body=context.chunks, headers=headers):
            _take(transcript, line, report)
    except DeclarativeError as error:
        if not transcript.text or not isinstance(error, Failed | Invalid | NotFound):
            raise
        raise _failure(action, transcript, error) from error


def _secrets(source: BuildSource) -> dict[str, str]:
    """Send secrets as the embedded engine takes them: base64url of JSON, id → content in base64."""
    if not source.secrets:
        return {}
    import base64

    contents = {name: base64.b64encode(value.reveal().encode()).decode() for name, value in source.secrets.items()}
    return {"X-Build-Secrets": base64.urlsafe_b64encode(json.dumps(contents).encode()).decode()}


def _query(
    source: BuildSource, references: tuple[str, ...], labels: Mapping[str, str], dockerfile: str
) -> dict[str, Any]:
    query: dict[str, Any] = {
        "dockerfile": dockerfile,
        "t": references[0] if references else None,
        "buildargs": {name: _plain(value) for name, value in source.args.items()},
        "labels": dict(labels),
        "target": source.target or None,
        "networkmode": source.network or None,
        "platform": source.platform or None,
        "nocache": source.no_cache or None,
        "rm": True,
        "forcerm": True,
    }
    return query


def _plain(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _take(transcript: Transcript, line: dict[str, Any], report: Report) -> None:
    text = str(line.get("stream") or line.get("status") or "")
    for part in text.splitlines(keepends=True):
        transcript.take(part)
        if part.strip():
            report(Progress(text=part.rstrip("\n")))


def _failure(action: BuildImage, transcript: Transcript, error: DeclarativeError) -> BuildFailed:
    output = "".join(transcript.output)
    return build_failed(action, step=transcript.text, why=error.problem, output=output, layer=transcript.layer)


def build_failed(action: BuildImage, *, step: str, why: str, output: str, layer: str) -> BuildFailed:
    """Say that a build failed: at which step, at which line, and how to look into it."""
    line = _failing_line(action.source, output)
    dockerfile = action.source.dockerfile or "dockerfile_inline"
    problem = f"step `{step}` failed: {why}" if step else why
    remedy = "`declarative build --debug` opens a shell in the last good layer" if step else "mend the Dockerfile"
    place = f"{dockerfile}:{line}" if line else dockerfile
    return BuildFailed(_subject(action), problem, remedy, place, output=output, step=step, line=line, layer=layer)


def _subject(action: BuildImage) -> str:
    return f"image {action.references[0] if action.references else action.owner.name}"


def _failing_line(source: BuildSource, output: str) -> int:
    from declarative.oci.dockerfile.lexer import lex
    from declarative.oci.dockerfile.steps import failing_line

    try:
        return failing_line(lex(dockerfile_text(source).encode(errors="surrogateescape")), output, source.target)
    except Invalid:
        return 0


def dockerfile_text(source: BuildSource) -> str:
    """Read the Dockerfile; "" where it is gone."""
    if source.dockerfile_inline:
        return source.dockerfile_inline
    try:
        with open(source.dockerfile, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - as elsewhere here
            return file.read()
    except OSError:
        return ""
