"""Subordinate ids: the two files as dockerd reads them, and errors that say which line lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from declarative.engine.runtime.sandbox import IdMap, IdMaps
from declarative.engine.subids import default_maps, maps_for, read_maps
from declarative.errors import Invalid

if TYPE_CHECKING:
    from pathlib import Path

_RANGE = (IdMap(inside=0, outside=100_000, size=65536),)


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    for name, first in (("subuid", 100_000), ("subgid", 100_000)):
        (tmp_path / name).write_text(f"dockremap:{first}:65536\ndaemon:{first}:65536\n2:{first}:65536\nroot:1:9\n")
    return tmp_path


def test_ranges_of_a_name_follow_one_another() -> None:
    text = "other:5:5\nme:1000:10\n\n# me:1:1\nme:5000:20\n7:9000:1\n"
    found = read_maps(text, {"me", "7"})
    assert found == (
        IdMap(inside=0, outside=1000, size=10),
        IdMap(inside=10, outside=5000, size=20),
        IdMap(inside=30, outside=9000, size=1),
    )


@pytest.mark.parametrize("line", ["me:1", "me:x:1", "me:1:", "me:-1:5", "me:1:0", "me:4294967295:1", "me:1:2:3", "me"])
def test_what_is_no_range_says_nothing(line: str) -> None:
    assert read_maps(f"{line}\n", {"me"}) == ()


@pytest.mark.parametrize("text", ["default", "dockremap", "daemon", "daemon:daemon", "1:1", "bin", "2", "2:daemon"])
def test_who_is_named(etc: Path, text: str) -> None:
    assert maps_for(text, etc) == IdMaps(uids=_RANGE, gids=_RANGE)


def test_users_need_no_passwd_entry(etc: Path) -> None:
    (etc / "subuid").write_text("nosuchuser:7:3\n4000000:8:4\n")
    (etc / "subgid").write_text("nosuchuser:9:5\n4000000:10:6\n")
    assert maps_for("nosuchuser", etc).gids == (IdMap(inside=0, outside=9, size=5),)
    assert maps_for("4000000", etc).uids == (IdMap(inside=0, outside=8, size=4),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names nobody"),
        (":", "names nobody"),
        ("daemon:", "names nobody"),
        ("root", "root cannot be mapped to itself"),
        ("0", "root cannot be mapped to itself"),
        ("daemon:nosuchgroup", "no group nosuchgroup"),
        ("sys", r"subuid has no line for sys — add one: echo sys:165536:65536 >> .*/subuid"),
    ],
)
def test_what_is_refused(etc: Path, text: str, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        maps_for(text, etc)


def test_the_line_that_lacks_is_told(etc: Path) -> None:
    (etc / "subgid").write_text("")
    with pytest.raises(Invalid, match=r"subgid has no line for dockremap — add one: echo dockremap:165536:65536 >> "):
        default_maps(etc=etc)
    (etc / "subuid").unlink()
    with pytest.raises(Invalid, match="subuid has no line"):
        default_maps(etc=etc)


def test_the_machines_root_is_nobodys_subordinate(etc: Path) -> None:
    (etc / "subuid").write_text("dockremap:0:65536\n")
    with pytest.raises(Invalid, match="id 0, which is the machine's root"):
        default_maps(etc=etc)
