"""Laws of manifests: what is written is read back, rendering twice is rendering once, and no text crashes the reader."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from declarative.manifest.documents import Loaded, Options, load
from declarative.manifest.scalar_write import quote, write
from declarative.manifest.scalars import resolve
from declarative.manifest.sources import Source
from declarative.manifest.yaml_dump import escaped, to_yaml
from declarative.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence, to_plain
from declarative.manifest.yaml_parse import has_marks, parse

# YAML cannot hold lone surrogates, and no key of ours may hold a template.
TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.text("{}%#\"' \n\t\\-:[]ab,&*|>\r\x85\u2028", max_size=20)
KEYS = TEXT.filter(lambda text: not has_marks(text))
NUMBERS = st.integers(-(10**20), 10**20) | st.floats()
PLAIN = st.none() | st.booleans() | NUMBERS | TEXT
DATA = st.recursive(
    PLAIN, lambda below: st.lists(below, max_size=4) | st.dictionaries(KEYS, below, max_size=4), max_leaves=20
)
MAPPINGS = st.dictionaries(KEYS, DATA, max_size=5)


def node(value: Any) -> Node:
    if isinstance(value, dict):
        keys = {key: Scalar(key, 1, 1, key, '"') for key in value}
        return Mapping({key: node(item) for key, item in value.items()}, keys, 1, 1)
    if isinstance(value, list):
        return Sequence([node(item) for item in value], 1, 1)
    return Scalar(value, 1, 1, value if isinstance(value, str) else write(value), '"' if isinstance(value, str) else "")


def root(value: dict[str, Any]) -> Mapping:
    made = node(value)
    assert isinstance(made, Mapping)
    return made


def read(text: str) -> Loaded:
    return load([Source(name="a.yaml", text=text, folder=Path("/x"))], Options(working_folder=Path("/x")))


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal with their types, NaN being equal to itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right or (isinstance(left, float) and math.isnan(left) and math.isnan(right))


@given(MAPPINGS)
def test_what_is_written_is_read_back(value: dict[str, Any]) -> None:
    loaded = read(to_yaml([root(value)]))
    assert not loaded.problems
    documents = [document for document in loaded.all() if document.root.items]
    assert same([to_plain(document.root) for document in documents], [value] if value else [])


@given(st.lists(MAPPINGS.filter(bool), max_size=3))
def test_rendering_what_was_rendered_changes_nothing(values: list[dict[str, Any]]) -> None:
    first = to_yaml(map(root, values))
    loaded = read(first)
    assert not loaded.problems
    assert to_yaml(document.root for document in loaded.all()) == first


@given(
    st.dictionaries(
        KEYS, TEXT | st.sampled_from(["{{ values.x }}", "{{ values }}", "a {{ values.y }} b", "{{ '{{' }}"]), min_size=1
    )
)
def test_rendering_templates_twice_is_rendering_them_once(value: dict[str, str]) -> None:
    text = "".join(f"? {quote(key)}\n: {quote(item)}\n" for key, item in value.items())
    options = Options(working_folder=Path("/x"), sets=("x={{ env.HOME }}", "y={% raw %}"))
    once = load([Source(name="a.yaml", text=text, folder=Path("/x"))], options)
    if once.problems:  # random text with `{{` in it is seldom a template
        return
    written = to_yaml(document.root for document in once.all())
    twice = load([Source(name="b.yaml", text=written, folder=Path("/x"))], options)
    assert not twice.problems
    assert to_yaml(document.root for document in twice.all()) == written
    assert [to_plain(document.root) for document in twice.all()] == [to_plain(document.root) for document in once.all()]


@given(TEXT)
def test_an_escaped_text_renders_to_itself(text: str) -> None:
    loaded = read(f"a: {quote(escaped(text))}\n")
    assert not loaded.problems
    assert to_plain(loaded.documents[0].root) == {"a": text}


@given(TEXT)
def test_quoted_text_is_text_for_old_and_new_readers(text: str) -> None:
    written = f"a: {quote(text)}\n"
    documents, problems = parse(Source(name="a", text=written, folder=Path()))
    assert not problems
    assert to_plain(documents[0].root) == {"a": text}
    assert yaml.safe_load(written) == {"a": text}


@given(NUMBERS | st.booleans() | st.none())
def test_written_values_resolve_to_themselves(value: object) -> None:
    assert same(resolve(write(value)), value)  # type: ignore[arg-type]


FLOW = ["[", "]", "{", "}", ",", "{{", "}}", "'", '"']
BLOCK = ["a", "é", ": ", "\n", "- ", "  ", "? ", "|\n", "---\n", "\t", "#", "&a ", "*a", "<<", "!", "%"]
PIECES = st.sampled_from([*FLOW, *BLOCK])


@settings(max_examples=500)
@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=50))
def test_no_text_crashes_the_reader_and_every_problem_has_a_place(text: str) -> None:
    loaded = read(text.encode("utf-8", "replace").decode())
    lines = max(1, len(text.splitlines()))
    for problem in loaded.problems:
        assert problem.text
        assert problem.span is not None
        assert 1 <= problem.span.line <= lines
        assert problem.span.column >= 1
        assert str(problem)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_our_reader_and_pyyaml_agree_on_what_is_yaml(text: str) -> None:
    """What we read without a problem, the stock parser takes too, and sees as many documents."""
    documents, problems = parse(Source(name="a", text=text, folder=Path()))
    if not problems:
        assert len(documents) == sum(
            bool(isinstance(found, yaml.MappingNode)) for found in yaml.compose_all(text, yaml.CSafeLoader)
        )
