"""Blobs that are cut, damaged, or too long, on their way down and up."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from typing import TYPE_CHECKING

import pytest

from declarative.errors import Failed, Unavailable
from declarative.oci.digest import Digest, DigestMismatch
from declarative.registry.client import RegistryClient
from declarative.registry.retry import RetryPolicy
from tests.contract.registry.misbehaving import Request, Script, Server, misbehave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SIZE = 1_000_000
BLOB = os.urandom(SIZE)
DIGEST = Digest.of_bytes(BLOB)


@contextlib.contextmanager
def meet(script: Script, attempts: int = 4) -> Iterator[tuple[RegistryClient, Server]]:
    policy = RetryPolicy(attempts=attempts, sleep=lambda _: None)
    with misbehave(script) as server, RegistryClient(server.address, retry=policy) as client:
        yield client, server


def content(offset: int) -> Iterable[bytes]:
    return (BLOB[start : start + 7777] for start in range(offset, SIZE, 7777))


def asked_from(request: Request) -> int:
    return int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))


def cutting(step: int, *, ranges: bool = True, length: bool = True) -> Script:
    """Serve the blob, `step` bytes at a time, and cut the connection after each."""

    def script(request: Request) -> None:
        start = asked_from(request) if ranges else 0
        headers = {"Content-Length": str(SIZE - start)} if length else {"Connection": "close"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{SIZE - 1}/{SIZE}"
        request.send_response(206 if start else 200)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(BLOB[start : start + step])
        request.close_connection = True

    return script


class TestDownload:
    def test_cut_again_and_again(self) -> None:
        moved: list[int] = []
        with meet(cutting(70_000)) as (client, server):
            assert b"".join(client.open_blob("acme/web", DIGEST, progress=moved.append)) == BLOB
            asked = [asked_from_text(one.headers.get("Range", "")) for one in server.log if "blobs" in one.path]
        assert asked == list(range(0, SIZE, 70_000))
        assert sum(moved) == SIZE

    def test_a_server_without_ranges(self) -> None:
        """Each try brings all from the beginning, and a little more; what we had is not given out twice."""
        steps = iter([200_000, 500_000, SIZE])

        def script(request: Request) -> None:
            cutting(next(steps), ranges=False)(request)

        with meet(script) as (client, _):
            assert b"".join(client.open_blob("acme/web", DIGEST)) == BLOB

    def test_a_connection_that_just_ends(self) -> None:
        """Without a length nobody but the descriptor knows that something is missing."""
        with meet(cutting(400_000, length=False)) as (client, _):
            assert b"".join(client.open_blob("acme/web", DIGEST, size=SIZE)) == BLOB

    def test_no_progress_at_all(self) -> None:
        with meet(cutting(0)) as (client, server), pytest.raises(Unavailable, match="blob sha256"):
            list(client.open_blob("acme/web", DIGEST))
        assert len(server.asked()) == 4

    def test_a_reset(self) -> None:
        """What was on its way is lost with the connection, so how far the next try begins is not ours to say."""

        def script(request: Request) -> None:
            if len(request.server.asked()) > 1:
                cutting(SIZE)(request)
            else:
                request.answer(200, BLOB[:300_000], {"Content-Length": str(SIZE)})
                request.cut()

        with meet(script) as (client, server):
            assert b"".join(client.open_blob("acme/web", DIGEST)) == BLOB
            assert len(server.asked()) == 2

    @pytest.mark.parametrize("said", ["", "bytes 0-99/100", "bytes 5-10/11", "nonsense"])
    def test_another_range_than_asked_for(self, said: str) -> None:
        def script(request: Request) -> None:
            if "Range" in request.headers:
                request.answer(206, b"x" * 100, {"Content-Range": said} if said else {})
            else:
                cutting(1000)(request)

        with meet(script, attempts=2) as (client, _), pytest.raises(Unavailable, match="another part"):
            list(client.open_blob("acme/web", DIGEST))

    def test_damaged(self) -> None:
        damaged = BLOB[:-1] + bytes([BLOB[-1] ^ 1])
        got: list[bytes] = []
        with meet(lambda request: request.answer(200, damaged)) as (client, server):
            with pytest.raises(DigestMismatch, match=f"{server.address}/acme/web: expected {DIGEST}"):
                got.extend(client.open_blob("acme/web", DIGEST))
            assert len(server.asked()) == 1

    def test_longer_than_it_says(self) -> None:
        with meet(lambda request: request.answer(200, BLOB * 3)) as (client, _):
            got = client.open_blob("acme/web", DIGEST, size=SIZE)
            with pytest.raises(DigestMismatch, match="longer than its 1000000 bytes"):
                for _ in got:
                    pass

    def test_shorter_than_it_says(self) -> None:
        half: Script = lambda request: request.answer(200, BLOB[: SIZE // 2])  # noqa: E731  # a script is one line
        with meet(half, attempts=1) as (client, _), pytest.raises(Unavailable, match="ended after 500000 of 1000000"):
            list(client.open_blob("acme/web", DIGEST, size=SIZE))

    def test_a_reader_that_stops_early_leaves_no_dirty_connection(self) -> None:
        with meet(lambda request: request.answer(200, BLOB)) as (client, _):
            for _ in range(3):
                next(iter(client.open_blob("acme/web", DIGEST)))
            assert client.blob_exists("acme/web", DIGEST)
            assert b"".join(client.open_blob("acme/web", DIGEST)) == BLOB

    def test_sent_on_to_a_store_that_gets_no_password(self) -> None:
        with misbehave(lambda request: request.answer(200, BLOB)) as store:
            location = {"Location": f"http://{store.address}/bucket/blob?X-Amz-Signature=abc"}
            with meet(lambda request: request.answer(307, headers=location)) as (client, _):
                assert b"".join(client.open_blob("acme/web", DIGEST)) == BLOB
            assert [one.path for one in store.log] == ["/bucket/blob?X-Amz-Signature=abc"]
            assert "Authorization" not in store.log[0].headers


class Uploads:
    """A registry's side of uploads, with a fault at a chosen request."""

    def __init__(self, fault: Callable[[Uploads, Request], bool]) -> None:
        self._fault = fault
        self._lock = threading.Lock()
        self.received = b""
        self.stored = b""
        self.requests: list[str] = []
        self.session = 0

    def __call__(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request.command)
            if not self._fault(self, request):
                getattr(self, request.command.lower())(request)

    def location(self) -> dict[str, str]:
        end = max(0, len(self.received) - 1)
        return {"Location": f"/v2/acme/web/blobs/uploads/{self.session}?_state=s", "Range": f"0-{end}"}

    def post(self, request: Request) -> None:
        self.session += 1
        self.received = b""
        request.answer(202, headers=self.location())

    def patch(self, request: Request) -> None:
        start, end = map(int, request.headers["Content-Range"].split("-"))
        if start != len(self.received):
            request.answer(416, headers=self.location())
            return
        self.received += request.read_body()
        assert len(self.received) == end + 1
        request.answer(202, headers=self.location())

    def get(self, request: Request) -> None:
        request.answer(204, headers=self.location())

    def head(self, request: Request) -> None:
        request.answer(200 if self.stored else 404)

    def put(self, request: Request) -> None:
        whole = self.received + request.read_body()
        if str(Digest.of_bytes(whole)) not in request.path.replace("%3A", ":"):
            request.answer_errors(400, "DIGEST_INVALID", "not what was promised")
            return
        self.stored = whole
        request.answer(201)


