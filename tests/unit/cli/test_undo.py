"""`rollout undo`: which revision it brings back, whatever the last apply came to."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from declarative.drivers.memory import MemoryDriver
from declarative.errors import Unavailable
from tests.unit.cli.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.cli.console import Opened

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
    assert console("rollout", "undo", "--stack", "shop", "--dry-run").out.startswith("shop: back to revision 1\n")


def test_an_apply_that_failed_after_it_had_only_removed_is_half_way_too(
    console: Console, opened: Opened, apply: Callable[..., int]
) -> None:
    assert apply(web="sleep 9001") == 0
    assert apply(web="sleep 9002", old="sleep 9002") == 0
    assert apply(web="false") == 1
    assert commands(opened) == {"shop-web-1": "sleep 9002"}
    opened.engine.remove("shop-web-1", volumes=True)  # by hand: that alone would not count
    ran = console("rollout", "undo", "--stack", "shop")

    assert (ran.code, ran.out.splitlines()[0]) == (0, "shop: back to revision 2"), ran.err
    assert commands(opened) == {"shop-web-1": "sleep 9002", "shop-old-1": "sleep 9002"}


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


def test_a_release_that_was_mended_since_is_undone(console: Console, opened: Opened, apply: Callable[..., int]) -> None:
    assert apply(web="sleep 9001") == 0
    assert apply(web="sleep 9002") == 0
    opened.engine.stop("shop-web-1")
    assert apply(web="sleep 9002") == 0

    assert console("rollout", "undo", "--stack", "shop").code == 0
    assert commands(opened) == {"shop-web-1": "sleep 9001"}
    assert console("rollout", "undo", "--stack", "shop").code == 0
    assert commands(opened) == {"shop-web-1": "sleep 9002"}


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


def test_half_an_apply_is_what_was_changed_in_it_whoever_came_before(
    console: Console, opened: Opened, apply: Callable[..., int]
) -> None:
    assert apply(db="sleep 9001", web="sleep 9001") == 0
    assert apply(db="sleep 9002", web="sleep 9002") == 0
    assert apply(db="sleep 9003", web="false") == 1
    assert commands(opened) == {"shop-db-1": "sleep 9003", "shop-web-1": "sleep 9002"}

    assert console("rollout", "undo", "--stack", "shop").out.startswith("shop: back to revision 2\n")
    assert commands(opened) == {"shop-db-1": "sleep 9002", "shop-web-1": "sleep 9002"}


def test_half_an_apply_that_changed_something_in_place_is_undone(
    console: Console, opened: Opened, tmp_path: Path
) -> None:
    def apply(restart: str, command: str) -> int:
        db = CONTAINER.replace("NAME", "db").replace("COMMAND", "[sleep, '1']").replace("NEEDS", "")
        web = CONTAINER.replace("NAME", "web").replace("COMMAND", command).replace("NEEDS", "db")
        (tmp_path / "stack.yaml").write_text(db.replace("busybox,", f"busybox, restart: {restart},") + web)
        return console("apply", "--stack", "shop").code

    assert apply("always", "[sleep, '9001']") == 0
    assert apply("always", "[sleep, '9002']") == 0
    assert apply("unless-stopped", "['false']") == 1
    assert opened.engine.containers["shop-db-1"].spec.restart == "unless-stopped"

    assert console("rollout", "undo", "--stack", "shop").out.startswith("shop: back to revision 2\n")
    assert opened.engine.containers["shop-db-1"].spec.restart == "always"


def test_what_was_removed_by_hand_does_not_keep_a_bad_release(
    console: Console, opened: Opened, apply: Callable[..., int]
) -> None:
    assert apply(web="sleep 9001", db="sleep 9001") == 0
    assert apply(web="sleep 9002", db="sleep 9001") == 0
    opened.engine.remove("shop-db-1", volumes=True)

    assert console("rollout", "undo", "--stack", "shop").out.startswith("shop: back to revision 1\n")
    assert commands(opened) == {"shop-web-1": "sleep 9001", "shop-db-1": "sleep 9001"}


def test_what_the_last_apply_removed_comes_back_alone(
    console: Console, opened: Opened, apply: Callable[..., int]
) -> None:
    assert apply(db="sleep 9001", web="sleep 9001") == 0
    assert apply(db="sleep 9002") == 0
    ran = console("rollout", "undo", "--stack", "shop", "--target", "Container/web")

    assert (ran.code, ran.out.splitlines()[0]) == (0, "shop: back to revision 1"), ran.err
    assert commands(opened)["shop-web-1"] == "sleep 9001"


def test_a_last_revision_whose_secret_is_not_here_is_left(
    console: Console, opened: Opened, apply: Callable[..., int], tmp_path: Path
) -> None:
    assert apply(web="sleep 9001") == 0
    secret = "environment: {P: {secret: {env: TOKEN}}}, command"
    (tmp_path / "stack.yaml").write_text((tmp_path / "stack.yaml").read_text().replace("command", secret))
    assert console("apply", "--stack", "shop").code == 0
    elsewhere = Console(folder=tmp_path, environ={"HOME": str(tmp_path)})
    ran = elsewhere("rollout", "undo", "--stack", "shop")

    assert (ran.code, ran.out.splitlines()[0]) == (0, "shop: back to revision 1"), ran.err
    assert not opened.engine.containers["shop-web-1"].spec.environment


def test_a_revision_that_was_built_of_a_folder_that_is_gone_comes_back(
    console: Console, opened: Opened, apply: Callable[..., int], tmp_path: Path
) -> None:
    assert apply(web="sleep 9001") == 0
    source = tmp_path / "source"
    source.mkdir()
    (source / "Dockerfile").write_text("FROM busybox\n")
    image = "apiVersion: declarative/v1\nkind: Image\nmetadata: {name: app}\nspec: {build: {context: source}}\n"
    (tmp_path / "stack.yaml").write_text((tmp_path / "stack.yaml").read_text() + "---\n" + image)
    assert console("apply", "--stack", "shop").code == 0
    shutil.move(source, tmp_path / "moved")
    text = (tmp_path / "stack.yaml").read_text()
    (tmp_path / "stack.yaml").write_text(text.replace("source}", "moved}").replace("9001", "9002"))
    assert console("apply", "--stack", "shop").code == 0
    ran = console("rollout", "undo", "--stack", "shop")

    assert (ran.code, ran.out.splitlines()[0]) == (0, "shop: back to revision 2"), ran.err
    assert commands(opened) == {"shop-web-1": "sleep 9001"}
    assert "shop/app:latest" in opened.engine.references


@pytest.mark.usefixtures("opened")
def test_an_engine_that_does_not_answer_is_no_revision_that_cannot_be_read(
    console: Console, apply: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise Unavailable("the engine", "does not answer")

    assert apply(web="sleep 9001") == 0
    assert apply(web="sleep 9002") == 0
    monkeypatch.setattr(MemoryDriver, "snapshot", silent)
    ran = console("rollout", "undo", "--stack", "shop")

    assert (ran.code, ran.out) == (1, "")
    assert "does not answer" in ran.err
