"""Registries that fail: what is asked again, what is not, and that failing is never read as "absent"."""

from __future__ import annotations

import contextlib
import email.utils
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from declarative.errors import Conflict, DeclarativeError, Denied, Failed, Invalid, NotFound, Unavailable, Unsupported
from declarative.oci import media
from declarative.oci.digest import Digest, DigestMismatch
from declarative.oci.reference import Reference
from declarative.registry.client import RegistryClient
from declarative.registry.proxies import Proxies
from declarative.registry.retry import ONCE, RetryPolicy
from declarative.registry.session import Settings
from tests.contract.registry.misbehaving import Request, Script, Server, misbehave

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}).encode()
DIGEST = Digest.of_bytes(MANIFEST)
Ask = Callable[[RegistryClient, str], object]
READS: dict[str, Ask] = {
    "resolve": lambda client, address: client.resolve(Reference.parse(f"{address}/acme/web:1")),
    "manifest": lambda client, address: client.manifest(Reference.parse(f"{address}/acme/web:1")),
    "tags": lambda client, _: client.tags("acme/web"),
    "blob_exists": lambda client, _: client.blob_exists("acme/web", DIGEST),
    "open_blob": lambda client, _: list(client.open_blob("acme/web", DIGEST)),
}
WRITES: dict[str, Ask] = {
    "put_manifest": lambda client, _: client.put_manifest("acme/web", "1", media.OCI_INDEX, MANIFEST),
    "delete_manifest": lambda client, _: client.delete_manifest("acme/web", DIGEST),
    "mount_blob": lambda client, _: client.mount_blob("acme/web", DIGEST, "acme/base"),
    "upload_blob": lambda client, _: client.upload_blob("acme/web", DIGEST, lambda _: [MANIFEST], size=len(MANIFEST)),
    "upload_blob in chunks": lambda client, _: client.upload_blob(
        "acme/web", DIGEST, lambda _: [MANIFEST], size=len(MANIFEST), chunk=10
    ),
}
EVERYTHING = READS | WRITES
# A refused mount means an upload, and no more; it is looked at by itself.
STRICT = {name: ask for name, ask in EVERYTHING.items() if name != "mount_blob"}


@pytest.fixture(params=EVERYTHING)
def ask(request: pytest.FixtureRequest) -> Ask:
    return EVERYTHING[request.param]


@contextlib.contextmanager
def meet(
    script: Script, waits: list[float] | None = None, *, read_timeout: float = 60.0
) -> Iterator[tuple[RegistryClient, Server]]:
    """Let a client meet a server; with `waits`, it tries again, and the pauses are noted instead of taken."""
    policy = ONCE if waits is None else RetryPolicy(sleep=waits.append)
    settings = Settings(read_timeout=read_timeout)
    with misbehave(script) as server, RegistryClient(server.address, retry=policy, settings=settings) as client:
        yield client, server


def answers(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Script:
    return lambda request: request.answer(status, body, headers)


def in_turn(*scripts: Script) -> Script:
    """Let the first request meet the first script, and so on; the last one stays."""
    turns: Iterator[Script] = iter(scripts)
    lock = threading.Lock()

    def script(request: Request) -> None:
        with lock:
            turn = next(turns, scripts[-1])
        turn(request)

    return script


SERVE_MANIFEST = answers(200, MANIFEST, {"Content-Type": media.OCI_INDEX, "Docker-Content-Digest": str(DIGEST)})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Failed),
        (401, Denied),
        (403, Denied),
        (405, Unsupported),
        (408, Unavailable),
        (409, Conflict),
        (429, Unavailable),
        (500, Unavailable),
        (501, Unsupported),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (599, Unavailable),
        (304, Unavailable),
    ],
)
@pytest.mark.parametrize("ask", STRICT.values(), ids=STRICT)
def test_each_status_has_its_error(ask: Ask, status: int, kind: type[DeclarativeError]) -> None:
    """Never None, never False, never an empty list: the registry did not say that anything is absent."""
    with meet(answers(status)) as (client, server):
        words = f"{server.address}/acme/web: .* {status} to "
        with pytest.raises(kind, match=words) as caught:
            ask(client, server.address)
    assert type(caught.value) is kind


@pytest.mark.parametrize("ask", [ask for name, ask in EVERYTHING.items() if name != "blob_exists"])
@pytest.mark.parametrize("body", [b"", b"<html>nothing here</html>", b"{}", b'{"errors": []}', b'{"errors": 3}'])
def test_a_404_of_somebody_else_is_not_absent(ask: Ask, body: bytes) -> None:
    with (
        meet(answers(404, body)) as (client, server),
        pytest.raises(Unavailable, match=r"404 .*not as a registry says"),
    ):
        ask(client, server.address)


