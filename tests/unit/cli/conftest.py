"""A console in an empty folder, and a small stack that asks for one of everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from declarative.cli import connection
from tests.unit.cli.console import Console, Opened

if TYPE_CHECKING:
    from pathlib import Path

STACK = """\
apiVersion: declarative/v1
kind: Stack
metadata: {name: shop}
spec: {values: {version: 1.9.2}}
---
apiVersion: declarative/v1
kind: Image
metadata: {name: base}
spec:
  build: {context: ., dockerfile_inline: "FROM busybox:latest\\n"}
---
apiVersion: declarative/v1
kind: Image
metadata: {name: site}
spec:
  build: {context: ., dockerfile_inline: "FROM shop/base\\nRUN true\\n"}
---
apiVersion: declarative/v1
kind: TagScheme
metadata: {name: release}
spec: {image: site, version: "{{ values.version }}"}
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
spec: {image: {image: site}, networks: [front]}
---
apiVersion: declarative/v1
kind: Container
metadata: {name: web}
spec:
  image: {scheme: release, track: "1"}
  environment: {TOKEN: {secret: {env: TOKEN}}}
  networks: [front]
  volumes: ["data:/data"]
  depends_on: {migrate: {condition: completed}}
---
apiVersion: declarative/v1
kind: Container
metadata: {name: side}
spec: {image: busybox, network_mode: "container:web"}
"""


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(folder=tmp_path, environ={"HOME": str(tmp_path), "TOKEN": "hunter2"})


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    file = tmp_path / "stack.yaml"
    file.write_text(STACK)
    return file


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    opened = Opened()
    monkeypatch.setattr(connection, "open_driver", opened.open)
    monkeypatch.setattr(connection, "open_early", lambda *_, **__: None)
    return opened
