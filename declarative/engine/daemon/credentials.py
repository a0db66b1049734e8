"""Who a client is to registries: `X-Registry-Auth` of pull and push, `X-Registry-Config` of a build, the body of /auth.

The rule that keeps it simple: read here into `Credential`, which shows no secret, and carried nowhere but to the registry.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from declarative.errors import Invalid
from declarative.registry.credentials import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping

_HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


def of_header(headers: Mapping[str, str]) -> Credential | None:
    """Read `X-Registry-Auth`: base64url of one JSON object; None where it is absent, empty or unreadable, as in dockerd."""
    try:
        document = _decoded(headers.get("x-registry-auth", ""))
    except Invalid:
        return None
    return of_document(document) if isinstance(document, dict) else None


def of_config_header(headers: Mapping[str, str]) -> dict[str, Credential]:
    """Read `X-Registry-Config`: credentials by registry's domain, as in `Reference.domain`."""
    try:
        document = _decoded(headers.get("x-registry-config", ""))
    except Invalid:
        return {}
    found: dict[str, Credential] = {}
    for server, fields in document.items() if isinstance(document, dict) else ():
        credential = of_document(fields) if isinstance(fields, dict) else None
        if credential is not None:
            found[domain_of(server)] = credential
    return found


def of_document(fields: Mapping[str, Any]) -> Credential | None:
    """Read an AuthConfig; None where nothing in it says who one is."""
    username, password = _text(fields, "username"), _text(fields, "password")
    if packed := _text(fields, "auth"):
        try:
            username, _, password = base64.b64decode(packed, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return None
    found = Credential(
        username=username,
        password=password,
        identity_token=_text(fields, "identitytoken"),
        registry_token=_text(fields, "registrytoken"),
    )
    return found if found.known else None


def domain_of(server: str) -> str:
    """Reduce a server address, with or without scheme and path, to a registry's domain."""
    host = (server.partition("://")[2] or server).partition("/")[0]
    return "docker.io" if host in _HUB_HOSTS or not host else host


def _decoded(text: str) -> Any:
    if not text:
        return {}
    try:
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise Invalid("", "the registry credentials of the request cannot be read") from None


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
