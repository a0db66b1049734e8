"""Asking before everything is removed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from declarative.cli.context import Context
from declarative.cli.destroy import _ask
from declarative.cli.screen import Screen
from declarative.core.plan import Plan, Step
from declarative.errors import Interrupted, Usage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.console import Console, Opened

PLAN = Plan(
    stack="shop",
    steps=(Step(id=1, verb="remove", kind="Container", name="shop-web-1", cause="no longer in the manifests"),),
)


def person(folder: Path, answer: str, *, interactive: bool = True) -> Context:
    stdin = io.BytesIO(answer.encode())
    out, err = Screen(stream=io.StringIO()), Screen(stream=io.StringIO())
    return Context(environ={}, folder=folder, stdin=stdin, out=out, err=err, interactive=interactive)


def test_the_stacks_name_is_the_only_yes(tmp_path: Path) -> None:
    context = person(tmp_path, "shop\n")
    _ask(PLAN, context)

    assert "shop-web-1" in context.err.stream.getvalue()  # type: ignore[attr-defined]
    assert context.out.stream.getvalue() == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize("answer", ["", "\n", "yes\n", "y\n", "shop2\n", "\xff\n"])
def test_anything_else_is_a_no(tmp_path: Path, answer: str) -> None:
    with pytest.raises(Interrupted, match="nothing was removed"):
        _ask(PLAN, person(tmp_path, answer))


def test_where_nobody_can_answer_it_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="--yes"):
        _ask(PLAN, person(tmp_path, "shop\n", interactive=False))


def test_nothing_to_remove_is_nothing_to_ask(tmp_path: Path) -> None:
    context = person(tmp_path, "")
    _ask(Plan(stack="shop"), context)

    assert context.err.stream.getvalue() == ""  # type: ignore[attr-defined]


def test_what_the_manifests_call_external_stays(console: Console, opened: Opened, tmp_path: Path) -> None:
    stack = tmp_path / "stack.yaml"
    head = "---\napiVersion: declarative/v1\n"
    spec = "{image: busybox, command: [sleep, '9'], networks: [net], volumes: ['data:/d']}"
    web = f"{head}kind: Container\nmetadata: {{name: web}}\nspec: {spec}\n"
    ours = f"{head}kind: Network\nmetadata: {{name: net}}\n{head}kind: Volume\nmetadata: {{name: data}}\n"
    stack.write_text(ours + web)
    assert console("apply", "--stack", "shop").code == 0
    theirs = ours.replace("name: net}\n", "name: net}\nspec: {external: true, name: shop_net}\n")
    theirs = theirs.replace("name: data}\n", "name: data}\nspec: {external: true, name: shop_data}\n")
    gone = f"{head}kind: Volume\nmetadata: {{name: gone}}\nspec: {{external: true, name: not-there}}\n"
    stack.write_text(theirs + gone + web)
    ran = console("destroy", "-f", "stack.yaml", "--stack", "shop", "--yes", "--delete-volumes")

    assert (ran.code, ran.err) == (0, "")
    assert opened.engine.containers == {}
    assert "shop_net" in opened.engine.networks
    assert list(opened.engine.volumes) == ["shop_data"]
