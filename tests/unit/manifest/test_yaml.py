"""YAML text into nodes: types, positions, guards, and every broken document told."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from declarative.manifest import yaml_parse
from declarative.manifest.sources import Source
from declarative.manifest.yaml_nodes import Document, Mapping, Node, Scalar, Sequence, to_plain
from declarative.manifest.yaml_parse import DEEPEST, MOST_PROBLEMS, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from declarative.errors import Problem


def source(text: str) -> Source:
    return Source(name="a.yaml", text=text, folder=Path())


def read(text: str) -> list[object]:
    documents, problems = parse(source(text))
    assert not problems
    return [to_plain(document.root) for document in documents]


def told(text: str) -> list[str]:
    """Give `line:column text` of every problem."""
    return [f"{place(problem)} {problem.text}" for problem in parse(source(text))[1]]


def place(problem: Problem) -> str:
    assert problem.span is not None
    assert problem.span.file == "a.yaml"
    return f"{problem.span.line}:{problem.span.column}"


def at(document: Document, *path: str | int) -> Node:
    node: Node = document.root
    for step in path:
        if isinstance(step, int):
            assert isinstance(node, Sequence)
            node = node.items[step]
        else:
            assert isinstance(node, Mapping)
            node = node.items[step]
    return node


# Types: the core schema of YAML 1.2.2, section 10.3.2, with its own examples.
CORE: dict[str, Any] = {
    "null": None, "~": None, "Null": None, "NULL": None, "": None,
    "true": True, "True": True, "TRUE": True, "false": False, "FALSE": False,
    "0": 0, "-19": -19, "+7": 7, "012": 12, "0o7": 7, "0o14": 12, "0x3A": 58,
    "0.": 0.0, "-0.0": -0.0, ".5": 0.5, "+12e03": 12000.0, "-2E+05": -200000.0, "1e3": 1000.0,
    ".inf": math.inf, "-.Inf": -math.inf, "+.INF": math.inf,
    "no": "no", "on": "on", "Yes": "Yes", "y": "y", "off": "off", "nULL": "nULL", "tRUE": "tRUE",
    "22:22": "22:22", "190:20:30": "190:20:30", "1_000": "1_000", "2026-11-23": "2026-11-23", "0b11": "0b11", "0o8": "0o8",
    "1.2.3": "1.2.3", "0x": "0x", "1e": "1e", "-": None, ".": ".", "+": "+", "=": "=", "-x": "-x", "1.9.2": "1.9.2",
    "9" * 5000: "9" * 5000,
}  # fmt: skip
del CORE["-"]  # a dash alone is a list


@pytest.mark.parametrize("text", CORE, ids=lambda text: text[:20])
def test_plain_scalars_have_the_types_of_yaml_1_2(text: str) -> None:
    value = read(f"a: {text}\n")[0]
    assert value == {"a": CORE[text]}
    assert type(value["a"]) is type(CORE[text])


def test_nan_is_a_number() -> None:
    value = read("a: .NaN\n")[0]
    assert isinstance(value, dict)
    assert math.isnan(value["a"])


@pytest.mark.parametrize("text", ['"1"', "'true'", "|\n  5\n", ">\n  5\n", "!!str 1", "! 1"])
def test_quoted_and_tagged_scalars_are_text(text: str) -> None:
    value = read(f"a: {text}\n")[0]
    assert isinstance(value, dict)
    assert isinstance(value["a"], str)


def test_core_tags_are_understood() -> None:
    assert read("a: !!int 0x10\nb: !!float 1\nc: !!null ''\nd: !!map {e: !!seq [!!bool true]}\n") == [
        {"a": 16, "b": 1.0, "c": None, "d": {"e": [True]}}
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: !!python/object:os.system x", "1:4 the tag !!python/object:os.system is not supported"),
        ("a: !Ref x", "1:4 the tag !Ref is not supported"),
        ("a: !!binary aGk=", "1:4 the tag !!binary is not supported"),
        ("a: !secret {b: 1}", "1:4 the tag !secret is not supported"),
        ("a: !!int x", "1:4 `x` does not fit the tag !!int"),
    ],
)
def test_other_tags_are_refused(text: str, problem: str) -> None:
    assert told(text) == [problem]


def test_nodes_know_where_they_stand_and_how_they_were_written() -> None:
    document = parse(source("---\nspec:\n  ports: [80, '443:443']\n  version: 1.10\n  größe: |\n    x\n"))[0][0]
    port = at(document, "spec", "ports", 1)
    assert isinstance(port, Scalar)
    assert (port.line, port.column, port.length, port.style) == (3, 15, 9, "'")
    version = at(document, "spec", "version")
    assert isinstance(version, Scalar)
    assert (version.value, version.text) == (1.1, "1.10")
    spec = at(document, "spec")
    assert isinstance(spec, Mapping)
    key = spec.keys["größe"]
    assert (key.line, key.column, key.length) == (5, 3, 5)
    assert str(document.span(port)) == "a.yaml:3:15"
    assert document.problem(port, "web", "is wrong").snippet == (
        "2 | spec:\n3 |   ports: [80, '443:443']\n  |               ^^^^^^^^^"
    )


def test_empty_documents_are_left_out() -> None:
    assert read("---\n# nothing\n---\na: 1\n---\n---\nb: 2\n...\n") == [{"a": 1}, {"b": 2}]
    assert read("") == read("# only a comment\n") == []


def test_aliases_share_and_merge_keys_merge() -> None:
    text = """
