"""Connections: requests whole and split anywhere, bodies, streams, hijacking, clients that go away."""

from __future__ import annotations

import socket
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from declarative.dockerapi.transport import Link
from declarative.engine.daemon.connection import MAX_HEAD, Connection
from declarative.engine.daemon.http import Answer, Empty, Feed, Hijack, Response, Stream
from declarative.engine.log import Log
from declarative.errors import NotFound, Unavailable
from tests.unit.engine.daemon.serving import read_all, read_head, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from declarative.engine.daemon.http import Body, Wire

_GET = b"GET /x HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
_ATTACH = b"POST /attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


def _echo(method: str, target: str, headers: Mapping[str, str], body: Body, gone: Callable[[], bool]) -> Response:
    """Tell what came."""
    del gone
    content = b"".join(body)
    return Answer(document=[method, target, headers.get("x-a", ""), content.decode("latin-1")])


def _answers(request: bytes, cuts: list[int]) -> bytes:
    """Send a request in pieces over a socket pair, and give all that comes back."""
    ours, theirs = socket.socketpair()
    connection = Connection(Link(theirs, "pair"), _echo, Log(), lambda: False, {})

    def serve() -> None:
        connection.serve()
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    with ours:
        edges = [0, *sorted(cuts), len(request)]
        for begin, end in pairwise(edges):
            ours.sendall(request[begin:end])
        ours.settimeout(30)
        found = read_all(ours)
    thread.join(30)
    return b"\r\n".join(line for line in found.split(b"\r\n") if not line.startswith(b"Date:"))


_REQUESTS = (
    b"POST /a?b=c HTTP/1.1\r\nHost: d\r\nX-A: 1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    (
        b"POST /a HTTP/1.1\r\nHost: d\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nA: b\r\n\r\n"
    ),
    b"GET /1 HTTP/1.1\r\nHost: d\r\n\r\nGET /2 HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
    b"GET /1 HTTP/1.0\r\n\r\n",
    b"GET /1 HTTP/1.1\r\nHost: d\r\nX-A: 1\r\nX-A: 2\r\nConnection: close\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nHost: d\r\nConnection: close\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1, 2\r\nHost: d\r\n\r\nab",
)


@pytest.mark.parametrize("request_", _REQUESTS)
def test_a_request_in_bytes_is_answered_as_a_whole_one(request_: bytes) -> None:
    whole = _answers(request_, [])
    assert whole.startswith(b"HTTP/1.1 ")

    assert _answers(request_, list(range(1, len(request_)))) == whole


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_request_split_anywhere_is_answered_as_a_whole_one(data: st.DataObject) -> None:
    request = data.draw(st.sampled_from(_REQUESTS))
    cuts = data.draw(st.lists(st.integers(0, len(request)), max_size=6))

    assert _answers(request, cuts) == _answers(request, [])


def test_answers_of_a_connection_come_in_order() -> None:
    found = _answers(_REQUESTS[2], [])

    assert found.count(b"HTTP/1.1 200 OK") == 2
    assert found.index(b'"/1"') < found.index(b'"/2"')


