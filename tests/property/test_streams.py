"""Decoders of the engine's bytes: fed whole and split anywhere they give the same; what is not allowed is refused."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.dockerapi.http11 import LAST_CHUNK, Cut, Garbage, ResponseReader, render_chunk
from declarative.dockerapi.streams import Frame, FrameDecoder, LineDecoder, StreamError, encode_frame

if TYPE_CHECKING:
    from collections.abc import Callable

cuts = st.lists(st.integers(0, 400), max_size=12)
stream_names = st.sampled_from(["stdin", "stdout", "stderr"])
json_objects = st.dictionaries(
    st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(max_size=20), max_size=4
)
tokens = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-", min_size=1, max_size=12)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)


def _split(data: bytes, places: list[int]) -> list[bytes]:
    """Cut `data` at these places; never an empty piece."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def _source(pieces: list[bytes]) -> Callable[[int], bytes]:
    """Receive as a socket does: a piece at a time, no more than asked for, then the end."""
    waiting = list(pieces)

    def receive(size: int) -> bytes:
        if not waiting:
            return b""
        piece = waiting.pop(0)
        if len(piece) > size:
            waiting.insert(0, piece[size:])
        return piece[:size]

    return receive


# ---- framed streams


def _joined(frames: list[Frame]) -> list[tuple[str, bytes]]:
    """Join neighbours of one stream: a frame may come out in several pieces."""
    out: list[tuple[str, bytes]] = []
    for frame in frames:
        if out and out[-1][0] == frame.stream:
            out[-1] = (frame.stream, out[-1][1] + frame.data)
        else:
            out.append((frame.stream, frame.data))
    return out


@given(st.lists(st.tuples(stream_names, st.binary(max_size=40)), max_size=8), cuts)
def test_frames_whole_and_split(sent: list[tuple[Any, bytes]], places: list[int]) -> None:
    data = b"".join(encode_frame(name, content) for name, content in sent)
    whole, split = FrameDecoder(), FrameDecoder()
    expected = _joined([Frame(stream=name, data=content) for name, content in sent if content])
    assert _joined(whole.feed(data)) == expected
    assert _joined([frame for piece in _split(data, places) for frame in split.feed(piece)]) == expected
    whole.end()
    split.end()


@given(st.binary(min_size=1, max_size=40), st.data())
def test_a_stream_that_ends_inside_a_frame_is_told(content: bytes, data: st.DataObject) -> None:
    frame = encode_frame("stderr", content)
    end = data.draw(st.integers(1, len(frame) - 1))
    decoder = FrameDecoder()
    decoder.feed(frame[:end])
    with pytest.raises(StreamError, match="middle of a frame"):
        decoder.end()


@pytest.mark.parametrize("head", [b"\3\0\0\0", b"\1\0\0\1", b"HTTP"])
def test_what_is_no_frame_is_refused(head: bytes) -> None:
    with pytest.raises(StreamError, match="not a stream frame"):
        FrameDecoder().feed(head + b"\0\0\0\1x")


# ---- lines of JSON


@given(st.lists(json_objects, max_size=6), st.sampled_from([b"\n", b"\r\n", b"\n\n", b""]), cuts, st.booleans())
def test_lines_whole_and_split(sent: list[dict[str, Any]], end: bytes, places: list[int], ascii_only: bool) -> None:
    data = b"".join(json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "replace") + end for document in sent)
    expected = [
        json.loads(json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "replace")) for document in sent
    ]
    whole, split = LineDecoder(), LineDecoder()
    assert [*whole.feed(data), *whole.end()] == expected
    assert [*(document for piece in _split(data, places) for document in split.feed(piece)), *split.end()] == expected


def test_a_line_is_given_as_soon_as_it_is_whole() -> None:
    decoder = LineDecoder()
    assert decoder.feed(b'{"a"') == []
    assert decoder.feed(b": 1}\n{") == [{"a": 1}]
    assert decoder.feed(b"}") == []
    assert decoder.end() == [{}]


@pytest.mark.parametrize("line", [b"[]", b"nope", b'{"a":', b"\xff", b"7", b"[" * 100_000])
def test_what_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(StreamError, match="JSON"):
        LineDecoder().feed(line + b"\n")


# ---- HTTP responses


