"""What registries say: /distribution/NAME/json and /images/search.

The rule that keeps it simple: the registry is asked anew each time; nothing is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.engine.daemon import filters as filtering
from declarative.engine.daemon.credentials import of_header
from declarative.engine.daemon.http import Answer, Request, Response, Route
from declarative.errors import DeclarativeError, Denied, Invalid, NotFound, Unavailable, Unsupported
from declarative.oci.config import parse_config
from declarative.oci.documents import Index, parse_document
from declarative.oci.node import DOCUMENT_MAX
from declarative.oci.reference import DEFAULT_DOMAIN, DOMAIN, Reference
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.engine.engine import Engine
    from declarative.oci.platform import Platform
    from declarative.registry.client import RegistryClient, StoredManifest

_SEARCH = "https://index.docker.io/v1/search"
_SEARCH_FILTERS = frozenset({"is-official", "is-automated", "stars"})
_LEAST, _MOST, _USUAL = 1, 100, 25


def inspect(engine: Engine, request: Request) -> Response:
    """GET /distribution/NAME/json: digest and platforms of an image in its registry."""
    reference = Reference.parse(request.names["name"]).addressed()
    client = engine.registries.client(reference.domain, of_header(request.headers))
    try:
        stored = client.manifest(reference)
        platforms = _platforms(client, reference, stored)
    except NotFound as error:
        raise NotFound("", f"manifest unknown: {reference.familiar()}") from error
    except Denied as error:
        return Answer(document={"message": str(error)}, status=401)
    except Unavailable:
        engine.registries.forget(client)
        raise
    descriptor = {"mediaType": stored.media_type, "digest": str(stored.digest), "size": len(stored.content)}
    return Answer(document={"Descriptor": descriptor, "Platforms": [_platform(one) for one in platforms]})


def _platforms(client: RegistryClient, reference: Reference, stored: StoredManifest) -> Iterable[Platform]:
    document = parse_document(stored.content, stored.media_type, reference.familiar())
    if isinstance(document, Index):
        return [entry.platform for entry in document.manifests if entry.platform is not None]
    described = document.config
    if described.size > DOCUMENT_MAX:  # an artifact that is no image
        return []
    content = b"".join(client.open_blob(reference.path, described.digest, size=described.size))
    try:
        return [parse_config(content).platform]
    except Invalid:  # no image either
        return []


def _platform(platform: Platform) -> dict[str, Any]:
    fields = {
        "architecture": platform.architecture,
        "os": platform.os,
        "os.version": platform.os_version,
        "variant": platform.variant,
    }
    return {name: value for name, value in fields.items() if value}


# ---- search


@record
class _Found:
    """A repository that matches."""

    name: str
    description: str = ""
    official: bool = False
    automated: bool = False
    stars: int = 0


def search(engine: Engine, request: Request) -> Response:
    """GET /images/search: Docker Hub's search, or, for HOST/TERM, what the registry's catalogue has."""
    term = request.query.text("term")
    if not term:
        raise Invalid("", "term is missing: what is to be searched for?")
    limit = request.query.integer("limit", _USUAL) or _USUAL
    if not _LEAST <= limit <= _MOST:
        raise Invalid("", f"limit {limit} is outside the range of [{_LEAST}, {_MOST}]")
    wanted = request.query.filters()
    filtering.check_names(wanted, _SEARCH_FILTERS)
    domain, slash, rest = term.partition("/")
    if slash and DOMAIN.fullmatch(domain) and (any(sign in domain for sign in ".:") or domain == "localhost"):
        found = _of_catalogue(engine, domain, rest, f"{domain}/")
    else:
        found = _of_hub(engine, term, limit)
    rows = [one for one in found if _passes(one, wanted)][:limit]
    return Answer(document=[_row(one) for one in rows])


def _of_hub(engine: Engine, term: str, limit: int) -> list[_Found]:
    from urllib.parse import urlencode

    client = engine.registries.client(DEFAULT_DOMAIN)
    try:
        node = client.ask_json(f"{_SEARCH}?{urlencode({'q': term, 'n': limit})}", "a search")
    except Unavailable:
        mirrors = engine.settings.mirrors
        if not mirrors:
            raise
        found = [one for mirror in mirrors for one in _of_mirror(engine, mirror, term)]
        return list({one.name: one for one in found}.values())
    return [
        _Found(
            name=row.text("name", ""),
            description=row.text("description", ""),
            official=row.flag("is_official"),
            automated=row.flag("is_automated"),
            stars=row.natural("star_count", 0),
        )
        for row in node.children("results")
    ]


def _of_mirror(engine: Engine, mirror: str, term: str) -> list[_Found]:
    """Look in a mirror of the Hub: its `library/x` is the Hub's `x`."""
    host = (mirror.partition("://")[2] or mirror).partition("/")[0]
    try:
        return _of_catalogue(engine, host, term, "")
    except DeclarativeError:
        return []


def _of_catalogue(engine: Engine, domain: str, term: str, prefix: str) -> list[_Found]:
    try:
        names = engine.registries.client(domain).repositories()
    except (NotFound, Unsupported) as error:
        raise Unsupported(domain, "this registry does not tell what it has") from error
    found = []
    for name in names:
        if term.lower() in name:
            shown = name.removeprefix("library/") if not prefix else name
            found.append(_Found(name=f"{prefix}{shown}", official=shown != name))
    return found


def _passes(one: _Found, wanted: filtering.Filters) -> bool:
    if one.official != filtering.flag(wanted, "is-official", default=one.official):
        return False
    if one.automated != filtering.flag(wanted, "is-automated", default=one.automated):
        return False
    try:
        return all(one.stars >= int(text) for text in wanted.get("stars", ()))
    except ValueError:
        raise Invalid("", f"invalid filter 'stars={list(wanted['stars'])}'") from None


def _row(one: _Found) -> dict[str, Any]:
    return {
        "name": one.name,
        "description": one.description,
        "is_official": one.official,
        "is_automated": one.automated,
        "star_count": one.stars,
    }


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/distribution/{name}/json", handler=inspect, since=(1, 30)),
    Route(method="GET", path="/images/search", handler=search),
)
