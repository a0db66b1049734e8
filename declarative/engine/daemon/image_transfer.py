"""Images in and out: pull, import, push, load, save.

The rule that keeps it simple: a handler reads its parameters into types and answers with a feed; the work, and what it tells, is
`engine.images`'.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from declarative.engine.daemon.credentials import of_header
from declarative.engine.daemon.http import Feed, Request, Response, Route, Stream
from declarative.engine.daemon.progress import Held, encode, line
from declarative.engine.daemon.times import rfc3339
from declarative.engine.images.importing import import_image
from declarative.engine.images.loading import load
from declarative.engine.images.progress import Event, Said
from declarative.engine.images.push import push
from declarative.engine.images.saving import save
from declarative.errors import Denied, Invalid, NotFound
from declarative.oci.config import RunDefaults
from declarative.oci.digest import Digest
from declarative.oci.platform import Platform
from declarative.oci.reference import Reference
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from declarative.engine.engine import Engine


def create(engine: Engine, request: Request) -> Response:
    """POST /images/create: pull with `fromImage`, import with `fromSrc`."""
    if request.query.text("fromImage"):
        return pull_image(engine, request)
    if request.query.text("fromSrc"):
        return import_archive(engine, request)
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


def import_archive(engine: Engine, request: Request) -> Response:
    """Make an image of a root file system: the request's body (`fromSrc=-`), or what is at a URL."""
    query = request.query
    source, repository = query.text("fromSrc"), query.text("repo")
    reference = parse_target(repository, query.text("tag")) if repository else None
    platform = parse_platform(query.text("platform"))
    run = _changed(query.texts("changes"))
    message = query.text("message") or f"Imported from {source}"

    def write(send: Callable[[bytes], None]) -> None:
        from declarative.engine.build.fetching import fetching, without_user
        from declarative.engine.build.solver import Stop

        with ExitStack() as stack:
            chunks: Iterable[bytes] = request.body
            if source != "-":
                send(encode({"status": f"Downloading from {without_user(source)}"}))
                chunks = stack.enter_context(fetching(source, Stop(request.gone), engine.settings.proxies)).pieces
            image = import_image(
                engine.images,
                chunks,
                created=rfc3339(engine.clock()),
                reference=reference,
                run=run,
                message=message,
                platform=platform,
            )
        send(encode({"status": str(image.id)}))

    return Feed(write=write)


def _changed(lines: tuple[str, ...]) -> RunDefaults:
    if not any(lines):
        return RunDefaults()
    from declarative.engine.build.changes import apply_changes  # of imports with changes alone

    return apply_changes(RunDefaults(), lines)


def parse_target(repository: str, tag: str) -> Reference:
    """Read `repo` and `tag` of an image to be named; the tag may stand in either. Raises Invalid."""
    reference = Reference.parse(repository)
    if reference.digest is not None:
        raise Invalid("", "refusing to create a tag with a digest reference")
    return reference.with_tag(tag) if tag else reference.addressed()


def load_archive(engine: Engine, request: Request) -> Response:
    """POST /images/load: images of an archive, as `docker save` writes it or an OCI image layout."""
    quiet = request.query.flag("quiet")
    platform = _platform_document(request.query.document("platform"))

    def write(send: Callable[[bytes], None]) -> None:
        def tell(event: Event) -> None:
            if not quiet or isinstance(event, Said):
                send(line(event))

        load(engine.images, request.body, platform=platform, tell=tell)

    return Feed(write=write)


def _platform_document(document: object) -> Platform | None:
    """Read the `platform` of newer clients: `{"os": …, "architecture": …, "variant": …}`."""
    if document is None:
        return None
    if not isinstance(document, dict):
        raise Invalid("", "platform is no JSON object")
    words = [str(document.get(name) or "") for name in ("os", "architecture", "variant")]
    return Platform.parse("/".join(word for word in words if word))


def save_images(engine: Engine, request: Request) -> Response:
    """GET /images/get?names=…, and GET /images/NAME/get."""
    names = (request.names["name"],) if "name" in request.names else request.query.texts("names")
    if not names:
        raise Invalid("", "names is missing: which images?")
    return Stream(chunks=save(engine.images, names), content_type="application/x-tar")


def push_image(engine: Engine, request: Request) -> Response:
    """POST /images/NAME/push: a tag, or all tags of the repository where none is said."""
    name = Reference.parse(request.names["name"])
    tag = request.query.text("tag")
    reference = name.with_tag(tag) if tag else name
    credential = of_header(request.headers)

    def write(send: Callable[[bytes], None]) -> None:
        tell = Held(send)
        everything = reference.tag is None
        try:
            push(
                engine.images,
                engine.registries,
                reference,
                everything=everything,
                credential=credential,
                tell=tell,
                gone=request.gone,
            )
        except Denied as error:
            refused = (
                "denied: requested access to the resource is denied" if credential else "no basic auth credentials"
            )
            raise Denied("", f"{refused}: {error.problem}", error.remedy) from error
        tell.flush()

    return Feed(write=write)


ROUTES: tuple[Route, ...] = (
    Route(method="POST", path="/images/create", handler=create),
    Route(method="POST", path="/images/{name}/push", handler=push_image),
    Route(method="POST", path="/images/load", handler=load_archive),
    Route(method="GET", path="/images/get", handler=save_images),
    Route(method="GET", path="/images/{name}/get", handler=save_images),
)
