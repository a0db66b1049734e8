"""The client against peers that misbehave: each is a real listening socket that does as its script says."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from declarative.dockerapi.client import EngineClient, WriteOnReadOnlyClient
from declarative.dockerapi.transport import TcpEndpoint, UnixEndpoint
from declarative.errors import DeclarativeError, Denied, Failed, Invalid, NotFound, Unavailable, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Script = Callable[["Peer", socket.socket, bytes], None]

PING = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nOstype: linux\r\nServer: Docker/20\r\nContent-Length: 2\r\n\r\nOK"


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Peer:
    """Answers pings by itself and gives every other request's head to `script`, which may do with the socket what it likes."""

    def __init__(self, path: Path, script: Script) -> None:
        self.path = path
        self.script = script
        self.ping: bytes | None = PING
        self.requests: list[bytes] = []
        self.connections = 0
        self.clients: list[EngineClient] = []
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.drop()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def drop(self) -> None:
        """Close every connection."""
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._open.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        buffer = b""
        with contextlib.suppress(OSError), sock:
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = sock.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                if head.startswith(b"GET /_ping "):
                    if self.ping is not None:
                        sock.sendall(self.ping)
                    continue
                self.requests.append(head.split(b"\r\n")[0])
                self.script(self, sock, buffer)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Callable[[Script], Peer]]:
    peers: list[Peer] = []

    def start(script: Script) -> Peer:
        peers.append(Peer(tmp_path / f"peer{len(peers)}.sock", script))
        return peers[-1]

    yield start
    for each in peers:
        each.close()


def client_of(peer: Peer, *, timeout: float = 5.0, read_only: bool = False) -> EngineClient:
    """Make a client that is closed with its peer."""
    client = EngineClient(UnixEndpoint(path=str(peer.path)), timeout=timeout, read_only=read_only)
    peer.clients.append(client)
    return client


def answers(data: bytes) -> Script:
    def script(_: Peer, sock: socket.socket, __: bytes) -> None:
        sock.sendall(data)

    return script


def cuts_after(data: bytes) -> Script:
    def script(_: Peer, sock: socket.socket, __: bytes) -> None:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_RDWR)

    return script


# ---- getting there


def test_a_missing_socket(tmp_path: Path) -> None:
    path = tmp_path / "nix.sock"
    with pytest.raises(Unavailable) as caught:
        EngineClient(UnixEndpoint(path=str(path))).get_json("/info")
    assert (
        str(caught.value)
        == f"unix://{path}: there is no such socket — start the engine, or name another one with --engine"
    )


def test_a_dead_socket(tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
    with pytest.raises(Unavailable, match="the socket exists, but no engine listens on it"):
        EngineClient(UnixEndpoint(path=str(path))).get_json("/info")


def test_a_file_that_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="no engine listens on it"):
        EngineClient(UnixEndpoint(path=str(tmp_path / "file"))).get_json("/info")


def test_a_path_that_no_socket_can_have() -> None:
    with pytest.raises(Invalid, match="longer than the 107 bytes"):
        EngineClient(UnixEndpoint(path="/" + "x" * 107)).get_json("/info")


def test_a_socket_that_is_not_for_us(peer: Callable[[Script], Peer]) -> None:
    """Root may use any socket, so this runs in a thread that gives its privileges over files up (setfsuid(2))."""
    there = peer(answers(ok(b"{}")))
    there.path.chmod(0o600)
    for folder in there.path.parents:
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 1:
            folder.chmod(folder.stat().st_mode | 0o001)
    caught: list[DeclarativeError] = []

    def ask() -> None:
        if os.geteuid() == 0:
            ctypes.CDLL(None).setfsuid(65534)  # of this thread alone, which ends here
        else:
            there.path.chmod(0)
        try:
            client_of(there).get_json("/info")
        except DeclarativeError as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert isinstance(caught[0], Denied)
    assert "you may not use this engine's socket — use sudo, or join the group" in str(caught[0])


