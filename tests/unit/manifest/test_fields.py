"""The field tables: every entry is documented, and its example decodes and fits its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from declarative.core.resources import Container, ContainerSpec, Image, Job, Network, NetworkSpec, Volume, VolumeSpec
from declarative.manifest.decode import Field, Record, Shape
from declarative.manifest.fields import TABLES
from declarative.manifest.schema import _with_templates
from declarative.record import defaults_of
from tests.unit.manifest.reading import decode, decode_data

if TYPE_CHECKING:
    from collections.abc import Iterator


def records(shape: Shape) -> Iterator[Record]:
    if isinstance(shape, Record):
        yield shape
    else:
        for inner in shape.inner():
            yield from records(inner)


def below(prefix: str, record: Record) -> Iterator[tuple[str, Field]]:
    for field in record.fields:
        yield f"{prefix}.{field.name}", field
        for inner in records(field.type):
            yield from below(f"{prefix}.{field.name}", inner)


FIELDS = dict(entry for table in TABLES.values() for entry in below(table.kind, table.spec))


@pytest.mark.parametrize("path", sorted(FIELDS))
def test_every_field_is_documented(path: str) -> None:
    field = FIELDS[path]
    assert field.doc.endswith(".")
    assert field.example is not None
    assert field.type.words()


@pytest.mark.parametrize("path", sorted(path for path in FIELDS if "rootfs" not in path and "archive" not in path))
def test_the_example_of_every_field_decodes_and_fits_its_schema(path: str) -> None:
    field = FIELDS[path]
    _, problems = decode(field.type, field.example)
    # Examples name files that no machine has; that they are looked for shows that the example was understood.
    assert [problem for problem in problems if "cannot read" not in problem.text] == []
    Draft202012Validator(field.type.schema()).validate(field.example)


@pytest.mark.parametrize("kind", sorted(TABLES))
def test_names_are_unique_within_a_table(kind: str) -> None:
    names = [field.name for field in TABLES[kind].fields]
    assert len(set(names)) == len(names)


def test_every_field_of_a_container_is_in_the_table() -> None:
    names = {field.name for field in TABLES["Container"].fields}
    assert set(defaults_of(ContainerSpec)) | {"image"} <= names


@pytest.mark.parametrize(("kind", "spec"), [("Network", NetworkSpec), ("Volume", VolumeSpec)])
def test_every_field_of_a_spec_is_in_the_table(kind: str, spec: type) -> None:
    assert set(defaults_of(spec)) == {field.name for field in TABLES[kind].fields}


def test_hints_name_no_known_key() -> None:
    for table in TABLES.values():
        assert not set(table.spec.hints) & {field.name for field in table.fields}


def test_a_document_without_spec_is_a_volume_with_defaults() -> None:
    decoded, problems = decode_data({"apiVersion": "declarative/v1", "kind": "Volume", "metadata": {"name": "data"}})
    assert not problems
    assert isinstance(decoded.resource, Volume)
    assert decoded.resource.spec == VolumeSpec()


@pytest.mark.parametrize(
    ("kind", "size", "meant"), [("Container", 0, None), ("Job", "0m", None), ("Job", "1m", 1 << 20)]
)
def test_no_shm_size_is_that_of_the_engine(kind: str, size: Any, meant: int | None) -> None:
    metadata = {"apiVersion": "declarative/v1", "kind": kind, "metadata": {"name": "web"}}
    decoded, problems = decode_data({**metadata, "spec": {"image": "busybox", "shm_size": size}})
    assert not problems
    assert isinstance(decoded.resource, Container | Job)
    assert decoded.resource.spec.shm_size == meant


def test_labels_of_metadata_lie_under_those_of_the_spec() -> None:
    data = {
        "apiVersion": "declarative/v1",
        "kind": "Network",
        "metadata": {"name": "back", "labels": {"a": "metadata", "b": 1}},
        "spec": {"labels": ["a=spec"]},
    }
    decoded, problems = decode_data(data)
    assert not problems
    assert isinstance(decoded.resource, Network)
    assert decoded.resource.spec.labels == {"a": "spec", "b": "1"}


def test_labels_of_metadata_reach_a_built_image() -> None:
    data = {
        "apiVersion": "declarative/v1",
        "kind": "Image",
        "metadata": {"name": "app", "labels": {"a": "b"}},
        "spec": {"build": "."},
    }
    decoded, problems = decode_data(data)
    assert not problems
    assert isinstance(decoded.resource, Image)
    assert getattr(decoded.resource.spec.source, "labels", None) == {"a": "b"}


def test_templates_may_stand_for_every_value() -> None:
    schema = _with_templates(TABLES["Container"].spec.schema())
    schema["$defs"] = {"template": {"type": "string", "pattern": r"\{\{"}}
    text = "{{ values.x }}"
    for field in TABLES["Container"].fields:
        Draft202012Validator(schema).validate({"image": "nginx", field.name: text})
