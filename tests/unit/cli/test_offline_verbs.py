"""The verbs that read manifests and ask no engine: validate, render, explain, schema, graph."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from declarative.core.resources import Nowhere
from declarative.manifest import schema
from declarative.manifest.load import LoadOptions, load_stack
from declarative.record import replace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.console import Console

pytestmark = pytest.mark.usefixtures("stack")


def test_validate_counts_what_is_there(console: Console) -> None:
    ran = console("validate")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "valid: stack shop with 2 Image, 1 TagScheme, 1 Network, 1 Volume, 1 Job, 2 Container\n"


def test_validate_as_json(console: Console) -> None:
    document = console("validate", "-o", "json").json("validate")
    assert document["stack"] == "shop"
    assert document["resources"]["Container"] == 2


def test_validate_names_every_problem_at_its_place(console: Console, stack: Path) -> None:
    stack.write_text(stack.read_text().replace("depends_on", "depend_on").replace("track:", "trakc:"))
    ran = console("validate")
    assert ran.code == 1
    assert re.search(r"did you mean `depends_on`\? \(stack\.yaml:\d+:3\)", ran.err)
    assert "trakc" in ran.err
    as_json = console("validate", "-o", "json")
    assert as_json.code == 1
    assert len(as_json.json("errors")["errors"]) >= 2


def test_validate_reads_versions(console: Console) -> None:
    ran = console("validate", "--set", "version=1.2.x")
    assert ran.code == 1
    assert "1.2.x" in ran.err


def test_rendering_what_was_rendered_changes_nothing(console: Console, tmp_path: Path) -> None:
    first = console("render").out
    assert 'version: "1.9.2"' in first
    assert "{{" not in first
    (tmp_path / "again.yaml").write_text(first)
    assert console("render", "-f", "again.yaml").out == first


def test_render_shows_where_a_secret_comes_from_and_not_what_it_is(console: Console) -> None:
    for form in ("text", "json"):
        ran = console("render", "-o", form)
        assert "TOKEN" in ran.out
        assert "hunter2" not in ran.out


def test_render_needs_no_secret_and_no_build_context(console: Console, stack: Path) -> None:
    stack.write_text(stack.read_text().replace("TOKEN}", "NOT_SET}").replace("context: .", "context: ./none"))
    assert console("render").code == 0
    assert console("validate").code == 1


def test_render_gives_documents_that_fit_their_schemas(console: Console) -> None:
    document = console("render", "-o", "json").json("render")
    assert [item["kind"] for item in document["documents"]][:2] == ["Stack", "Image"]
    for item in document["documents"]:
        schema.validate(item["kind"].lower(), item, "document")


def test_what_is_rendered_as_json_is_read_back_as_it_was(console: Console, stack: Path, tmp_path: Path) -> None:
    stack.write_text(
        "apiVersion: declarative/v1\nkind: Stack\nmetadata: {name: shop}\nspec: {values: {version: 1.10}}\n---\n"
        "apiVersion: declarative/v1\nkind: Image\nmetadata: {name: app}\nspec: {pull: busybox, tags: [1.10, 012]}\n---\n"
        "apiVersion: declarative/v1\nkind: Container\nmetadata: {name: web, labels: {version: 1.10}}\nspec:\n"
        "  image: {image: app}\n"
        "  command: [serve, 1.10, 0x10, 007, 80, '{{ values.version }}', '1.20', '{{ \"{{ x }}\" }}', on]\n"
        "  environment: {A: 1.10, B: 1e3, C: 8080, D: .inf, E: true}\n"
        "  resources: {cpus: 0.50, pids: 0x10}\n"
    )
    documents = console("render", "-o", "json").json("render")["documents"]
    (tmp_path / "again.yaml").write_text("\n---\n".join(json.dumps(item) for item in documents))
    desired = [
        load_stack([name], LoadOptions(working_folder=tmp_path)).desired for name in ("stack.yaml", "again.yaml")
    ]
    web = [replace(each.containers["web"], places=Nowhere()) for each in desired]

    assert web[0] == web[1]
    assert desired[0].images["app"].spec == desired[1].images["app"].spec
    assert web[0].spec.command == ("serve", "1.10", "0x10", "007", "80", "1.10", "1.20", "{{ x }}", "on")
    assert documents[2]["spec"]["resources"]["pids"] == 16  # a number by its schema stays one


def test_render_of_a_target_is_that_document(console: Console) -> None:
    assert console("render", "--target", "network/front").out.splitlines()[1] == "kind: Network"
    ran = console("render", "--target", "network/back")
    assert ran.code == 1
    assert "Network/front" in ran.err


def test_explain_goes_from_kinds_to_fields(console: Console) -> None:
    assert "TagScheme" in console("explain").out
    assert "healthcheck" in console("explain", "container").out
    interval = console("explain", "Container.spec.healthcheck.interval").out
    assert "FIELD:    spec.healthcheck.interval" in interval
    assert "DEFAULT:  30s" in interval
    listed = console("explain", "--list").out.splitlines()
    assert "Container.spec.healthcheck.interval" in listed


def test_explain_suggests(console: Console) -> None:
    ran = console("explain", "Container.spec.helthcheck")
    assert ran.code == 64
    assert "did you mean `healthcheck`" in ran.err


def test_schema_prints_what_is_shipped(console: Console) -> None:
    assert json.loads(console("schema").out)["$id"] == "urn:declarative:v1:manifest"
    assert json.loads(console("schema", "TagScheme").out)["$id"] == "urn:declarative:v1:tagscheme"
    assert console("schema", "--list").out.split() == schema.names()
    ran = console("schema", "plam")
    assert ran.code == 1
    assert "did you mean `plan`" in ran.err


def test_graph_as_a_tree(console: Console) -> None:
    assert console("graph").out == TREE


def test_graph_as_json_names_every_reason(console: Console) -> None:
    document = console("graph", "-o", "json").json("graph")
    edges = {(edge["from"], edge["to"]): edge["reason"] for edge in document["edges"]}
    assert edges[("Image/site", "Image/base")] == "base"
    assert edges[("Container/web", "Job/migrate")] == "completed"
    assert edges[("Container/side", "Container/web")] == "network_mode"
    assert {end for edge in edges for end in edge} <= {node["id"] for node in document["nodes"]}


def test_graph_knows_an_image_by_the_tags_of_its_scheme(console: Console, stack: Path) -> None:
    more = "---\napiVersion: declarative/v1\nkind: Image\nmetadata: {name: top}\n"
    more += 'spec: {build: {context: ., dockerfile_inline: "FROM shop/site:1.9.2\\n"}}\n'
    stack.write_text(stack.read_text() + more)
    edges = console("graph", "-o", "json").json("graph")["edges"]
    assert {"from": "Image/top", "to": "Image/site", "reason": "base"} in edges


def test_graph_for_graphviz_and_mermaid(console: Console) -> None:
    dot = console("graph", "--format", "dot").out
    assert '"Image/site" -> "TagScheme/release" [label="image"];' in dot
    assert dot.startswith("digraph") and dot.endswith("}\n")  # noqa: PT018 - one claim
    mermaid = console("graph", "--format", "mermaid").out
    assert mermaid.startswith("flowchart LR\n")
    assert '|"completed"|' in mermaid


def test_graph_of_a_target_is_it_and_what_it_needs(console: Console) -> None:
    document = console("graph", "-o", "json", "--target", "tagscheme/release").json("graph")
    assert [node["id"] for node in document["nodes"]] == ["Image/base", "Image/site", "TagScheme/release"]
    assert console("graph", "--target", "volume/none").code == 1


def test_without_a_manifest_init_is_named(console: Console, stack: Path) -> None:
    stack.unlink()
    ran = console("validate")
    assert ran.code == 64
    assert "declarative init" in ran.err


TREE = """\
Container/side
└─ Container/web (network_mode)
   ├─ TagScheme/release (image, track 1)
   │  └─ Image/site (image)
   │     └─ Image/base (base)
   ├─ Network/front (network)
   ├─ Volume/data (volume at /data)
   └─ Job/migrate (completed)
      ├─ Image/site (image) …
      └─ Network/front (network)
"""


@pytest.mark.parametrize("verb", ["validate", "render", "graph"])
def test_no_secret_has_to_be_there_for_looking(verb: str, console: Console, stack: Path) -> None:
    secret = "\n  environment: {PASSWORD: {secret: {env: NOT_SET_ANYWHERE}}}"
    spec = "\n---\napiVersion: declarative/v1\nkind: Container\nmetadata: {name: hidden}\nspec:\n  image: busybox"
    stack.write_text(stack.read_text() + spec + secret + "\n")

    assert console(verb).code == 0
    assert "NOT_SET_ANYWHERE" in console("plan").err
