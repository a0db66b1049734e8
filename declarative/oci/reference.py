"""Image references, spelled as people type them and as registries know them.

The rule: `Reference.parse` (the spelling of the docker command line) is what everything uses; `parse_strict` is the
bare grammar. Grammar and normalisation follow github.com/distribution/reference, as do the conformance cases.
"""

from __future__ import annotations

import re

from declarative.errors import Invalid
from declarative.oci.digest import Digest
from declarative.record import record, replace

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DEFAULT_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
# distribution/reference counts the path alone (RepositoryNameTotalLengthMax).
_PATH_MAX = 255
# Longer than domain, path, tag and digest can be together; keeps hostile input away from the expressions below.
_TEXT_MAX = 1024

_COMPONENT = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_COMPONENT}(?:\.{_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

DOMAIN = re.compile(_DOMAIN, re.ASCII)
TAG = re.compile(_TAG, re.ASCII)
PATH = re.compile(_PATH, re.ASCII)
NAME = re.compile(rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PATH})", re.ASCII)
REFERENCE = re.compile(rf"(?P<name>(?:{_DOMAIN}/)?{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?", re.ASCII)
IDENTIFIER = re.compile(r"[a-f0-9]{64}", re.ASCII)


@record
class Reference:
    """`domain/path[:tag][@digest]`. `domain` is "" only out of `parse_strict`."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Parse what a person types: `redis` is `docker.io/library/redis`. No tag is added. Raise Invalid."""
        if IDENTIFIER.fullmatch(text):
            raise Invalid(text, "an image name cannot be 64 hex digits", "use an image id only where ids are accepted")
        if not text:
            raise _empty()
        domain, remainder = _split_domain(text)
        remote = remainder.partition(":")[0]
        if remote.lower() != remote:
            raise _uppercase(text)
        return _parse_strict(f"{domain}/{remainder}", shown=text)

    @classmethod
    def parse_strict(cls, text: str) -> Reference:
        """Parse by the grammar alone: nothing is defaulted, `domain` may come out empty. Raise Invalid."""
        return _parse_strict(text, shown=text)

    @property
    def name(self) -> str:
        """`domain/path`, as in `docker.io/library/redis`."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def repository(self) -> str:
        """The name as docker prints it in its REPOSITORY column: `redis`, `ghcr.io/acme/web`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in short else short

    @property
    def bare(self) -> Reference:
        """The same repository, without tag and digest."""
        return replace(self, tag=None, digest=None)

    def familiar(self) -> str:
        """Write the short text that docker prints: `redis:7`, not `docker.io/library/redis:7`."""
        return self.repository + self._suffix()

    def canonical(self) -> str:
        """Write the text out in full, tag and digest as they are."""
        return self.name + self._suffix()

    def addressed(self) -> Reference:
        """Reduce to what a registry is asked for: the digest alone where there is one, else the tag, else `latest`."""
        if self.digest is not None:
            return replace(self, tag=None)
        return self if self.tag is not None else replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """Put the same name and digest under `tag`; raise Invalid if that is no tag."""
        if TAG.fullmatch(tag) is None:
            raise Invalid(
                _shown(tag), "not a tag", "a tag has up to 128 of A-Z a-z 0-9 _ . - and begins with none of . -"
            )
        return replace(self, tag=tag)

    def with_digest(self, digest: Digest) -> Reference:
        """Pin the same name and tag to `digest`."""
        return replace(self, digest=digest)

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return tag + (f"@{self.digest}" if self.digest is not None else "")

    def __str__(self) -> str:
        return self.canonical()


def parse_any(text: str) -> Reference | Digest:
    """Parse a reference or an image id (64 hex digits, or a digest); raise Invalid if it is neither."""
    if IDENTIFIER.fullmatch(text):
        return Digest(algorithm="sha256", hex=text)
    try:
        return Digest.parse(text)
    except Invalid:
        return Reference.parse(text)


def _split_domain(text: str) -> tuple[str, str]:
    """Tell a registry's domain from the first part of a path, as docker guesses it: by a dot, a colon, or a capital."""
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, _OFFICIAL + text
    if first == _LEGACY_DEFAULT_DOMAIN:
        first = DEFAULT_DOMAIN
    elif first != "localhost" and not any(mark in first for mark in ".:") and first.lower() == first:
        return DEFAULT_DOMAIN, text
    if first == DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL + rest
    return first, rest


def _parse_strict(text: str, *, shown: str) -> Reference:
    match = REFERENCE.fullmatch(text) if len(text) <= _TEXT_MAX else None
    if match is None:
        raise _why_not(text, shown)
    name = NAME.fullmatch(match["name"])
    if name is None:  # the name is a part of the match above, so this cannot be
        raise _why_not(text, shown)
    if len(name["path"]) > _PATH_MAX:
        raise Invalid(_shown(shown), f"the repository name is too long: {len(name['path'])} of {_PATH_MAX} characters")
    return Reference(
        domain=name["domain"] or "",
        path=name["path"],
        tag=match["tag"],
        digest=_parse_digest(match["digest"], shown) if match["digest"] else None,
    )


def _parse_digest(text: str, shown: str) -> Digest:
    digest = Digest.parse(text)
    if digest.algorithm != "sha256":  # what engines and the reference suite know in names
        raise Invalid(_shown(shown), f"unsupported digest algorithm {digest.algorithm}", "name images by sha256")
    return digest


def _why_not(text: str, shown: str) -> Invalid:
    if not text:
        return _empty()
    if len(text) <= _TEXT_MAX and REFERENCE.fullmatch(text.lower()):
        return _uppercase(shown)
    return Invalid(_shown(shown), "invalid image reference", "write [DOMAIN/]PATH[:TAG][@DIGEST]")


def _empty() -> Invalid:
    return Invalid("image reference", "the repository name is empty", "write [DOMAIN/]PATH[:TAG][@DIGEST]")


def _uppercase(shown: str) -> Invalid:
    return Invalid(_shown(shown), "the repository name must be lower case")


def _shown(text: str) -> str:
    return text if len(text) <= _PATH_MAX else text[:_PATH_MAX] + "…"