a: &a {x: 1, y: 2}
b: {<<: *a, y: 3}
c: {<<: [{y: 5}, *a], z: 4}
d: *a
"<<": text
&key e: *key
"""
    assert read(text) == [
        {
            "a": {"x": 1, "y": 2},
            "b": {"x": 1, "y": 3},
            "c": {"x": 1, "y": 5, "z": 4},
            "d": {"x": 1, "y": 2},
            "<<": "text",
            "e": "e",
        }
    ]


def test_a_merged_pair_keeps_the_place_it_was_written_at() -> None:
    document = parse(source("a: &a\n  x: 1\nb:\n  <<: *a\n"))[0][0]
    assert at(document, "b", "x").line == 2


BROKEN = {
    "a: b: c\n": "1:5 there is a `:` where no key can be",
    'a: "x\n': "1:4 the quote that opens here is not closed",
    "a: [1, 2\nb: 3\n": "1:4 the list that opens here is not closed",
    "a: {b: 1\nc: 3\n": "1:4 the mapping that opens here is not closed",
    "a:\n\t- b\n": "2:1 there is a tab where YAML wants spaces",
    "a: @b\n": "1:4 a value cannot start with `@`",
    "a:\n  b: 1\n c: 2\n": "3:2 this line does not continue what stands above it",
    'a: "\\q"\n': "1:5 this escape is not one of YAML's",
    "a: x\nb\nc: 1\n": "2:1 this key has no `:`",
    "a: \x07\n": "1:4 there is a control character (U+0007), which YAML does not allow",
    "%YAML 2.0\n---\n": "1:1 this version of YAML is not supported",
    "a: *b\n": "1:4 the alias *b names nothing that stands above it",
    "a: &a [*a]\n": "1:8 the alias *a stands inside what it names",
    "a: 1\nb: 2\na: 3\n": "3:1 the key `a` is there twice, first in line 1",
    "80: a\n": "1:1 keys are text, and this is a number",
    "? [a]\n: b\n": "1:3 keys are text, and this is a list",
    "- a\n": "1:1 a document must be a mapping, and this is a list",
    "text\n": "1:1 a document must be a mapping, and this is text",
    "a: {<<: 1}\n": "1:9 `<<` merges mappings, and this is a number",
    "a: {{ x }}\n": "1:4 YAML reads `{{` as the start of a mapping",
    "a: {{ x }}:1\n": "1:4 YAML reads `{{` as the start of a mapping",
    "a:\n  - {{ x }} y\n": "2:5 YAML reads `{{` as the start of a mapping",
    "{% if x %}\na: 1\n{% endif %}\n": "1:1 YAML cannot read `{%`",
    '"{{ x }}": 1\n': "1:1 a key cannot be a template",
}


@pytest.mark.parametrize("text", BROKEN)
def test_broken_yaml_is_told_in_plain_words_with_its_place(text: str) -> None:
    assert told(text) == [BROKEN[text]]
    problem = parse(source(text))[1][0]
    assert problem.remedy
    assert "^" in problem.snippet


def test_every_broken_document_of_a_file_is_told_and_the_sound_ones_are_read() -> None:
    text = "a: [1\n---\nb: 1\nb: 2\n80: x\n---\nc: 3\n--- # four\nd: 'x\n---\ne: : :\n---\nf: 6\n"
    documents, problems = parse(source(text))
    assert [place(problem) for problem in problems] == ["1:4", "4:1", "5:1", "9:4", "11:4"]
    assert [to_plain(document.root) for document in documents] == [{"b": 1, "80": "x"}, {"c": 3}, {"f": 6}]
    last = documents[-1]
    assert str(last.span(last.root)) == "a.yaml:13:1"


def test_problems_of_one_file_are_bounded() -> None:
    assert len(told("a: 1\n" * 10_000)) == MOST_PROBLEMS
    assert len(told("---\na: [\n" * 10_000)) == MOST_PROBLEMS


@pytest.fixture
def quick() -> Iterator[None]:
    """Fail what takes seconds: a bomb that is noticed late is a bomb."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 5


