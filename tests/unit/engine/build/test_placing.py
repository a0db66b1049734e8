"""What COPY and ADD take, under which names, and where it goes."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from declarative.engine.build.choosing import Choice, choose
from declarative.engine.build.context import Context
from declarative.engine.build.digests import digest_of
from declarative.engine.build.image_files import ImageFiles
from declarative.engine.build.owners import find_owner, parse_mode
from declarative.engine.build.placing import Delivery, destination, place
from declarative.errors import Invalid, NotFound
from tests.unit.engine.build.test_context import tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from declarative.engine.build.files import Files


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    made = Context.in_folder(tmp_path)
    yield made
    made.close()


def folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def tree(root: Path) -> list[str]:
    """List what is below a folder: folders end in a slash, links tell their target."""
    found = []
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            name += f" -> {path.readlink()}"
        found.append(name + "/" * (path.is_dir() and not path.is_symlink()))
    return found


def copy(files: Files, upper: Path, to: str, *sources: str, lowers: tuple[Path, ...] = (), **how: Any) -> list[str]:
    """Do a COPY and list the layer."""
    choice = Choice(sources=sources, parents=bool(how.pop("parents", False)), exclude=tuple(how.pop("exclude", ())))
    takings = choose(files, choice)
    place(upper, lowers, ((files, taking) for taking in takings), Delivery(destination=destination("/w", to), **how))
    return tree(upper)


def test_a_file_goes_under_the_name_of_the_destination_or_into_the_folder(context: Context, tmp_path: Path) -> None:
    context.take([tar(("a", b"x"))])

    assert copy(context, folder(tmp_path / "1"), "/b", "a") == ["b"]
    assert copy(context, folder(tmp_path / "2"), "/b/", "a") == ["b/", "b/a"]
    assert copy(context, folder(tmp_path / "3"), ".", "a") == ["w/", "w/a"]
    assert copy(context, folder(tmp_path / "4"), "c/d", "a") == ["w/", "w/c/", "w/c/d"]


def test_a_file_goes_into_a_folder_of_a_layer_below(context: Context, tmp_path: Path) -> None:
    context.take([tar(("a", b"x"))])
    lower = folder(tmp_path / "lower")
    folder(lower / "etc").chmod(0o711)

    assert copy(context, upper := folder(tmp_path / "upper"), "/etc", "a", lowers=(lower,)) == ["etc/", "etc/a"]
    assert stat.S_IMODE((upper / "etc").stat().st_mode) == 0o711


def test_the_content_of_a_folder_is_copied_and_merged(context: Context, tmp_path: Path) -> None:
    context.take([tar(("d", None), ("d/x", b"1"), ("d/e", None), ("d/e/y", b"2"), ("d/l", "x"))])
    upper = folder(tmp_path / "u")

    assert copy(context, upper, "/t", "d") == ["t/", "t/e/", "t/e/y", "t/l -> x", "t/x"]
    assert stat.S_IMODE((upper / "t").stat().st_mode) == 0o755  # a folder on the way
    assert stat.S_IMODE((upper / "t/e").stat().st_mode) == 0o750  # a folder of the source


def test_several_sources_and_wildcards(context: Context, tmp_path: Path) -> None:
    context.take([tar(("a.c", b""), ("b.c", b""), ("c.h", b""), ("d", None), ("d/e.c", b""), ("[x]", b""))])

    assert copy(context, folder(tmp_path / "1"), "/t/", "*.c", "c.h") == ["t/", "t/a.c", "t/b.c", "t/c.h"]
    assert copy(context, folder(tmp_path / "2"), "/t/", "*/*.c") == ["t/", "t/e.c"]
    assert copy(context, folder(tmp_path / "3"), "/t/", "?.[ch]") == ["t/", "t/a.c", "t/b.c", "t/c.h"]
    assert copy(context, folder(tmp_path / "4"), "/t/", r"\[x]") == ["t/", "t/[x]"]
    assert copy(context, folder(tmp_path / "5"), "/t/", "none*") == []


@pytest.mark.parametrize("source", ["nope", "d/nope", "a/nope", "/nope"])
def test_a_source_that_is_not_there_is_named(context: Context, tmp_path: Path, source: str) -> None:
    context.take([tar(("a", b""), ("d", None))])

    with pytest.raises(NotFound, match=f"stat {source.lstrip('/')}: file does not exist"):
        copy(context, folder(tmp_path / "u"), "/", source)


def test_a_source_is_followed_and_what_is_in_a_folder_is_not(context: Context, tmp_path: Path) -> None:
    context.take([tar(("real", b"x"), ("link", "real"), ("d", None), ("d/link", "../real"))])

    assert copy(context, folder(tmp_path / "1"), "/", "link") == ["link"]
    assert copy(context, folder(tmp_path / "2"), "/", "d") == ["link -> ../real"]


def test_exclude_is_relative_to_the_source(context: Context, tmp_path: Path) -> None:
    context.take([tar(("d", None), ("d/a.md", b""), ("d/b", b""), ("d/e", None), ("d/e/c.md", b""), ("x.md", b""))])

    assert copy(context, folder(tmp_path / "1"), "/t", "d", exclude=["*.md"]) == ["t/", "t/b", "t/e/", "t/e/c.md"]
    assert copy(context, folder(tmp_path / "2"), "/t", "d", exclude=["**/*.md"]) == ["t/", "t/b", "t/e/"]
    assert copy(context, folder(tmp_path / "3"), "/t/", "*", exclude=["*.md"]) == ["t/", "t/b", "t/e/", "t/e/c.md"]
    assert copy(context, folder(tmp_path / "4"), "/t", "d", exclude=["e", "!e/c.md"]) == [
        "t/", "t/a.md", "t/b", "t/e/", "t/e/c.md",
    ]  # fmt: skip


def test_parents_keep_the_folders_from_the_pivot_on(context: Context, tmp_path: Path) -> None:
    context.take([tar(("x", None), ("x/y", None), ("x/y/a", b""), ("x/y/b", b""), ("x/z", None), ("x/z/c", b""))])

    assert copy(context, folder(tmp_path / "1"), "/t", "x/y/a", parents=True) == ["t/", "t/x/", "t/x/y/", "t/x/y/a"]
    assert copy(context, folder(tmp_path / "2"), "/t", "x/./y/a", parents=True) == ["t/", "t/y/", "t/y/a"]
    assert copy(context, folder(tmp_path / "3"), "/t", "**/c", parents=True) == ["t/", "t/x/", "t/x/z/", "t/x/z/c"]
    assert copy(context, folder(tmp_path / "4"), "/t", "x/*/./?", parents=True) == ["t/", "t/a", "t/b", "t/c"]
    with pytest.raises(NotFound):
        copy(context, folder(tmp_path / "5"), "/t", "x/nope", parents=True)


def test_owner_and_mode_are_for_everything_that_is_made(context: Context, tmp_path: Path) -> None:
    context.take([tar(("d", None), ("d/x", b""), ("d/l", "x"))])
    upper = folder(tmp_path / "u")
    copy(context, upper, "/new/t", "d", owner=(5, 6), mode=0o604)

    for name in ("new", "new/t", "new/t/x", "new/t/l"):
        status = (upper / name).lstat()
        assert (status.st_uid, status.st_gid) == (5, 6), name
        assert name.endswith("l") or stat.S_IMODE(status.st_mode) == 0o604


@pytest.mark.parametrize(
    ("below", "to", "source", "words"),
    [
        ("file", "/t", "d", "cannot copy to non-directory: /t"),
        ("file", "/t/x", "a", "cannot copy to non-directory: /t"),
        ("file", "/t/", "a", "cannot copy to non-directory: /t"),
        ("folder", "/", "t", "cannot replace to directory /t with file"),
    ],
)
def test_a_file_and_a_folder_never_take_each_others_place(
    context: Context, tmp_path: Path, below: str, to: str, source: str, words: str
) -> None:
    context.take([tar(("a", b""), ("t", b""), ("d", None), ("d/x", b""))])
    lower = folder(tmp_path / "lower")
    (lower / "t").write_text("") if below == "file" else (lower / "t").mkdir()

    with pytest.raises(Invalid, match=words):
        copy(context, folder(tmp_path / "u"), to, source, lowers=(lower,))


def test_a_destination_through_links_stays_in_the_image(context: Context, tmp_path: Path) -> None:
    context.take([tar(("a", b"x"))])
    outside = folder(tmp_path / "outside")
    lower = folder(tmp_path / "lower")
    (lower / "out").symlink_to(f"../../../../../../..{outside}")
    (lower / "abs").symlink_to(outside)
    (lower / "file").symlink_to("/real/target")

    for number, to in enumerate(("/out/", "/abs/", "/out/../abs/x", "/file")):
        copy(context, folder(tmp_path / f"u{number}"), to, "a", lowers=(lower,))

    assert list(outside.iterdir()) == []
    assert tree(tmp_path / "u3") == ["real/", "real/target"]


def test_an_archive_is_unpacked_where_it_is_asked_for(context: Context, tmp_path: Path) -> None:
    inner = tar(("f", b"in"), ("g", None))
    context.take([tar(("a.tar", inner), ("not.tar", b"x" * 600), ("d", None), ("d/b.tar", inner))])

    assert copy(context, folder(tmp_path / "1"), "/t", "a.tar", unpack=True) == ["t/", "t/f", "t/g/"]
    assert copy(context, folder(tmp_path / "2"), "/t", "a.tar") == ["t"]
    assert copy(context, folder(tmp_path / "3"), "/t", "not.tar", unpack=True) == ["t"]
    assert copy(context, folder(tmp_path / "4"), "/t", "d", unpack=True) == ["t/", "t/b.tar"]
    assert copy(context, folder(tmp_path / "5"), "/t/", "*.tar", unpack=True) == ["t/", "t/f", "t/g/", "t/not.tar"]


def test_links_in_an_archive_lead_nowhere_but_into_its_folder(context: Context, tmp_path: Path) -> None:
    outside = folder(tmp_path / "outside")
    inner = tar(("up", ".."), ("up/etc/f", b"1"), ("abs", str(outside)), ("abs/g", b"2"))
    context.take([tar(("a.tar", inner))])
    found = copy(context, folder(tmp_path / "u"), "/t", "a.tar", unpack=True)

    assert "t/etc/f" in found
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "a/../../x"])
def test_an_archive_that_leads_out_is_refused(context: Context, tmp_path: Path, name: str) -> None:
    context.take([tar(("a.tar", tar((name, b"x"))))])

    with pytest.raises(Invalid, match="leads out of it"):
        copy(context, folder(tmp_path / "u"), "/t", "a.tar", unpack=True)


def test_a_name_like_a_whiteout_is_an_ordinary_one_in_an_archive(context: Context, tmp_path: Path) -> None:
    lower = folder(tmp_path / "lower")
    (lower / "x").write_text("")
    context.take([tar(("a.tar", tar((".wh.x", b""))))])

    assert copy(context, folder(tmp_path / "u"), "/", "a.tar", unpack=True, lowers=(lower,)) == [".wh.x"]


def layers(tmp_path: Path) -> tuple[Path, Path]:
    """Make two layers: the upper one hides, replaces and adds."""
    low, up = folder(tmp_path / "low"), folder(tmp_path / "up")
    for name in ("d/a", "d/gone", "o/hidden", "etc/passwd", "etc/group"):
        (low / name).parent.mkdir(exist_ok=True)
        (low / name).write_text(f"low {name}")
    (low / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:33:44::/:/bin/sh\n")
    (low / "etc/group").write_text("root:x:0:\nweb:x:34:\nfiles:x:99:\n")
    folder(up / "d")
    (up / "d/b").write_text("up b")
    os.link(up / "d/b", up / "d/c")
    os.mknod(up / "d/gone", stat.S_IFCHR, 0)
    folder(up / "o")
    os.setxattr(up / "o", "trusted.overlay.opaque", b"y")
    (up / "o/new").write_text("new")
    return up, low


def test_a_file_of_several_names_stays_one_where_they_are_copied_together(context: Context, tmp_path: Path) -> None:
    source = folder(tmp_path / "source/d").parent
    (source / "d/a").write_bytes(b"x" * 4096)
    for name in ("d/b", "c"):
        os.link(source / "d/a", source / name)
    context.take([subprocess.run(["tar", "-C", source, "-c", "."], check=True, capture_output=True).stdout])
    upper = folder(tmp_path / "upper")
    copy(context, upper, "/t/", "c", "d/")
    copy(context, upper, "/alone", "c")

    assert (upper / "t/a").samefile(upper / "t/b")
    assert (upper / "t/a").samefile(upper / "t/c")
    assert not (upper / "t/a").samefile(upper / "alone")


def test_a_name_of_a_file_is_never_one_of_what_took_its_place(tmp_path: Path) -> None:
    low, upper = folder(tmp_path / "low"), folder(tmp_path / "upper")
    for name in ("a", "b"):
        folder(low / name)
        (low / name / "f").write_text(name)
    os.link(low / "a/f", low / "b/g")
    os.link(low / "a/f", low / "b/h")
    with ImageFiles((low,)) as files:
        copy(files, upper, "/t/", "a/", "b/")

    assert {path.name: path.read_text() for path in (upper / "t").iterdir()} == {"f": "b", "g": "a", "h": "a"}
    assert (upper / "t/g").samefile(upper / "t/h")


def test_files_of_an_image_are_seen_merged(tmp_path: Path) -> None:
    with ImageFiles(layers(tmp_path)) as files:
        assert copy(files, folder(tmp_path / "1"), "/t", "d") == ["t/", "t/a", "t/b", "t/c"]
        assert copy(files, folder(tmp_path / "2"), "/t", "o") == ["t/", "t/new"]
        with pytest.raises(NotFound):
            copy(files, folder(tmp_path / "3"), "/t", "d/gone")


def test_files_of_several_names_stay_one(tmp_path: Path) -> None:
    with ImageFiles(layers(tmp_path)) as files:
        copy(files, folder(tmp_path / "u"), "/t", "d")

    assert (tmp_path / "u/t/b").stat().st_ino == (tmp_path / "u/t/c").stat().st_ino


def test_an_image_without_layers_has_no_files(tmp_path: Path) -> None:
    with ImageFiles(()) as files:
        assert copy(files, folder(tmp_path / "u"), "/t/", "*") == []


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("1:2", (1, 2)),
        ("7", (7, 7)),
        ("web", (33, 44)),
        ("web:files", (33, 99)),
        ("web:5", (33, 5)),
        ("0:files", (0, 99)),
        ("root", (0, 0)),
    ],
)
def test_an_owner_is_looked_up_in_the_image(tmp_path: Path, text: str, owner: tuple[int, int]) -> None:
    numbers = iter(range(100))

    assert find_owner(text, layers(tmp_path), lambda: folder(tmp_path / f"n{next(numbers)}")) == owner


@pytest.mark.parametrize("text", ["nobody", "web:nogroup", "nobody:0"])
def test_an_unknown_owner_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Invalid, match="unable to find"):
        find_owner(text, layers(tmp_path), lambda: folder(tmp_path / "n"))


@pytest.mark.parametrize("text", ["64a", "10000", "", "-1", "u+x", "0o7"])
def test_a_mode_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="invalid chmod parameter"):
        parse_mode(text)


def test_the_digest_is_of_names_modes_owners_and_contents_not_of_times(tmp_path: Path) -> None:
    def digest(data: bytes) -> str:
        made = Context.in_folder(tmp_path)
        try:
            made.take([data])
            return digest_of((made, taking) for taking in choose(made, Choice(sources=("d",))))
        finally:
            made.close()

    same = digest(tar(("d", None), ("d/a", b"x")))
    later = io.BytesIO()
    with tarfile.open(fileobj=later, mode="w") as out:
        for name, kind in (("d", tarfile.DIRTYPE), ("d/a", tarfile.REGTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mtime, entry.mode = kind, 99, 0o750 if name == "d" else 0o644
            entry.size = 1 if name == "d/a" else 0
            out.addfile(entry, io.BytesIO(b"x") if name == "d/a" else None)

    assert digest(later.getvalue()) == same
    assert digest(tar(("d", None), ("d/a", b"y"))) != same
    assert digest(tar(("d", None), ("d/b", b"x"))) != same
    assert digest(tar(("d", None), ("d/a", b"x"), ("d/c", None))) != same
