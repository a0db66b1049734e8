"""Which variables count where."""

from __future__ import annotations

from typing import Any

import pytest

from declarative.engine.build.commands import Pair
from declarative.engine.build.scope import PROXIES, Scope, platform_arguments, unused
from declarative.errors import Invalid, Span
from declarative.oci.platform import Platform
from tests.shared_cases import load_cases

HERE = Span(file="Dockerfile", line=3)


def pairs(**values: str | None) -> tuple[Pair, ...]:
    return tuple(Pair(name=name, value=value) for name, value in values.items())


def test_a_header_arg_sees_those_before_it() -> None:
    scope = Scope().with_header(pairs(A="1"), HERE).with_header(pairs(B="$A-2"), HERE)

    assert scope.in_header("x:$B", HERE) == "x:1-2"


def test_a_build_argument_overrides_the_default_of_a_header_arg() -> None:
    scope = Scope(given={"A": "mine"}).with_header(pairs(A="default"), HERE)

    assert scope.in_header("${A}", HERE) == "mine"


def test_a_header_arg_is_unknown_in_a_stage_until_it_is_declared_there() -> None:
    header = Scope().with_header(pairs(A="1"), HERE)
    stage = header.stage(())

    assert stage.expanded("[$A]", HERE) == "[]"
    assert stage.with_args(pairs(A=None), HERE).expanded("[$A]", HERE) == "[1]"


def test_a_stage_knows_the_args_of_the_one_that_it_is_built_on() -> None:
    below = Scope(header={"B": "header"}).stage(()).with_args(pairs(A="1", B="2"), HERE)
    stage = below.stage(("C=3",))

    assert stage.run_env == ("C=3", "A=1", "B=2")
    assert stage.with_args(pairs(A=None, B=None), HERE).run_args == {"A": "1", "B": "header"}
    assert below.stage(("A=image",)).run_args == {"B": "2"}


def test_an_arg_with_a_default_in_the_stage_overrides_the_header() -> None:
    scope = Scope().with_header(pairs(A="header"), HERE).stage(()).with_args(pairs(A="stage"), HERE)

    assert scope.expanded("$A", HERE) == "stage"


def test_env_overrides_arg() -> None:
    scope = Scope().stage(("A=image",)).with_args(pairs(A="arg"), HERE)

    assert scope.expanded("$A", HERE) == "image"
    assert "A=image" in scope.run_env
    assert scope.run_args == {}


def test_an_arg_declared_again_without_a_default_keeps_its_value() -> None:
    scope = Scope().stage(()).with_args(pairs(A="1"), HERE).with_args(pairs(A=None), HERE)

    assert scope.run_args == {"A": "1"}


def test_an_arg_without_a_value_is_not_in_the_environment_of_run() -> None:
    scope = Scope().stage(("P=q",)).with_args(pairs(A=None, B=""), HERE)

    assert scope.run_env == ("P=q", "B=")


@pytest.mark.parametrize("name", sorted(PROXIES))
def test_run_sees_a_proxy_without_an_arg_and_the_cache_does_not(name: str) -> None:
    scope = Scope(given={name: "http://p"}).stage(())

    assert scope.run_env == (f"{name}=http://p",)
    assert scope.run_args == {}


def test_args_of_a_run_come_in_the_order_of_their_names() -> None:
    scope = Scope().stage(()).with_args(pairs(b="2", a="1"), HERE)

    assert list(scope.run_args) == ["a", "b"]


def test_the_body_of_a_here_document_keeps_its_quotes() -> None:
    scope = Scope().stage(()).with_args(pairs(A="1"), HERE)

    assert scope.body("""'$A' "$A" \\$A""", HERE) == """'1' "1" $A"""


def test_a_bad_word_is_refused_with_its_line() -> None:
    with pytest.raises(Invalid) as caught:
        Scope().expanded("${A", HERE)

    assert caught.value.place == "Dockerfile:3"


def test_platform_arguments_tell_where_and_for_what() -> None:
    found = platform_arguments(Platform.parse("linux/amd64"), Platform.parse("linux/arm/v7"), "web")

    assert (found["BUILDPLATFORM"], found["BUILDARCH"], found["BUILDVARIANT"]) == ("linux/amd64", "amd64", "")
    assert (found["TARGETPLATFORM"], found["TARGETARCH"], found["TARGETVARIANT"]) == ("linux/arm/v7", "arm", "v7")
    assert found["TARGETSTAGE"] == "web"


def test_build_arguments_that_nobody_asks_for_are_told_but_for_proxies() -> None:
    assert unused(["b", "a", "HTTP_PROXY", "SOURCE_DATE_EPOCH"], ["a"]) == ("b",)


@pytest.mark.parametrize(
    "case", load_cases("dockerfile/env-substitution.json")["get_env"], ids=lambda case: str(case["env"])
)
def test_the_last_of_several_variables_of_a_name_counts(case: dict[str, Any]) -> None:
    scope = Scope().stage(tuple(entry for entry in case["env"] if "=" in entry))

    assert scope.expanded("$" + case["name"], HERE) == case["expected"]
