"""The checks around a test run must be able to fail: each is shown a run, in a pytest of its own, that deserves it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines import wait_until

_ROOT = Path(__file__).resolve().parents[2]
_CLEAN = "def test_it(docker_engine): assert docker_engine.api('GET', '/_ping')[0] == 200"
_PROCESS = (
    "import subprocess\ndef test_it(): subprocess.Popen(['sleep', '4242'], start_new_session=True).returncode = 0"
)
_MOUNT = (
    "import subprocess\ndef test_it(tmp_path): subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', tmp_path], check=True)"
)
_CONTAINER = "def test_it(docker_engine): docker_engine.docker('create', '--name', 'forgotten', 'busybox')"
_NETWORK = "def test_it(docker_engine): docker_engine.docker('network', 'create', 'forgotten')"
_VOLUME = "def test_it(docker_engine): docker_engine.docker('volume', 'create', 'forgotten')"
_WAITS = """
import time
from pathlib import Path
def test_it(docker_engine):
    docker_engine.docker('run', '-d', 'busybox', 'sleep', '4243')
    Path('folder').write_text(str(docker_engine.folder))
    time.sleep(60)
"""


def test_a_clean_run_passes(tmp_path: Path) -> None:
    ended = _pytest(tmp_path, _CLEAN)
    assert ended.returncode == 0, ended.stdout
    assert "1 passed" in ended.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param(_PROCESS, "sleep 4242", id="process"),
        pytest.param(_MOUNT, "mount /", id="mount"),
        pytest.param(_CONTAINER, "containers forgotten", id="container"),
        pytest.param(_NETWORK, "networks forgotten", id="network"),
        pytest.param(_VOLUME, "volumes forgotten", id="volume"),
    ],
)
def test_a_run_that_leaves_something_fails_and_names_it(text: str, named: str, tmp_path: Path) -> None:
    ended = _pytest(tmp_path, text)
    assert ended.returncode == 1, ended.stdout
    assert named in ended.stdout
    assert not _mentions("sleep\0004242")


def test_a_killed_run_takes_its_engine_and_containers_along(tmp_path: Path) -> None:
    process = subprocess.Popen(_command(tmp_path, _WAITS), cwd=tmp_path, env=_environment(), stdout=subprocess.DEVNULL)
    told = tmp_path / "folder"
    try:
        wait_until(lambda: told.exists() and told.read_text() != "", "the container to run", 30)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    folder = Path(told.read_text())
    wait_until(lambda: not _mentions(folder.name) and not _mentions("sleep\0004243"), "its processes to be gone", 10)
    subprocess.run(
        ["find", "/sys/fs/cgroup", "-depth", "-path", f"*/{folder.name}*", "-type", "d", "-delete"], check=False
    )
    subprocess.run(["rm", "-rf", folder], check=True)


def _pytest(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(folder, text), cwd=folder, env=_environment(), check=False, capture_output=True, text=True, timeout=120
    )


def _command(folder: Path, text: str) -> list[str | Path]:
    file = folder / "test_written.py"
    file.write_text(text)
    settings: list[str | Path] = [
        "-c",
        _ROOT / "pyproject.toml",
        "--rootdir",
        folder,
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.conftest",
    ]
    return [sys.executable, "-m", "pytest", *settings, "--basetemp", folder / "temporary", file]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_ROOT)}


def _mentions(text: str) -> bool:
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and text.encode() in (folder / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False
