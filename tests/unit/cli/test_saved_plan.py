"""`apply PLAN`: what it heeds beside the plan, and that --dry-run is a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.console import Console, Opened

WEB = """\
apiVersion: declarative/v1
kind: Container
metadata: {name: web}
spec:
  image: busybox
  command: [sleep, "9000"]
  update: {monitor: 1ms}
"""


@pytest.fixture
def saved(console: Console, opened: Opened, tmp_path: Path) -> Opened:
    """Save the plan that makes the container, as `saved`."""
    (tmp_path / "stack.yaml").write_text(WEB)
    assert console("plan", "--stack", "shop", "--out", "saved").code == 0
    return opened


def test_a_dry_run_of_a_saved_plan_shows_it_and_changes_nothing(console: Console, saved: Opened) -> None:
    ran = console("apply", "saved", "--dry-run", "--exit-code")

    assert ran.code == 2, ran.err
    assert "create Container/shop-web-1" in ran.out
    assert saved.read_only[-1]
    assert not saved.engine.containers
    assert not [name for name in saved.engine.references if "history" in name]
    assert console("apply", "saved").code == 0
    assert not saved.read_only[-1]
    assert list(saved.engine.containers) == ["shop-web-1"]


def test_a_dry_run_refuses_a_saved_plan_that_does_not_fit_any_more(console: Console, saved: Opened) -> None:
    assert console("apply", "saved").code == 0

    ran = console("apply", "saved", "--dry-run")
    assert ran.code == 1
    assert "Container/shop-web-1: has changed since the plan was saved" in ran.err
    assert saved.read_only[-1]


@pytest.mark.parametrize(
    "words",
    [("-f", "stack.yaml"), ("--values", "values.yaml"), ("--set", "a=1"), ("--target", "Container/web"), ("--stack", "shop"),
     ("--allow-deletes", "0"), ("--delete-volumes",), ("--allow-retag",), ("--adopt", "Container/web"), ("--no-prune",)],
)  # fmt: skip
def test_what_only_planning_heeds_is_refused_beside_a_saved_plan(
    console: Console, saved: Opened, words: tuple[str, ...]
) -> None:
    ran = console("apply", "saved", *words)

    assert ran.code == 64
    assert f"without {words[0].replace('-f', '--file')}" in ran.err
    assert not saved.engine.containers
