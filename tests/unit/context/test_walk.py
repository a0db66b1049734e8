"""What of a tree is sent as build context: fsutil's cases, and faults."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from declarative.errors import Denied, Failed, Invalid, NotFound
from declarative.manifest.context.dockerignore import ignore_lines, sent
from declarative.manifest.context.follow import follow_links
from declarative.manifest.context.walk import context_root, unreadable, walk
from tests.shared_cases import load_cases

if TYPE_CHECKING:
    from pathlib import Path

CASES: list[dict[str, Any]] = load_cases("dockerignore/context-walk.json")["cases"]


def plant(root: Path, tree: list[dict[str, Any]]) -> None:
    for item in tree:
        path = root / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if item["type"] == "dir":
            path.mkdir(exist_ok=True)
        elif item["type"] == "symlink":
            path.symlink_to(item["target"].removeprefix("C:"))  # the case is written for Windows, too
        else:
            path.write_text(item.get("content", ""))


def paths(root: Path, *exclude: str) -> list[str]:
    return [entry.path for entry in walk(str(root), exclude)]


@pytest.mark.parametrize("case", CASES, ids=[f"{case['test']}-{number}" for number, case in enumerate(CASES)])
def test_the_tree_is_sent_as_docker_sends_it(tmp_path: Path, case: dict[str, Any]) -> None:
    plant(tmp_path, case["tree"])
    include = case["include"] + follow_links(str(tmp_path), case["follow_paths"])
    entries = walk(str(tmp_path), case["exclude"], include)
    found = [(f"symlink:{entry.target}" if entry.target else entry.kind, entry.path) for entry in entries]
    assert found == [(item["type"].replace("C:", ""), item["path"]) for item in case["expected"]]


def test_order_is_depth_first_and_by_bytes(tmp_path: Path) -> None:
    for name in ("foo-bar", "foo/a", "Foo", "é", "z"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert paths(tmp_path) == ["Foo", "foo", "foo/a", "foo-bar", "z", "é"]


def test_names_that_are_no_utf8_survive(tmp_path: Path) -> None:
    name = os.fsdecode(b"bad-\xff-name")
    (tmp_path / name).touch()
    assert paths(tmp_path) == [name]
    assert paths(tmp_path, "bad-*") == []


def test_links_are_not_followed_and_sockets_left_out(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "dead").symlink_to("/nowhere")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock"))
        found = [(entry.path, entry.kind, entry.target) for entry in walk(str(tmp_path))]
    assert found == [("dead", "symlink", "/nowhere"), ("loop", "symlink", "."), ("pipe", "fifo", "")]


def test_a_kept_file_in_an_excluded_folder_brings_its_folders(tmp_path: Path) -> None:
    for name in ("a/b/c/keep", "a/b/drop", "a/x/drop", "d/drop"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert paths(tmp_path, "*", "!a/b/c/keep") == ["a", "a/b", "a/b/c", "a/b/c/keep"]
    assert paths(tmp_path, "**", "!**/keep") == ["a", "a/b", "a/b/c", "a/b/c/keep"]


def test_an_excluded_folder_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "node_modules" / "deep").mkdir(parents=True)
    opened: list[str] = []
    real = os.scandir

    def spy(path: str) -> Any:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", spy)
    assert paths(tmp_path, "node_modules") == []
    assert opened == [str(tmp_path)]


def test_context_that_is_missing_or_no_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"is not there — create it.*\(stack.yaml:3:5\)"):
        context_root(str(tmp_path / "no"), "stack.yaml:3:5")
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match="is not a folder"):
        context_root(str(tmp_path / "file"))
    assert context_root(str(tmp_path)) == str(tmp_path)


def test_system_errors_become_ways_out() -> None:
    assert isinstance(unreadable("a", FileNotFoundError(2, "No such file")), Failed)
    denied = unreadable("a", PermissionError(13, "Permission denied"))
    assert isinstance(denied, Denied)
    assert str(denied) == (
        "build context file 'a': cannot be read: permission denied — mend its permissions, or list it in .dockerignore"
    )


def test_a_folder_that_goes_away_during_the_walk(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").mkdir()
    entries = walk(str(tmp_path))
    assert [next(entries).path, next(entries).path] == ["a", "b"]
    (tmp_path / "b").rmdir()
    with pytest.raises(Failed, match="went away"):
        next(entries)


def test_the_ignore_file_beside_the_dockerfile_wins(tmp_path: Path) -> None:
    assert ignore_lines(str(tmp_path), str(tmp_path / "Dockerfile")) == ()
    (tmp_path / ".dockerignore").write_text("a\n")
    assert ignore_lines(str(tmp_path), str(tmp_path / "Dockerfile")) == ("a",)
    (tmp_path / "Dockerfile.dockerignore").write_text("b\n")
    assert ignore_lines(str(tmp_path), str(tmp_path / "Dockerfile")) == ("b",)
    assert ignore_lines(str(tmp_path)) == ("a",)


def test_an_ignore_file_with_a_bad_line_names_it(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("# fine\nok\n[\n")
    with pytest.raises(Invalid, match=r"\.dockerignore:3\)$"):
        ignore_lines(str(tmp_path))


def test_an_ignore_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").mkdir()
    with pytest.raises(Denied, match="is a directory"):
        ignore_lines(str(tmp_path))


def test_dockerfile_and_ignore_file_are_sent_whatever_the_patterns_say(tmp_path: Path) -> None:
    for name in ("Dockerfile", ".dockerignore", "app"):
        (tmp_path / name).touch()
    assert paths(tmp_path, *sent(["*"], "Dockerfile")) == [".dockerignore", "Dockerfile"]
    assert sent(["app"], "Dockerfile") == ("app",)
    assert sent(["**"], "") == ("**", "!.dockerignore")
