"""The life of a stack on a real Podman, over its Docker-compatible API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.podman import Podman

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
kind: TagScheme
metadata: {name: site}
spec:
  scheme: semver
  image: site
  version: 1.2.3
  repository: site
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
kind: Job
metadata: {name: migrate}
spec:
  image: {image: site}
  command: [sh, -c, "echo done > /data/migrated"]
  volumes: ["data:/data"]
---
apiVersion: declarative/v1
kind: Container
metadata: {name: web}
spec:
  image: {image: site}
  environment: {GREETING: hello}
  ports: ["8091:80"]
  networks: {front: {aliases: [shop]}}
  volumes: ["data:/data"]
  tmpfs: [/scratch, "/cache:size=1m,noexec,nosuid"]
  cap_add: [SYS_TIME]
  restart: on-failure:3
  resources: {memory: 64m, pids: 50}
  healthcheck: {disable: true}
  files:
    - {target: /etc/motd, content: "welcome\\n", mode: "0444"}
  depends_on: {migrate: {condition: completed}}
---
apiVersion: declarative/v1
kind: Container
metadata: {name: worker}
spec:
  image: {image: site}
  command: [sleep, "9000"]
  replicas: 2
  networks: [front]
"""
_ROOTFS = """\
apiVersion: declarative/v1
kind: Stack
metadata: {name: site}
---
apiVersion: declarative/v1
kind: Image
metadata: {name: site}
spec:
  rootfs: rootfs.tar
  repository: acme/site
  tags: [one]
---
apiVersion: declarative/v1
kind: Container
metadata: {name: web}
spec:
  image: {image: site}
  command: [sleep, "9000"]
  stop_signal: SIGKILL
"""
_DOCKERFILE = """\
FROM busybox:latest
COPY index.html /www/index.html
CMD ["httpd", "-f", "-p", "80", "-h", "/www"]
"""


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with Podman() as engine:
        yield engine


@pytest.fixture
def declarative_cli(podman: Podman, cli_for: Callable[[Engine], Cli]) -> Cli:
    return cli_for(podman)


@pytest.fixture
def stack(tmp_path: Path, podman: Podman, declarative_cli: Cli) -> Iterator[Path]:
    site = tmp_path / "site"
    site.mkdir()
    (site / "Dockerfile").write_text(_DOCKERFILE)
    (site / "index.html").write_text("first\n")
    file = tmp_path / "stack.yaml"
    file.write_text(_STACK)
    yield file
    declarative_cli("destroy", "-f", file, "--yes", "--delete-volumes").expect(0)
    left = podman.contents()
    podman.clear()
    assert not left.containers | left.networks | left.volumes


def test_a_stack_lives_on_podman(stack: Path, declarative_cli: Cli, podman: Podman) -> None:
    declarative_cli("apply", "-f", stack).expect(0)
    assert podman.http_get(8091) == (200, "first\n")
    assert podman.docker("exec", "shop-web-1", "cat", "/etc/motd", "/data/migrated").stdout == "welcome\ndone\n"
    tags = {name.rpartition("/site:")[2] for name in podman.contents().images if "/site:" in name}
    assert tags == {"1", "1.2", "1.2.3", "latest"}
    declarative_cli("plan", "-f", stack, "--exit-code").expect(0)
    declarative_cli("apply", "-f", stack, "--exit-code").expect(0)
    declarative_cli("drift", "-f", stack).expect(0)


def test_what_changed_is_replaced_and_comes_back_by_undo(stack: Path, declarative_cli: Cli, podman: Podman) -> None:
    declarative_cli("apply", "-f", stack).expect(0)
    (stack.parent / "site/index.html").write_text("second\n")
    stack.write_text(stack.read_text().replace("1.2.3", "1.3.0").replace("9000", "9001"))
    declarative_cli("apply", "-f", stack).expect(0)
    assert podman.http_get(8091) == (200, "second\n")
    declarative_cli("plan", "-f", stack, "--exit-code").expect(0)

    declarative_cli("rollout", "undo", "-f", stack).expect(0)
    assert podman.http_get(8091) == (200, "first\n")
    assert len(declarative_cli("history", "-f", stack, "-o", "json").expect(0).json()["revisions"]) == 3


