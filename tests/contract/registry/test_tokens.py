"""Bearer tokens from a real token endpoint: who asks for which, when, and what is told to nobody."""

from __future__ import annotations

import base64
import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from declarative.errors import Denied, Unavailable
from declarative.oci import media
from declarative.oci.digest import Digest
from declarative.oci.reference import Reference
from declarative.registry.client import RegistryClient
from declarative.registry.credentials import Credential
from declarative.registry.retry import ONCE
from declarative.registry.session import Settings
from tests.contract.registry.misbehaving import Request, Server, misbehave

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}).encode()
DIGEST = Digest.of_bytes(MANIFEST)
SECRET = "s3cret-enough"
ADA = Credential(username="ada", password=SECRET)
ROBOT = Credential(identity_token="refresh-me-please")


class Guarded:
    """A registry that wants a token for the right scope, and its token server, in one."""

    def __init__(self, *, lifetime: int | None = 300) -> None:
        self.lifetime = lifetime
        self.issued: list[str] = []
        self.revoked: set[str] = set()
        self.scopes: list[list[str]] = []
        self.field = "token"

    def __call__(self, request: Request) -> None:
        if request.path.startswith("/token"):
            self.issue(request)
        else:
            self.guard(request)

    def issue(self, request: Request) -> None:
        if request.command == "POST":
            fields = parse_qs(request.read_body().decode())
            allowed = fields["refresh_token"] == ["refresh-me-please"] and fields["grant_type"] == ["refresh_token"]
        else:
            fields = parse_qs(urlsplit(request.path).query)
            expected = "Basic " + base64.b64encode(f"ada:{SECRET}".encode()).decode()
            allowed = request.headers.get("Authorization", expected) == expected
        if not allowed:
            request.answer_errors(401, "UNAUTHORIZED", "wrong name or password")
            return
        assert fields["service"] == ["the registry"]
        assert fields["client_id"] == ["declarative"]
        asked = sorted(text for line in fields["scope"] for text in line.split())
        token = f"token-{len(self.issued)}-for-" + "+".join(asked).replace(" ", "_")
        self.issued.append(token)
        self.scopes.append(asked)
        answer: dict[str, object] = {self.field: token}
        if self.lifetime is not None:
            answer["expires_in"] = self.lifetime
        request.answer(200, json.dumps(answer).encode())

    def guard(self, request: Request) -> None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.issued or token in self.revoked:
            realm = f"http://{request.server.address}/token"
            value = f'Bearer realm="{realm}",service="the registry",scope="repository:acme/web:pull"'
            request.answer_errors(401, "UNAUTHORIZED", headers={"WWW-Authenticate": value})
        elif request.command in {"GET", "HEAD"}:
            request.answer(200, MANIFEST, {"Content-Type": media.OCI_INDEX, "Docker-Content-Digest": str(DIGEST)})
        else:
            request.answer(201)


@contextlib.contextmanager
def meet(
    guarded: Guarded, credential: Credential | None = ADA, now: list[float] | None = None
) -> Iterator[tuple[RegistryClient, Server]]:
    clock = now if now is not None else [0.0]
    settings = Settings(clock=lambda: clock[0])
    with (
        misbehave(guarded) as server,
        RegistryClient(server.address, credential=lambda _: credential, settings=settings, retry=ONCE) as client,
    ):
        yield client, server


def resolve(client: RegistryClient, server: Server, repository: str = "acme/web") -> Digest | None:
    return client.resolve(Reference.parse(f"{server.address}/{repository}:1"))


@pytest.mark.parametrize("credential", [None, ADA, ROBOT, Credential()])
def test_one_token_for_many_questions(credential: Credential | None) -> None:
    guarded = Guarded()
    with meet(guarded, credential) as (client, server):
        for _ in range(5):
            assert resolve(client, server) == DIGEST
        assert guarded.scopes == [["repository:acme/web:pull"]]
        assert server.asked().count("HEAD /v2/acme/web/manifests/1") == 6  # the first was asked without a token


def test_each_scope_has_its_token() -> None:
    guarded = Guarded()
    with meet(guarded) as (client, server):
        resolve(client, server)
        client.put_manifest("acme/web", "1", media.OCI_INDEX, MANIFEST)
        resolve(client, server, "acme/db")
        client.mount_blob("acme/web", DIGEST, "acme/db")
        resolve(client, server)
    assert guarded.scopes == [
        ["repository:acme/web:pull"],
        ["repository:acme/web:pull,push"],
        ["repository:acme/db:pull"],
        ["repository:acme/db:pull", "repository:acme/web:pull,push"],
    ]


