"""The server: many clients, idle ones, too many, TLS, and its end."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest

from declarative.dockerapi.transport import TlsFiles
from declarative.engine.daemon.http import Answer, Empty, Hijack, Response, Stream
from declarative.engine.daemon.listen import listen
from declarative.engine.daemon.server import Server
from declarative.engine.daemon.workers import Workers
from declarative.engine.log import Log
from tests import certificates
from tests.unit.engine.daemon.serving import Served, read_all, read_head, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from declarative.engine.daemon.http import Body, Wire

_GET = b"GET /x HTTP/1.1\r\nHost: d\r\n\r\n"


def _ok(*_: object) -> Response:
    return Answer(document="ok")


def _read_answer(made: socket.socket) -> bytes:
    head = read_head(made)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += made.recv(length - len(body))
    return body


def test_idle_connections_hold_no_thread_and_may_speak_again(tmp_path: Path) -> None:
    with serving(_ok, tmp_path) as served:
        before = threading.active_count()
        clients = [served.connect() for _ in range(300)]
        for client in clients:
            client.sendall(_GET)
            assert _read_answer(client) == b'"ok"\n'
        deadline = time.monotonic() + 30
        while served.server.busy and time.monotonic() < deadline:
            time.sleep(0.02)
        assert served.server.busy == 0
        assert threading.active_count() - before < 150
        for client in reversed(clients):
            client.sendall(_GET)
            assert _read_answer(client) == b'"ok"\n'
            client.close()


def test_a_hundred_clients_at_once_are_all_answered(tmp_path: Path) -> None:
    everybody = threading.Barrier(100, timeout=60)

    def together(*_: object) -> Response:
        everybody.wait()  # nobody is answered before all are here: a server that lets one wait for another hangs
        return Answer(document="ok")

    found: list[bytes] = []
    with serving(together, tmp_path) as served:

        def ask() -> None:
            with served.connect() as made:
                made.sendall(_GET)
                found.append(_read_answer(made))

        threads = [threading.Thread(target=ask) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert found == [b'"ok"\n'] * 100


def test_quiet_is_counted_from_the_end_of_the_last_request(tmp_path: Path) -> None:
    go = threading.Event()

    def wait(*_: object) -> Response:
        go.wait(30)
        return Empty()

    with serving(wait, tmp_path) as served, served.connect() as made:
        made.sendall(_GET)
        while not served.server.busy:
            time.sleep(0.01)
        assert served.server.quiet_for() == 0.0
        go.set()
        read_head(made)
        while served.server.busy:
            time.sleep(0.01)
        assert served.server.quiet_for() < 20


def test_at_the_end_streams_are_told_and_others_are_cut(tmp_path: Path) -> None:
    told = threading.Event()
    streaming = threading.Event()

    def handle(_m: str, target: str, _h: Mapping[str, str], _b: Body, gone: Callable[[], bool]) -> Response:
        def follow() -> Iterator[bytes]:
            yield b"begin"
            while not gone():
                time.sleep(0.01)
            told.set()

        def hold(wire: Wire) -> None:
            streaming.set()
            wire.receive()

        return Hijack(serve=hold) if target == "/raw" else Stream(chunks=follow())

    with serving(handle, tmp_path) as served:
        follower, raw = served.connect(), served.connect()
        follower.sendall(_GET)
        raw.sendall(b"POST /raw HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        read_head(follower)
        assert streaming.wait(30)
        served.server.stop()
        served.server.drain(1.0)
        assert told.wait(30)
        assert read_all(follower).endswith(b"0\r\n\r\n")
        assert read_head(raw)
        assert read_all(raw) == b""
        follower.close()
        raw.close()


def test_after_the_end_nobody_connects(tmp_path: Path) -> None:
    with serving(_ok, tmp_path) as served:
        path = served.listener.path
        assert path is not None
        assert path.stat().st_mode & 0o777 == 0o660
        served.server.stop()
        deadline = time.monotonic() + 30
        while path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(FileNotFoundError):
            served.connect()


def test_who_comes_while_the_daemon_would_retire_is_answered(tmp_path: Path) -> None:
    listener = listen(f"unix://{tmp_path}/s")
    server = Server(_ok, [listener], Log(io.StringIO()))
    listener.sock.setblocking(False)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(f"{tmp_path}/s")  # not accepted yet: nobody serves
    assert not server.retire()
    client.sendall(_GET)
    assert _read_answer(client) == b'"ok"\n'
    client.close()
    deadline = time.monotonic() + 30
    while server.busy and time.monotonic() < deadline:
        time.sleep(0.01)
    while not server.retire():
        time.sleep(0.01)
    assert not (tmp_path / "s").exists()
    server.serve()  # returns at once
    assert list(tmp_path.iterdir()) == []


def test_a_client_is_told_of_before_it_has_asked_for_anything(tmp_path: Path) -> None:
    listener = listen(f"unix://{tmp_path}/s")
    came: list[str] = []
    server = Server(_ok, [listener], Log(io.StringIO()), accepted=lambda: came.append("a client"))
    listener.sock.setblocking(False)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.connect(f"{tmp_path}/s")
        assert not server.retire()
        assert came == ["a client"]
    deadline = time.monotonic() + 30
    while not server.retire() and time.monotonic() < deadline:
        time.sleep(0.01)
    server.serve()  # returns at once
    assert came == ["a client"]


def test_what_is_too_much_is_refused_and_not_queued() -> None:
    workers = Workers(limit=2)
    go = threading.Event()

    def wait() -> None:
        go.wait(30)

    assert workers.submit(wait)
    assert workers.submit(wait)
    assert not workers.submit(lambda: None)
    go.set()
    done = threading.Event()
    deadline = time.monotonic() + 30
    while not workers.submit(done.set) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done.wait(30)


# ---- TLS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Give folders: a server's certificate, a client's of the same authority, and a stranger's."""
    folder = tmp_path_factory.mktemp("tls")
    ours, other = certificates.make_authority(folder / "ours"), certificates.make_authority(folder / "other")
    return (
        certificates.issue(ours, folder / "server"),
        certificates.issue(ours, folder / "client"),
        certificates.issue(other, folder / "stranger"),
    )


