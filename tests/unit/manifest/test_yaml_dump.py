"""Writing nodes: the canonical form, and what must be quoted or escaped."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from declarative.manifest.documents import Loaded, Options, load
from declarative.manifest.sources import Source
from declarative.manifest.yaml_dump import to_yaml
from declarative.manifest.yaml_nodes import Mapping, Scalar, to_plain


def loaded(text: str) -> Loaded:
    found = load([Source(name="a.yaml", text=text, folder=Path("/x"))], Options(working_folder=Path("/x")))
    assert not found.problems
    return found


def rendered(text: str) -> str:
    return to_yaml(document.root for document in loaded(text).all())


def test_the_form_is_block_style_with_two_spaces() -> None:
    text = "kind: Image\nspec: {ports: ['80', 443, {a: [], b: {}}], nested: [[1, 2], [3]], empty: , nothing: null}\n---\na: 1\n"
    assert (
        rendered(text)
        == """kind: Image
spec:
  ports:
    - "80"
    - 443
    - a: []
      b: {}
  nested:
    - - 1
      - 2
    - - 3
  empty: null
  nothing: null
---
a: 1
"""
    )


@pytest.mark.parametrize("text", ["1.10", "0444", "0o14", "0x1F", "1e3", "+7", ".inf", "True", "~"])
def test_numbers_and_words_keep_what_was_written(text: str) -> None:
    assert rendered(f"a: {text}\n") == f"a: {text}\n"


WORDS = [
    "yes",
    "No",
    "on",
    "y",
    "null",
    "~",
    "",
    "12",
    "1.5",
    "1e3",
    "22:22",
    "0b1",
    "2026-11-23",
    ".nan",
    "-.inf",
    "=",
    "<<",
]
MARKS = [
    "- a",
    "a: b",
    "a #b",
    "#a",
    "*a",
    "&a",
    "!a",
    "%a",
    "@a",
    "`a",
    "[a",
    "{a",
    "|",
    ">",
    "'",
    '"',
    "a:",
    "? a",
    "---",
    "...",
]
OTHERS = [
    " a",
    "a ",
    "a\tb",
    "\x85",
    "\ufeff",
    "\u2028",
    "\x7f",
    "\\",
    "\\n",
    "C:\\x",
    "'\"",
    "é",
    "日本",
    "\U0001f600",
    "\ue000",
]


@pytest.mark.parametrize("text", [*WORDS, *MARKS, *OTHERS])
def test_text_stays_text_for_every_reader(text: str) -> None:
    written = to_yaml([Mapping({"a": Scalar(text, 1, 1, text, '"')}, {}, 1, 1)])
    assert to_plain(loaded(written).documents[0].root) == {"a": text}
    assert yaml.safe_load(written) == {"a": text}, "a YAML 1.1 reader reads the same"


def test_text_of_several_lines_is_a_block() -> None:
    assert rendered('a: "one\\n\\ntwo\\n"\n') == "a: |\n  one\n\n  two\n"
    assert rendered('a: "one\\ntwo"\n') == "a: |-\n  one\n  two\n"
    assert rendered('a: "one\\n\\n"\n') == "a: |+\n  one\n\n"
    assert rendered('a:\n  - b: "one\\n\\ntwo"\n') == "a:\n  - b: |-\n      one\n\n      two\n"
    assert rendered('a: " one\\ntwo"\n') == 'a: " one\\ntwo"\n'


def test_text_that_looks_like_a_template_is_written_as_one_that_gives_it() -> None:
    written = rendered("""format: '{{ "{{.State}}" }}'\n""")
    assert written == """format: '{{ "{{.State}}" }}'\n"""
    assert to_plain(loaded(written).documents[0].root) == {"format": "{{.State}}"}


def test_a_very_long_key_can_be_read_again() -> None:
    key = "k" * 3000
    assert to_plain(loaded(rendered(f"? {key}\n: {{a: [1]}}\n? {key}2\n: |\n  x\n  y\n")).documents[0].root) == {
        key: {"a": [1]},
        f"{key}2": "x\ny\n",
    }
