"""`drift` from cron: what was not told is told by the next run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.console import Console, Opened

WEB = """\
apiVersion: declarative/v1
kind: Container
metadata: {name: web}
spec: {image: busybox, command: [sleep, "9000"], update: {monitor: 1ms}}
"""
DRIFT = ("drift", "--stack", "shop", "--quiet-repeat", "seen")


@pytest.fixture
def drifted(console: Console, opened: Opened, tmp_path: Path) -> Console:
    """Apply a container, and stop it by hand."""
    (tmp_path / "stack.yaml").write_text(WEB)
    assert console("apply", "--stack", "shop").code == 0
    opened.engine.stop("shop-web-1")
    return console


def test_drift_that_could_not_be_printed_is_news_again(drifted: Console) -> None:
    class Full:
        encoding = "utf-8"

        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device", text)

    assert drifted(*DRIFT, out=Full()).code == 3
    again = drifted(*DRIFT)
    assert (again.code, "shop: 1 drifted" in again.out) == (3, True)
    quiet = drifted(*DRIFT)
    assert (quiet.code, quiet.out) == (0, "")


def test_drift_is_told_though_no_file_can_be_written(drifted: Console, tmp_path: Path) -> None:
    ran = drifted(*DRIFT, "--metrics", "no/such/folder")

    assert (ran.code, "shop: 1 drifted" in ran.out) == (1, True)
    assert "cannot be written: no such file or directory" in ran.err
    assert not (tmp_path / "seen").exists()
    document = drifted(*DRIFT, "--metrics", "no/such/folder", "-o", "json")
    assert (document.code, json.loads(document.out)["drifted"]) == (1, True)