def once(method: str, number: int, act: Callable[[Uploads, Request], None]) -> Callable[[Uploads, Request], bool]:
    """Make a fault of the `number`th request with `method` (from 1)."""

    def fault(uploads: Uploads, request: Request) -> bool:
        hit = request.command == method and uploads.requests.count(method) == number
        if hit:
            act(uploads, request)
        return hit

    return fault


def cut_after(size: int) -> Callable[[Uploads, Request], None]:
    """Take `size` bytes of the body, and cut."""

    def act(uploads: Uploads, request: Request) -> None:
        uploads.received += request.rfile.read(size)
        request.cut()

    return act


def answer_500(_: Uploads, request: Request) -> None:
    request.answer(500)


def forget(uploads: Uploads, request: Request) -> None:
    uploads.received = b""
    request.answer_errors(404, "BLOB_UPLOAD_UNKNOWN")


class TestUpload:
    @pytest.mark.parametrize(
        "fault",
        [
            once("POST", 1, answer_500),
            once("PUT", 1, answer_500),
            once("PUT", 1, cut_after(300_000)),
            once("POST", 1, cut_after(0)),
        ],
    )
    def test_whole(self, fault: Callable[[Uploads, Request], bool]) -> None:
        moved: list[int] = []
        uploads = Uploads(once_only_for_whole(fault))
        with meet(uploads) as (client, _):
            client.upload_blob("acme/web", DIGEST, content, size=SIZE, progress=moved.append)
        assert uploads.stored == BLOB
        assert sum(moved) == SIZE

    @pytest.mark.parametrize(
        ("fault", "sessions"),
        [
            (once("POST", 1, answer_500), 1),
            (once("PATCH", 2, answer_500), 1),
            (once("PATCH", 2, cut_after(0)), 1),
            (once("PATCH", 3, cut_after(123_456)), 1),
            (once("PATCH", 1, cut_after(5)), 1),
            (once("PUT", 1, answer_500), 1),
        ],
    )
    def test_in_chunks(self, fault: Callable[[Uploads, Request], bool], sessions: int) -> None:
        """What arrived is not sent again."""
        moved: list[int] = []
        uploads = Uploads(fault)
        with meet(uploads) as (client, _):
            client.upload_blob("acme/web", DIGEST, content, size=SIZE, chunk=300_000, progress=moved.append)
        assert uploads.stored == BLOB
        assert uploads.session == sessions
        assert sum(moved) == SIZE

    def test_an_upload_that_the_registry_forgot(self) -> None:
        def fault(uploads: Uploads, request: Request) -> bool:
            cut, lost = once("PATCH", 3, cut_after(10)), once("GET", 1, forget)
            return cut(uploads, request) or lost(uploads, request)

        moved: list[int] = []
        uploads = Uploads(fault)
        with meet(uploads) as (client, _):
            client.upload_blob("acme/web", DIGEST, content, size=SIZE, chunk=300_000, progress=moved.append)
        assert uploads.stored == BLOB
        assert uploads.session == 2
        assert sum(moved) == SIZE

    def test_stored_but_the_answer_was_lost(self) -> None:
        def store_and_cut(uploads: Uploads, request: Request) -> None:
            uploads.stored = uploads.received
            request.cut()

        def fault(uploads: Uploads, request: Request) -> bool:
            return once("PUT", 1, store_and_cut)(uploads, request) or once("PUT", 2, forget)(uploads, request)

        uploads = Uploads(fault)
        with meet(uploads) as (client, _):
            client.upload_blob("acme/web", DIGEST, content, size=SIZE, chunk=SIZE)
        assert uploads.stored == BLOB

    @pytest.mark.parametrize("chunk", [None, 300_000])
    def test_never(self, chunk: int | None) -> None:
        def fault(_: Uploads, request: Request) -> bool:
            if request.command in {"PUT", "PATCH"}:
                request.cut()
                return True
            return False

        moved: list[int] = []
        uploads = Uploads(fault)
        with meet(uploads) as (client, _), pytest.raises(Unavailable):
            client.upload_blob("acme/web", DIGEST, content, size=SIZE, chunk=chunk, progress=moved.append)
        assert not uploads.stored

    @pytest.mark.parametrize("chunk", [None, 300_000])
    def test_content_that_changed_meanwhile(self, chunk: int | None) -> None:
        uploads = Uploads(lambda *_: False)
        with meet(uploads) as (client, _), pytest.raises(Failed, match="DIGEST_INVALID"):
            client.upload_blob("acme/web", DIGEST, lambda offset: [b"x" * (SIZE - offset)], size=SIZE, chunk=chunk)
        assert not uploads.stored

    @pytest.mark.parametrize("chunk", [None, 300_000])
    def test_content_that_got_shorter_meanwhile(self, chunk: int | None) -> None:
        uploads = Uploads(lambda *_: False)
        with meet(uploads, attempts=1) as (client, _), pytest.raises(Failed, match="ended after 5 of"):
            client.upload_blob("acme/web", DIGEST, lambda offset: [b"xxxxx"[offset:]], size=SIZE, chunk=chunk)
        assert not uploads.stored

    def test_an_error_of_the_content_is_not_the_registrys(self) -> None:
        def broken(_: int) -> Iterable[bytes]:
            yield BLOB[:1000]
            raise ValueError("the disk is gone")

        with meet(Uploads(lambda *_: False)) as (client, _), pytest.raises(ValueError, match="disk is gone"):
            client.upload_blob("acme/web", DIGEST, broken, size=SIZE)


def once_only_for_whole(fault: Callable[[Uploads, Request], bool]) -> Callable[[Uploads, Request], bool]:
    """Whole uploads begin anew, so what a cut request brought does not count."""

    def wrapped(uploads: Uploads, request: Request) -> bool:
        if request.command == "PUT":
            uploads.received = b""
        return fault(uploads, request)

    return wrapped


def asked_from_text(header: str) -> int:
    match = re.fullmatch(r"bytes=(\d+)-", header)
    return int(match[1]) if match else 0
