"""The content key: what counts, what does not, and what a plan can say about it."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from declarative.errors import Failed
from declarative.manifest.context.content_key import (
    INPUTS,
    MOST_ENTRIES,
    changed,
    content_parts,
)
from declarative.manifest.context.walk import walk

if TYPE_CHECKING:
    from pathlib import Path


def parts(root: Path, *ignored: str, **rest: Any) -> dict[str, str]:
    return content_parts(dockerfile=rest.pop("dockerfile", b"FROM a"), context=walk(str(root), ignored), **rest)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "src").mkdir(parents=True)
    (root / "src" / "main.py").write_text("print(1)")
    (root / "setup.py").write_text("setup()")
    (root / "link").symlink_to("src")
    return root


def test_the_parts_of_a_known_build_stay_what_they_were() -> None:
    """A release that changes this rebuilds everybody's images: never do it without saying so."""
    known = content_parts(
        dockerfile=b"FROM scratch\n", context=[], args={"A": "b"}, target="t", secrets=["s"], platform="linux/amd64"
    )
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    assert digest == "d1bafb17a05ce79ae20577fb06a100e5b6261f16ebccc773ebb0740985b55672"


CHANGES: dict[str, Any] = {
    "content": lambda root: (root / "src" / "main.py").write_text("print(2)"),
    "mode": lambda root: (root / "src" / "main.py").chmod(0o755),
    "folder mode": lambda root: (root / "src").chmod(0o700),
    "name": lambda root: (root / "setup.py").rename(root / "setup.cfg"),
    "link": lambda root: ((root / "link").unlink(), (root / "link").symlink_to("setup.py")),
    "new empty file": lambda root: (root / "src" / "__init__.py").touch(),
    "new empty folder": lambda root: (root / "empty").mkdir(),
    "file became folder": lambda root: ((root / "setup.py").unlink(), (root / "setup.py").mkdir()),
    "content moved between files": lambda root: (root / "setup.py").write_text("print(1)"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_build_can_see_changes_the_context(tree: Path, change: str) -> None:
    before = parts(tree)
    CHANGES[change](tree)
    after = parts(tree)
    assert after["context"] != before["context"]
    assert {name: after[name] for name in after if name in INPUTS and name != "context"} == {
        name: before[name] for name in before if name in INPUTS and name != "context"
    }


def test_times_and_owners_do_not_count(tree: Path) -> None:
    before = parts(tree)
    os.utime(tree / "setup.py", (1, 1))
    os.chown(tree / "setup.py", 1234, 1234)
    (tree / "junk.log").touch()
    assert parts(tree, "*.log") == before


OTHERS: dict[str, dict[str, Any]] = {
    "dockerfile": {"dockerfile": b"FROM b"},
    "args": {"args": {"A": "1"}},
    "target": {"target": "test"},
    "platform": {"platform": "linux/arm64"},
    "secrets": {"secrets": ["token"]},
    "options": {"options": {"network": "none"}},
}


@pytest.mark.parametrize("name", OTHERS)
def test_each_input_has_a_part_of_its_own(tree: Path, name: str) -> None:
    before, after = parts(tree), parts(tree, **OTHERS[name])
    assert changed(before, after) == (name,)


def test_fields_do_not_run_into_one_another(tree: Path) -> None:
    assert parts(tree, args={"A": "bC"})["args"] != parts(tree, args={"Ab": "C"})["args"]
    assert parts(tree, secrets=["a", "bc"])["secrets"] != parts(tree, secrets=["ab", "c"])["secrets"]
    assert parts(tree, args={"A": "b"})["args"] != parts(tree, options={"A": "b"}, args={"A": "c"})["args"]


def test_order_does_not_matter(tree: Path) -> None:
    assert parts(tree, args={"A": "1", "B": "2"}, secrets=["x", "y"]) == parts(
        tree, args={"B": "2", "A": "1"}, secrets=["y", "x", "y"]
    )


def test_a_plan_can_say_which_files(tree: Path) -> None:
    before = parts(tree)
    (tree / "src" / "main.py").write_text("print(2)")
    (tree / "new").touch()
    assert changed(before, parts(tree)) == ("context (new, src)",)
    for number in range(9):
        (tree / f"n{number}").touch()
    assert changed(before, parts(tree)) == ("context (n0, n1, n2, n3, and 7 more)",)
    assert changed(before, before) == ()


def test_a_flat_context_has_no_digests_of_entries(tree: Path) -> None:
    for number in range(MOST_ENTRIES):
        (tree / f"n{number}").touch()
    found = parts(tree)
    assert [name for name in found if name.startswith("context")] == ["context"]
    (tree / "n1").write_text("x")
    assert changed(found, parts(tree)) == ("context",)


def test_a_name_that_is_no_text_is_quoted(tree: Path) -> None:
    (tree / os.fsdecode(b"\xff")).touch()
    assert "context/\\xff" in parts(tree)


def test_a_file_that_goes_away(tree: Path) -> None:
    entries = list(walk(str(tree)))
    (tree / "setup.py").unlink()
    with pytest.raises(Failed, match="went away"):
        content_parts(dockerfile=b"", context=entries)


def test_ten_thousand_files_are_digested(tmp_path: Path) -> None:
    for folder in range(100):
        (tmp_path / str(folder)).mkdir()
        for file in range(100):
            (tmp_path / str(folder) / str(file)).write_bytes(b"x" * 100)
    before = parts(tmp_path, "*.pyc", "**/node_modules")
    (tmp_path / "99" / "99").write_bytes(b"y" * 100)
    assert changed(before, parts(tmp_path, "*.pyc", "**/node_modules"))
