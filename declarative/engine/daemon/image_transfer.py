"""Images in and out: pull, import, push, load, save.

The rule that keeps it simple: a handler reads its parameters into types and answers with a feed; the work, and what it tells, is
`engine.images`'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.daemon.credentials import of_header
from declarative.engine.daemon.http import Feed, Request, Response, Route
from declarative.engine.daemon.progress import Held
from declarative.engine.images.push import push
from declarative.errors import Denied, Invalid, NotFound
from declarative.oci.digest import Digest
from declarative.oci.platform import Platform
from declarative.oci.reference import Reference
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.engine.engine import Engine


def create(engine: Engine, request: Request) -> Response:
    """POST /images/create: pull with `fromImage`, import with `fromSrc`."""
    if request.query.text("fromImage"):
        return pull_image(engine, request)
    raise Invalid("", "fromImage or fromSrc is missing")


def pull_image(engine: Engine, request: Request) -> Response:
    """Pull an image, or all tags of a repository where neither tag nor digest is said."""
    query = request.query
    reference = _pulled(query.text("fromImage"), query.text("tag"))
    platform = parse_platform(query.text("platform"))
    credential = of_header(request.headers)
    everything = reference.tag is None and reference.digest is None

    def write(send: Callable[[bytes], None]) -> None:
        tell = Held(send)
        pull = engine.puller.pull_all if everything else engine.puller.pull
        try:
            pull(reference, platform=platform, credential=credential, tell=tell, gone=request.gone)
        except Denied as error:
            said = f"pull access denied for {reference.repository}, repository does not exist or may require 'docker login'"
            raise NotFound("", f"{said}: denied: {error.problem}") from error
        tell.flush()

    return Feed(write=write)


def _pulled(name: str, tag: str) -> Reference:
    reference = Reference.parse(name.removesuffix(":"))
    if not tag:
        return reference
    if ":" in tag:
        return replace(reference, tag=None, digest=Digest.parse(tag))
    return reference.with_tag(tag)


def parse_platform(text: str) -> Platform | None:
    """Read `platform`, None where it is not said. Invalid."""
    return Platform.parse(text) if text else None


def push_image(engine: Engine, request: Request) -> Response:
    """POST /images/NAME/push: a tag, or all tags of the repository where none is said."""
    name = Reference.parse(request.names["name"])
    tag = request.query.text("tag")
    reference = name.with_tag(tag) if tag else name
    credential = of_header(request.headers)

    def write(send: Callable[[bytes], None]) -> None:
        tell = Held(send)
        everything = reference.tag is None
        push(
            engine.images,
            engine.registries,
            reference,
            everything=everything,
            credential=credential,
            tell=tell,
            gone=request.gone,
        )
        tell.flush()

    return Feed(write=write)


ROUTES: tuple[Route, ...] = (
    Route(method="POST", path="/images/create", handler=create),
    Route(method="POST", path="/images/{name}/push", handler=push_image),
)
