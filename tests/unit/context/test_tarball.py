"""The tar stream for the classic build API, read back with GNU tar's and Python's readers."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from declarative.errors import Failed
from declarative.manifest.context.tarball import INJECTED, classic_context, header, relative_to_context, tar_stream
from declarative.manifest.context.walk import Entry, walk

if TYPE_CHECKING:
    from pathlib import Path


def pack(root: Path, *lines: str) -> bytes:
    return b"".join(tar_stream(walk(str(root), lines)))


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), errorlevel=2) as archive:
        return {member.name: member for member in archive.getmembers()}


def content(data: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read()


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    root = tmp_path / "context"
    (root / "sub").mkdir(parents=True)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "sub" / "block").write_bytes(b"x" * 512)
    (root / "sub" / "empty").touch()
    (root / "link").symlink_to("sub/block")
    os.utime(root / "run.sh", (5, 1_700_000_000))
    data = pack(root)
    assert len(data) % 512 == 0
    found = members(data)
    assert list(found) == ["link", "run.sh", "sub", "sub/block", "sub/empty"]
    assert (found["run.sh"].mode, found["run.sh"].mtime) == (0o755, 1_700_000_000)
    assert (found["link"].linkname, found["link"].issym()) == ("sub/block", True)
    assert {(member.uid, member.gid, member.uname) for member in found.values()} == {(0, 0, "")}
    assert content(data, "sub/block") == b"x" * 512


def test_gnu_tar_reads_it(tmp_path: Path) -> None:
    root = tmp_path / "context"
    deep = root / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    (root / "link").symlink_to("t" * 150)
    (root / os.fsdecode(b"raw-\xff")).write_text("raw")
    os.mkfifo(root / "pipe")
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-xf", "-", "-C", str(out)], input=pack(root), check=True)
    subprocess.run(["diff", "-r", "--no-dereference", "--exclude=pipe", str(root), str(out)], check=True)
    assert (out / "pipe").is_fifo()


def test_sizes_beyond_octal() -> None:
    big = header(Entry(path="big", kind="file", mode=0o644, size=9 * 2**30, source=""))
    assert tarfile.TarInfo.frombuf(big, "utf-8", "surrogateescape").size == 9 * 2**30


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1, 1))
    first = pack(tmp_path)
    (tmp_path / "a").unlink()
    (tmp_path / "a").write_text("a")
    os.utime(tmp_path / "a", (9, 1))
    assert pack(tmp_path) == first


@pytest.mark.parametrize("size", [3, 5])
def test_a_file_that_changes_size_is_an_error(tmp_path: Path, size: int) -> None:
    (tmp_path / "log").write_text("four")
    entries = list(walk(str(tmp_path)))
    (tmp_path / "log").write_text("x" * size)
    with pytest.raises(Failed, match="'log': changed its size while it was sent"):
        list(tar_stream(entries))


def test_a_file_that_goes_away_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("four")
    entries = list(walk(str(tmp_path)))
    (tmp_path / "log").unlink()
    with pytest.raises(Failed, match="went away"):
        list(tar_stream(entries))


def test_a_dockerfile_inside_is_sent_though_ignored(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "Dockerfile").write_text("FROM scratch")
    (tmp_path / "app").touch()
    (tmp_path / ".dockerignore").write_text("*\n!app\n")
    context = classic_context(str(tmp_path), ["*", "!app"], str(tmp_path / "build" / "Dockerfile"))
    assert context.dockerfile == "build/Dockerfile"
    assert list(members(b"".join(context.chunks))) == [".dockerignore", "app", "build", "build/Dockerfile"]


def test_an_inline_dockerfile_is_hidden_from_copy(tmp_path: Path) -> None:
    (tmp_path / "app").touch()
    data = b"".join(classic_context(str(tmp_path), [], "", b"FROM scratch").chunks)
    assert content(data, INJECTED) == b"FROM scratch"
    assert content(data, ".dockerignore") == f".dockerignore\n{INJECTED}\n".encode()


def test_a_dockerfile_outside_is_injected_and_the_ignore_file_extended(tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / ".dockerignore").write_text("secret")
    (tmp_path / "context" / "secret").touch()
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    context = classic_context(str(tmp_path / "context"), ["secret"], str(tmp_path / "Dockerfile"))
    data = b"".join(context.chunks)
    assert sorted(members(data)) == [INJECTED, ".dockerignore"]
    assert content(data, ".dockerignore") == f"secret\n{INJECTED}\n".encode()


def test_where_the_dockerfile_lies(tmp_path: Path) -> None:
    assert relative_to_context(str(tmp_path), str(tmp_path / "a" / "Dockerfile")) == "a/Dockerfile"
    assert relative_to_context(str(tmp_path), str(tmp_path / "..Dockerfile")) == "..Dockerfile"
    assert relative_to_context(str(tmp_path / "a"), str(tmp_path / "Dockerfile")) == ""