@pytest.fixture
def secured(tmp_path: Path, files: tuple[Path, Path, Path]) -> Iterator[Served]:
    server = files[0]
    tls = TlsFiles(ca=f"{server}/ca.pem", cert=f"{server}/cert.pem", key=f"{server}/key.pem")

    def handle(_m: str, target: str, _h: Mapping[str, str], body: Body, _g: object) -> Response:
        def shout(wire: Wire) -> None:
            found = b""
            while piece := wire.receive():
                found += piece
            wire.send(found.upper())

        if target == "/raw":
            return Hijack(serve=shout)
        return Stream(chunks=iter(list(body)))

    with serving(handle, tmp_path, host="tcp://127.0.0.1:0", tls=tls) as served:
        yield served


def _context(files: tuple[Path, Path, Path], client: Path | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=f"{files[0]}/ca.pem")
    if client is not None:
        made.load_cert_chain(f"{client}/cert.pem", f"{client}/key.pem")
    return made


def test_over_tls_bodies_go_both_ways(secured: Served, files: tuple[Path, Path, Path]) -> None:
    connection = http.client.HTTPSConnection(*secured.address, context=_context(files, files[1]), timeout=30)
    content = bytes(range(256)) * 20_000
    for _ in range(2):
        connection.request("POST", "/x", body=content)
        assert connection.getresponse().read() == content
    connection.close()


@pytest.mark.parametrize("who", [None, 2])
def test_over_tls_a_client_without_our_certificate_is_refused(
    secured: Served, files: tuple[Path, Path, Path], who: int | None
) -> None:
    connection = http.client.HTTPSConnection(
        *secured.address, context=_context(files, None if who is None else files[who]), timeout=30
    )

    def ask() -> None:  # with TLS 1.3 a client hears of the refusal at its first read
        connection.request("GET", "/x")
        connection.getresponse()

    with pytest.raises((ssl.SSLError, ConnectionError, http.client.BadStatusLine)):
        ask()
    connection.close()


def test_over_tls_standard_input_ends_and_output_still_comes(secured: Served, files: tuple[Path, Path, Path]) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    machine = _context(files, files[1]).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with secured.connect() as made:

        def pump() -> None:
            made.sendall(outgoing.read())
            incoming.write(made.recv(65536))

        while True:
            try:
                machine.do_handshake()
                break
            except ssl.SSLWantReadError:
                pump()
        machine.write(b"POST /raw HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nquiet")
        with pytest.raises(ssl.SSLWantReadError):
            machine.unwrap()  # sends close_notify, and would wait for theirs
        found = b""
        while True:
            try:
                piece = machine.read(65536)
            except ssl.SSLWantReadError:
                pump()
                continue
            except ssl.SSLZeroReturnError:
                break
            found += piece
            if not piece:
                break
    assert found.startswith(b"HTTP/1.1 101 UPGRADED")
    assert found.endswith(b"QUIET")


def test_a_client_that_speaks_no_tls_harms_nobody(secured: Served, files: tuple[Path, Path, Path]) -> None:
    with secured.connect() as made:
        made.sendall(_GET)
        read_all(made)
    test_over_tls_bodies_go_both_ways(secured, files)