def test_a_token_is_renewed_before_it_ends() -> None:
    guarded, now = Guarded(lifetime=100), [0.0]
    with meet(guarded, now=now) as (client, server):
        for instant, tokens in ((0.0, 1), (89.0, 1), (90.0, 2), (170.0, 2), (181.0, 3)):
            now[0] = instant
            assert resolve(client, server) == DIGEST
            assert len(guarded.issued) == tokens
        # Renewed in time: only the very first question was ever refused.
        assert len([one for one in server.log if "manifests" in one.path]) == 6


def test_a_token_without_lifetime_lives_for_a_minute() -> None:
    guarded, now = Guarded(lifetime=None), [0.0]
    with meet(guarded, now=now) as (client, server):
        for instant, tokens in ((0.0, 1), (49.0, 1), (51.0, 2)):
            now[0] = instant
            resolve(client, server)
            assert len(guarded.issued) == tokens


def test_a_revoked_token_is_replaced() -> None:
    guarded = Guarded()
    with meet(guarded) as (client, server):
        resolve(client, server)
        guarded.revoked.update(guarded.issued)
        assert resolve(client, server) == DIGEST
    assert len(guarded.issued) == 2


def test_the_other_name_of_a_token() -> None:
    guarded = Guarded()
    guarded.field = "access_token"
    with meet(guarded) as (client, server):
        assert resolve(client, server) == DIGEST


def test_threads_share_one_token() -> None:
    guarded = Guarded()
    with meet(guarded) as (client, server), ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: resolve(client, server), range(40))) == {DIGEST}
    assert len(guarded.issued) == 1


def test_a_token_that_opens_nothing_is_not_fetched_for_ever() -> None:
    guarded = Guarded()
    guarded.revoked = type("Everything", (set,), {"__contains__": lambda *_: True})()
    with meet(guarded) as (client, server):
        with pytest.raises(Denied, match="401"):
            resolve(client, server)
        assert len(guarded.issued) == 1
        with pytest.raises(Denied, match="401"):
            resolve(client, server)
        assert len(guarded.issued) == 2


@pytest.mark.parametrize(
    "credential", [Credential(username="ada", password="not-this-one"), Credential(identity_token="not-this-one")]
)
def test_wrong_credentials(credential: Credential) -> None:
    with meet(Guarded(), credential) as (client, server), pytest.raises(Denied, match=r"401.*token.*docker login") as e:
        resolve(client, server)
    assert "not-this-one" not in str(e.value)
    assert "not-this-one" not in repr(credential)


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_a_token_server_that_fails_is_not_absent(status: int) -> None:
    class Broken(Guarded):
        def issue(self, request: Request) -> None:
            request.answer(status, headers={"Docker-Distribution-Api-Version": "registry/2.0"})

    with meet(Broken()) as (client, server), pytest.raises(Unavailable, match=f"{status} to GET a token"):
        resolve(client, server)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": ""}', b'{"token": 1}', b'{"token": "a\\r\\nX: y"}'])
def test_a_token_server_that_talks_nonsense(body: bytes) -> None:
    class Nonsense(Guarded):
        def issue(self, request: Request) -> None:
            request.answer(200, body)

    with meet(Nonsense()) as (client, server), pytest.raises(Denied, match="token server"):
        resolve(client, server)


@pytest.mark.parametrize("realm", ["", "ftp://127.0.0.1/token", "/token", "file:///etc/passwd", "http://"])
def test_a_realm_that_is_no_address(realm: str) -> None:
    class Elsewhere(Guarded):
        def guard(self, request: Request) -> None:
            request.answer(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'})

    with meet(Elsewhere()) as (client, server), pytest.raises(Denied, match="no usable token server"):
        resolve(client, server)


def test_a_ready_token_is_used_as_it_is() -> None:
    guarded = Guarded()
    guarded.issued.append("made-elsewhere")
    with meet(guarded, Credential(registry_token="made-elsewhere")) as (client, server):
        assert resolve(client, server) == DIGEST
        assert not server.asked("/token")


def test_nobody_is_asked_for_a_credential_that_is_not_wanted() -> None:
    def refuse(_: str) -> Credential | None:
        raise AssertionError("a helper was asked for nothing")

    script = Guarded()
    script.guard = lambda request: request.answer(200, MANIFEST)  # type: ignore[method-assign]
    with misbehave(script) as server, RegistryClient(server.address, credential=refuse) as client:
        assert resolve(client, server) == DIGEST


@pytest.mark.parametrize("header", ["", "Negotiate", "Digest realm=x", "Bearer", "Basic"])
def test_a_challenge_we_cannot_meet(header: str) -> None:
    class Odd(Guarded):
        def guard(self, request: Request) -> None:
            request.answer(401, headers={"WWW-Authenticate": header} if header else {})

    with meet(Odd(), None) as (client, server), pytest.raises(Denied):
        resolve(client, server)
