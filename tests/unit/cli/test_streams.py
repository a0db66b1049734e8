"""Standard streams as cron, daemons and pipes leave them: closed, full, or with nobody at the other end."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli import PROGRAM

if TYPE_CHECKING:
    from pathlib import Path


def run(words: str, folder: Path, before: str = "exec ") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f"{before}{PROGRAM} {words}"],
        check=False, capture_output=True, text=True, cwd=folder, timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8", "TOKEN": "x"},
    )  # fmt: skip


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-", ">&- <&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_matter(closed: str, tmp_path: Path) -> None:
    ended = run(f"graph {closed}", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("" if ">&- " in closed else "Container/side\n")


def test_an_error_with_nowhere_to_go_is_still_an_exit_code(tmp_path: Path) -> None:
    assert run("validate <&- >&- 2>&-", tmp_path).returncode == 64


def test_a_folder_that_was_removed_is_an_error_and_no_crash(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    ended = subprocess.run(
        ["sh", "-c", f"rmdir ../gone; exec {PROGRAM} validate"],
        check=False, capture_output=True, text=True, cwd=gone, timeout=60, env={"PATH": "/usr/bin:/bin", "HOME": "/"},
    )  # fmt: skip
    assert ended.returncode == 64
    assert "Traceback" not in ended.stderr


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("form", ["", "-o json"])
@pytest.mark.parametrize("verb", ["render", "graph", "validate", "version"])
def test_a_full_disk_is_said_once(verb: str, form: str, tmp_path: Path) -> None:
    ended = run(f"{verb} {form} >/dev/full", tmp_path)
    assert (ended.returncode, ended.stderr) == (1, "error: standard output: no space left on device\n")


@pytest.mark.parametrize("words", ["--help", "render --help", "completion bash", "schema", "explain --list"])
@pytest.mark.parametrize("buffered", ["", "PYTHONUNBUFFERED=1 "])
def test_a_full_disk_is_said_where_no_stack_is_read_too(words: str, buffered: str, tmp_path: Path) -> None:
    ended = run(f"{words} >/dev/full", tmp_path, before=buffered)
    assert (ended.returncode, ended.stderr) == (1, "error: standard output: no space left on device\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_every_encoding(encoding: str, tmp_path: Path) -> None:
    words = "gr\u00fcn-\u4f60-\U0001f600"
    (tmp_path / "s.yaml").write_text(
        "apiVersion: declarative/v1\nkind: Container\nmetadata: {name: web}\n"
        f"spec: {{image: busybox, environment: {{A: {words}}}}}\n", encoding="utf-8",
    )  # fmt: skip
    before = f"PYTHONIOENCODING={encoding} "
    rendered = run("render -f s.yaml --stack shop -o json", tmp_path, before).stdout
    assert json.loads(rendered)["documents"][-1]["spec"]["environment"] == {"A": words}
    assert ("\\u00fc" in rendered) == (encoding != "utf-8")
    ended = run("validate --log-format json -f 'gr\u00fcn.yaml'", tmp_path, before)
    assert "gr\u00fcn.yaml" in str(json.loads(ended.stderr))


def test_an_error_counts_though_nobody_can_be_told(tmp_path: Path) -> None:
    assert run("nosuch 2>/dev/full", tmp_path).returncode == 64
    assert run("--help >&-", tmp_path).returncode == 0


@pytest.mark.usefixtures("stack")
def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    ended = run("explain --list | head -n 1; echo", tmp_path)
    assert (ended.stdout, ended.stderr) == ("Stack\n\n", "")