def test_what_somebody_did_by_hand_is_drift_and_is_mended(stack: Path, declarative_cli: Cli, podman: Podman) -> None:
    declarative_cli("apply", "-f", stack).expect(0)
    podman.docker("rm", "-f", "shop-worker-2")
    podman.docker("stop", "-t", "0", "shop-web-1")
    found = declarative_cli("drift", "-f", stack, "-o", "json").expect(3).json()
    assert {step["name"]: step["action"] for step in found["steps"]} == {
        "shop-worker-2": "create",
        "shop-web-1": "start",
    }
    declarative_cli("apply", "-f", stack).expect(0)
    assert podman.http_get(8091) == (200, "first\n")
    declarative_cli("drift", "-f", stack).expect(0)


def test_a_replacement_that_does_not_start_leaves_the_old_one_running(
    stack: Path, declarative_cli: Cli, podman: Podman
) -> None:
    declarative_cli("apply", "-f", stack).expect(0)
    good = stack.read_text()
    stack.write_text(good.replace("environment: {GREETING: hello}", "command: [sh, -c, 'exit 3']"))
    ended = declarative_cli("apply", "-f", stack).expect(1)
    assert "exited with code 3" in ended.out + ended.err
    assert podman.http_get(8091) == (200, "first\n")
    stack.write_text(good)
    declarative_cli("plan", "-f", stack, "--exit-code").expect(0)


def test_limits_networks_and_counts_change_and_then_there_is_nothing_to_do(
    stack: Path, declarative_cli: Cli, podman: Podman
) -> None:
    declarative_cli("apply", "-f", stack).expect(0)
    text = stack.read_text().replace("memory: 64m", "memory: 96m").replace("aliases: [shop]", "aliases: [shop, store]")
    stack.write_text(text.replace("replicas: 2", "replicas: 3").replace("on-failure:3", "always"))
    declarative_cli("apply", "-f", stack).expect(0)
    declarative_cli("plan", "-f", stack, "--exit-code").expect(0)
    assert podman.docker("exec", "shop-worker-3", "nslookup", "store").returncode == 0
    assert declarative_cli("exec", "-f", stack, "web", "--", "echo", "there").expect(0).out == "there\n"
    declarative_cli("status", "-f", stack).expect(0)


def test_what_needs_buildkit_is_refused_before_anything_starts(
    stack: Path, declarative_cli: Cli, podman: Podman
) -> None:
    (stack.parent / "site/Dockerfile").write_text("FROM busybox:latest\nRUN --mount=type=cache,target=/c true\n")
    ended = declarative_cli("apply", "-f", stack).expect(1)
    assert "Dockerfile:2: RUN --mount" in ended.err
    assert "buildx" not in ended.err
    assert not podman.contents().networks


def test_a_tag_goes_off_an_image_that_runs_and_no_other_is_touched(
    tmp_path: Path, declarative_cli: Cli, podman: Podman
) -> None:
    podman.docker("create", "--name", "full", "busybox:latest")
    podman.docker("export", "full", "--output", str(tmp_path / "rootfs.tar"))
    podman.docker("rm", "full")
    podman.docker("tag", "busybox:latest", "acme/site:latest")
    file = tmp_path / "stack.yaml"
    file.write_text(_ROOTFS)
    declarative_cli("apply", "-f", file).expect(0)
    declarative_cli("plan", "-f", file, "--exit-code").expect(0)
    kept = podman.api("GET", "/images/acme/site:latest/json")[1]["Id"]

    file.write_text(_ROOTFS.replace("tags: [one]", "tags: [two]"))
    declarative_cli("apply", "-f", file).expect(0)
    declarative_cli("plan", "-f", file, "--exit-code").expect(0)
    assert {name.rpartition(":")[2] for name in podman.contents().images if "acme/site:" in name} == {"two", "latest"}
    assert podman.api("GET", "/images/acme/site:latest/json")[1]["Id"] == kept
    declarative_cli("destroy", "-f", file, "--yes").expect(0)
