"""A value that reaches the container and nothing else. It prints as `***` and compares by salted digest."""

from __future__ import annotations

from declarative.record import record

MASK = "***"


@record(kw_only=False, repr=False)
class Secret:
    """A secret text. Only `reveal` gives it away; drivers call it when they write to an engine, nobody else does."""

    _value: str

    def reveal(self) -> str:
        """Give the plain text."""
        return self._value

    def seal(self, salt: str) -> Sealed:
        """Give what a label may carry of this secret: an HMAC-SHA256 under `salt` (hex)."""
        import hashlib  # most stacks have no secret, and OpenSSL takes 3 ms to load
        import hmac

        return Sealed(digest=hmac.new(salt.encode(), self._value.encode(), hashlib.sha256).hexdigest(), salt=salt)

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__


@record(kw_only=False, repr=False)
class Sealed:
    """What the label of the last apply remembers of a secret: enough to see that it changed, not what it was."""

    digest: str
    salt: str

    def holds(self, value: Secret | str) -> bool:
        """Whether `value` is the secret that was sealed."""
        import hmac

        secret = value if isinstance(value, Secret) else Secret(value)
        return hmac.compare_digest(secret.seal(self.salt).digest, self.digest)

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__
