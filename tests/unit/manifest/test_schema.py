"""The JSON Schemas: what is checked in follows from the tables, and agrees with the decoder on good and bad manifests."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from declarative.errors import Invalid, NotFound
from declarative.manifest import schema
from declarative.manifest.fields import TABLES
from declarative.manifest.sources import Source
from declarative.manifest.yaml_nodes import to_plain
from declarative.manifest.yaml_parse import parse
from tests.unit.manifest.reading import FOLDER, decode_data

ROOT = Path(__file__).parents[3]
CASES = ROOT / "tests" / "cases" / "manifests"
WHOLE = Draft202012Validator(json.loads(schema.text("manifest")))
KINDS = {table.kind: Draft202012Validator(json.loads(schema.text(table.kind))) for table in TABLES.values()}


def documents(folder: str) -> list[tuple[Path, Any]]:
    found = []
    for path in sorted((CASES / folder).glob("*/stack.yaml")):
        source = Source(name=path.name, text=path.read_bytes().decode(errors="replace"), folder=path.parent)
        read, problems = parse(source)
        if not problems:
            found += [(path.parent, to_plain(document.root)) for document in read]
    return found


GOOD = documents("good")
BAD = documents("bad")


def fits(data: Any) -> bool:
    """Whether both schemas, the whole one and that of the kind, accept `data`; they must not differ."""
    by_kind = KINDS[data["kind"]].is_valid(data) if data.get("kind") in KINDS else False
    assert WHOLE.is_valid(data) == by_kind
    return by_kind


@pytest.mark.parametrize("name", sorted(schema.generate()))
def test_what_is_checked_in_is_what_the_tables_give(name: str) -> None:
    file = ROOT / "schemas" / name
    if os.environ.get("GOLDEN") == "write":
        file.write_text(schema.generate()[name], encoding="utf-8")
    assert file.read_text(encoding="utf-8") == schema.generate()[name], "write it anew: run this test with GOLDEN=write"


@pytest.mark.parametrize("name", schema.names())
def test_every_schema_is_a_schema(name: str) -> None:
    content = json.loads(schema.text(name))
    Draft202012Validator.check_schema(content)
    assert content["$schema"] == schema.DRAFT
    assert content["title"]


def test_an_unknown_schema_is_named_with_a_suggestion() -> None:
    with pytest.raises(NotFound, match="did you mean `container`"):
        schema.text("containr")
    with pytest.raises(NotFound):
        schema.text("../pyproject")


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_good_manifests_fit(number: int) -> None:
    assert fits(GOOD[number][1])


@pytest.mark.parametrize("number", range(len(BAD)))
def test_what_does_not_fit_is_refused_by_the_decoder(number: int) -> None:
    folder, data = BAD[number]
    if not fits(data):
        _, problems = decode_data(data, folder)
        assert problems


@pytest.mark.parametrize("prefix", ["", "v"])
def test_no_prefix_may_be_written(prefix: str) -> None:
    spec = {"image": "app", "version": "1.9.2", "prefix": prefix}
    data = {"apiVersion": "declarative/v1", "kind": "TagScheme", "metadata": {"name": "app"}, "spec": spec}
    assert fits(data)
    assert not decode_data(data)[1]


STRUCTURAL: list[tuple[str, Any, str]] = [
    ("image", None, "lacks"),
    ("ports", "80", "expected"),
    ("ports", [{"published": 80}], "lacks"),
    ("ports", ["http"], "not a port"),
    ("volumes", [{"type": "volum", "target": "/x"}], "unknown value"),
    ("environment", {"A": None}, "no value"),
    ("environment", {"A": {"secret": {}}}, "one source"),
    ("replicas", "3", "expected"),
    ("replicas", -1, "out of range"),
    ("privileged", "yes", "expected"),
    ("restart", True, "expected"),
    ("healthcheck", {"tst": "true"}, "unknown key"),
    ("healthcheck", {"interval": 5}, "expected"),
    ("healthcheck", {"interval": "soon"}, "not a duration"),
    ("resources", {"memory": "much"}, "not a size"),
    ("resources", {"cpu_shares": 1}, "out of range"),
    ("networks", {"Bad Name": None}, "cannot be a key"),
    ("ulimits", {"nofiles": 1}, "unknown limit"),
    ("update", {"order": "both"}, "unknown value"),
    ("helthcheck", {}, "unknown key"),
    ("labels", {"declarative.stack": "x"}, "cannot be a name"),
    ("platform", "AMD64", "not a platform"),
]


@pytest.mark.parametrize(("key", "value", "words"), STRUCTURAL)
def test_faults_of_structure_are_found_by_schema_and_decoder_alike(key: str, value: Any, words: str) -> None:
    spec = {"image": "nginx", key: value}
    if value is None:
        del spec[key]
    data = {"apiVersion": "declarative/v1", "kind": "Container", "metadata": {"name": "web"}, "spec": spec}
    assert not fits(data)
    _, problems = decode_data(data)
    assert any(words in str(problem) for problem in problems), problems


# ---- laws, on manifests that were good once ------------------------------------------------------------------------

_TEXT = st.sampled_from(
    [
        "",
        "a",
        "80",
        "8080:80",
        "1m30s",
        "512m",
        "-1",
        "/x",
        "data:/x",
        "A=b",
        "tcp",
        "yes",
        "{a}",
        "ä",
        "a b",
        "0440",
        "x" * 300,
    ]
)
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-5, 70_000), st.floats(-2, 3, allow_nan=False), _TEXT)
_KEYS = st.sampled_from(
    [
        "name",
        "target",
        "source",
        "type",
        "test",
        "env",
        "file",
        "secret",
        "image",
        "x",
        "nofile",
        "condition",
        "driver",
        "memory",
    ]
)
_DATA = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3), max_leaves=4
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Give the path of every value below the spec and the head."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        found += places(child, (*path, key))
    return found


@st.composite
def mutants(draw: st.DrawFn) -> tuple[Path, Any]:
    folder, original = draw(st.sampled_from(GOOD))
    data = deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        found = [path for path in places(data) if path != ("kind",)]
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        holder = data
        for key in way:
            holder = holder[key]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "replace":
            holder[last] = draw(_DATA)
        elif action == "remove":
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw(_KEYS)] = draw(_DATA)
    return folder, data


@settings(max_examples=200, deadline=None)
@given(mutants())
def test_whatever_the_decoder_accepts_fits_the_schema(mutant: tuple[Path, Any]) -> None:
    folder, data = mutant
    decoded, problems = decode_data(data, folder)
    if "{{" in json.dumps(data):
        return
    if not problems:
        assert fits(data), list(WHOLE.iter_errors(data))
        assert decoded.resource is not None
    else:
        assert decoded.resource is None
        assert all(problem.span is not None for problem in problems)


def test_a_document_is_checked_against_a_shipped_schema() -> None:
    good = {"apiVersion": "declarative/v1", "kind": "Volume", "metadata": {"name": "a"}}
    schema.validate("manifest", good, "stack.yaml")
    with pytest.raises(Invalid, match="it must be as `declarative schema volume` says"):
        schema.validate("volume", {**good, "spec": {"driver": 5}}, "stack.yaml")


def test_the_case_folder_is_there() -> None:
    assert FOLDER.is_dir()
    assert len(GOOD) > 15
    assert len(BAD) > 40
