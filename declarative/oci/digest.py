"""Content digests: the only names of content that cannot lie.

The rule: a `Digest` is parsed once, at the edge; whoever holds one may trust its form. Content is trusted only after
all its bytes were hashed: by `check`, or on their way, with `require` at the end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.errors import Failed, Invalid
from declarative.record import record

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Iterable

# OCI image-spec, descriptor.md, "Digests": the registered algorithms and the length of their lower-case hex.
REGISTERED = {"sha256": 64, "sha384": 96, "sha512": 128}
_GRAMMAR = re.compile(r"(?P<algorithm>[a-z0-9]+(?:[+._-][a-z0-9]+)*):(?P<encoded>[a-zA-Z0-9=_-]+)", re.ASCII)
_HEX = re.compile(r"[a-f0-9]+", re.ASCII)
# A digest in an error is shown up to this many characters: the longest registered one and its algorithm fit.
_SHOWN = 140


class DigestMismatch(Failed):
    """The bytes are not what their digest says. They were not kept."""


@record(order=True)
class Digest:
    """`algorithm:hex`, as in `sha256:2690af…`. Build one with `parse` or `of_bytes`; the constructor checks nothing."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str, *, unregistered: bool = False) -> Digest:
        """Parse `algorithm:encoded` (image-spec, descriptor.md, "Digests"); raise Invalid if it is not one.

        With `unregistered`, an algorithm that we cannot compute passes by grammar alone, as the specification asks of
        whoever only carries a document on.
        """
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise Invalid(_shown(text), "not a digest", "write ALGORITHM:HEX, as in sha256: and 64 hex digits")
        algorithm, encoded = match["algorithm"], match["encoded"]
        length = REGISTERED.get(algorithm)
        if length is None:
            if unregistered:
                return cls(algorithm=algorithm, hex=encoded)
            raise Invalid(_shown(text), f"unsupported digest algorithm {algorithm}", f"use {', '.join(REGISTERED)}")
        if len(encoded) != length:
            raise Invalid(_shown(text), f"invalid digest length: {len(encoded)} digits, {algorithm} has {length}")
        if _HEX.fullmatch(encoded) is None:
            raise Invalid(_shown(text), "a digest has lower-case hex digits only")
        return cls(algorithm=algorithm, hex=encoded)

    @classmethod
    def of_bytes(cls, content: bytes, algorithm: str = "sha256") -> Digest:
        """Compute the digest of `content`."""
        return cls(algorithm=algorithm, hex=_hasher(algorithm, content).hexdigest())

    @classmethod
    def of_chunks(cls, chunks: Iterable[bytes], algorithm: str = "sha256") -> Digest:
        """Compute the digest of content that comes in pieces."""
        hasher = _hasher(algorithm)
        for chunk in chunks:
            hasher.update(chunk)
        return cls(algorithm=algorithm, hex=hasher.hexdigest())

    @property
    def short(self) -> str:
        """The first twelve digits, as `docker images` shows an id."""
        return self.hex[:12]

    def check(self, content: bytes, subject: str = "") -> bytes:
        """Return `content` if this is its digest; raise DigestMismatch, naming `subject`, if not."""
        self.require(Digest.of_bytes(content, self.algorithm), subject)
        return content

    def require(self, found: Digest, subject: str = "") -> None:
        """Raise DigestMismatch, naming `subject`, if `found` is another digest."""
        if found != self:
            remedy = "fetch it again; if it stays, the copy there is damaged"
            raise DigestMismatch(subject or "content", f"expected {self}, the bytes are {found}", remedy)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def _hasher(algorithm: str, content: bytes = b"") -> hashlib._Hash:
    import hashlib  # OpenSSL takes 3 ms to load, and most plans compute no digest

    return hashlib.new(algorithm, content)


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
