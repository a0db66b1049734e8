"""What can be told of a container from its folder, at every stage that a crash may leave it in."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from declarative.engine.runtime import spawn
from declarative.engine.runtime.bundle import Bundle, Exit
from declarative.engine.runtime.cgroups import Cgroups
from declarative.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(name="c", folder=tmp_path / "c", cgroups=Cgroups(second=tmp_path / "groups"))


@pytest.fixture
def made(bundle: Bundle) -> Bundle:
    bundle.make()
    bundle.fill("{}", "/group", "once")
    return bundle


@pytest.fixture
def monitor(made: Bundle) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that works in the folder, as a monitor does."""
    with subprocess.Popen(["sleep", "60"], cwd=made.folder) as process:
        (made.folder / spawn.MONITOR_FILE).write_text(str(process.pid))
        yield process
        process.kill()


def test_of_no_container_nothing_is_told(bundle: Bundle) -> None:
    assert not bundle.exists()
    assert not bundle.has_monitor()
    assert (bundle.pid(), bundle.exit(), bundle.starved()) == (0, None, False)
    for ask in (bundle.group, bundle.input, bundle.open_process):
        with pytest.raises(NotFound):
            ask()


def test_what_was_written_is_read(made: Bundle) -> None:
    assert made.exists()
    assert (made.group(), made.input()) == ("/group", "once")
    assert (made.folder / "config.json").read_text() == "{}"
    with pytest.raises(Conflict):
        made.make()

    made.remove()
    assert not made.exists()


@pytest.mark.parametrize(("file", "ask"), [("cgroup", Bundle.group), ("input", Bundle.input)])
def test_a_file_whose_writer_was_killed_is_no_container(made: Bundle, file: str, ask: object) -> None:
    assert callable(ask)
    (made.folder / file).write_text("")
    with pytest.raises(NotFound):
        ask(made)


@pytest.mark.parametrize(("text", "code"), [("0", 0), ("", 0), ("143", 143)])
def test_the_end_is_what_the_monitor_wrote(made: Bundle, text: str, code: int) -> None:
    file = made.folder / spawn.EXIT_FILE
    file.write_text(text)

    assert made.exit() == Exit(id="c", code=code, at=file.stat().st_mtime_ns)

    (made.folder / spawn.OOM_FILE).touch()
    assert made.starved()
    assert made.exit() == Exit(id="c", code=code, at=file.stat().st_mtime_ns, oom=True)


def test_a_container_whose_monitor_was_killed_is_lost_for_good(made: Bundle) -> None:
    ended = made.lose()

    assert (ended.code, ended.lost) == (137, True)
    assert made.exit() == ended, "a daemon after this one reads the same"


def test_a_container_that_is_removed_meanwhile_is_lost_all_the_same(bundle: Bundle) -> None:
    ended = bundle.lose()

    assert (ended.code, ended.lost) == (137, True)
    assert not bundle.exists()


def test_a_monitor_is_who_works_in_the_folder(made: Bundle, monitor: subprocess.Popen[bytes]) -> None:
    assert made.has_monitor()
    descriptor = spawn.open_monitor(made.folder)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)
    monitor.wait()

    assert not made.has_monitor()
    assert spawn.open_monitor(made.folder) == -1


def test_a_number_that_is_another_process_by_now_is_no_monitor(made: Bundle) -> None:
    (made.folder / spawn.MONITOR_FILE).write_text(str(os.getpid()))

    assert not made.has_monitor()
    assert spawn.open_monitor(made.folder) == -1


@pytest.mark.usefixtures("monitor")
def test_the_process_is_opened_while_its_monitor_lives_and_has_written_no_end(made: Bundle) -> None:
    with pytest.raises(NotFound):
        made.open_process()
    (made.folder / spawn.PROCESS_FILE).write_text(str(os.getpid()))
    os.close(made.open_process())

    (made.folder / spawn.EXIT_FILE).write_text("0")
    with pytest.raises(NotFound):
        made.open_process()


def test_without_its_monitor_the_process_is_not_believed(made: Bundle) -> None:
    (made.folder / spawn.PROCESS_FILE).write_text(str(os.getpid()))
    with pytest.raises(NotFound):
        made.open_process()
