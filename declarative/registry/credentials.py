"""Who we are to a registry: what `docker login` left in `config.json`, and the credential helpers named there.

The rule: secrets never appear in `repr`, errors or arguments of other programs. A helper is asked when a registry wants
credentials, never before.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING

from declarative.errors import Denied, Invalid
from declarative.oci.node import Node
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

# The key under which docker keeps the credentials of docker.io, from the days of its first registry.
DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_DOCKER_HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
# A helper may ask a person or a cloud; longer than this and something hangs.
_HELPER_TIMEOUT = 60.0
# docker-credential-helpers, credentials/error.go: what a helper prints when it has nothing for a server.
_NOT_FOUND = "credentials not found"


@record
class Credential:
    """A name and password, or an identity token (OAuth2 refresh token), or a ready bearer token."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def known(self) -> bool:
        """Whether there is anything here; with a credential store, docker leaves empty entries in `auths`."""
        return bool(self.username or self.identity_token or self.registry_token)

    def basic(self) -> str:
        """Return the value of an Authorization header for basic auth (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@record
class DockerConfig:
    """The credential part of docker's `config.json`. `environment` is what helpers run with; None inherits ours."""

    auths: Mapping[str, Credential] = field(default_factory=dict, hash=False)
    helpers: Mapping[str, str] = field(default_factory=dict, hash=False)
    store: str = ""
    environment: Mapping[str, str] | None = field(default=None, repr=False, hash=False)

    @classmethod
    def parse(
        cls, content: bytes, *, subject: str = "config.json", environment: Mapping[str, str] | None = None
    ) -> DockerConfig:
        """Parse the bytes of `config.json`; raise Invalid, naming `subject`."""
        node = Node.parse(content or b"{}", subject)
        auths = node.child("auths") if node.has("auths") else Node({}, subject, ".auths")
        return cls(
            auths={server: _parse_auth(auths.child(server)) for server in auths.fields() if auths.has(server)},
            helpers=node.pairs("credHelpers"),
            store=node.text("credsStore", ""),
            environment=environment,
        )

    def credential(self, domain: str) -> Credential | None:
        """Return what is known for a registry (`docker.io`, `ghcr.io`, `127.0.0.1:5000`), or None.

        Raise Denied if the helper that should know cannot be asked.
        """
        helper = next((name for server, name in self.helpers.items() if _host(server) == _host(domain)), self.store)
        if helper:
            found = ask_helper(helper, _server(domain), environment=self.environment)
            if found is not None:
                return found
        return next(
            (auth for server, auth in self.auths.items() if _host(server) == _host(domain) and auth.known), None
        )


def registry_auth_header(credential: Credential | None, domain: str) -> str:
    """Return the X-Registry-Auth value that the engine's API wants for push and pull (API 1.47, "Authentication")."""
    fields = json.dumps(_auth_fields(credential, _server(domain)), separators=(",", ":"))
    return base64.urlsafe_b64encode(fields.encode()).decode()


def ask_helper(name: str, server: str, *, environment: Mapping[str, str] | None = None) -> Credential | None:
    """Ask `docker-credential-NAME` for a server; return None if it has nothing; raise Denied if it does not work."""
    import subprocess

    program = f"docker-credential-{name}"
    if "/" in name or "\0" in name:
        raise Denied(repr(name), "not the name of a credential helper")
    try:
        done = subprocess.run(
            [program, "get"],
            input=server,
            capture_output=True,
            text=True,
            timeout=_HELPER_TIMEOUT,
            check=False,
            env=environment,
        )
    except FileNotFoundError as error:
        remedy = "install it, or take it out of docker's config.json"
        raise Denied(program, f"the credential helper for {server} is not on the PATH", remedy) from error
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise Denied(program, f"the credential helper cannot be asked for {server}: {type(error).__name__}") from error
    if done.returncode == 0:
        return _parse_answer(program, done.stdout)
    if _NOT_FOUND in done.stdout + done.stderr:
        return None
    raise Denied(
        program, f"the credential helper failed for {server} with exit code {done.returncode}", "run it by hand"
    )


def _parse_answer(program: str, text: str) -> Credential:
    try:
        node = Node.parse(text.encode(), program)
        username, secret = node.text("Username", ""), node.text("Secret", "")
    except Invalid as error:  # its text may hold the secret, so it is not passed on
        raise Denied(program, "the credential helper did not answer as one") from error
    # docker-credential-helpers: this name marks an identity token.
    if username == "<token>":
        return Credential(identity_token=secret)
    return Credential(username=username, password=secret)


def _parse_auth(node: Node) -> Credential:
    username, password = node.text("username", ""), node.text("password", "")
    if packed := node.text("auth", ""):
        try:
            text = base64.b64decode(packed, validate=True).decode()
        except (binascii.Error, ValueError):
            raise Invalid(node.subject, f"{node.path}.auth is not base64", "run `docker login` again") from None
        username, colon, password = text.partition(":")
        if not colon:
            raise Invalid(node.subject, f"{node.path}.auth is not USER:PASSWORD", "run `docker login` again")
    return Credential(
        username=username,
        password=password.rstrip("\0"),
        identity_token=node.text("identitytoken", ""),
        registry_token=node.text("registrytoken", ""),
    )


def _auth_fields(credential: Credential | None, server: str) -> dict[str, str]:
    found = credential or Credential()
    fields = {
        "username": found.username,
        "password": found.password,
        "identitytoken": found.identity_token,
        "registrytoken": found.registry_token,
        "serveraddress": server,
    }
    return {name: value for name, value in fields.items() if value}


def _server(domain: str) -> str:
    return DOCKER_HUB_KEY if domain in _DOCKER_HUB_HOSTS else domain


def _host(server: str) -> str:
    """Reduce a key of `auths` to a host: docker has written it with and without scheme and path."""
    host = server.partition("://")[2] or server
    host = host.partition("/")[0]
    return "docker.io" if host in _DOCKER_HUB_HOSTS else host