@given(
    st.integers(200, 599).filter(lambda status: status not in {204, 304}),
    st.dictionaries(
        tokens.filter(lambda name: name.lower() not in {"content-length", "connection"}), values, max_size=4
    ),
    st.lists(st.binary(min_size=1, max_size=60), max_size=5),
    st.booleans(),
    cuts,
)
def test_responses_whole_and_split(
    status: int, headers: dict[str, str], body: list[bytes], chunked: bool, places: list[int]
) -> None:
    """Two responses follow each other on one connection, after an interim one, however they are cut."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    content = b"".join(body)
    if chunked:
        framing = "Transfer-Encoding: chunked"
        sent = b"".join(render_chunk(piece) for piece in body) + LAST_CHUNK
    else:
        framing = f"Content-Length: {len(content)}"
        sent = content
    one = f"HTTP/1.1 {status} Some Words\r\n{fields}{framing}\r\n\r\n".encode() + sent
    data = b"HTTP/1.1 100 Continue\r\n\r\n" + one + one
    reader = ResponseReader(_source(_split(data, places)))
    for _ in range(2):
        head = reader.head("GET")
        assert (head.status, head.reason, head.keep_alive) == (status, "Some Words", True)
        assert b"".join(reader.body(head)) == content
    assert not reader.begun
    with pytest.raises(Cut):
        reader.head("GET")


@given(st.binary(max_size=60), cuts)
def test_a_body_without_a_length_ends_with_the_connection(content: bytes, places: list[int]) -> None:
    reader = ResponseReader(_source(_split(b"HTTP/1.1 200 OK\r\n\r\n" + content, places)))
    head = reader.head("GET")
    assert not head.keep_alive
    assert b"".join(reader.body(head)) == content


@given(st.binary(max_size=60), cuts)
def test_early_bytes_after_an_upgrade_are_kept(early: bytes, places: list[int]) -> None:
    receive = _source(_split(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\r\n" + early, places))
    reader = ResponseReader(receive)
    assert reader.head("POST").status == 101
    got = reader.rest()
    while more := receive(100):
        got += more
    assert got == early


@given(st.sampled_from([True, False]), st.data())
def test_a_response_cut_anywhere_is_cut_and_never_whole(chunked: bool, data: st.DataObject) -> None:
    body = b"hello, world"
    whole = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + render_chunk(body) + LAST_CHUNK
        if chunked
        else b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + body
    )
    end = data.draw(st.integers(0, len(whole) - 1))
    reader = ResponseReader(_source([whole[:end]] if end else []))
    with pytest.raises(Cut):
        b"".join(reader.body(reader.head("GET")))


@given(
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
    st.binary(max_size=200) | st.text("0123456789abcdef;\r\n: x", max_size=60).map(str.encode),
    cuts,
)
def test_any_bytes_are_a_response_or_garbage_or_cut(start: bytes, data: bytes, places: list[int]) -> None:
    """Nothing else is ever raised, and nothing waits for ever."""
    reader = ResponseReader(_source(_split(start + data, places)))
    with contextlib.suppress(Garbage, Cut):
        assert len(b"".join(reader.body(reader.head("GET")))) <= len(data)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 600 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\r\nname : space before the colon",
        b"HTTP/1.1 200 OK\r\nfolded: a\r\n b",
        b"HTTP/1.1 200 OK\r\n: no name",
        b"HTTP/1.1 200 OK\r\nnul: a\0b",
        b"HTTP/1.1 200 OK\r\nbare: a\nb: c",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x10",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
        b"SSH-2.0-OpenSSH_9.2p1 Debian",
        b"\x15\x03\x01\0\2\2\x50",
        b"HTTP/1.1 200 OK\r\nbig: " + b"x" * 70_000,
    ],
)
def test_what_http_does_not_allow_is_garbage(head: bytes) -> None:
    with pytest.raises(Garbage):
        ResponseReader(_source([head + b"\r\n\r\n"])).head("GET")


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1 1\r\n",
        b"3\r\nabcd\r\n",
        b"f" * 16 + b"\r\n",
        b"1" * 2000,
    ],
)
def test_chunks_that_http_does_not_allow_are_garbage(body: bytes) -> None:
    reader = ResponseReader(_source([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body]))
    head = reader.head("GET")
    with pytest.raises(Garbage):
        b"".join(reader.body(head))


def test_chunk_extensions_and_trailers_are_read_over() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;name=value\r\nhello\r\n0\r\nTrailer: x\r\n\r\n"
    reader = ResponseReader(_source([data]))
    assert b"".join(reader.body(reader.head("GET"))) == b"hello"
    assert not reader.begun


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("POST", 304)])
def test_answers_without_a_body(method: str, status: int) -> None:
    reader = ResponseReader(_source([f"HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n".encode()]))
    head = reader.head(method)
    assert list(reader.body(head)) == []
    assert head.keep_alive


@pytest.mark.parametrize(
    ("lines", "alive"),
    [("HTTP/1.1 204 X", True), ("HTTP/1.0 204 X", False), ("HTTP/1.1 204 X\r\nConnection: a, Close", False)],
)
def test_whether_the_connection_lives_on(lines: str, alive: bool) -> None:
    assert ResponseReader(_source([f"{lines}\r\n\r\n".encode()])).head("GET").keep_alive is alive