BOMBS = {
    "flow lists": "[" * 200_000,
    "flow mappings": "{a: " * 200_000,
    "block lists": "- " * 200_000,
    "complex keys": "? " * 200_000,
    "indentation": "".join(" " * level + "a:\n" for level in range(2000)),
    "by aliases": "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 30 + "*a" + "]" * 30 + "\n",
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", BOMBS)
def test_deep_nesting_is_refused(name: str) -> None:
    problems = told(BOMBS[name])
    assert len(problems) == 1
    assert problems[0].endswith(f"the nesting is deeper than {DEEPEST} levels")


@pytest.mark.usefixtures("quick")
def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert told("\n".join(lines) + "\n")[0].endswith(
        "the document has more than 500,000 values, with its aliases written out"
    )


@pytest.mark.usefixtures("quick")
def test_a_bomb_of_merge_keys_is_refused() -> None:
    keys = ", ".join(f"k{n}: 1" for n in range(1000))
    text = f"a: &a {{{keys}}}\nb:\n" + "- {<<: *a}\n" * 1000
    assert told(text)[0].endswith("with its aliases written out")


@pytest.mark.usefixtures("quick")
def test_the_document_behind_a_bomb_is_read() -> None:
    documents, problems = parse(source("[" * 1000 + "\n---\na: 1\n"))
    assert len(problems) == 1
    assert [to_plain(document.root) for document in documents] == [{"a": 1}]


def test_the_python_parser_gives_the_same_where_the_c_parser_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        "a: &a {x: 1, y: [2, 'three']}\n",
        "a: 1\nb: {<<: {x: 012}}\n---\nc: 'é'\n",
        "a: 1\na: 2\n",
        "a: x\x07",
        "[" * 999,
    ]
    before = [(told(text), [to_plain(document.root) for document in parse(source(text))[0]]) for text in texts]
    monkeypatch.setattr(yaml_parse, "_Loader", yaml.SafeLoader)
    after = [(told(text), [to_plain(document.root) for document in parse(source(text))[0]]) for text in texts]
    assert after == before


def test_twice_as_much_is_twice_the_work() -> None:
    one = "kind: Container\nmetadata:\n  name: web\nspec:\n  image: nginx:1.25\n  ports:\n    - 80:80\n  labels: {A: x}\n---\n"

    def calls(documents: int) -> int:
        text, made = source(one * documents), 0

        def count(_frame: FrameType, event: str, _what: object) -> None:
            nonlocal made
            made += event in {"call", "c_call"}

        sys.setprofile(count)
        try:
            parse(text)
        finally:
            sys.setprofile(None)
        return made

    assert yaml_parse._Loader is yaml.CSafeLoader
    few = calls(50)
    assert few < calls(100) < 2.1 * few
