"""A build's context: the client's archive, kept and looked up."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from declarative.engine.build.context import TEXT_MAX, Context
from declarative.engine.build.files import find, read, walk
from declarative.engine.images.layers.entry import Kind
from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PACKERS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    made = Context.in_folder(tmp_path)
    yield made
    made.close()


def tar(*entries: tuple[str, bytes | str | None]) -> bytes:
    """Write an archive: bytes are a file, a text is a symlink's target, None is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.uid = entry.gid = 1000
            if content is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o750
            elif isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
            else:
                entry.size = len(content)
            out.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def content(context: Context, path: str) -> bytes:
    file = find(context, path.encode())
    assert file is not None
    return b"".join(read(context, file))


def names(context: Context) -> list[str]:
    root = context.lookup(b"")
    assert root is not None
    return [file.path.decode() for file in walk(context, root)]


@pytest.mark.parametrize("packer", PACKERS)
def test_an_archive_comes_in_in_any_compression(context: Context, packer: str) -> None:
    pack: Callable[[bytes], bytes] = PACKERS[packer]
    context.take([pack(tar(("a", b"one"), ("d", None), ("d/b", b"two")))])

    assert names(context) == ["a", "d", "d/b"]
    assert (content(context, "a"), content(context, "d/b")) == (b"one", b"two")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(min_value=1, max_value=700))
def test_it_comes_in_in_pieces_of_any_size(tmp_path: Path, size: int) -> None:
    data = tar(("a", b"x" * 1000), ("b", b""), ("c", b"y" * 513))
    made = Context.in_folder(tmp_path)
    try:
        made.take(data[at : at + size] for at in range(0, len(data), size))

        assert content(made, "a") == b"x" * 1000
        assert content(made, "c") == b"y" * 513
    finally:
        made.close()


def test_files_are_roots_whoever_sent_them(context: Context) -> None:
    context.take([tar(("a", b"x"))])
    file = find(context, b"a")

    assert file is not None
    assert (file.uid, file.gid) == (0, 0)


def test_the_last_of_several_entries_counts(context: Context) -> None:
    context.take([tar(("a", b"one"), ("d", None), ("d/x", b""), ("a", b"two"), ("d", b"file"))])

    assert names(context) == ["a", "d"]
    assert content(context, "a") == b"two"
    assert content(context, "d") == b"file"


def test_a_missing_folder_is_made(context: Context) -> None:
    context.take([tar(("a/b/c", b"x"))])
    folder = find(context, b"a/b")

    assert folder is not None
    assert (folder.kind, folder.mode) == (Kind.DIRECTORY, 0o755)


@pytest.mark.parametrize("said", [True, False])
def test_folders_may_lie_as_deep_as_a_path_is_long(context: Context, *, said: bool) -> None:
    deep = "/".join("a" * 1500)
    folders = [(deep[: 2 * depth + 1], None) for depth in range(1500)] if said else []
    context.take([tar((".dockerignore", b"left-out\n!*/left-out/but-not\n"), *folders, (f"{deep}/f", b"F"))])
    context.obey_ignore_file()

    assert names(context)[-1] == f"{deep}/f"
    assert len(names(context)) == 1502


def test_links_are_followed_inside_the_context_alone(context: Context) -> None:
    context.take([tar(("etc", None), ("etc/passwd", b"mine"), ("up", "../../../etc/passwd"), ("abs", "/etc/passwd"))])

    assert content(context, "up") == b"mine"
    assert content(context, "abs") == b"mine"
    linked = find(context, b"up", follow=False)
    assert linked is not None
    assert linked.kind is Kind.SYMLINK


def test_a_loop_of_links_is_refused(context: Context) -> None:
    context.take([tar(("a", "b"), ("b", "a"))])

    with pytest.raises(Invalid, match="too many levels of symbolic links"):
        find(context, b"a")


def test_an_entry_through_a_link_lands_where_the_link_leads(context: Context) -> None:
    context.take([tar(("d", None), ("l", "d"), ("l/f", b"x"))])

    assert names(context) == ["d", "d/f", "l"]


