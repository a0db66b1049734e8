"""Saved plans: they do what was shown, or nothing."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from declarative.apply.run import apply
from declarative.apply.saved import check_engine, load, save, still_fits, write_whole
from declarative.core.plan import Policy
from declarative.core.planner.refusal import Refused
from declarative.drivers.memory.life import Program
from declarative.errors import Conflict, Invalid, NotFound
from declarative.manifest.load import LoadOptions
from declarative.record import replace
from tests.unit.apply.world import container

if TYPE_CHECKING:
    from declarative.apply.report import Report
    from tests.unit.apply.world import World


def saved_to(path: Path, world: World, text: str) -> None:
    loaded = world.load(text)
    plan, actual = world.look(text)
    save(path, plan, actual, loaded, Policy(), engine="unix:///one")


def apply_file(path: Path, world: World) -> Report:
    saved = load(path)
    loaded = saved.read_manifests(LoadOptions(working_folder=world.folder))
    options = replace(world.options(), policy=saved.policy, check=lambda plan, actual: still_fits(saved, plan, actual))
    return apply(loaded.desired, world.driver, options)


def test_a_saved_plan_does_what_was_shown(world: World, tmp_path: Path) -> None:
    saved_to(tmp_path / "plan", world, container("web"))

    assert apply_file(tmp_path / "plan", world).done
    assert world.names() == ["shop-web-1"]


def test_it_refuses_when_an_object_it_touches_has_changed_and_names_it(world: World, tmp_path: Path) -> None:
    world.apply(container("web") + container("db"))
    saved_to(tmp_path / "plan", world, container("web", "sleep 9001") + container("db"))
    world.engine.remove("shop-web-1", volumes=False)

    with pytest.raises(Refused, match=r"Container/shop-web-1: has changed since the plan was saved"):
        apply_file(tmp_path / "plan", world)
    assert world.names() == ["shop-db-1"]


def test_it_does_not_mind_that_a_container_got_healthy_but_that_it_got_unhealthy(world: World, tmp_path: Path) -> None:
    more = "healthcheck: {test: [CMD, sh], interval: 1s}"
    world.engine.programs["shop-web-1"] = Program(healthy_after=0.0)
    world.apply(container("web", more=more))
    box = world.engine.box("shop-web-1")
    box.program = Program(healthy_after=3600.0)
    assert world.driver.inspect("shop-web-1").health == "starting"
    saved_to(tmp_path / "plan", world, container("web", "sleep 9001", more=more))
    saved = load(tmp_path / "plan")
    for program, fits in ((Program(healthy_after=0.0), True), (Program(unhealthy_after=0.0), False)):
        box.program = program
        plan, actual = world.look(container("web", "sleep 9001", more=more))
        with nullcontext() if fits else pytest.raises(Refused, match="has changed since"):
            still_fits(saved, plan, actual)


def test_it_does_not_mind_what_it_does_not_touch(world: World, tmp_path: Path) -> None:
    world.apply(container("web"))
    saved_to(tmp_path / "plan", world, container("web", "sleep 9001"))
    world.engine.add_volume("somebody-elses")

    assert apply_file(tmp_path / "plan", world).done


def test_it_names_what_it_left_alone_and_what_would_be_mended_with_it(world: World, tmp_path: Path) -> None:
    world.apply(container("web") + container("db"))
    saved_to(tmp_path / "plan", world, container("web", "sleep 9001") + container("db"))
    world.engine.stop("shop-db-1")

    with pytest.raises(Refused, match=r"Container/shop-db-1: has drifted since the plan was saved.*: stopped"):
        apply_file(tmp_path / "plan", world)


def test_it_refuses_when_what_it_would_do_is_not_what_was_shown(world: World, tmp_path: Path) -> None:
    (tmp_path / "settings").write_text("A=one")
    text = container("web", more="env_file: settings")
    world.apply(text)
    (tmp_path / "settings").write_text("A=two")
    saved_to(tmp_path / "plan", world, text)
    (tmp_path / "settings").write_text("A=three")

    with pytest.raises(Refused, match="has changed since it was saved"):
        apply_file(tmp_path / "plan", world)


def test_it_carries_the_content_of_files_as_it_was_shown(world: World, tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("one")
    saved_to(tmp_path / "plan", world, container("web", more="files: [{target: /motd, file: motd}]"))
    (tmp_path / "motd").write_text("two")

    assert apply_file(tmp_path / "plan", world).done
    assert "one" in json.loads((tmp_path / "plan").read_text())["files"]["001.yaml"]


def test_a_file_fits_its_schema(world: World, tmp_path: Path) -> None:
    saved_to(tmp_path / "plan", world, container("web"))
    schema = json.loads((Path(__file__).parents[3] / "schemas/saved-plan.schema.json").read_text())

    Draft202012Validator(schema).validate(json.loads((tmp_path / "plan").read_text()))


def test_it_is_for_the_engine_that_it_was_made_for(world: World, tmp_path: Path) -> None:
    saved_to(tmp_path / "plan", world, container("web"))

    check_engine(load(tmp_path / "plan"), "unix:///one")
    with pytest.raises(Conflict, match="made for the engine at unix:///one"):
        check_engine(load(tmp_path / "plan"), "unix:///two")


def test_no_secret_is_in_the_file(world: World, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2hunter2")
    saved_to(tmp_path / "plan", world, container("web", more="environment: {P: {secret: {file: password}}}"))

    assert "hunter2" not in (tmp_path / "plan").read_text()
    assert apply_file(tmp_path / "plan", world).done
    assert world.engine.containers["shop-web-1"].spec.environment["P"] == "hunter2hunter2"


@pytest.mark.parametrize("content", ["", "{}", "[]", "kind: Container\n", '{"format": 1}', "\0\xff", "[" * 9999])
def test_what_is_no_plan_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan").write_text(content, encoding="latin-1")

    with pytest.raises(Invalid):
        load(tmp_path / "plan")


@pytest.mark.parametrize("steps", ["x", [5], [{}], [{"changes": 1}], [{"changes": [1]}], None])
def test_a_plan_that_was_edited_is_no_plan_any_more(steps: Any, world: World, tmp_path: Path) -> None:
    saved_to(tmp_path / "plan", world, container("web"))
    document = json.loads((tmp_path / "plan").read_text())
    (tmp_path / "plan").write_text(json.dumps({**document, "plan": {"steps": steps}}))
    with pytest.raises(Invalid, match="is not a saved plan"):
        load(tmp_path / "plan")


def test_a_missing_file_and_another_version_are_named(world: World, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        load(tmp_path / "plan")
    saved_to(tmp_path / "plan", world, container("web"))
    document = json.loads((tmp_path / "plan").read_text())
    (tmp_path / "plan").write_text(json.dumps({**document, "format": "declarative/saved-plan/v2"}))
    with pytest.raises(Invalid, match="another version"):
        load(tmp_path / "plan")


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be written"):
        write_whole(tmp_path / "no" / "plan", "text")
    assert list(tmp_path.iterdir()) == []
