"""`rollout undo`: which revision it brings back, whatever the last apply came to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.cli.console import Console, Opened

CONTAINER = """\
---
apiVersion: declarative/v1
kind: Container
metadata: {name: NAME}
spec: {image: busybox, command: COMMAND, depends_on: [NEEDS], update: {monitor: 1ms}}
"""


@pytest.fixture
def apply(console: Console, tmp_path: Path) -> Callable[..., int]:
    """Apply containers, each by its command, one after the other; gives the exit code."""

    def applied(*words: str, **commands: str) -> int:
        documents = (
            CONTAINER.replace("NAME", name).replace("COMMAND", json.dumps(command.split())).replace("NEEDS", needs)
            for (name, command), needs in zip(commands.items(), ("", *commands), strict=False)
        )
        (tmp_path / "stack.yaml").write_text("".join(documents))
        return console("apply", "--stack", "shop", *words).code

    return applied


def commands(opened: Opened) -> dict[str, str]:
    return {name: " ".join(box.spec.command or ()) for name, box in opened.engine.containers.items()}


def test_after_an_apply_that_failed_half_way_the_last_good_one_comes_back(
    console: Console, opened: Opened, apply: Callable[..., int]
) -> None:
    assert apply(web="sleep 9001") == 0
    assert apply(web="sleep 9002") == 0
    assert apply(web="sleep 9003", new="false") == 1
    ran = console("rollout", "undo", "--stack", "shop")

    assert (ran.code, ran.out.splitlines()[0]) == (0, "shop: back to revision 2"), ran.err
    assert commands(opened) == {"shop-web-1": "sleep 9002"}
    assert console("rollout", "undo", "--stack", "shop", "--dry-run").out.startswith("shop: back to revision 2\n")


def test_one_good_apply_is_enough_after_one_that_failed(
    console: Console, opened: Opened, apply: Callable[..., int]
) -> None:
    assert apply(web="sleep 9001") == 0
    refused = console("rollout", "undo", "--stack", "shop")
    assert (refused.code, "one apply, so there is nothing to go back to" in refused.err) == (1, True)
    assert apply(web="sleep 9002", new="false") == 1

    assert console("rollout", "undo", "--stack", "shop").code == 0
    assert commands(opened) == {"shop-web-1": "sleep 9001"}


def test_a_release_that_stopped_later_is_undone(console: Console, opened: Opened, apply: Callable[..., int]) -> None:
    assert apply(web="sleep 9001") == 0
    assert apply(web="sleep 9002") == 0
    opened.engine.stop("shop-web-1")

    assert console("rollout", "undo", "--stack", "shop").code == 0
    assert commands(opened) == {"shop-web-1": "sleep 9001"}


def test_a_number_that_was_shown_stays_after_a_rollout_that_went_back(
    console: Console, opened: Opened, apply: Callable[..., int]
) -> None:
    assert apply(web="sleep 9001") == 0
    assert apply(web="sleep 9002") == 0
    assert apply(web="false") == 1

    assert console("rollout", "undo", "--stack", "shop", "--to", "2").code == 0
    assert commands(opened) == {"shop-web-1": "sleep 9002"}


def test_an_apply_of_a_target_is_undone_without_what_was_never_applied(
    console: Console, opened: Opened, apply: Callable[..., int]
) -> None:
    assert apply(web="sleep 9001", db="sleep 9001") == 0
    assert apply("--target", "Container/web", web="sleep 9002", db="sleep 9002") == 0
    assert "(only Container/web)" in console("history", "--stack", "shop").out
    revisions = console("history", "--stack", "shop", "-o", "json").json("history")["revisions"]
    assert [revision["targets"] for revision in revisions] == [[], ["Container/web"]]

    assert console("rollout", "undo", "--stack", "shop").code == 0
    assert commands(opened) == {"shop-web-1": "sleep 9001", "shop-db-1": "sleep 9001"}
    assert console("rollout", "undo", "--stack", "shop", "--to", "2").code == 0
    assert commands(opened) == {"shop-web-1": "sleep 9002", "shop-db-1": "sleep 9001"}
