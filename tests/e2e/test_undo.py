"""`rollout undo` brings back what ran: the image that was built then, and the files as they were then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli import Cli
    from tests.engines import Engine

_STACK = """\
apiVersion: declarative/v1
kind: Stack
metadata: {name: back}
---
apiVersion: declarative/v1
kind: Image
metadata: {name: app}
spec:
  build:
    context: app
    dockerfile_inline: |
      FROM busybox:latest
      COPY version /version
      CMD ["sleep", "1000"]
---
apiVersion: declarative/v1
kind: Container
metadata: {name: web}
spec:
  image: {image: app}
  files: [{target: /etc/setting, file: setting}]
  stop_signal: SIGKILL
"""


@pytest.fixture
def applied_twice(tmp_path: Path, declarative_cli: Cli) -> str:
    (tmp_path / "app").mkdir()
    stack = tmp_path / "stack.yaml"
    stack.write_text(_STACK)
    for word in ("first", "second"):
        (tmp_path / "app" / "version").write_text(word)
        (tmp_path / "setting").write_text(word)
        declarative_cli("apply", "-f", str(stack)).expect(0)
    return str(stack)


def _seen(engine: Engine) -> str:
    return engine.docker("exec", "back-web-1", "cat", "/version", "/etc/setting").stdout


def test_the_image_and_the_files_of_the_revision_come_back(
    applied_twice: str, declarative_cli: Cli, docker_engine: Engine
) -> None:
    assert _seen(docker_engine).split() == ["secondsecond"]

    declarative_cli("rollout", "undo", "-f", applied_twice).expect(0)

    assert _seen(docker_engine).split() == ["firstfirst"]


def test_an_image_that_is_gone_is_refused_by_name(
    applied_twice: str, declarative_cli: Cli, docker_engine: Engine
) -> None:
    docker_engine.docker("image", "prune", "--force")

    refused = declarative_cli("rollout", "undo", "-f", applied_twice).expect(1)

    assert "Image/app: the image of revision 1 is no longer in the engine" in refused.err
    assert _seen(docker_engine).split() == ["secondsecond"]


_TRACKS = """\
apiVersion: declarative/v1
kind: Stack
metadata: {name: back}
---
apiVersion: declarative/v1
kind: Image
metadata: {name: app}
spec: {build: {context: app, dockerfile_inline: "FROM busybox:latest\\nCOPY version /version\\n"}}
---
apiVersion: declarative/v1
kind: TagScheme
metadata: {name: app}
spec: {image: app, version_from: {file: app/version}}
---
apiVersion: declarative/v1
kind: Container
metadata: {name: web}
spec: {image: {scheme: app, track: latest}, command: [sleep, "1000"], stop_signal: SIGKILL}
---
apiVersion: declarative/v1
kind: Job
metadata: {name: migrate}
spec: {image: {scheme: app, track: latest}, command: [cat, /version]}
"""


def test_who_follows_a_track_goes_back_though_tags_do_not(
    tmp_path: Path, declarative_cli: Cli, docker_engine: Engine
) -> None:
    (tmp_path / "app").mkdir()
    stack, version = tmp_path / "stack.yaml", tmp_path / "app" / "version"
    stack.write_text(_TRACKS)
    for text in ("1.0.0", "1.1.0", "1.2.0"):
        version.write_text(text)
        declarative_cli("apply").expect(0)
    for told, runs in (("2", "1.1.0"), ("3", "1.2.0"), ("4", "1.1.0")):
        ran = declarative_cli("rollout", "undo").expect(0)

        assert ran.out.startswith(f"back: back to revision {told}\n")
        assert docker_engine.docker("exec", "back-web-1", "cat", "/version").stdout == runs
        assert docker_engine.docker("logs", "back-migrate-1").stdout == runs
        assert docker_engine.docker("run", "--rm", "back/app:latest", "cat", "/version").stdout == "1.2.0"
    declarative_cli("drift").expect(0)
    declarative_cli("apply", "--exit-code").expect(2)
    declarative_cli("apply", "--exit-code").expect(0)
    assert docker_engine.docker("exec", "back-web-1", "cat", "/version").stdout == "1.2.0"