@pytest.mark.parametrize(
    "request_", [_REQUESTS[5], _REQUESTS[7], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"]
)
def test_what_is_no_http_is_refused_and_the_connection_closed(request_: bytes) -> None:
    found = _answers(request_, [])

    assert found.startswith(b"HTTP/1.1 400 Bad Request")
    assert b'{"message":"no valid request: ' in found


def test_a_head_without_end_is_refused() -> None:
    found = _answers(b"GET / HTTP/1.1\r\nX: " + b"a" * (MAX_HEAD + 1), [])

    assert found.startswith(b"HTTP/1.1 431 ")


def test_an_answer_without_body_has_no_length_where_http_forbids_it(tmp_path: Path) -> None:
    statuses = {"/204": 204, "/304": 304, "/200": 200}
    with serving(lambda _m, target, *_: Empty(status=statuses[target], headers={"X-B": "c"}), tmp_path) as served:
        found = {
            status: served.ask(f"POST {target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n".encode())
            for target, status in statuses.items()
        }

    assert b"content-length" not in found[204].lower() + found[304].lower()
    assert b"content-length: 0" in found[200].lower()
    assert all(b"X-B: c\r\n" in answer and b"Api-Version: 1.47\r\n" in answer for answer in found.values())


def test_a_text_that_is_no_unicode_does_not_take_its_list_with_it(tmp_path: Path) -> None:
    with serving(lambda *_: Answer(document=["a", "x\udcff"]), tmp_path) as served:
        found = served.ask(_GET)

    assert found.endswith(b'\r\n\r\n["a","x?"]\n')


def test_head_has_the_length_and_not_the_body(tmp_path: Path) -> None:
    with serving(_echo, tmp_path) as served:
        found = served.ask(_GET.replace(b"GET", b"HEAD"))

    assert b"Content-Length: 20" in found
    assert found.endswith(b"\r\n\r\n")


def test_a_header_cannot_be_broken_out_of(tmp_path: Path) -> None:
    with serving(lambda *_: Empty(headers={"X-B": "a\r\nX-Evil: 1"}), tmp_path) as served:
        found = served.ask(_GET)

    assert b"\r\nX-Evil" not in found


# ---- bodies


def test_a_client_that_expects_to_be_told_is_told_to_go_on(tmp_path: Path) -> None:
    head = b"POST /x HTTP/1.1\r\nHost: d\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with serving(_echo, tmp_path) as served, served.connect() as made:
        made.sendall(head)
        told = read_head(made)
        made.sendall(b"hi")
        found = read_all(made)

    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b'["POST","/x","","hi"]' in found


def test_a_client_is_not_asked_for_a_body_that_nobody_reads(tmp_path: Path) -> None:
    with serving(lambda *_: Answer(document={}, status=404), tmp_path) as served:
        found = served.ask(b"POST /x HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")

    assert found.startswith(b"HTTP/1.1 404 ")


def test_a_small_body_that_nobody_read_does_not_end_the_connection(tmp_path: Path) -> None:
    with serving(lambda *_: Answer(document={}), tmp_path) as served:
        found = served.ask(b"POST /x HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nhello", _GET)

    assert found.count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_sends_a_great_body_in_vain_still_reads_the_answer(tmp_path: Path) -> None:
    with serving(lambda *_: Answer(document={"message": "no"}, status=400), tmp_path) as served:
        found = served.ask(b"POST /x HTTP/1.1\r\nHost: d\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)

    assert b'{"message":"no"}' in found


def test_a_client_that_goes_away_in_its_body_is_unavailable(tmp_path: Path) -> None:
    caught: list[BaseException] = []
    done = threading.Event()

    def read(_m: str, _t: str, _h: Mapping[str, str], body: Body, _g: Callable[[], bool]) -> Response:
        try:
            b"".join(body)
        except Unavailable as error:
            caught.append(error)
        done.set()
        return Empty()

    with serving(read, tmp_path) as served:
        with served.connect() as made:
            made.sendall(b"POST /x HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nhel")
        assert done.wait(30)

    assert str(caught[0]) == "client: went away in the middle of its request"


# ---- streams


def test_a_stream_sends_its_head_before_its_first_piece(tmp_path: Path) -> None:
    go = threading.Event()

    def chunks() -> Iterator[bytes]:
        assert go.wait(30)
        yield b"one"
        yield b""
        yield b"two"

    with serving(lambda *_: Stream(chunks=chunks()), tmp_path) as served, served.connect() as made:
        made.sendall(_GET)
        head = read_head(made)
        go.set()
        rest = read_all(made)

    assert b"Transfer-Encoding: chunked" in head
    assert rest == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def test_a_stream_that_fails_is_cut_and_not_ended(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one"
        raise ValueError("on purpose")

    with serving(lambda *_: Stream(chunks=chunks()), tmp_path) as served:
        found = served.ask(_GET)
        log = served.log.getvalue()

    assert found.endswith(b"3\r\none\r\n")
    assert "stream broke off" in log
    assert "on purpose" in log


def test_a_stream_to_an_old_client_ends_with_the_connection(tmp_path: Path) -> None:
    with serving(lambda *_: Stream(chunks=[b"one", b"two"]), tmp_path) as served:
        found = served.ask(b"GET /x HTTP/1.0\r\n\r\n")

    assert found.endswith(b"\r\n\r\nonetwo")


def test_a_stream_whose_client_goes_away_is_closed(tmp_path: Path) -> None:
    closed = threading.Event()

    def chunks() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.set()

    with serving(lambda *_: Stream(chunks=chunks()), tmp_path) as served:
        with served.connect() as made:
            made.sendall(_GET)
            made.recv(100)
        assert closed.wait(30)


def test_a_handler_is_told_that_its_client_has_gone(tmp_path: Path) -> None:
    seen: list[bool] = []
    began, ended = threading.Event(), threading.Event()

    def wait(_m: str, _t: str, _h: Mapping[str, str], _b: Body, gone: Callable[[], bool]) -> Response:
        seen.append(gone())
        began.set()
        while not gone():
            time.sleep(0.01)
        ended.set()
        return Empty()

    with serving(wait, tmp_path) as served:
        with served.connect() as made:
            made.sendall(_GET)
            assert began.wait(30)
        assert ended.wait(30)

    assert seen == [False]


# ---- feeds


def _fed(tmp_path: Path, write: Callable[[Callable[[bytes], None]], None]) -> bytes:
    def failed(error: Exception) -> Answer:
        return Answer(document={"message": str(error)}, status=404)

    with serving(lambda *_: Feed(write=write, failed=failed), tmp_path) as served:
        return served.ask(_GET)


def test_a_feed_sends_as_it_works(tmp_path: Path) -> None:
    def write(send: Callable[[bytes], None]) -> None:
        send(b"one")
        send(b"two")

    found = _fed(tmp_path, write)

    assert found.startswith(b"HTTP/1.1 200 OK")
    assert found.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


def test_a_feed_that_says_nothing_is_an_empty_stream(tmp_path: Path) -> None:
    assert _fed(tmp_path, lambda _: None).endswith(b"\r\n\r\n0\r\n\r\n")


def test_a_feed_that_fails_at_once_has_a_status(tmp_path: Path) -> None:
    def write(_: object) -> None:
        raise NotFound("", "No such image: x")

    found = _fed(tmp_path, write)

    assert found.startswith(b"HTTP/1.1 404 ")
    assert found.endswith(b'{"message":"No such image: x"}\n')


def test_a_feed_that_fails_later_says_so_in_its_stream(tmp_path: Path) -> None:
    def write(send: Callable[[bytes], None]) -> None:
        send(b"one")
        raise NotFound("", "No such image: x")

    found = _fed(tmp_path, write)

    assert b'{"errorDetail": {"message": "No such image: x"}, "error": "No such image: x"}\r\n' in found
    assert found.endswith(b"\r\n0\r\n\r\n")


def test_a_feed_is_told_that_its_client_has_gone(tmp_path: Path) -> None:
    told = threading.Event()

    def write(send: Callable[[bytes], None]) -> None:
        try:
            while True:
                send(b"x" * 1000)
        except Unavailable:
            told.set()
            raise

    with serving(lambda *_: Feed(write=write), tmp_path) as served:
        with served.connect() as made:
            made.sendall(_GET)
            made.recv(100)
        assert told.wait(30)
        assert "fault" not in served.log.getvalue()


# ---- raw streams


def _sorter(wire: Wire) -> None:
    """Read to the end, then answer: what `docker run -i IMAGE sort` does."""
    found = b""
    while piece := wire.receive():
        found += piece
    time.sleep(0.05)
    wire.send(b"".join(sorted(found.splitlines(keepends=True))))


def test_a_connection_is_hijacked_with_early_data_and_half_closed(tmp_path: Path) -> None:
    with serving(lambda *_: Hijack(serve=_sorter), tmp_path) as served, served.connect() as made:
        made.sendall(_ATTACH + b"b\na\n")
        made.shutdown(socket.SHUT_WR)
        head = read_head(made)
        rest = read_all(made)

    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n")
    assert b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" in head
    assert rest == b"a\nb\n"


def test_a_client_that_does_not_ask_to_upgrade_gets_the_raw_stream_after_200(tmp_path: Path) -> None:
    with serving(lambda *_: Hijack(serve=_sorter), tmp_path) as served, served.connect() as made:
        made.sendall(b"POST /attach HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}c\nb\n")
        made.shutdown(socket.SHUT_WR)
        head = read_head(made)
        rest = read_all(made)

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Upgrade" not in head
    assert rest == b"b\nc\n"


def test_what_was_sent_last_arrives_though_the_client_still_writes(tmp_path: Path) -> None:
    answer = b"z" * 100_000

    with serving(lambda *_: Hijack(serve=lambda wire: wire.send(answer)), tmp_path) as served, served.connect() as made:
        made.sendall(_ATTACH + b"never read" * 1000)
        read_head(made)
        assert read_all(made) == answer


def test_much_goes_both_ways_at_once(tmp_path: Path) -> None:
    size = 20_000_000

    def cat(wire: Wire) -> None:
        while piece := wire.receive():
            wire.send(piece)

    with serving(lambda *_: Hijack(serve=cat), tmp_path) as served, served.connect() as made:
        made.sendall(_ATTACH)
        read_head(made)

        def write() -> None:
            made.sendall(b"x" * size)
            made.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=write)
        writer.start()
        found = read_all(made)
        writer.join()

    assert len(found) == size


def test_a_handler_of_a_raw_stream_may_fail(tmp_path: Path) -> None:
    def fail(wire: Wire) -> None:
        wire.send(b"half")
        raise ValueError("on purpose")

    with serving(lambda *_: Hijack(serve=fail), tmp_path) as served:
        found = served.ask(_ATTACH)
        again = served.ask(_ATTACH)
        log = served.log.getvalue()

    assert found.endswith(b"half")
    assert again.endswith(b"half")
    assert "raw stream broke off" in log


def test_a_client_that_goes_before_its_connection_is_raw_is_told_of() -> None:
    """What waited for it would wait, and be kept, for ever."""
    heard: list[str] = []
    hijack = Hijack(serve=lambda _: heard.append("served"), lost=lambda: heard.append("lost"))
    ours, theirs = socket.socketpair()
    connection = Connection(Link(theirs, "pair"), lambda *_: hijack, Log(), lambda: False, {})
    with ours:
        ours.sendall(b"POST /attach HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nhel")
    assert not connection.serve()
    connection.close()
    assert heard == ["lost"]