def test_a_backlog_that_is_full_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "busy.sock"
    waiting: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        while True:
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            waiting.append(sock)
            try:
                sock.connect(str(path))
            except BlockingIOError as error:
                assert error.errno == errno.EAGAIN  # noqa: PT017 - the loop ends here
                break
        with pytest.raises(Unavailable, match=r"the engine does not answer \(0\.2 s\)"):
            EngineClient(UnixEndpoint(path=str(path)), timeout=0.2).get_json("/info")
    for sock in waiting:
        sock.close()


def test_tcp_that_is_refused_and_a_name_that_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as made:
        port = made.getsockname()[1]
    with pytest.raises(Unavailable, match=rf"^tcp://127\.0\.0\.1:{port}: cannot connect: connection refused"):
        EngineClient(TcpEndpoint(host="127.0.0.1", port=port)).get_json("/info")
    with pytest.raises(Unavailable, match="the host name cannot be resolved"):
        EngineClient(TcpEndpoint(host="nix.invalid", port=port)).get_json("/info")


# ---- who answers


def test_the_version_is_negotiated_once(peer: Callable[[Script], Peer]) -> None:
    there = peer(answers(ok(b"{}")))
    client = client_of(there)
    threads = [threading.Thread(target=client.get_json, args=("/info",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.facts.api == (1, 41)
    assert set(there.requests) == {b"GET /v1.41/info HTTP/1.1"}
    assert len(there.requests) == 8


def test_a_newer_engine_is_spoken_to_in_our_version(peer: Callable[[Script], Peer]) -> None:
    there = peer(answers(ok(b"{}")))
    there.ping = PING.replace(b"1.41", b"1.99")
    client = client_of(there)
    client.get_json("/info")
    assert there.requests == [b"GET /v1.47/info HTTP/1.1"]
    assert client.facts.api == (1, 47)


def test_an_engine_that_is_too_old(peer: Callable[[Script], Peer]) -> None:
    there = peer(answers(ok(b"{}")))
    there.ping = PING.replace(b"1.41", b"1.23")
    with pytest.raises(Unsupported, match=r"speaks API 1\.23, which is older than 1\.24 — upgrade the engine"):
        client_of(there).get_json("/info")
    assert there.requests == []


def test_an_engine_that_finds_us_too_old(peer: Callable[[Script], Peer]) -> None:
    words = b'{"message":"client version 1.47 is too old. Minimum supported API version is 1.60"}'
    there = peer(answers(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(words), words)))
    there.ping = PING.replace(b"1.41", b"1.70")
    with pytest.raises(Unsupported, match=r"Minimum supported API version is 1\.60"):
        client_of(there).get_json("/info")


@pytest.mark.parametrize(
    "ping",
    [
        ok(b"OK"),
        PING.replace(b"1.41", b"x.y"),
        PING.replace(b"1.41", b"1"),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\n\r\n<html>no</html>",
    ],
)
def test_something_else_answers(ping: bytes, peer: Callable[[Script], Peer]) -> None:
    there = peer(answers(b""))
    there.ping = ping
    with pytest.raises(Unavailable, match="what answers there is no container engine"):
        client_of(there).get_json("/info")


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x01", b"\0" * 100, b"HTTP/1.1 abc\r\n\r\n"])
def test_garbage_is_told_at_once(garbage: bytes, peer: Callable[[Script], Peer]) -> None:
    there = peer(answers(b""))
    there.ping = garbage
    with pytest.raises(Unavailable, match="does not speak the Docker Engine API"):
        client_of(there).get_json("/info")


@pytest.mark.parametrize("body", [b"not json", b"\xff\xfe", b"[" * 100_000])
def test_a_document_that_is_none(body: bytes, peer: Callable[[Script], Peer]) -> None:
    with pytest.raises(Unavailable, match="the engine's answer is no JSON"):
        client_of(peer(answers(ok(body)))).get_json("/info")


# ---- silence


def test_an_engine_that_accepts_and_never_answers(peer: Callable[[Script], Peer]) -> None:
    there = peer(answers(b""))
    there.ping = None
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        client_of(there, timeout=0.2).get_json("/info")
    assert str(caught.value).startswith(f"unix://{there.path}: the engine does not answer (0.2 s)")
    assert time.monotonic() - started < 2


def test_a_get_that_hangs_is_given_up(peer: Callable[[Script], Peer]) -> None:
    with pytest.raises(Unavailable, match=r"does not answer \(0\.2 s\)"):
        client_of(peer(answers(b"")), timeout=0.2).get_json("/info")


def test_a_long_call_is_waited_for_as_long_as_the_engine_lives(peer: Callable[[Script], Peer]) -> None:
    def slow(_: Peer, sock: socket.socket, __: bytes) -> None:
        time.sleep(0.7)
        sock.sendall(ok(b'{"StatusCode":0}'))

    there = peer(slow)
    assert client_of(there, timeout=0.2).post_json("/containers/x/wait") == {"StatusCode": 0}
    assert there.connections >= 4  # the ping that negotiates, the call, and a ping per silence


def test_a_long_call_ends_when_the_engine_is_dead(peer: Callable[[Script], Peer]) -> None:
    def hang(self: Peer, _: socket.socket, __: bytes) -> None:
        self.ping = None

    with pytest.raises(Unavailable, match=r"does not answer \(0\.2 s\)"):
        client_of(peer(hang), timeout=0.2).post_json("/containers/x/wait")


def test_closing_the_client_wakes_whoever_waits(peer: Callable[[Script], Peer]) -> None:
    asked = threading.Event()

    def hang(_: Peer, __: socket.socket, ___: bytes) -> None:
        asked.set()

    client = client_of(peer(hang), timeout=60)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            client.post_json("/containers/x/wait")
        except DeclarativeError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert asked.wait(5)
    client.close()
    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(caught[0], Unavailable)
    with pytest.raises(Unavailable, match="closed by us"):
        client.get_json("/info")


# ---- connections that are cut


@pytest.mark.parametrize(
    "part",
    [
        b"HTTP/1.1 200 OK\r\nConte",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ],
)
def test_an_answer_cut_in_the_middle_is_no_answer_and_not_asked_again(
    part: bytes, peer: Callable[[Script], Peer]
) -> None:
    there = peer(cuts_after(part))
    client = client_of(there)
    _ = client.facts
    with pytest.raises(Unavailable, match="the engine went away: it closed the connection in the middle of an answer"):
        client.get_json("/info")
    assert len(there.requests) == 1


def test_a_get_on_a_connection_that_died_meanwhile_is_asked_again(peer: Callable[[Script], Peer]) -> None:
    def script(self: Peer, sock: socket.socket, _: bytes) -> None:
        if len(self.requests) == 1:
            sock.shutdown(socket.SHUT_RDWR)
        else:
            sock.sendall(ok(b'"second"'))

    there = peer(script)
    client = client_of(there)
    _ = client.facts  # leaves a kept connection behind
    assert client.get_json("/info") == "second"
    assert len(there.requests) == 2


def test_a_get_is_asked_again_once_and_not_for_ever(peer: Callable[[Script], Peer]) -> None:
    there = peer(cuts_after(b""))
    client = client_of(there)
    _ = client.facts
    with pytest.raises(Unavailable, match="the engine went away"):
        client.get_json("/info")
    assert len(there.requests) == 2


def test_a_post_is_never_sent_twice(peer: Callable[[Script], Peer]) -> None:
    there = peer(cuts_after(b""))
    client = client_of(there)
    _ = client.facts
    with pytest.raises(Unavailable, match="the engine went away"):
        client.post_json("/containers/create", body={})
    assert len(there.requests) == 1


def test_kept_connections_that_were_closed_are_not_used_for_a_post(peer: Callable[[Script], Peer]) -> None:
    there = peer(answers(ok(b"{}")))
    client = client_of(there)
    client.get_json("/info")
    there.drop()
    time.sleep(0.1)
    assert client.post_json("/containers/create", body={}) == {}
    assert there.connections == 2


def test_a_connection_is_kept_and_used_again(peer: Callable[[Script], Peer]) -> None:
    there = peer(answers(ok(b"{}")))
    client = client_of(there)
    for _ in range(5):
        client.get_json("/info")
    assert there.connections == 1


def test_unasked_bytes_end_a_kept_connection(peer: Callable[[Script], Peer]) -> None:
    there = peer(answers(ok(b'"mine"') + ok(b'"not mine"')))
    client = client_of(there)
    assert [client.get_json("/info") for _ in range(3)] == ["mine"] * 3


# ---- many at once


def test_pipelined_answers_keep_their_order_and_tell_what_is_missing(peer: Callable[[Script], Peer]) -> None:
    def script(self: Peer, sock: socket.socket, _: bytes) -> None:
        number = len(self.requests)
        sock.sendall(b"HTTP/1.1 404 X\r\nContent-Length: 2\r\n\r\n{}" if number == 7 else ok(b"%d" % number))

    there = peer(script)
    found = client_of(there).get_many([f"/containers/{number}/json" for number in range(1, 301)])
    assert found == [*range(1, 7), None, *range(8, 301)]
    assert there.connections == 1


@pytest.mark.parametrize(
    "last", [ok(b"1").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b"HTTP/1.1 200", b""]
)
def test_what_a_cut_left_unanswered_is_asked_again(last: bytes, peer: Callable[[Script], Peer]) -> None:
    def script(self: Peer, sock: socket.socket, _: bytes) -> None:
        if len(self.requests) == 3:
            sock.sendall(last)
            sock.shutdown(socket.SHUT_RDWR)
            msg = "gone"
            raise OSError(msg)
        sock.sendall(ok(b"1"))

    assert client_of(peer(script)).get_many(["/x"] * 50) == [1] * 50


def test_a_refusal_among_many_is_raised(peer: Callable[[Script], Peer]) -> None:
    def script(self: Peer, sock: socket.socket, _: bytes) -> None:
        sock.sendall(b"HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\noops" if len(self.requests) == 3 else ok(b"1"))

    with pytest.raises(Failed, match="oops"):
        client_of(peer(script)).get_many(["/x"] * 50)


def test_none_of_many(peer: Callable[[Script], Peer]) -> None:
    there = peer(cuts_after(b""))
    assert client_of(there).get_many([]) == []
    with pytest.raises(Unavailable, match="the engine went away"):
        client_of(there).get_many(["/x"] * 3)


# ---- what is sent


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "post"])
def test_a_read_only_client_cannot_write(method: str, peer: Callable[[Script], Peer]) -> None:
    there = peer(answers(ok(b"{}")))
    client = client_of(there, read_only=True)
    assert client.get_json("/info") == {}
    with pytest.raises(WriteOnReadOnlyClient, match=rf"{method} /containers/create on a read-only client"):
        client.request(method, "/containers/create")
    assert there.requests == [b"GET /v1.41/info HTTP/1.1"]


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: y", "/é", "/a\0"])
def test_a_path_cannot_break_out_of_its_line(path: str, peer: Callable[[Script], Peer]) -> None:
    there = peer(answers(ok(b"{}")))
    client = client_of(there)
    with pytest.raises(ValueError, match="percent-encoded"):
        client.get_json(path)
    with pytest.raises(ValueError, match="line break"):
        client.post_json("/x", headers={"X-Registry-Auth": "a\r\nb"})
    assert there.requests == []


