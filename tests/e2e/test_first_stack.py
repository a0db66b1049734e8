"""The life of a small stack on a real engine, by the installed program alone: from nothing, in sync, drifted, mended, gone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.engines import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli import Cli
    from tests.engines import Engine

_STACK = """\
apiVersion: declarative/v1
kind: Stack
metadata: {name: shop}
---
apiVersion: declarative/v1
kind: Image
metadata: {name: site}
spec:
  build: {context: site}
---
apiVersion: declarative/v1
kind: Network
metadata: {name: front}
---
apiVersion: declarative/v1
kind: Volume
metadata: {name: data}
---
apiVersion: declarative/v1
kind: Container
metadata: {name: web}
spec:
  image: {image: site}
  environment: {GREETING: hello}
  ports: ["8091:80"]
  networks: [front]
  volumes: ["data:/data"]
  stop_signal: SIGKILL
"""
_DOCKERFILE = """\
FROM busybox:latest
COPY index.html /www/index.html
CMD ["httpd", "-f", "-p", "80", "-h", "/www"]
"""


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    site.mkdir()
    (site / "Dockerfile").write_text(_DOCKERFILE)
    (site / "index.html").write_text("first\n")
    file = tmp_path / "stack.yaml"
    file.write_text(_STACK)
    return file


def test_apply_makes_what_the_manifest_says_and_then_has_nothing_to_do(
    stack: Path, declarative_cli: Cli, docker_engine: Engine
) -> None:
    declarative_cli("plan", "-f", stack, "--exit-code").expect(2)
    declarative_cli("apply", "-f", stack).expect(0)
    assert _page(docker_engine) == "first\n"
    assert _names(docker_engine) == {"containers shop-web-1", "networks shop_front", "volumes shop_data"}
    before = _identities(docker_engine)
    declarative_cli("plan", "-f", stack, "--exit-code").expect(0)
    declarative_cli("apply", "-f", stack, "--exit-code").expect(0)
    declarative_cli("drift", "-f", stack).expect(0)
    assert _identities(docker_engine) == before


def test_a_plan_as_json_has_the_published_shape(stack: Path, declarative_cli: Cli) -> None:
    plan = declarative_cli("plan", "-f", stack, "-o", "json").expect(0).json()
    assert plan["stack"] == "shop"
    assert plan["in_sync"] is False
    assert plan["summary"]["create"] == 3
    steps = {step["id"]: step for step in plan["steps"]}
    create = next(step for step in steps.values() if step["kind"] == "Container")
    assert (create["action"], create["name"], create["cause"]) == ("create", "shop-web-1", "missing")
    assert {steps[needed]["kind"] for needed in create["needs"]} >= {"Image", "Network", "Volume"}
    assert re.search(r"\bstack\.yaml:\d+$", create["source"])


def test_a_changed_file_of_the_context_rebuilds_and_replaces(
    stack: Path, declarative_cli: Cli, docker_engine: Engine
) -> None:
    declarative_cli("apply", "-f", stack).expect(0)
    (stack.parent / "site/index.html").write_text("second\n")
    ended = declarative_cli("plan", "-f", stack, "--exit-code").expect(2)
    assert "index.html" in ended.out
    declarative_cli("apply", "-f", stack).expect(0)
    assert _page(docker_engine) == "second\n"
    declarative_cli("plan", "-f", stack, "--exit-code").expect(0)


def test_a_removed_container_is_drift_and_comes_back(stack: Path, declarative_cli: Cli, docker_engine: Engine) -> None:
    declarative_cli("apply", "-f", stack).expect(0)
    docker_engine.docker("rm", "-f", "shop-web-1")
    drifted = declarative_cli("drift", "-f", stack).expect(3)
    assert "web-1" in drifted.out
    assert "containers shop-web-1" not in _names(docker_engine)  # looking changes nothing
    declarative_cli("plan", "-f", stack, "--exit-code").expect(3)
    declarative_cli("apply", "-f", stack).expect(0)
    assert _page(docker_engine) == "first\n"
    declarative_cli("drift", "-f", stack).expect(0)


def test_a_limit_changes_in_place(stack: Path, declarative_cli: Cli, docker_engine: Engine) -> None:
    declarative_cli("apply", "-f", stack).expect(0)
    before = docker_engine.api("GET", "/containers/shop-web-1/json")[1]
    stack.write_text(_STACK + "  resources: {memory: 64m}\n")
    declarative_cli("apply", "-f", stack).expect(0)
    after = docker_engine.api("GET", "/containers/shop-web-1/json")[1]
    assert after["HostConfig"]["Memory"] == 64 * 1024 * 1024
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    declarative_cli("plan", "-f", stack, "--exit-code").expect(0)


def test_a_document_that_left_the_manifest_is_pruned(stack: Path, declarative_cli: Cli, docker_engine: Engine) -> None:
    stack.write_text(_STACK + "---\napiVersion: declarative/v1\nkind: Network\nmetadata: {name: back}\n")
    declarative_cli("apply", "-f", stack).expect(0)
    assert "networks shop_back" in _names(docker_engine)
    stack.write_text(_STACK)
    declarative_cli("apply", "-f", stack).expect(0)
    assert "networks shop_back" not in _names(docker_engine)


def test_destroy_removes_all_but_the_data(stack: Path, declarative_cli: Cli, docker_engine: Engine) -> None:
    declarative_cli("apply", "-f", stack).expect(0)
    declarative_cli("destroy", "-f", stack).expect(64)  # no terminal to ask on, and no --yes
    declarative_cli("destroy", "-f", stack, "--yes").expect(0)
    assert _names(docker_engine) == {"volumes shop_data"}
    declarative_cli("destroy", "-f", stack, "--yes", "--delete-volumes").expect(0)
    assert _names(docker_engine) == set()


def _page(engine: Engine) -> str:
    page: list[str] = []

    def answers() -> bool:
        try:
            page[:] = [engine.http_get(8091, "/index.html")[1]]
        except OSError:
            return False
        return True

    wait_until(answers, "the page", 10)
    return page[0]


def _names(engine: Engine) -> set[str]:
    held = engine.contents()
    kinds = {"containers": held.containers, "networks": held.networks, "volumes": held.volumes}
    return {f"{kind} {name}" for kind, names in kinds.items() for name in names}


def _identities(engine: Engine) -> set[str]:
    _, containers = engine.api("GET", "/containers/json?all=1")
    _, images = engine.api("GET", "/images/json?all=1")
    return {row["Id"] for row in [*containers, *images]}
