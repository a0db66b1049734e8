"""The client of one registry: tags, manifests, blobs (OCI distribution-spec 1.1, Docker registry API v2).

The rule: every method is one question, asked again only as the retry policy says; "absent" is an answer, every other
failure is an error of `declarative.errors`.

Errors of all methods: Denied (401, 403), Unavailable (429, 5xx, time-outs, cuts), NotFound (a registry's own 404),
Unsupported (405), Conflict (409), Failed (other refusals), DigestMismatch (content is not what its digest says).
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from declarative.errors import Invalid, NotFound, Unavailable, Unsupported
from declarative.oci import media
from declarative.oci.digest import Digest
from declarative.oci.node import DOCUMENT_MAX, Node
from declarative.oci.reference import PATH, TAG, Reference
from declarative.registry.auth import scope
from declarative.registry.blobs import Blob, exists, mount
from declarative.registry.download import download, read
from declarative.registry.retry import RetryPolicy
from declarative.registry.session import Session, Settings
from declarative.registry.upload import upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from urllib3 import BaseHTTPResponse

    from declarative.registry.blobs import Progress
    from declarative.registry.credentials import Credential
    from declarative.registry.failure import Question
    from declarative.registry.upload import Content

T = TypeVar("T")
# Docker Hub and distribution give at most this many in one answer.
_TAGS_PER_PAGE = 1000
# A million tags; a registry that goes on beyond that goes in circles.
_PAGES_MAX = 1000
_NEXT_LINK = re.compile(r'<([^<>]+)>\s*;\s*(?:[^,]*;\s*)?rel="?next"?', re.IGNORECASE)


class StoredManifest(NamedTuple):
    """A manifest or index as the registry keeps it: the digest is of exactly these bytes."""

    digest: Digest
    media_type: str
    content: bytes


class RegistryClient:
    """Talks to the registry of `domain` (as in `Reference.domain`). Safe to share between threads; close it, or use `with`.

    `repository` is always the path within the registry, as in `Reference.path`. `credential` is asked once, with the
    domain, when the registry wants to know who we are; `DockerConfig.credential` fits.
    """

    def __init__(
        self,
        domain: str,
        *,
        credential: Callable[[str], Credential | None] | None = None,
        settings: Settings | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.domain = domain
        self._retry = retry or RetryPolicy()
        self._credential = _Remembered(domain, credential or (lambda _: None))
        self._session = Session(domain, self._credential, settings or Settings())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._session.close()

    def check(self) -> None:
        """Ask whether the registry speaks to us as who we are: Denied where it does not."""
        question = self._session.question("", "GET", "the version of its API")
        self._session.release(self._retry.call(lambda: self._session.ask(question, "", scopes=frozenset())))

    def repositories(self) -> tuple[str, ...]:
        """Return the names of all repositories, of a registry that tells (`_catalog`); Unsupported, NotFound of others."""
        found: dict[str, None] = {}
        target = f"_catalog?n={_TAGS_PER_PAGE}"
        for _ in range(_PAGES_MAX):
            page = self._retry.call(lambda target=target: self._catalog_page(target))  # type: ignore[misc]
            found.update(dict.fromkeys(page.tags))
            if not page.after:
                return tuple(found)
            target = f"_catalog?{page.after}"
        raise Unavailable(self.domain, f"the list of repositories does not end after {len(found)} of them")

    def ask_json(self, url: str, what: str) -> Node:
        """Fetch a JSON document of this registry's other addresses, such as its search; no credentials go there."""
        question = self._session.question("", "GET", what)

        def ask() -> bytes:
            answer = self._session.ask(question, url, scopes=frozenset())
            return self._session.content(question, answer, DOCUMENT_MAX)

        return Node.parse(self._retry.call(ask), question.subject)

    def tags(self, repository: str) -> tuple[str, ...]:
        """Return all tags, in the registry's order; none for a repository that the registry does not know. Unavailable."""
        found: dict[str, None] = {}
        target = f"{_path(repository)}/tags/list?n={_TAGS_PER_PAGE}"
        for _ in range(_PAGES_MAX):
            page = self._retry.call(lambda target=target: self._tags_page(repository, target))  # type: ignore[misc]
            new = [tag for tag in page.tags if tag not in found]
            found.update(dict.fromkeys(new))
            if not page.after or not new:
                return tuple(found)
            target = f"{repository}/tags/list?{page.after}"
        raise Unavailable(f"{self.domain}/{repository}", f"the list of tags does not end after {len(found)} tags")

    def resolve(self, reference: Reference) -> Digest | None:
        """Return the digest that a tag points to, or None if the registry says that there is no such thing."""
        repository, name = self._address(reference)
        try:
            return self._retry.call(
                lambda: self._head_manifest(repository, name) or self._manifest(repository, name).digest
            )
        except NotFound:
            return None

    def manifest(self, reference: Reference) -> StoredManifest:
        """Fetch the manifest or index that a reference names, checked against its digest; raise NotFound."""
        repository, name = self._address(reference)
        return self._retry.call(lambda: self._manifest(repository, name))

    def put_manifest(self, repository: str, name: str | Digest, media_type: str, content: bytes) -> Digest:
        """Store a manifest or index under a tag or its digest, byte for byte; return its digest."""
        digest = Digest.of_bytes(content)
        if isinstance(name, Digest):
            name.check(content, f"{self.domain}/{repository}")
        self._retry.call(lambda: self._put_manifest(_path(repository), _name(name), media_type, content, digest))
        return digest

    def delete_manifest(self, repository: str, name: str | Digest) -> bool:
        """Remove a manifest with all its tags (by digest), or a tag alone where the registry can; False if absent."""
        question = self._session.question(repository, "DELETE", f"manifest {name}")
        target = f"{_path(repository)}/manifests/{_name(name)}"
        scopes = frozenset({scope(repository, "delete")})
        try:
            answer = self._retry.call(lambda: self._session.ask(question, target, scopes=scopes, expected={200, 202}))
        except NotFound:
            return False
        except Unsupported as error:
            raise Unsupported(error.subject, error.problem, "deletion has to be enabled in the registry") from error
        self._session.release(answer)
        return True

    def blob_exists(self, repository: str, digest: Digest) -> bool:
        """Tell whether the repository holds a blob."""
        return self._retry.call(lambda: exists(self._blob(repository, digest)))

    def mount_blob(self, repository: str, digest: Digest, from_repository: str) -> bool:
        """Take a blob over from another repository of this registry; False where that does not work: upload it then."""
        return self._retry.call(lambda: mount(self._blob(repository, digest), _path(from_repository)))

    def open_blob(
        self,
        repository: str,
        digest: Digest,
        *,
        size: int | None = None,
        have: Iterable[bytes] = (),
        progress: Progress | None = None,
    ) -> Iterator[bytes]:
        """Yield a blob's bytes, resumed after cuts; raise DigestMismatch at the end if they are not the blob.

        `size` in bytes, from the descriptor, bounds what is read. `have` are the first bytes, kept from an earlier try:
        they are hashed, not yielded. Keep nothing that came out before the iterator is exhausted.
        """
        return download(self._blob(repository, digest), size=size, have=have, progress=progress)

    def read_blob(
        self, repository: str, digest: Digest, *, offset: int = 0, size: int | None = None
    ) -> Iterator[bytes]:
        """Yield a blob's bytes behind `offset`, resumed after cuts, for a caller who checks the whole of it himself."""
        return read(self._blob(repository, digest), offset=offset, size=size)

    def upload_blob(
        self,
        repository: str,
        digest: Digest,
        content: Content,
        *,
        size: int,
        chunk: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Store a blob of `size` bytes; `content(offset)` opens it, anew after a cut.

        In one request, or in requests of `chunk` bytes, of which only the cut one is sent again.
        """
        upload(self._blob(repository, digest), content, size=size, chunk=chunk, progress=progress)

    def _blob(self, repository: str, digest: Digest) -> Blob:
        return Blob(session=self._session, policy=self._retry, repository=_path(repository), digest=digest)

    def _address(self, reference: Reference) -> tuple[str, str]:
        if reference.domain != self.domain:
            raise Invalid(str(reference), f"this is not an image of {self.domain}")
        addressed = reference.addressed()
        return _path(addressed.path), _name(addressed.digest or addressed.tag or "")

    def _tags_page(self, repository: str, target: str) -> _Page:
        question = self._session.question(repository, "GET", "the list of tags")
        try:
            answer = self._session.ask(question, target, scopes=frozenset({scope(repository, "pull")}))
        except NotFound:
            return _Page(tags=(), after="")
        link = _NEXT_LINK.search(answer.headers.get("Link", ""))
        tags = _parse_tags(question, self._session.content(question, answer, DOCUMENT_MAX))
        if link:
            return _Page(tags=tags, after=_query_of(link[1]))
        # Some registries cut the list without a Link; asking on from the last tag costs one question and proves the end.
        full = len(tags) >= _TAGS_PER_PAGE
        return _Page(tags=tags, after=urlencode({"n": _TAGS_PER_PAGE, "last": tags[-1]}) if full else "")

    def _catalog_page(self, target: str) -> _Page:
        question = self._session.question("", "GET", "the list of repositories")
        answer = self._session.ask(question, target, scopes=frozenset({"registry:catalog:*"}))
        link = _NEXT_LINK.search(answer.headers.get("Link", ""))
        node = Node.parse(self._session.content(question, answer, DOCUMENT_MAX), question.subject)
        names = tuple(name for name in node.texts("repositories") if PATH.fullmatch(name))
        return _Page(tags=names, after=_query_of(link[1]) if link else "")

    def _head_manifest(self, repository: str, name: str) -> Digest | None:
        """Ask for the digest alone; None where only the manifest itself can tell. Raise NotFound."""
        question = self._session.question(repository, "HEAD", f"manifest {name}")
        # 404 without a registry's mark, and HEAD refused, are settled by GET, whose body says more.
        answer = self._ask_manifest(question, repository, name, expected={200, 404, 405, 501})
        self._session.release(answer)
        if answer.status == 404 and "Docker-Distribution-Api-Version" in answer.headers:
            raise NotFound(question.subject, f"the registry has no {question.what}")
        try:
            return Digest.parse(answer.headers.get("Docker-Content-Digest", "")) if answer.status == 200 else None
        except Invalid:
            return None

    def _manifest(self, repository: str, name: str) -> StoredManifest:
        question = self._session.question(repository, "GET", f"manifest {name}")
        answer = self._ask_manifest(question, repository, name, expected={200})
        content = self._session.content(question, answer, DOCUMENT_MAX)
        stated = name if ":" in name else answer.headers.get("Docker-Content-Digest", "")
        digest = Digest.parse(stated) if stated else Digest.of_bytes(content)
        digest.check(content, f"{question.subject} manifest {name}")
        media_type = media.of_header(answer.headers.get("Content-Type", ""))
        return StoredManifest(digest=digest, media_type=media_type, content=content)

    def _ask_manifest(self, question: Question, repository: str, name: str, *, expected: set[int]) -> BaseHTTPResponse:
        return self._session.ask(
            question,
            f"{repository}/manifests/{name}",
            scopes=frozenset({scope(repository, "pull")}),
            headers={"Accept": ", ".join(media.ACCEPT)},
            expected=expected,
        )

    def _put_manifest(self, repository: str, name: str, media_type: str, content: bytes, digest: Digest) -> None:
        question = self._session.question(repository, "PUT", f"manifest {name}")
        answer = self._session.ask(
            question,
            f"{repository}/manifests/{name}",
            scopes=frozenset({scope(repository, "pull", "push")}),
            headers={"Content-Type": media_type},
            body=content,
            expected={200, 201},
        )
        self._session.release(answer)
        if stated := answer.headers.get("Docker-Content-Digest", ""):
            digest.require(Digest.parse(stated), f"{question.subject} manifest {name}")


class _Page(NamedTuple):
    """Some tags, and the query that gets the next ones; "" at the end."""

    tags: tuple[str, ...]
    after: str


class _Remembered:
    """Asks for the credential once, however many threads want it."""

    def __init__(self, domain: str, source: Callable[[str], Credential | None]) -> None:
        self._domain = domain
        self._source = source
        self._lock = threading.Lock()
        self._known: tuple[Credential | None] | None = None

    def __call__(self) -> Credential | None:
        with self._lock:
            if self._known is None:
                self._known = (self._source(self._domain),)
            return self._known[0]


def _parse_tags(question: Question, content: bytes) -> tuple[str, ...]:
    try:
        return tuple(tag for tag in Node.parse(content, question.subject).texts("tags") if TAG.fullmatch(tag))
    except Invalid as error:
        raise Unavailable(question.subject, f"the answer to {question} is no list of tags: {error.problem}") from error


def _query_of(link: str) -> str:
    """Keep of the next page's address what says where to go on: the address itself may be a proxy's, and wrong."""
    fields = parse_qs(urlsplit(link).query, keep_blank_values=True)
    return urlencode({name: values[0] for name, values in fields.items()})


def _path(repository: str) -> str:
    """Let nothing but a repository's path into an address."""
    if PATH.fullmatch(repository) is None:
        raise Invalid(repr(repository[:120]), "not a repository name", "use the path alone, without registry and tag")
    return repository


def _name(name: str | Digest) -> str:
    """Let nothing but a tag or a digest into an address."""
    text = str(name)
    if isinstance(name, str) and TAG.fullmatch(name) is None:
        raise Invalid(repr(text[:140]), "neither a tag nor a digest")
    return quote(text, safe=":")