@pytest.mark.parametrize("status", [400, 401, 403, 405])
def test_a_refused_mount_is_an_upload_later(status: int) -> None:
    with meet(answers(status)) as (client, _):
        assert not client.mount_blob("acme/web", DIGEST, "acme/base")
    with meet(lambda request: request.answer_errors(404, "BLOB_UNKNOWN")) as (client, _):
        assert not client.mount_blob("acme/web", DIGEST, "acme/base")


@pytest.mark.parametrize("status", [429, 500])
def test_a_mount_that_got_no_answer_is_not_refused(status: int) -> None:
    with meet(answers(status)) as (client, _), pytest.raises(Unavailable):
        client.mount_blob("acme/web", DIGEST, "acme/base")


def test_a_404_that_means_no_permission_is_denied() -> None:
    script: Script = lambda request: request.answer_errors(404, "DENIED")  # noqa: E731  # a script is one expression
    with meet(script) as (client, server), pytest.raises(Denied, match="DENIED"):
        READS["resolve"](client, server.address)


@pytest.mark.parametrize("code", ["MANIFEST_UNKNOWN", "NAME_UNKNOWN"])
def test_absent_as_the_specification_has_it(code: str) -> None:
    """HEAD has no body; the same question by GET tells."""
    with meet(lambda request: request.answer_errors(404, code)) as (client, server):
        assert READS["resolve"](client, server.address) is None
        assert client.tags("acme/web") == ()
        with pytest.raises(NotFound, match=code):
            READS["manifest"](client, server.address)
        assert not client.delete_manifest("acme/web", DIGEST)


@pytest.mark.parametrize("name", ["resolve", "manifest", "blob_exists", "open_blob"])
def test_500_and_then_not(name: str) -> None:
    waits: list[float] = []
    with meet(in_turn(answers(500), answers(503), SERVE_MANIFEST), waits) as (client, server):
        assert READS[name](client, server.address)
    assert waits == [0.25, 0.5]


def test_it_gives_up(ask: Ask) -> None:
    waits: list[float] = []
    with meet(answers(500), waits) as (client, server):
        with pytest.raises(Unavailable, match="500"):
            ask(client, server.address)
        assert len(server.asked()) == 4
    assert waits == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("status", [400, 401, 403, 405, 409])
def test_what_no_retry_can_change_is_asked_once(status: int) -> None:
    waits: list[float] = []
    with meet(answers(status), waits) as (client, server):
        with pytest.raises(DeclarativeError):
            client.put_manifest("acme/web", "1", media.OCI_INDEX, MANIFEST)
        assert len(server.asked()) == 1
    assert not waits


def test_429_is_waited_for_as_asked() -> None:
    waits: list[float] = []
    script = in_turn(answers(429, headers={"Retry-After": "7"}), SERVE_MANIFEST)
    with meet(script, waits) as (client, server):
        assert READS["resolve"](client, server.address) == DIGEST
    assert waits == [7.0]


def test_429_by_date() -> None:
    soon = email.utils.format_datetime(email.utils.localtime())
    with meet(answers(429, headers={"Retry-After": soon})) as (client, server), pytest.raises(Unavailable) as caught:
        READS["tags"](client, server.address)
    assert caught.value.retry_after is not None
    assert 0 <= caught.value.retry_after < 60


@pytest.mark.parametrize("value", ["", "soon", "-1", "1e9", "9" * 400, "Fri, 99 Foo 2026 00:00:00 GMT"])
def test_429_with_nonsense(value: str) -> None:
    with meet(answers(429, headers={"Retry-After": value})) as (client, server), pytest.raises(Unavailable) as caught:
        READS["tags"](client, server.address)
    assert caught.value.retry_after is None


def test_429_for_an_hour_is_not_waited_for() -> None:
    waits: list[float] = []
    with meet(answers(429, headers={"Retry-After": "3600"}), waits) as (client, server):
        with pytest.raises(Unavailable, match="slow down") as caught:
            READS["resolve"](client, server.address)
        assert len(server.asked()) == 1
    assert caught.value.retry_after == 3600
    assert not waits


def test_a_cut_before_the_answer(ask: Ask) -> None:
    with meet(Request.cut) as (client, server), pytest.raises(Unavailable, match="no proper answer") as caught:
        ask(client, server.address)
    assert "0x" not in str(caught.value)


def cut_by_reset(request: Request) -> None:
    request.answer(200, MANIFEST[:20], {"Content-Length": str(len(MANIFEST))})
    request.cut()


def cut_by_end(request: Request) -> None:
    request.answer(200, MANIFEST[:20], {"Content-Length": str(len(MANIFEST)), "Connection": "close"})


def cut_chunks(request: Request) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"14\r\n" + MANIFEST[:20] + b"\r\n")
    request.close_connection = True


