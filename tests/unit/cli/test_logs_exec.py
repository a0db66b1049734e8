"""Which containers are meant, since when, and what the words of `exec` and `logs` say."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from declarative.cli import logs
from declarative.cli.choosing import choose, short_name
from declarative.cli.exec import split
from declarative.core.resources import ContainerSpec, ImageRef
from declarative.core.state import Actual, ContainerState, Owner
from declarative.errors import NotFound, Usage

if TYPE_CHECKING:
    from tests.unit.cli.console import Console


def state(name: str, index: int, *, kind: str = "Container", stack: str = "shop", engine: str = "") -> ContainerState:
    return ContainerState(
        name=engine or f"{stack}-{name}-{index}",
        id=f"{name}{index}",
        image_id="sha256:0",
        spec=ContainerSpec(image=ImageRef(reference="busybox")),
        owner=Owner(stack=stack, kind=kind, name=name, index=index),
    )


STATES = (
    state("web", 2),
    state("web", 1),
    state("db", 1, engine="database"),
    state("migrate", 1, kind="Job"),
    state("web", 1, stack="other"),
)
ACTUAL = Actual(stack="shop", containers={item.name: item for item in STATES})


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        ([], ["database", "shop-migrate-1", "shop-web-1", "shop-web-2"]),
        (["web"], ["shop-web-1", "shop-web-2"]),
        (["web-2"], ["shop-web-2"]),
        (["shop-web-1", "web"], ["shop-web-1", "shop-web-2"]),
        (["database"], ["database"]),
        (["db", "migrate"], ["database", "shop-migrate-1"]),
    ],
)
def test_a_name_means_containers_of_this_stack(names: list[str], meant: list[str]) -> None:
    assert [found.name for found in choose(ACTUAL, names)] == meant


def test_a_name_that_means_nothing_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(NotFound, match="did you mean `web`"):
        choose(ACTUAL, ["wev"])
    with pytest.raises(NotFound):
        choose(ACTUAL, ["other-web-1"])  # a stranger's
    with pytest.raises(NotFound, match="apply the stack first"):
        choose(Actual(stack="shop"), ["web"])


def test_a_short_name_is_name_and_index() -> None:
    assert [short_name(item) for item in STATES[:3]] == ["web-2", "web-1", "db-1"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["web", "--", "ls", "-l"], ("web", ["ls", "-l"])),
        (["web", "ls", "-l"], ("web", ["ls", "-l"])),
        (["--", "web", "ls"], ("web", ["ls"])),
        (["web", "--", "sh", "-c", "a -- b", "--"], ("web", ["sh", "-c", "a -- b", "--"])),
    ],
)
def test_words_are_a_name_and_a_command(words: list[str], meant: tuple[str, list[str]]) -> None:
    assert split(words) == meant


@pytest.mark.parametrize("words", [[], ["--"], ["web"], ["web", "--"], ["web", "-u", "root", "--", "id"]])
def test_words_without_a_name_or_a_command_are_wrong_usage(words: list[str]) -> None:
    with pytest.raises(Usage):
        split(words)


def test_since_is_a_time_or_a_while_ago() -> None:
    assert logs.moment("") == ""
    assert logs.moment("2026-11-23T10:00:00Z") == "2026-11-23T10:00:00+00:00"
    ago = datetime.now(UTC) - datetime.fromisoformat(logs.moment("10m"))
    assert abs(ago - timedelta(minutes=10)) < timedelta(seconds=30)
    for wrong in ("yesterday", "10 parsecs", "-5", "99999999h"):
        with pytest.raises(Usage):
            logs.moment(wrong)


@pytest.mark.parametrize(
    ("files", "names", "meant"),
    [
        ([], ["web"], (False, ["web"], [])),
        ([""], [], (True, [], [])),
        (["web"], ["db"], (True, ["web", "db"], [])),
        (["stack.yaml"], ["web"], (False, ["web"], ["stack.yaml"])),
        (["", "./stacks"], [], (True, [], ["./stacks"])),
        (["-"], [], (False, [], ["-"])),
    ],
)
def test_a_bare_f_follows(files: list[str], names: list[str], meant: tuple[bool, list[str], list[str]]) -> None:
    args = argparse.Namespace(files=files, names=names, follow=False)
    logs.read_bare_file(args)
    assert (args.follow, args.names, args.files) == meant


def test_an_endless_document_is_refused(console: Console) -> None:
    assert console("logs", "--stack", "shop", "--follow", "-o", "json").code == 64
    assert console("exec", "--stack", "shop", "-o", "json", "web", "ls").code == 64
    assert console("logs", "--stack", "shop", "--tail", "many").code == 64
    assert console("exec", "--stack", "shop", "-e", "=x", "web", "ls").code == 64