def test_an_upload_that_is_refused_early_gives_the_refusal(peer: Callable[[Script], Peer]) -> None:
    def refuse(_: Peer, sock: socket.socket, __: bytes) -> None:
        sock.sendall(
            b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 18\r\n\r\n" + b'{"message":"nope"}'
        )
        sock.shutdown(socket.SHUT_RDWR)

    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 100_000:
            sent += 1
            yield b"x" * 65536

    with pytest.raises(NotFound, match="nope"):
        client_of(peer(refuse)).put("/containers/x/archive", {"path": "/"}, endless())
    assert sent < 100_000


def test_an_upload_whose_engine_speaks_early_is_sent_whole(peer: Callable[[Script], Peer]) -> None:
    """The engine reports progress all the while, more than any socket buffer holds, and reads on only when it is read from."""
    got = bytearray()
    line = b'{"progress":"%b"}\n' % (b"." * 1000)

    def speak(_: Peer, sock: socket.socket, early: bytes) -> None:
        got.extend(early)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not got.endswith(b"\r\n0\r\n\r\n"):
            got.extend(sock.recv(2000))
            sock.sendall(b"%x\r\n%b\r\n" % (len(line), line))
        sock.sendall(b"0\r\n\r\n")

    pieces = [b"x" * 65536] * 40
    lines = list(client_of(peer(speak), timeout=1).stream_lines("POST", "/images/load", body=iter(pieces)))
    assert len(lines) > 1000
    assert bytes(got).count(b"x") == 65536 * 40


