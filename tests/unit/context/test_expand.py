"""Expansion of variables against BuildKit's own cases."""

from __future__ import annotations

from typing import Any

import pytest

from declarative.errors import Invalid
from declarative.oci.dockerfile.expand import Style, _BadWord, expand, pattern_to_regex
from tests.shared_cases import load_cases

CASES: dict[str, Any] = load_cases("dockerfile/env-substitution.json")
ENV = {"PWD": "/home", "SHELL": "bash", "KOREAN": "한국어", "NULL": ""}


def check(case: dict[str, Any], env: dict[str, str]) -> None:
    if case.get("error"):
        with pytest.raises(Invalid) as caught:
            expand(case["word"], env)
        assert case.get("error_contains", "") in str(caught.value)
        return
    found = expand(case["word"], env)
    assert found.text == case["expected"], case
    if "matched" in case:
        assert (sorted(found.matched), sorted(found.unmatched)) == (case["matched"], case["unmatched"]), case


def test_words_of_the_shell() -> None:
    for case in CASES["env_var"]:
        check(case, ENV)


@pytest.mark.parametrize("group", ["process_with_matches", "mandatory", "platform"])
def test_variable_forms(group: str) -> None:
    for case in CASES[group]:
        check(case, case["env"])


def test_words_are_split_after_expansion() -> None:
    for case in CASES["words"]:
        env = {name: value for name, _, value in (line.partition("=") for line in case["env"])}
        if case.get("error"):
            with pytest.raises(Invalid):
                expand(case["input"], env)
        else:
            assert list(expand(case["input"], env).words) == case["words"], case


def test_shell_patterns() -> None:
    import re

    for pattern in CASES["shell_pattern_invalid"]:
        with pytest.raises(_BadWord):
            pattern_to_regex(pattern)
    for case in CASES["shell_pattern_to_regex"]:
        assert re.compile(pattern_to_regex(case["pattern"])).pattern.replace("\\", "") == case["regex"][1:].replace(
            "\\", ""
        )


def test_a_bad_pattern_is_an_error_of_the_word() -> None:
    with pytest.raises(Invalid, match="invalid escape"):
        expand("${PWD#\\x}", ENV)


def test_braces_without_end() -> None:
    with pytest.raises(Invalid, match="nested too deep"):
        expand("${a:-" * 13000, ENV)


def test_the_backtick_as_escape() -> None:
    style = Style(escape="`")
    assert expand("c:\\dir`$x", {}, style).text == "c:\\dir$x"


def test_unset_variables_can_be_kept() -> None:
    style = Style(keep_unset=True)
    for word in ("$a", "${a}", "${a:-b}", "${a/b/c}", "${a//b/c}", "${a#b}"):
        assert expand(word, {}, style).text == word


def test_here_documents_keep_their_quotes() -> None:
    assert expand("'$PWD' \"$PWD\"", ENV, Style(quotes=False)).text == "'/home' \"/home\""
