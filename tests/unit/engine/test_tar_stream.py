"""Tar streams and compressed ones: split anywhere, as other programs write them, damaged, and hostile in size."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from backports import zstd
from hypothesis import example, given
from hypothesis import strategies as st

from declarative.engine.images.layers.compression import detect, unpacked
from declarative.engine.images.layers.entry import Entry, Kind
from declarative.engine.images.layers.write import archive, header
from declarative.errors import Invalid
from tests.unit.engine.archives import read_all

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "zstd": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}

names = st.lists(
    st.binary(min_size=1, max_size=120).filter(lambda part: not set(part) & set(b"\0/")), min_size=1, max_size=3
).map(b"/".join)
numbers = st.integers(0, (1 << 32) - 2)
times = st.integers(-(10**18), 10**19)
xattrs = st.dictionaries(
    st.binary(min_size=1, max_size=9).filter(lambda key: not set(key) & set(b"\0=")).map(lambda key: b"user." + key),
    st.binary(max_size=30),
    max_size=2,
).map(lambda found: tuple(sorted(found.items())))


@st.composite
def entries(draw: st.DrawFn) -> tuple[Entry, bytes]:
    """Make any entry that an archive can have, with its bytes."""
    kind = draw(st.sampled_from(Kind))
    content = draw(st.binary(max_size=1500)) if kind is Kind.FILE else b""
    device = kind in {Kind.CHARACTER, Kind.BLOCK}
    extents = None
    size = len(content)
    if kind is Kind.FILE and draw(st.booleans()):
        hole = draw(st.integers(0, 1 << 40))
        extents = ((hole, len(content)),)
        size = hole + len(content) + draw(st.integers(0, 9))
    made = Entry(
        name=draw(names) + (b"/" if kind is Kind.DIRECTORY else b""),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(numbers),
        gid=draw(numbers),
        size=size,
        stored=len(content),
        mtime=draw(times),
        target=draw(names) if kind in {Kind.SYMLINK, Kind.HARDLINK} else b"",
        major=draw(st.integers(0, 4095)) if device else 0,
        minor=draw(st.integers(0, (1 << 20) - 1)) if device else 0,
        xattrs=draw(xattrs),
        extents=extents,
    )
    return made, content


@given(st.lists(entries(), max_size=4), st.randoms(use_true_random=False))
def test_what_is_written_is_read_however_it_is_split(made: list[tuple[Entry, bytes]], random: random.Random) -> None:
    stream = b"".join(archive(made))
    cuts = sorted(random.choices(range(len(stream) + 1), k=random.choice([0, 3, 60])))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read_all(pieces, "layer") == made


def test_one_byte_at_a_time() -> None:
    made = [(Entry(name=b"a" * 300, xattrs=((b"user.b", b"\n="),), size=3, stored=3), b"abc"), (Entry(name=b"b"), b"")]
    stream = b"".join(archive(made))
    assert read_all((stream[at : at + 1] for at in range(len(stream))), "layer") == made


@pytest.mark.parametrize("name", PACK)
def test_every_compression_split_anywhere_and_of_several_members(name: str) -> None:
    content = b"".join(archive([(Entry(name=b"a", size=9000, stored=9000), os.urandom(9000))]))
    packed = PACK[name](content[:5000]) + PACK[name](content[5000:])
    assert detect(packed[:6]) == name
    for step in (1, 7, 1000, len(packed)):
        assert b"".join(unpacked((packed[at : at + step] for at in range(0, len(packed), step)), "layer")) == content


@pytest.mark.parametrize("name", [name for name in PACK if name])
def test_damaged_or_cut_compression_is_refused(name: str) -> None:
    packed = PACK[name](os.urandom(5000))
    for broken in (packed[:-3], packed[:40], packed[:60] + b"\xff\x00\xff" + packed[63:], packed + b"garbage"):
        with pytest.raises(Invalid):
            b"".join(unpacked([broken], "layer"))


@pytest.mark.parametrize("name", [name for name in PACK if name])
def test_a_bomb_comes_in_small_steps(name: str) -> None:
    bomb = PACK[name](bytes(64 << 20))
    assert max(map(len, unpacked([bomb], "layer"))) <= 1 << 20


def test_trouble_of_the_stream_is_not_damage() -> None:
    def cut() -> Iterator[bytes]:
        yield gzip.compress(b"x" * 99)[:20]
        raise ConnectionResetError(104, "reset")

    with pytest.raises(ConnectionResetError):
        b"".join(unpacked(cut(), "layer"))


@pytest.mark.parametrize("format", ["gnu", "posix", "ustar", "v7", "oldgnu"])
def test_archives_of_gnu_tar(format: str, tmp_path: Path) -> None:  # noqa: A002 - tar's own word
    tree = tmp_path / "tree"
    tree.mkdir()
    long = "d" * 60 + "/" + "n" * (90 if format in {"gnu", "posix", "oldgnu"} else 30)
    (tree / long).parent.mkdir()
    (tree / long).write_text("long")
    (tree / "link").symlink_to(long)
    packed = subprocess.run(["tar", "-c", f"--format={format}", "-C", tree, "."], check=True, capture_output=True)
    found = {entry.name: (entry, content) for entry, content in read_all([packed.stdout], "layer")}
    assert found[b"./" + long.encode()][1] == b"long"
    assert found[b"./link"][0].target == long.encode()
    assert found[b"./"][0].kind is Kind.DIRECTORY


@pytest.mark.parametrize("how", [("gnu", "0.0"), ("posix", "0.0"), ("posix", "0.1"), ("posix", "1.0")])
def test_sparse_archives_of_gnu_tar(how: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as opened:
        for place in range(60):
            opened.seek(place * 200_000)
            opened.write(b"data %d" % place)
        opened.truncate(20_000_000)
    version = [f"--sparse-version={how[1]}"] if how[0] == "posix" else []
    command = ["tar", "-cS", f"--format={how[0]}", *version, "-C", str(tmp_path), "sparse"]
    packed = subprocess.run(command, check=True, capture_output=True)
    [(entry, content)] = read_all([packed.stdout], "layer")
    assert (entry.name, entry.size) == (b"sparse", 20_000_000)
    whole = bytearray(entry.size)
    at = 0
    for offset, length in entry.extents or ():
        whole[offset : offset + length] = content[at : at + length]
        at += length
    assert bytes(whole) == file.read_bytes()
    assert len(content) < 1_000_000


def test_tarfile_reads_what_is_written() -> None:
    made = [(Entry(name=b"d/" + b"n" * 200, mtime=1_500_000_000_123456789, uid=1 << 30, size=2, stored=2), b"hi")]
    made.append((Entry(name=b"s", size=5000, stored=2, extents=((4000, 2),)), b"ho"))
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive(made)))) as opened:
        long, sparse = opened.getmembers()
        assert (long.name, long.uid) == ("d/" + "n" * 200, 1 << 30)
        assert long.mtime == pytest.approx(1_500_000_000.123457)
        extracted = opened.extractfile(sparse)
        assert extracted is not None
        assert extracted.read() == bytes(4000) + b"ho" + bytes(998)


def patched(entry: Entry, at: int, text: bytes) -> bytes:
    """Give an archive of one entry with other bytes in its header, the checksum made right."""
    block = bytearray(header(entry))
    block[at : at + len(text)] = text
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


FILE = Entry(name=b"file", size=3, stored=3)
HOSTILE = {
    "ends in a header": header(FILE)[:300],
    "ends in a file": header(FILE) + b"ab",
    "ends in the padding": header(FILE) + b"abc",
    "wrong checksum": b"x" + header(FILE)[1:],
    "no archive": b"hello world " * 100,
    "negative size": patched(FILE, 124, b"\xff" * 12),
    "absurd size": patched(FILE, 124, b"\x80" + b"\x7f" * 11),
    "size is no number": patched(FILE, 124, b"12x"),
    "owner out of range": patched(FILE, 108, b"\x80\0\0\0\xff\xff\xff\xff"),
    "huge extended header": patched(Entry(name=b"x", size=1 << 30, stored=1 << 30), 156, b"x"),
    "negative extended header": patched(FILE, 156, b"x")[:124] + b"\xff" * 12,
    "endless extended headers": patched(Entry(name=b"x"), 156, b"L") * 40,
    "name too long": b"".join(archive([(Entry(name=b"n/" * 3000), b"")])),
    "sparse parts overlap": b"".join(
        archive([(Entry(name=b"s", size=9, stored=4, extents=((0, 2), (1, 2))), b"abcd")])
    ),
    "sparse part outside": b"".join(archive([(Entry(name=b"s", size=3, stored=2, extents=((2, 2),)), b"ab")])),
    "sparse map of another size": b"".join(archive([(Entry(name=b"s", size=9, stored=4, extents=((0, 2),)), b"abcd")])),
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_a_bad_archive_is_refused(shape: str) -> None:
    with pytest.raises(Invalid):
        read_all([HOSTILE[shape]], "layer")


@given(st.binary(max_size=700), st.integers(0, 1500))
@example(b"ustar\x0000", 535)  # a pax record without a length, once read for ever
def test_any_damage_is_read_or_refused(damage: bytes, at: int) -> None:
    stream = bytearray(b"".join(archive([(Entry(name=b"a" * 150, size=3, stored=3, mtime=5), b"abc")])))
    stream[at : at + len(damage)] = damage
    with suppress(Invalid):
        read_all([bytes(stream)], "layer")