@pytest.mark.parametrize("cut", [cut_by_reset, cut_by_end, cut_chunks])
def test_a_list_of_tags_that_is_cut_is_not_a_short_list(cut: Script) -> None:
    with meet(cut) as (client, _), pytest.raises(Unavailable, match="no proper answer"):
        client.tags("acme/web")


@pytest.mark.parametrize("cut", [cut_by_reset, cut_by_end, cut_chunks])
def test_a_cut_in_the_middle_of_a_manifest(cut: Script) -> None:
    waits: list[float] = []
    with meet(in_turn(cut, SERVE_MANIFEST), waits) as (client, server):
        stored = client.manifest(Reference.parse(f"{server.address}/acme/web:1"))
    assert stored.content == MANIFEST
    assert len(waits) == 1


def test_a_registry_that_hangs(ask: Ask) -> None:
    release = threading.Event()
    with meet(lambda _: (release.wait(20), None)[1], read_timeout=0.1) as (client, server):
        with pytest.raises(Unavailable, match="timed out"):
            ask(client, server.address)
        release.set()


def test_a_manifest_that_is_not_its_digest() -> None:
    for headers in ({"Docker-Content-Digest": f"sha256:{'0' * 64}"}, {}):
        with meet(answers(200, MANIFEST, headers)) as (client, server):
            reference = Reference.parse(f"{server.address}/acme/web@sha256:{'0' * 64}")
            with pytest.raises(DigestMismatch, match="acme/web manifest"):
                client.manifest(reference)


def test_a_registry_that_names_another_digest_than_it_serves() -> None:
    script = answers(200, MANIFEST, {"Docker-Content-Digest": f"sha256:{'0' * 64}"})
    with meet(script) as (client, server), pytest.raises(DigestMismatch):
        READS["manifest"](client, server.address)


def test_a_registry_that_names_no_digest_is_asked_for_the_bytes() -> None:
    with meet(answers(200, MANIFEST)) as (client, server):
        assert READS["resolve"](client, server.address) == DIGEST
        assert server.asked() == ["HEAD /v2/acme/web/manifests/1", "GET /v2/acme/web/manifests/1"]


def test_a_manifest_stored_as_something_else() -> None:
    script = answers(201, headers={"Docker-Content-Digest": f"sha256:{'0' * 64}"})
    with meet(script) as (client, server), pytest.raises(DigestMismatch):
        WRITES["put_manifest"](client, server.address)


def test_a_manifest_without_end() -> None:
    with (
        meet(answers(200, b"x" * 5_000_000)) as (client, server),
        pytest.raises(Invalid, match="longer than 4194304 bytes"),
    ):
        READS["manifest"](client, server.address)


def test_all_four_kinds_of_manifest_are_accepted() -> None:
    with meet(SERVE_MANIFEST) as (client, server):
        READS["resolve"](client, server.address)
        READS["manifest"](client, server.address)
        accepted = [set(one.headers["Accept"].split(", ")) for one in server.log if "manifests" in one.path]
    assert accepted == [set(media.ACCEPT)] * 2


def test_what_the_server_says_is_shown_short_and_without_secrets() -> None:
    secret = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    said = f"no way: Authorization: Bearer {secret} token={secret}\n\x1b[31m" + "x" * 5000
    script: Script = lambda request: request.answer_errors(500, "UNKNOWN", said)  # noqa: E731
    with meet(script) as (client, server), pytest.raises(Unavailable) as caught:
        READS["tags"](client, server.address)
    shown = str(caught.value)
    assert "UNKNOWN: no way" in shown
    assert len(shown) < 600
    assert secret not in shown
    assert "\x1b" not in shown
    assert "\n" not in shown


def test_a_redirect_in_circles() -> None:
    script: Script = lambda request: request.answer(307, headers={"Location": request.path})  # noqa: E731
    with meet(script) as (client, server):
        with pytest.raises(Unavailable, match="307"):
            READS["open_blob"](client, server.address)
        assert len(server.asked()) == 6


