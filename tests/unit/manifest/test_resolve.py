"""Resolving: laws about cycles, defaults, places, and what only whole stacks can get wrong."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import textwrap
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.core.resources import ArchiveSource, TagScheme
from declarative.errors import Invalid, InvalidManifest, Usage
from declarative.manifest.load import Loaded, LoadOptions, load_stack
from declarative.manifest.resolve_archive import image_id
from declarative.manifest.resolve_graph import find_cycles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HEAD = "apiVersion: declarative/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n"


def document(kind: str, name: str, spec: str) -> str:
    return "---\n" + HEAD.format(kind=kind, name=name) + textwrap.indent(textwrap.dedent(spec).strip(), "  ") + "\n"


def load(folder: Path, *documents: str, environ: Mapping[str, str] | None = None) -> Loaded:
    (folder / "stack.yaml").write_text("".join(documents))
    options = LoadOptions(working_folder=folder, environ=environ or {}, home="/root", stdin=io.BytesIO())
    return load_stack(["stack.yaml"], options)


def faults(folder: Path, *documents: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(InvalidManifest) as caught:
        load(folder, *documents, environ=environ)
    return str(caught.value)


_GRAPHS = st.dictionaries(
    st.sampled_from("abcdefg"), st.dictionaries(st.sampled_from("abcdefg"), st.just("spec.depends_on"), max_size=4)
)


@given(_GRAPHS)
def test_a_cycle_is_found_exactly_where_there_is_no_order(graph: dict[str, dict[str, str]]) -> None:
    graph = {name: {to: path for to, path in needs.items() if to in graph} for name, needs in graph.items()}
    cycles = list(find_cycles(graph))
    try:
        TopologicalSorter(graph).prepare()
        assert cycles == []
    except CycleError:
        assert cycles
    for cycle in cycles:
        assert all(to in graph[name] for name, to in zip(cycle, (*cycle[1:], cycle[0]), strict=True))


def test_a_chain_of_thousands_needs_no_recursion() -> None:
    graph = {str(number): {str(number + 1): ""} for number in range(20_000)}
    graph["20000"] = {}
    assert list(find_cycles(graph)) == []


def test_defaults_lie_under_every_container_and_job(tmp_path: Path) -> None:
    stack = document(
        "Stack",
        "shop",
        """
        defaults:
          restart: always
          environment: {A: default, B: default}
          dns: [10.0.0.1]
          healthcheck: {test: "true", interval: 5s}
          replicas: 2
        """,
    )
    web = document("Container", "web", "image: nginx\nenvironment: {B: own}\nhealthcheck: {disable: true}")
    vpn = document("Container", "vpn", "image: vpn\nreplicas: 1")
    inside = document("Container", "inside", "image: nginx\nnetwork_mode: container:vpn")
    once = document("Job", "once", "image: nginx")
    desired = load(tmp_path, stack, web, vpn, inside, once).desired
    assert desired.containers["web"].spec.environment == {"A": "default", "B": "own"}
    assert desired.containers["web"].spec.healthcheck is not None
    assert desired.containers["web"].spec.healthcheck.test == ("NONE",)
    assert desired.containers["web"].replicas == 2
    assert desired.containers["inside"].spec.dns == ()
    assert desired.containers["inside"].spec.networks == {}
    assert desired.jobs["once"].spec.restart is None
    assert desired.jobs["once"].spec.dns == ("10.0.0.1",)


def test_places_of_defaults_are_in_the_stack_document(tmp_path: Path) -> None:
    (tmp_path / "0.yaml").write_text(document("Stack", "shop", "defaults:\n  labels:\n    a.b/c: d\n  user: '5'"))
    (tmp_path / "1.yaml").write_text(
        document("Container", "web", "image: nginx\nports:\n  - '80'\n  - target: 81\n    published: 81")
    )
    options = LoadOptions(working_folder=tmp_path, stdin=io.BytesIO())
    places = load_stack(["."], options).desired.containers["web"].places
    assert places.at("spec.image") == "1.yaml:6"
    assert places.at("spec.ports[1].published") == "1.yaml:10"
    assert places.at("spec.ports[7]") == "1.yaml:7"
    assert places.at("spec.labels.a.b/c") == "0.yaml:8"
    assert places.at("spec.user") == "0.yaml:9"
    assert places.at("spec.nowhere.at.all") == "1.yaml:5"
    assert places.at("") == "1.yaml:2"


def test_places_are_found_by_name_in_lists(tmp_path: Path) -> None:
    web = """
    image: nginx
    environment:
      - A=1
      - B=2
    volumes:
      - data:/var/lib:ro
      - {type: tmpfs, target: /tmp/}
    files:
      - target: /etc/a.conf
        content: x
    networks:
      - default
      - back
    """
    others = "---\napiVersion: declarative/v1\nkind: Network\nmetadata: {name: back}\n"
    others += others.replace("Network", "Volume").replace("back", "data")
    places = load(tmp_path, document("Container", "web", web), others).desired.containers["web"].places
    found = {
        "spec.environment.B": 9,
        "spec.environment.C": 7,
        "spec.volumes./var/lib": 11,
        "spec.volumes./tmp": 12,
        "spec.files./etc/a.conf.content": 14,
        "spec.files./etc/b.conf.content": 13,
        "spec.networks.back": 18,
    }
    assert {path: places.at(path) for path in found} == {path: f"stack.yaml:{line}" for path, line in found.items()}


def test_a_fault_in_the_defaults_is_reported_once(tmp_path: Path) -> None:
    stack = document("Stack", "shop", "defaults: {restart: allways}")
    said = faults(tmp_path, stack, *(document("Container", f"web{number}", "image: nginx") for number in range(5)))
    assert said.count("allways` is not") == 1


def test_relative_paths_in_defaults_count_from_the_stack_document(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "a.yaml").write_text(document("Stack", "shop", "defaults: {volumes: ['./x:/x']}"))
    (tmp_path / "two" / "b.yaml").write_text(document("Container", "web", "image: nginx\nenv_file: own.env"))
    (tmp_path / "two" / "own.env").write_text("A=1\n")
    options = LoadOptions(working_folder=tmp_path, stdin=io.BytesIO())
    web = load_stack(["one", "two"], options).desired.containers["web"]
    assert web.spec.volumes[0].source == str(tmp_path / "one" / "x")
    assert web.spec.environment == {"A": "1"}


def test_problems_of_all_files_come_at_once_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [\n")
    (tmp_path / "b.yaml").write_text(document("Container", "web", "imagee: nginx"))
    (tmp_path / "c.yaml").write_text(document("Container", "api", "image: {image: nowhere}"))
    with pytest.raises(InvalidManifest) as caught:
        load_stack([".", "nowhere.yaml"], LoadOptions(working_folder=tmp_path, stdin=io.BytesIO()))
    files = [problem.span.file if problem.span else problem.subject for problem in caught.value.problems]
    assert files == ["nowhere.yaml", "a.yaml", "b.yaml", "b.yaml", "c.yaml"]


def test_standard_input_is_read_and_relative_to_the_working_folder(tmp_path: Path) -> None:
    text = document("Container", "web", "image: nginx\nvolumes: ['./x:/x']").encode()
    options = LoadOptions(working_folder=tmp_path, stdin=io.BytesIO(text), stack="given")
    loaded = load_stack(["-"], options)
    assert loaded.stack.name == "given"
    assert loaded.desired.containers["web"].spec.volumes[0].source == str(tmp_path / "x")


def test_secrets_are_not_in_the_documents_that_are_kept(tmp_path: Path) -> None:
    web = document("Container", "web", "image: nginx\nenvironment: {A: {secret: {env: TOKEN}}}")
    loaded = load(tmp_path, web, environ={"TOKEN": "hush-hush"})
    assert "hush-hush" not in repr(loaded)
    assert loaded.desired.containers["web"].spec.environment["A"].reveal() == "hush-hush"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "fields",
    ["environment: {A: {secret: {env: TOKEN}}}", "files: [{target: /a, secret: {env: TOKEN}}]"],
)
def test_a_secret_that_is_not_text_is_told_at_its_place(tmp_path: Path, fields: str) -> None:
    told = faults(tmp_path, document("Container", "web", f"image: nginx\n{fields}"), environ={"TOKEN": "v\udcff"})
    assert "the environment variable TOKEN is not UTF-8 text" in told
    assert "stack.yaml:7:" in told


@pytest.mark.parametrize(
    ("field", "remedy"),
    [
        ("replicas: '{{ env.N }}'", "write {{ … | int }} ("),
        ("replicas: '2'", "write it without quotes ("),
        ("domainname: '{{ 2 }}'", "write {{ … | string }} ("),
        ("domainname: 2", 'put it in quotes: "2" ('),
    ],
)
def test_how_to_change_a_type_depends_on_who_gives_the_value(tmp_path: Path, field: str, remedy: str) -> None:
    stack = document("Stack", "shop", "env: [N]")
    assert remedy in faults(tmp_path, stack, document("Container", "web", f"image: nginx\n{field}"), environ={"N": "2"})


def test_an_image_of_the_stack_named_as_a_reference_is_warned_of(tmp_path: Path) -> None:
    image = document("Image", "app", "pull: nginx\nrepository: shop/app")
    loaded = load(tmp_path, image, document("Container", "web", "image: docker.io/shop/app"))
    (warning,) = loaded.warnings
    assert "write image: {image: app}" in str(warning)
    assert "(stack.yaml:13:10)" in str(warning)
    assert load(tmp_path, image, document("Container", "web", "image: {image: app}")).warnings == ()


def test_where_only_names_count_nothing_else_is_read(tmp_path: Path) -> None:
    documents = (
        document("Image", "app", "build: {context: ./nowhere}"),
        document("Image", "base", "rootfs: nowhere.tar"),
        document("Image", "loaded", "archive: {path: nowhere.tar}"),
        document("TagScheme", "app", "image: app\nversion_from: {git: true}"),
        document(
            "Container",
            "web",
            """
            image: {image: app}
            environment: {A: {secret: {env: NOT_SET}}, B: {secret: {file: nowhere}}}
            env_file: nowhere.env
            files: [{target: /a, file: nowhere}, {target: /b, secret: {env: NOT_SET}}]
            security_opt: ["seccomp=nowhere.json"]
            """,
        ),
    )
    (tmp_path / "stack.yaml").write_text("".join(documents))
    options = LoadOptions(working_folder=tmp_path, stdin=io.BytesIO(), names_only=True)
    desired = load_stack(["stack.yaml"], options).desired
    assert list(desired.containers) == ["web"]
    assert list(desired.images) == ["app", "base", "loaded"]
    assert len(faults(tmp_path, *documents).splitlines()) > 8


def test_a_stack_name_on_the_command_line_is_checked(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(document("Container", "web", "image: nginx"))
    options = LoadOptions(working_folder=tmp_path, stdin=io.BytesIO(), stack="My Shop")
    with pytest.raises(Usage, match="is not a stack's name"):
        load_stack(["stack.yaml"], options)


def test_a_port_of_a_container_without_replicas_is_free(tmp_path: Path) -> None:
    one = document("Container", "one", "image: nginx\nports: ['80:80']\nreplicas: 0")
    two = document("Container", "two", "image: nginx\nports: ['80:80']")
    assert len(load(tmp_path, one, two).desired.containers) == 2


def test_a_version_is_read_from_git(tmp_path: Path) -> None:
    image = document("Image", "app", "pull: nginx")
    scheme = document("TagScheme", "app", "image: app\nversion_from: {git: true}")
    assert "not in a git repository" in faults(tmp_path, image, scheme)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run([*git, "init", "-q", "."], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], cwd=tmp_path, check=True)
    assert "no tag points at the commit" in faults(tmp_path, image, scheme)
    subprocess.run([*git, "tag", "v1.9.2"], cwd=tmp_path, check=True)
    found = load(tmp_path, image, scheme).desired.schemes["app"]
    assert isinstance(found, TagScheme)
    assert found.spec.version == "v1.9.2"
    assert found.spec.repository == f"{load(tmp_path, image).desired.stack}/app"
    others = ("v1.9.2-rc.1", "zebra", "2026.11.01", "2026.09.30")
    for tag in others:
        subprocess.run([*git, "tag", tag], cwd=tmp_path, check=True)
    assert load(tmp_path, image, scheme).desired.schemes["app"].spec.version == "v1.9.2"
    dated = document("TagScheme", "app", "image: app\nversion_from: {git: true}\nscheme: calver")
    assert load(tmp_path, image, dated).desired.schemes["app"].spec.version == "2026.11.01"
    subprocess.run([*git, "tag", "-d", "v1.9.2", *others], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([*git, "tag", "nightly"], cwd=tmp_path, check=True)
    assert "not a semantic version" in faults(tmp_path, image, scheme)


def archive(path: Path, files: dict[str, Any]) -> None:
    with tarfile.open(path, "w:gz") as made:
        for name, content in files.items():
            data = json.dumps(content).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))


def test_the_image_of_an_archive_is_known_by_its_config(tmp_path: Path) -> None:
    one, two = "a" * 64, "b" * 64
    saved = [{"Config": f"{one}.json", "RepoTags": ["app:1"]}, {"Config": f"blobs/sha256/{two}", "RepoTags": ["app:2"]}]
    archive(tmp_path / "one.tar", {"manifest.json": saved[:1]})
    archive(tmp_path / "two.tar", {"manifest.json": saved})
    assert image_id(str(tmp_path / "one.tar")) == f"sha256:{one}"
    assert image_id(str(tmp_path / "two.tar"), "app:2") == f"sha256:{two}"
    with pytest.raises(Invalid, match=r"holds 2 images — say which.*app:1, app:2"):
        image_id(str(tmp_path / "two.tar"))
    with pytest.raises(Invalid, match="holds no image app:3"):
        image_id(str(tmp_path / "two.tar"), "app:3")
    loaded = load(tmp_path, document("Image", "app", "archive: {path: two.tar, reference: app:1}"))
    source = loaded.desired.images["app"].spec.source
    assert isinstance(source, ArchiveSource)
    assert source.image_id == f"sha256:{one}"


def test_the_image_of_an_oci_archive_is_known_by_its_config(tmp_path: Path) -> None:
    digest, config = "sha256:" + "c" * 64, "sha256:" + "d" * 64
    index = {"manifests": [{"digest": digest, "annotations": {"org.opencontainers.image.ref.name": "app:1"}}]}
    archive(
        tmp_path / "oci.tar",
        {"index.json": index, f"blobs/sha256/{'c' * 64}": {"config": {"digest": config}}},
    )
    assert image_id(str(tmp_path / "oci.tar")) == config
    archive(tmp_path / "empty.tar", {"index.json": {"manifests": []}, "manifest.json": "text"})
    with pytest.raises(Invalid, match="holds no image"):
        image_id(str(tmp_path / "empty.tar"))


def test_the_accept_path_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(document("Container", "web", "image: nginx\nports: ['80:80']"))
    program = (
        "import sys; from pathlib import Path; from declarative.manifest.load import LoadOptions, load_stack\n"
        f"load_stack(['stack.yaml'], LoadOptions(working_folder=Path({str(tmp_path)!r})))\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {
        "jsonschema",
        "jinja2",
        "rich",
        "structlog",
        "tenacity",
        "urllib3",
        "ssl",
        "subprocess",
        "asyncio",
    }
    assert heavy & set(done.stdout.split()) == set()


def test_a_file_of_fifty_megabytes_is_refused_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "stack.yaml").open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    with pytest.raises(InvalidManifest, match="larger than 8 MiB"):
        load_stack(["stack.yaml"], LoadOptions(working_folder=tmp_path, stdin=io.BytesIO()))
