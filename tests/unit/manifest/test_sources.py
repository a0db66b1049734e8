"""Files, folders and standard input: what is read, in which order, and what is refused."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from declarative.manifest.sources import LARGEST, STANDARD_INPUT, Source, read_sources

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.errors import Problem


def read(folder: Path, *arguments: str, stdin: bytes = b"") -> tuple[tuple[Source, ...], tuple[Problem, ...]]:
    return read_sources(arguments, stdin=io.BytesIO(stdin), working_folder=folder)


def names(folder: Path, *arguments: str) -> list[str]:
    sources, problems = read(folder, *arguments)
    assert not problems
    return [source.name for source in sources]


def test_a_file_is_read_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "stack.yaml").write_text("kind: Stack\n")
    sources, problems = read(tmp_path, "in/stack.yaml")
    assert sources == (Source(name="in/stack.yaml", text="kind: Stack\n", folder=tmp_path / "in"),)
    assert not problems


def test_a_folder_gives_its_manifests_sorted_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "c.yaml.j2", "c.j2", "notes.txt", "d.json", "sub/e.yaml", "z.yaml/f"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_text("")
    assert names(tmp_path, "m") == ["m/a.yaml", "m/b.yml", "m/c.yaml.j2"]


def test_the_order_is_that_of_the_arguments_and_a_file_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("")
    (tmp_path / "b.yaml").write_text("")
    assert names(tmp_path, "b.yaml", ".", "./a.yaml") == ["b.yaml", "a.yaml"]


def test_a_j2_file_is_a_template(tmp_path: Path) -> None:
    for name in ("a.yaml.j2", "b.yaml"):
        (tmp_path / name).write_text("")
    sources, _ = read(tmp_path, ".")
    assert [source.is_template for source in sources] == [True, False]


def test_standard_input_is_read_once_and_counts_from_the_working_folder(tmp_path: Path) -> None:
    sources, problems = read(tmp_path, "-", "-", stdin=b"kind: Image\n")
    assert sources == (Source(name=STANDARD_INPUT, text="kind: Image\n", folder=tmp_path),)
    assert not problems


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfkind: Image\n")
    assert read(tmp_path, "a.yaml")[0][0].text == "kind: Image\n"


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"kind: Image\n")
    os.close(writer)
    try:
        assert read(tmp_path, f"/dev/fd/{reader}")[0][0].text == "kind: Image\n"
    finally:
        os.close(reader)


BAD = {
    "binary.yaml": (b"\x7fELF\x00\x01", "the file is binary, not a manifest"),
    "latin.yaml": (b"a: 1\nb: caf\xe9\n", "the byte 0xe9 is not UTF-8"),
    "wide.yaml": ("kind: Image\n".encode("utf-16"), "the file is in UTF-16, not UTF-8"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_text_is_refused(tmp_path: Path, name: str) -> None:
    data, text = BAD[name]
    (tmp_path / name).write_bytes(data)
    sources, problems = read(tmp_path, name)
    assert not sources
    assert [problem.text for problem in problems] == [text]
    assert problems[0].subject == name
    assert problems[0].remedy


def test_a_wrong_byte_has_its_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("a: 1\nüber: ".encode() + b"\xff\n")
    _, problems = read(tmp_path, "a.yaml")
    assert str(problems[0].span) == "a.yaml:2:7"


def test_a_file_of_50_megabytes_is_refused_and_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as stream:
        stream.truncate(50 * 1024 * 1024)
    _, problems = read(tmp_path, "big.yaml")
    assert [problem.text for problem in problems] == ["the file is larger than 8 MiB, too large for a manifest"]


def test_endless_standard_input_is_refused(tmp_path: Path) -> None:
    class Endless(io.BytesIO):
        asked = 0

        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert size > 0, "reading without a limit would never end"
            self.asked += size
            return b"#" * size

    stdin = Endless()
    _, problems = read_sources(["-"], stdin=stdin, working_folder=tmp_path)
    assert problems[0].subject == STANDARD_INPUT
    assert stdin.asked == LARGEST + 1


def test_every_argument_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "good.yaml").write_text("a: 1\n")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    sources, problems = read(tmp_path, "missing.yaml", "empty", "loop.yaml", "nul\0.yaml", "good.yaml")
    assert [source.name for source in sources] == ["good.yaml"]
    assert [str(problem) for problem in problems][:2] == [
        "missing.yaml: there is no such file or folder — check the path given with -f",
        (
            "empty: the folder holds no manifest — manifests are called *.yaml, *.yml or *.yaml.j2; "
            "subfolders are not searched: name each with its own -f"
        ),
    ]
    assert "symbolic links" in problems[2].text
    assert "cannot be read" in problems[3].text


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    _, problems = read(tmp_path, "/proc/self/mem")  # opens, and fails on reading, even for root
    assert problems[0].text == "cannot be read: input/output error"
