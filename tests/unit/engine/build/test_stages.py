"""A Dockerfile as stages: what is needed, what it takes from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.engine.build import commands as c
from declarative.engine.build.scope import Scope
from declarative.engine.build.stages import (
    Recipe,
    dependencies,
    find_origin,
    needed,
    own_triggers,
    read_recipe,
    triggers,
)
from declarative.errors import Invalid, NotFound, Span
from declarative.oci.dockerfile.lexer import lex

HERE = Span(file="Dockerfile", line=1)


def recipe(text: str, target: str = "", **args: str) -> Recipe:
    return read_recipe(lex(text.encode()), Scope(given=args), target)


def test_a_stage_starts_from_an_image_from_scratch_or_from_a_stage_before_it() -> None:
    found = recipe("FROM busybox AS a\nFROM scratch\nFROM A AS c\n")

    assert [(stage.base, stage.parent) for stage in found.stages] == [("busybox", None), ("scratch", None), ("A", 0)]


def test_a_name_of_a_later_stage_is_an_image() -> None:
    found = recipe("FROM b AS a\nFROM busybox AS b\n")

    assert found.stages[0].parent is None


def test_the_base_is_expanded_with_the_header() -> None:
    found = recipe("ARG V=1\nFROM busybox:$V\n", V="2")

    assert found.stages[0].base == "busybox:2"


def test_instructions_are_numbered_as_the_classic_builder_numbers_them() -> None:
    found = recipe("ARG A\nFROM scratch\nENV a=b\nFROM scratch\nENV c=d\n")

    assert [numbered.number for numbered in found.header] == [1]
    assert [(stage.number, [step.number for step in stage.steps]) for stage in found.stages] == [(2, [3]), (4, [5])]
    assert found.total == 5


def test_what_comes_after_the_target_does_not_count() -> None:
    found = recipe("FROM scratch AS a\nENV a=b\nFROM scratch\nENV c=d\n", "A")

    assert found.total == 2
    assert found.target.name == "a"


def test_a_target_may_be_a_number() -> None:
    assert recipe("FROM scratch\nFROM scratch AS b\n", "0").target.index == 0


def test_an_unknown_target_is_refused_with_a_suggestion() -> None:
    with pytest.raises(NotFound, match="failed to reach build target bulid in Dockerfile — did you mean `build`"):
        recipe("FROM scratch AS build\n", "bulid")


def test_labels_of_the_client_are_steps_of_the_target_in_order() -> None:
    found = read_recipe(lex(b"FROM scratch AS a\nFROM scratch\n"), Scope(), "a", {"b": "$X", "a": ""})

    assert [step.text for step in found.target.steps] == ["LABEL a=", "LABEL b=$X"]
    assert [step.number for step in found.target.steps] == [2, 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RUN x\n", "no build stage in current context"),
        ("ARG A\n", "no build stage in current context"),
        ("ARG A\nFROM $A\n", r"base name \(\$A\) should not be blank"),
        ("FROM scratch AS a\nFROM scratch AS A\n", "a stage name already used"),
    ],
)
def test_a_dockerfile_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        recipe(text)


def test_only_what_the_target_needs_is_needed() -> None:
    found = recipe(
        "FROM scratch AS base\nFROM base AS left\nFROM scratch AS unused\nFROM scratch AS right\n"
        "FROM scratch\nCOPY --from=left / /\nRUN --mount=type=bind,from=right,target=/r x\n"
    )

    assert needed(found) == {0, 1, 3, 4}


def test_triggers_may_need_more() -> None:
    found = recipe("FROM scratch AS a\nFROM parent\n")
    extra = {1: triggers(["COPY --from=a / /"], "\\", "trigger")}

    assert needed(found) == {1}
    assert needed(found, extra) == {0, 1}


def test_a_stage_leaves_its_triggers_to_those_that_start_from_it() -> None:
    found = recipe("FROM scratch AS a\nONBUILD ENV a=b\nONBUILD RUN <<EOF\necho hi\nEOF\n")

    texts = own_triggers(found.stages[0])
    steps = [numbered.step for numbered in triggers(texts, "\\", "trigger")]

    assert texts[0] == "ENV a=b"
    assert isinstance(steps[1], c.Run)
    assert steps[1].command.heredocs[0].content == "echo hi\n"


@pytest.mark.parametrize("text", ["FROM x", "ONBUILD RUN y", "MAINTAINER z", "BOGUS q"])
def test_a_trigger_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        triggers([text], "\\", "trigger")


def test_from_means_a_stage_by_name_or_number_else_an_image() -> None:
    stages = recipe("FROM scratch AS a\nFROM scratch AS b\nFROM scratch AS c\n").stages

    assert find_origin("A", 2, stages, HERE).stage == 0
    assert find_origin("1", 2, stages, HERE).stage == 1
    assert find_origin("c", 2, stages, HERE).image == "c"
    assert find_origin("busybox:1", 2, stages, HERE).image == "busybox:1"


@pytest.mark.parametrize(("text", "words"), [("2", "only 2 stages come before"), ("$A", "variable expansion")])
def test_a_from_that_can_mean_nothing_is_refused(text: str, words: str) -> None:
    stages = recipe("FROM scratch\nFROM scratch\nFROM scratch\n").stages

    with pytest.raises(Invalid, match=words):
        find_origin(text, 2, stages, HERE)


@given(st.lists(st.integers(min_value=0, max_value=8), min_size=1, max_size=9))
def test_a_stage_needs_smaller_numbers_only(links: list[int]) -> None:
    """The law that the solver rests on."""
    text = "".join(f"FROM scratch AS s{at}\nCOPY --from=s{link} / /\n" for at, link in enumerate(links))
    found = recipe(text)

    for index in range(len(links)):
        assert all(other < index for other in dependencies(found, index))
    assert found.target.index in needed(found)
