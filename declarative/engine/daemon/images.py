"""Images: list, inspect, history, tag, remove, prune. Moving them in and out is `image_transfer`.

The rule that keeps it simple: a handler reads its parameters, asks the store once, and lets `image_documents` write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.engine.daemon import filters as filtering
from declarative.engine.daemon import image_documents as documents
from declarative.engine.daemon.http import Answer, Empty, Request, Response, Route
from declarative.engine.daemon.image_documents import Named
from declarative.engine.daemon.image_transfer import ROUTES as TRANSFER
from declarative.engine.daemon.image_transfer import parse_target
from declarative.engine.daemon.times import parse_instant
from declarative.engine.images.collect import collect
from declarative.engine.images.removing import Removal, Untagged, prune_images, remove
from declarative.oci.matching import matches_familiar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from declarative.engine.engine import Engine
    from declarative.engine.images.image import Image
    from declarative.oci.digest import Digest
    from declarative.oci.reference import Reference

_LIST_FILTERS = frozenset({"dangling", "label", "before", "since", "reference", "until"})
_PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})
_DRIVER = {"Name": "overlayfs", "Data": {}}


def named(engine: Engine, image: Image) -> Named:
    """Give an image with its names."""
    store = engine.images
    return Named(
        image=image,
        parent=store.parent(image.id),
        tags=store.references(image.id),
        digests=store.digests(image.id),
        tagged=store.tagged(image.id),
    )


def list_images(engine: Engine, request: Request) -> Response:
    """GET /images/json."""
    found = list(select(engine, request.query.filters(), everything=request.query.flag("all")))
    found.sort(key=lambda one: documents.created(one.image), reverse=True)
    shared = shared_sizes(engine, [one.image for one in found]) if request.query.flag("shared-size") else {}
    return Answer(
        document=[documents.summary(one, request.version, shared=shared.get(one.image.id, -1)) for one in found]
    )


def select(engine: Engine, wanted: filtering.Filters, *, everything: bool) -> Iterator[Named]:
    """Give the images that a list shows: those with a name, those that no other was built on, and with `everything` all."""
    filtering.check_names(wanted, _LIST_FILTERS)
    store = engine.images
    dangling = filtering.flag(wanted, "dangling", default=False)
    earliest, latest = _bounds(engine, wanted)
    for image in store.list():
        instant = documents.created(image)
        if (latest is not None and instant >= latest) or (earliest is not None and instant <= earliest):
            continue
        if not filtering.labels_match(wanted.get("label", ()), image.config.run.labels):
            continue
        one = named(engine, image)
        if one.tags or one.digests:
            if dangling and one.tags:
                continue
            if "reference" in wanted:
                one = _with_names_like(one, wanted["reference"])
                if not one.tags and not one.digests:
                    continue
        elif (
            ("dangling" in wanted and not dangling)
            or "reference" in wanted
            or not (everything or not store.children(image.id))
        ):
            continue
        yield one


def _bounds(engine: Engine, wanted: filtering.Filters) -> tuple[int | None, int | None]:
    """Read `since`, `before` and `until`: instants between which an image was made, both left out."""
    store = engine.images
    earliest = [documents.created(store.resolve(name)) for name in wanted.get("since", ())]
    latest = [documents.created(store.resolve(name)) for name in wanted.get("before", ())]
    latest += [parse_instant(text, engine.clock(), "until") for text in wanted.get("until", ())]
    return (max(earliest) if earliest else None), (min(latest) if latest else None)


def _with_names_like(one: Named, patterns: Sequence[str]) -> Named:
    """Keep the names that one of the patterns matches, as a whole or without tag and digest."""

    def like(name: Reference) -> bool:
        return any(matches_familiar(pattern, name) for pattern in patterns)

    return Named(
        image=one.image,
        parent=one.parent,
        tags=tuple(filter(like, one.tags)),
        digests=tuple(filter(like, one.digests)),
        tagged=one.tagged,
    )


def layer_sizes(engine: Engine, image: Image) -> list[int]:
    """Give the size of each layer's files in bytes, bottom first."""
    known = [engine.images.records.layer_blob(layer.digest) for layer in image.layers]
    return [blob.size if blob is not None else 0 for blob in known]


def shared_sizes(engine: Engine, images: Sequence[Image]) -> dict[Digest, int]:
    """Give for each image the bytes in layers that another one has too."""
    uses: dict[Digest, int] = {}
    for image in images:
        for chain in image.chain:
            uses[chain] = uses.get(chain, 0) + 1
    return {
        image.id: sum(
            size for chain, size in zip(image.chain, layer_sizes(engine, image), strict=True) if uses[chain] > 1
        )
        for image in images
    }


def inspect_image(engine: Engine, request: Request) -> Response:
    """GET /images/NAME/json."""
    image = engine.images.resolve(request.names["name"])
    return Answer(document=documents.inspect(named(engine, image), request.version, _DRIVER))


def image_history(engine: Engine, request: Request) -> Response:
    """GET /images/NAME/history."""
    store = engine.images
    image = store.resolve(request.names["name"])
    ids: list[Digest | None] = [image.id]
    while (last := ids[-1]) is not None:
        ids.append(store.parent(last))

    def tags_of(id_: Digest) -> list[str]:
        return [tag.familiar() for tag in store.references(id_)]

    return Answer(document=documents.history(image, ids, tags_of, layer_sizes(engine, image)))


def tag_image(engine: Engine, request: Request) -> Response:
    """POST /images/NAME/tag."""
    image = engine.images.resolve(request.names["name"])
    reference = parse_target(request.query.text("repo"), request.query.text("tag"))
    engine.images.tag(image.id, reference)
    return Empty(status=201)


def delete_image(engine: Engine, request: Request) -> Response:
    """DELETE /images/NAME."""
    query = request.query
    gone = remove(engine.images, request.names["name"], force=query.flag("force"), prune=not query.flag("noprune"))
    return Answer(document=_removals(gone))


def prune(engine: Engine, request: Request) -> Response:
    """POST /images/prune."""
    wanted = request.query.filters()
    filtering.check_names(wanted, _PRUNE_FILTERS)
    latest = [parse_instant(text, engine.clock(), "until") for text in wanted.get("until", ())]

    def keep(image: Image) -> bool:
        if latest and documents.created(image) > min(latest):
            return True
        return not filtering.labels_allow(wanted, image.config.run.labels)

    everything = not filtering.flag(wanted, "dangling", default=True)
    pruned = prune_images(engine.images, everything=everything, keep=keep)
    won = pruned.size
    if not wanted.keys() - {"dangling"}:
        won += engine.images.blobs.sweep() + collect(engine.images).size
    engine.events.publish("image", "prune", "", {"reclaimed": str(won)})
    return Answer(document={"ImagesDeleted": _removals(pruned.removed) or None, "SpaceReclaimed": won})


def _removals(gone: Sequence[Removal]) -> list[dict[str, Any]]:
    return [{"Untagged": part.name} if isinstance(part, Untagged) else {"Deleted": str(part.digest)} for part in gone]


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/images/json", handler=list_images),
    Route(method="GET", path="/images/{name}/json", handler=inspect_image),
    Route(method="GET", path="/images/{name}/history", handler=image_history),
    Route(method="POST", path="/images/{name}/tag", handler=tag_image),
    Route(method="DELETE", path="/images/{name}", handler=delete_image),
    Route(method="POST", path="/images/prune", handler=prune, since=(1, 25)),
    *TRANSFER,
)
