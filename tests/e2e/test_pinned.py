"""References with a tag and a digest, as tools write them that pin and update: run, built on, and in sync at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli import Cli
    from tests.engines import Engine

_STACK = """\
apiVersion: declarative/v1
kind: Image
metadata: {{name: given}}
spec: {{pull: "{pinned}", policy: always}}
---
apiVersion: declarative/v1
kind: Image
metadata: {{name: app}}
spec:
  build: {{context: ctx, dockerfile_inline: "FROM {pinned}\\nRUN echo 1 > /v\\n"}}
---
apiVersion: declarative/v1
kind: Container
metadata: {{name: plain}}
spec: {{image: "{pinned}", command: [sleep, "9000"]}}
---
apiVersion: declarative/v1
kind: Container
metadata: {{name: built}}
spec: {{image: {{image: app}}, command: [sleep, "9000"]}}
"""


@pytest.fixture(params=["docker_engine", "docker26", "embedded_engine"])
def engine(request: pytest.FixtureRequest, reaching: Callable[[str], Engine]) -> Engine:
    return reaching(request.param)


@pytest.fixture
def pinned(engine: Engine, registry: str) -> str:
    """Publish an image and forget it; its name with tag and digest."""
    name = f"{registry}/given:1"
    engine.docker("tag", "busybox:latest", name)
    pushed = engine.docker("push", name).stdout
    engine.docker("rmi", name)
    return f"{name}@sha256:{pushed.partition('digest: sha256:')[2].split()[0]}"


@pytest.mark.parametrize("whole", [True, False], ids=["with an Image", "without"])
def test_a_tag_beside_a_digest_says_nothing(
    engine: Engine, pinned: str, cli_for: Callable[[Engine], Cli], tmp_path: Path, *, whole: bool
) -> None:
    (tmp_path / "ctx").mkdir()
    text = _STACK.format(pinned=pinned)
    file = tmp_path / "stack.yaml"
    file.write_text(text if whole else text.partition("---\n")[2])
    cli = cli_for(engine)
    summary = cli("apply", "-f", file, "--stack", "pin", "-o", "json").expect(0).json()["summary"]
    assert summary["build"] == summary["pull"] == 1
    cli("plan", "-f", file, "--stack", "pin", "--exit-code").expect(0)
