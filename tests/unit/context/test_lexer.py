"""Lexing of Dockerfiles against BuildKit's own cases."""

from __future__ import annotations

from typing import Any

import pytest

from declarative.errors import Invalid
from declarative.oci.dockerfile.forms import json_array, words
from declarative.oci.dockerfile.heredoc import Heredoc, heredocs_in, parse_heredoc
from declarative.oci.dockerfile.lexer import Instruction, lex
from tests.shared_cases import load_cases

PARSER: dict[str, Any] = load_cases("dockerfile/parser.json")
HEREDOC: dict[str, Any] = load_cases("dockerfile/heredoc.json")


def shown(instruction: Instruction) -> dict[str, Any]:
    """Show an instruction as the case files do."""
    found: dict[str, Any] = {
        "instruction": instruction.name,
        "args": list(instruction.args) or None,
        "lines": [instruction.line, instruction.end_line],
        "original": instruction.original,
    }
    if instruction.flags:
        found["flags"] = list(instruction.flags)
    if instruction.json_form:
        found["json_form"] = True
    if instruction.trigger:
        found["args"] = [{"children": [shown(instruction.trigger) | {"lines": [0, 0]}]}]
    return found


def doc(heredoc: Heredoc) -> dict[str, Any]:
    return {
        "name": heredoc.name,
        "content": heredoc.content,
        "chomp": heredoc.chomp,
        "expand": heredoc.expand,
        "fd": heredoc.descriptor,
    }


@pytest.mark.parametrize("case", PARSER["parse"], ids=[case["name"] for case in PARSER["parse"]])
def test_parse(case: dict[str, Any]) -> None:
    assert [shown(found) for found in lex(case["dockerfile"].encode()).instructions] == case["ast"]


@pytest.mark.parametrize("case", PARSER["negative"], ids=[case["name"] for case in PARSER["negative"]])
def test_refused(case: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        lex(case["dockerfile"].encode())
    assert case["error"].replace("file with", "has") in str(caught.value)


def test_line_numbers() -> None:
    for case in PARSER["line_numbers"]:
        found = lex(case["dockerfile"].encode()).instructions
        assert [[each.line, each.end_line] for each in found] == case["children_lines"]


def test_words_keep_their_quotes() -> None:
    for case in PARSER["parse_words"]:
        assert words(case["input"], "\\") == case["words"]


def test_json_arrays() -> None:
    for case in PARSER["json_arrays_valid"]:
        assert json_array(case["input"], "") == tuple(case["expected"])
    for text in PARSER["json_arrays_invalid"]:
        with pytest.raises(Invalid):
            json_array(text, "")


def test_directives() -> None:
    for case in PARSER["directives"]:
        source = lex(case["dockerfile"].encode() + b"\nFROM scratch\n")
        if "directives" in case:
            assert {name: value for name, (value, _) in source.directives.items()} == case["directives"]
        else:
            assert source.syntax == (case["syntax"] or "")
        if "line" in case:
            assert source.directives["syntax"][1] == case["line"]


def test_a_line_that_is_too_long() -> None:
    with pytest.raises(Invalid, match=r"greater than max allowed size of 65535.*\(Dockerfile:2\)"):
        lex(b"FROM x\nRUN " + b"a" * 65535)


def test_heredocs_are_taken_out_of_the_text() -> None:
    for case in HEREDOC["extract"]:
        found = lex(case["dockerfile"].encode()).instructions[1:]
        assert [each.original for each in found] == case["instructions"]
        assert [[doc(each) for each in one.heredocs] or None for one in found] == case["heredocs"]


@pytest.mark.parametrize("group", ["copy", "run"])
def test_heredocs_of(group: str) -> None:
    for case in HEREDOC[group]:
        found = lex(case["dockerfile"].encode()).instructions[0]
        wanted = [
            (each.get("path") or each.get("name"), each["data"]) for each in case.get("contents", case.get("files"))
        ]
        assert [(each.name, each.text if group == "copy" else each.content) for each in found.heredocs] == wanted


def test_heredocs_of_a_line() -> None:
    for case in HEREDOC["from_line"]:
        assert [each.name for each in heredocs_in(case["line"])] == (case["heredocNames"] or [])


def test_heredoc_words() -> None:
    for word in HEREDOC["helpers_valid"]:
        found = parse_heredoc(word)
        assert found is not None
        assert found.name == "EOF"
    for word in HEREDOC["helpers_invalid"]:
        with pytest.raises(Invalid):
            parse_heredoc(word)
    for word in HEREDOC["helpers_not_heredoc"]:
        assert parse_heredoc(word) is None


def test_chomp() -> None:
    for case in HEREDOC["chomp"]:
        assert Heredoc(name="", expand=True, chomp=True, content=case["content"]).text == case["expected"]


def test_an_open_heredoc() -> None:
    with pytest.raises(
        Invalid, match=r"<<EOF: is not terminated — end it with a line that is only EOF.*\(Dockerfile:2\)"
    ):
        lex(b"FROM x\nRUN <<EOF\nFROM y\n")


def test_lines_with_dos_ends_and_a_byte_order_mark() -> None:
    source = lex(b"\xef\xbb\xbf# escape=`\r\nFROM a`\r\nb\r\n")
    assert [(each.name, each.args) for each in source.instructions] == [("FROM", ("ab",))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"# escape=x\nFROM a", "invalid escape token"),
        (b"# escape=`\n# escape=`\nFROM a", "only one escape"),
        (b"\x7fELF\0\0", "binary file"),
        (b"CMD " + b"[" * 60000, "nested too deep"),
        (b"ONBUILD " * 8000 + b"RUN x", "nested too deep"),
    ],
)
def test_what_is_no_dockerfile(text: bytes, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        lex(text)


@pytest.mark.parametrize("case", PARSER["continuation_warnings"])
def test_empty_lines_in_a_continuation_are_noticed(case: dict[str, Any]) -> None:
    noticed = [instruction.original for instruction in lex(case["dockerfile"].encode()).instructions if instruction.gap]

    assert len(noticed) == case["n_warnings"]
    assert all(any(wanted in text for text in noticed) for wanted in case["warnings_contain"])
