"""The way past a registry's door: basic auth, and bearer tokens from the server it names.

The rule: nothing is sent before it is asked for. Tokens live in memory, per set of scopes, until shortly before they
expire. Protocol: distribution, "Token Authentication Specification" and "OAuth2 Token Authentication".
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from declarative.errors import Denied, Invalid
from declarative.oci.node import Node
from declarative.record import field, record
from declarative.registry.challenge import Challenge, parse_challenges

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from declarative.registry.credentials import Credential

CLIENT_ID = "declarative"
# Token specification: a token without `expires_in` lives for 60 seconds.
_LIFETIME = 60.0
# A token is renewed this long (seconds) before it ends, so that it does not end on its way.
_LEEWAY = 10.0


def scope(repository: str, *actions: str) -> str:
    """Return the scope text for actions (`pull`, `push`, `delete`) on a repository."""
    return f"repository:{repository}:{','.join(actions)}"


@record
class TokenRequest:
    """The HTTP request that gets a token."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)


@record
class Token:
    """A bearer token and the instant (on our clock) at which to stop using it."""

    value: str = field(repr=False)
    until: float


def token_request(challenge: Challenge, scopes: frozenset[str], credential: Credential | None) -> TokenRequest:
    """Build the request for a token that covers `scopes`."""
    realm = challenge.parameters.get("realm", "")
    wanted = [("service", challenge.parameters["service"])] if challenge.parameters.get("service") else []
    if credential is not None and credential.identity_token:
        form = [
            *wanted,
            ("grant_type", "refresh_token"),
            ("client_id", CLIENT_ID),
            ("refresh_token", credential.identity_token),
            ("scope", " ".join(sorted(scopes))),
        ]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return TokenRequest(method="POST", url=realm, headers=headers, body=urlencode(form).encode())
    query = urlencode([*wanted, *(("scope", text) for text in sorted(scopes)), ("client_id", CLIENT_ID)])
    known = credential is not None and credential.username
    headers = {"Authorization": credential.basic()} if credential is not None and known else {}
    return TokenRequest(method="GET", url=f"{realm}{'&' if '?' in realm else '?'}{query}", headers=headers)


def parse_token(content: bytes, subject: str, now: float) -> Token:
    """Read the token server's answer; raise Denied if there is no token in it."""
    try:
        node = Node.parse(content, subject)
        value = node.text("token", "") or node.text("access_token", "")
        lifetime = float(node.natural("expires_in", 0)) or _LIFETIME
    except Invalid as error:  # its text may hold the token, so it is not passed on
        raise Denied(subject, "the token server's answer cannot be read") from error
    if not value or not value.isprintable() or " " in value:
        raise Denied(subject, "the token server answered without a token")
    return Token(value=value, until=now + max(lifetime - _LEEWAY, 1.0))


class Authorizer:
    """Knows what one registry asked for, and the tokens that answered it. Safe to share between threads."""

    def __init__(
        self,
        domain: str,
        *,
        credential: Callable[[], Credential | None],
        fetch: Callable[[TokenRequest], bytes],
        clock: Callable[[], float],
        plain_realm: bool = False,
    ) -> None:
        """`fetch` sends a token request and returns the body of a 200; `plain_realm` lets tokens come over HTTP."""
        self._domain = domain
        self._credential = credential
        self._fetch = fetch
        self._clock = clock
        self._plain_realm = plain_realm
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._tokens: dict[frozenset[str], Token] = {}

    def header(self, scopes: frozenset[str]) -> str | None:
        """Return the Authorization value to begin with: None until the registry has asked for one."""
        with self._lock:
            return self._answer(scopes) if self._challenge is not None else None

    def challenged(self, header: str, scopes: frozenset[str], used: str | None) -> str | None:
        """Return the Authorization value to try after a 401 that `used` got; None when there is nothing new to say."""
        challenge = _best(parse_challenges(header))
        if challenge is None:
            return None
        with self._lock:
            self._challenge = challenge
            known = self._tokens.get(scopes)
            if known is not None and used == f"Bearer {known.value}":
                del self._tokens[scopes]  # it was refused, perhaps revoked: get another
            answer = self._answer(scopes)
        return answer if answer != used else None

    def _answer(self, scopes: frozenset[str]) -> str | None:
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            credential = self._credential()
            return credential.basic() if credential is not None and credential.username else None
        token = self._tokens.get(scopes)
        if token is None or token.until <= self._clock():
            token = self._tokens[scopes] = self._new_token(self._challenge, scopes)
        return f"Bearer {token.value}"

    def _new_token(self, challenge: Challenge, scopes: frozenset[str]) -> Token:
        self._check_realm(challenge.parameters.get("realm", ""))
        credential = self._credential()
        if credential is not None and credential.registry_token:
            return Token(value=credential.registry_token, until=self._clock() + _LIFETIME)
        # What the server asks for may be wider than what we thought of (a mount reads a second repository).
        asked = frozenset(filter(None, (challenge.parameters.get("scope", ""),)))
        content = self._fetch(token_request(challenge, scopes or asked, credential))
        return parse_token(content, self._domain, self._clock())

    def _check_realm(self, realm: str) -> None:
        """Refuse to carry credentials over plain HTTP where the registry itself is spoken to over TLS."""
        parts = urlsplit(realm)
        if not parts.hostname or parts.scheme not in {"http", "https"}:
            raise Denied(self._domain, f"the registry names no usable token server: {json.dumps(realm[:100])}")
        if parts.scheme == "http" and not self._plain_realm:
            raise Denied(self._domain, f"the registry's token server {parts.hostname} is not behind TLS")


def _best(challenges: tuple[Challenge, ...]) -> Challenge | None:
    """Prefer a token to a password."""
    by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
    return by_scheme.get("bearer") or by_scheme.get("basic")
