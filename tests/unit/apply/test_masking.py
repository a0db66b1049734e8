"""Secrets that come back from outside are hidden before anybody sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from declarative.apply.events import StepEnded
from declarative.apply.masking import Mask
from declarative.apply.report import report_document
from declarative.core.secret import Secret
from declarative.drivers.memory.life import Program
from declarative.errors import Conflict, Failed
from tests.unit.apply.world import container

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.apply.world import World


def test_every_secret_is_hidden_longest_first() -> None:
    mask = Mask([Secret("pass"), Secret("password1"), Secret("xy"), Secret("first line\nsecond line\n")])

    assert mask.text("a password1 and a pass xy") == "a *** and a *** xy"
    assert mask.text("only the second line") == "only the ***"


@pytest.mark.parametrize(
    "written",
    [
        "p%40s%20s%2Fw%3D%22%24%21%C3%A9",
        "p%40s+s%2Fw%3D%22%24%21%C3%A9",
        "p%40s%20s/w%3D%22%24%21%C3%A9",
        "p%40s%20s%2Fw%3D%22%24!%C3%A9",
        "p%40s%20s%2Fw=%22$%21%C3%A9",
        r"p@s s/w=\"$!é",
        r"p@s s/w=\"$!\u00e9",
    ],
)
def test_a_secret_is_hidden_in_an_address_and_in_json(written: str) -> None:
    mask = Mask([Secret('p@s s/w="$!é'), Secret("plain1")])

    assert mask.text(f"postgres://app:{written}@db refused plain1") == "postgres://app:***@db refused ***"


def test_errors_keep_all_but_the_secret() -> None:
    mask = Mask([Secret("hunter2")])
    error = mask.error(Failed("Job/x", "said hunter2", "mend it", "a.yaml:1", output="hunter2\n"))
    other = Conflict("a", "b")

    assert isinstance(error, Failed)
    assert (error.problem, error.output) == ("said ***", "***\n")
    assert (error.subject, error.remedy, error.place) == ("Job/x", "mend it", "a.yaml:1")
    assert mask.error(other) is other


def test_a_container_that_prints_its_secret_and_dies_does_not_give_it_away(world: World, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2hunter2\n")
    world.engine.programs["shop-web-1"] = Program(exits_after=0.0, exit_code=1, output=("P=hunter2hunter2",))
    report = world.apply(container("web", more="environment: {P: {secret: {file: password}}}"))
    shown = repr(report_document(report)) + "".join(
        repr(event.outcome.error) for event in world.events if isinstance(event, StepEnded)
    )

    assert not report.done
    assert "P=***" in shown
    assert "hunter2" not in shown