def test_an_upload_that_fails_on_our_side_is_never_whole(peer: Callable[[Script], Peer]) -> None:
    ended = threading.Event()
    got = bytearray()

    def read(_: Peer, sock: socket.socket, early: bytes) -> None:
        got.extend(early)
        while data := sock.recv(65536):
            got.extend(data)
        ended.set()

    def broken() -> Iterator[bytes]:
        yield b"first"
        msg = "the disk is gone"
        raise OSError(msg)

    with pytest.raises(DeclarativeError, match="the disk is gone"):
        client_of(peer(read)).put("/containers/x/archive", body=broken())
    assert ended.wait(5)
    assert not bytes(got).endswith(b"0\r\n\r\n")


# ---- streams


def test_a_line_that_tells_an_error_is_raised_after_those_before_it(peer: Callable[[Script], Peer]) -> None:
    body = (
        b'{"stream":"Step 1"}\n{"errorDetail":{"code":1,"message":"no space left on device"},"error":"x"}\n{"late":1}\n'
    )
    lines = client_of(peer(answers(ok(body)))).stream_lines("POST", "/build")
    assert next(lines) == {"stream": "Step 1"}
    with pytest.raises(Failed, match="the engine's disk is full"):
        next(lines)


def test_a_stream_that_is_cut_is_no_success(peer: Callable[[Script], Peer]) -> None:
    there = peer(cuts_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{}\r\n\r\n"))
    lines = client_of(there).stream_lines("POST", "/build")
    assert next(lines) == {}
    with pytest.raises(Unavailable, match="in the middle of an answer"):
        next(lines)


def test_a_stream_of_no_json(peer: Callable[[Script], Peer]) -> None:
    with pytest.raises(Unavailable, match="the engine's stream is broken"):
        list(client_of(peer(answers(ok(b"nope\n")))).stream_lines("GET", "/events"))


def test_leaving_a_stream_closes_its_connection(peer: Callable[[Script], Peer]) -> None:
    ended = threading.Event()

    def endless(_: Peer, sock: socket.socket, __: bytes) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n")
        sock.recv(1)
        ended.set()

    lines = client_of(peer(endless)).stream_lines("GET", "/events")
    assert next(lines) == {}
    lines.close()  # type: ignore[attr-defined] # an Iterator by contract, a generator in fact
    assert ended.wait(5)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n",
    ],
)
def test_a_hijacked_stream_keeps_early_output_and_both_half_closes(head: bytes, peer: Callable[[Script], Peer]) -> None:
    def echo(_: Peer, sock: socket.socket, early: bytes) -> None:
        sock.sendall(head + b"\1\0\0\0\0\0\0\5early")
        got = early.partition(b"\r\n\r\n")[2] if b"\r\n\r\n" in early else early
        while data := sock.recv(65536):
            got += data
        sock.sendall(b"\2\0\0\0\0\0\0\4late" + b"\1\0\0\0" + len(got).to_bytes(4, "big") + got)
        sock.shutdown(socket.SHUT_RDWR)

    with client_of(peer(echo)).hijack("/containers/x/attach", {"stream": True}) as stream:
        stream.write(b"input")
        stream.close_write()
        frames = [(frame.stream, frame.data) for frame in stream.frames()]
    assert frames == [("stdout", b"early"), ("stderr", b"late"), ("stdout", b"input")]


def test_a_hijacked_stream_that_ends_inside_a_frame_is_told(peer: Callable[[Script], Peer]) -> None:
    there = peer(cuts_after(b"HTTP/1.1 101 UPGRADED\r\n\r\n\1\0\0\0\0\0\0\5ear"))
    stream = client_of(there).hijack("/exec/x/start")
    with pytest.raises(Unavailable, match="in the middle of a frame"):
        list(stream.frames())
    stream.close()


def test_a_proxy_that_swallows_the_upgrade_is_told(peer: Callable[[Script], Peer]) -> None:
    with pytest.raises(Unavailable, match="does not hand /exec/x/start over as a stream"):
        client_of(peer(answers(ok(b"")))).hijack("/exec/x/start")