@pytest.mark.parametrize("location", ["http://registry.invalid/x", "ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_a_redirect_away_from_tls_is_not_followed(location: str) -> None:
    script = answers(307, headers={"Location": location})
    with meet(script) as (client, server), pytest.raises(Unavailable, match="not behind TLS"):
        READS["open_blob"](client, server.address)


def test_a_redirect_to_nowhere() -> None:
    with meet(answers(307)) as (client, server), pytest.raises(Unavailable, match="no location"):
        READS["open_blob"](client, server.address)


def test_a_proxy_is_used_and_loopback_is_not_sent_there() -> None:
    with misbehave(SERVE_MANIFEST) as proxy:
        proxies = Proxies(http=f"http://{proxy.address}")
        settings = Settings(proxies=proxies, insecure=frozenset({"registry.test"}))
        with RegistryClient("registry.test", retry=ONCE, settings=settings) as client:
            assert client.resolve(Reference.parse("registry.test/acme/web:1")) == DIGEST
        assert [one.path for one in proxy.log][-1] == "http://registry.test/v2/acme/web/manifests/1"
        with misbehave(SERVE_MANIFEST) as server:
            with RegistryClient(server.address, retry=ONCE, settings=settings) as client:
                assert READS["resolve"](client, server.address) == DIGEST
            assert server.asked() == ["HEAD /v2/acme/web/manifests/1"]


def test_a_proxy_that_answers_for_a_registry_is_not_taken_for_it() -> None:
    def script(request: Request) -> None:
        request.answer(200 if request.command == "CONNECT" else 503)
        request.close_connection = True

    with misbehave(script) as proxy:
        address = f"http://{proxy.address}"
        settings = Settings(proxies=Proxies(http=address, https=address), insecure=frozenset({"registry.test"}))
        with RegistryClient("registry.test", retry=ONCE, settings=settings) as client, pytest.raises(Unavailable):
            client.tags("acme/web")
        assert ("CONNECT", "registry.test:443") in [(one.method, one.path) for one in proxy.log]


@pytest.mark.parametrize(("domain", "host"), [("docker.io", "registry-1.docker.io:443"), ("ghcr.io", "ghcr.io:443")])
def test_everybody_else_is_spoken_to_over_tls(domain: str, host: str) -> None:
    with misbehave(answers(403)) as proxy:
        settings = Settings(proxies=Proxies(https=f"http://{proxy.address}"))
        with RegistryClient(domain, retry=ONCE, settings=settings) as client, pytest.raises(Unavailable, match="403"):
            client.tags("library/redis")
        assert [(one.method, one.path) for one in proxy.log] == [("CONNECT", host)]


class TestTags:
    """Lists of tags that come in parts."""

    @staticmethod
    def serve(pages: dict[str, tuple[list[str] | None, str]]) -> Script:
        def script(request: Request) -> None:
            tags, link = pages[request.path]
            headers = {"Link": link} if link else {}
            request.answer(200, json.dumps({"name": "acme/web", "tags": tags}).encode(), headers)

        return script

    @pytest.mark.parametrize(
        "link",
        [
            '</v2/acme/web/tags/list?n=2&last=b>; rel="next"',
            "</v2/acme/web/tags/list?n=2&last=b>; rel=next",
            '</v2/_catalog>; rel="up", <https://elsewhere.example/proxied/tags/list?last=b&n=2>; type="x"; rel="next"',
        ],
    )
    def test_by_link(self, link: str) -> None:
        first = "/v2/acme/web/tags/list?n=1000"
        rest = "last=b&n=2" if "last=b&n" in link else "n=2&last=b"
        pages: dict[str, tuple[list[str] | None, str]] = {
            first: (["a", "b"], link),
            f"/v2/acme/web/tags/list?{rest}": (["c"], ""),
        }
        with meet(self.serve(pages)) as (client, _server):
            assert client.tags("acme/web") == ("a", "b", "c")

    def test_a_full_page_without_link(self) -> None:
        first = [f"v{number}" for number in range(1000)]
        pages: dict[str, tuple[list[str] | None, str]] = {
            "/v2/acme/web/tags/list?n=1000": (first, ""),
            "/v2/acme/web/tags/list?n=1000&last=v999": (["z"], ""),
        }
        with meet(self.serve(pages)) as (client, _server):
            assert client.tags("acme/web") == (*first, "z")

    def test_a_registry_that_ignores_pages(self) -> None:
        every = [f"v{number}" for number in range(1500)]
        body = json.dumps({"tags": every}).encode()
        with meet(answers(200, body)) as (client, server):
            assert client.tags("acme/web") == tuple(every)
            assert len(server.asked()) == 2

    def test_a_link_in_circles(self) -> None:
        link = '</v2/acme/web/tags/list?n=1000>; rel="next"'
        script = self.serve({"/v2/acme/web/tags/list?n=1000": (["a"], link)})
        with meet(script) as (client, _server):
            assert client.tags("acme/web") == ("a",)

    def test_none(self) -> None:
        script = self.serve({"/v2/acme/web/tags/list?n=1000": (None, "")})
        with meet(script) as (client, _server):
            assert client.tags("acme/web") == ()

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"tags": 1}', b'{"tags": [1]}', b"<html>", b"[" * 99999])
    def test_nonsense_is_not_an_empty_list(self, body: bytes) -> None:
        with meet(answers(200, body)) as (client, _server), pytest.raises(Unavailable, match="no list of tags"):
            client.tags("acme/web")