def test_a_hard_link_is_the_same_file(context: Context) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        entry = tarfile.TarInfo("a")
        entry.size = 3
        out.addfile(entry, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("b")
        link.type, link.linkname = tarfile.LNKTYPE, "a"
        out.addfile(link)
        link.name = "c"
        out.addfile(link)
        out.addfile(tarfile.TarInfo("other"))
    context.take([buffer.getvalue()])
    found = {name: context.lookup(name.encode()) for name in ("a", "b", "c", "other")}
    inodes = {name: file.inode for name, file in found.items() if file is not None}

    assert content(context, "b") == content(context, "c") == b"abc"
    assert inodes["a"] == inodes["b"] == inodes["c"] is not None
    assert inodes["other"] is None


def test_holes_are_filled(context: Context, tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.seek(1_000_000)
        file.write(b"end")
    data = subprocess.run(["tar", "-C", tmp_path, "-S", "-cf", "-", "sparse"], check=True, capture_output=True).stdout
    assert len(data) < 100_000
    context.take([data])

    assert content(context, "sparse") == bytes(1_000_000) + b"end"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x"])
def test_a_name_that_leads_out_is_refused(context: Context, name: str) -> None:
    with pytest.raises(Invalid, match="leads out of the context"):
        context.take([tar((name, b"x"))])


def test_an_entry_below_a_file_is_refused(context: Context) -> None:
    with pytest.raises(Invalid, match="lies below a file"):
        context.take([tar(("a", b"x"), ("a/b", b"y"))])


def test_damage_is_refused(context: Context) -> None:
    data = tar(("a", b"x" * 5000))

    with pytest.raises(Invalid, match="ends in the middle"):
        context.take([data[:3000]])


def test_the_padding_of_the_last_file_may_be_missing(context: Context) -> None:
    context.take([tar(("a", b"x"))[: 512 + 1]])

    assert content(context, "a") == b"x"


def test_devices_are_passed_over(context: Context) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        entry = tarfile.TarInfo("null")
        entry.type, entry.devmajor, entry.devminor = tarfile.CHRTYPE, 1, 3
        out.addfile(entry)
    context.take([buffer.getvalue()])

    assert names(context) == []


def test_nothing_of_it_has_a_name_on_the_disk(context: Context, tmp_path: Path) -> None:
    context.take([tar(("a", b"x" * 100_000))])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ("*.log\n", [".dockerignore", "Dockerfile", "d", "d/a.log", "d/b"]),
        ("**/*.log\nDockerfile\n", [".dockerignore", "d", "d/b"]),
        ("d\n!d/b\n", [".dockerignore", "Dockerfile", "d", "d/b", "x.log"]),
        ("*\n", []),
        ("# nothing\n", [".dockerignore", "Dockerfile", "d", "d/a.log", "d/b", "x.log"]),
    ],
)
def test_an_ignore_file_is_obeyed(context: Context, lines: str, left: list[str]) -> None:
    files = (("Dockerfile", b"F"), ("d", None), ("d/a.log", b""), ("d/b", b""), ("x.log", b""))
    context.take([tar((".dockerignore", lines.encode()), *files)])
    context.obey_ignore_file()

    assert names(context) == left


def test_an_ignore_file_that_docker_refuses_is_refused(context: Context) -> None:
    context.take([tar((".dockerignore", b"!\n"))])

    with pytest.raises(Invalid):
        context.obey_ignore_file()


def test_a_dockerfile_of_megabytes_is_none(context: Context) -> None:
    context.take([tar(("Dockerfile", b"#" * (TEXT_MAX + 1)))])

    with pytest.raises(Invalid, match="has more than"):
        context.content(b"Dockerfile")


def test_digests_are_of_the_content(context: Context) -> None:
    context.take([tar(("a", b"same"), ("b", b"same"), ("c", b"other"), ("e", b""))])
    files = {name: find(context, name) for name in (b"a", b"b", b"c", b"e")}
    digests = {name: context.digest(file) for name, file in files.items() if file is not None}

    assert digests[b"a"] == digests[b"b"] != digests[b"c"]
    assert digests[b"e"].hex().startswith("e3b0c442")
