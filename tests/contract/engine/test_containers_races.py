"""Two who want something of one container at the same moment: each order has to come to a good end.

The rule that keeps it simple: the engine's parts are put together in this process, so that a test can hold a container's lock, as
whoever is just starting or ending it does, and let another come in between.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from declarative.dockerapi.transport import Link
from declarative.engine.containers import (
    attaching,
    copying,
    creating,
    ending,
    removing,
    starting,
    stopping,
    updating,
    viewing,
)
from declarative.engine.containers.attaching import Wanted
from declarative.engine.containers.config import Config
from declarative.engine.containers.execs import ExecConfig
from declarative.engine.containers.host import HostConfig
from declarative.engine.daemon.wire import RawWire
from declarative.engine.engine import Engine
from declarative.engine.images.loading import load
from declarative.engine.paths import Paths
from declarative.engine.runtime import rootfs
from declarative.engine.runtime.bundle import Exit
from declarative.engine.settings import Settings
from declarative.errors import NotFound
from tests import base_image, engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from declarative.engine.containers.container import Container
    from declarative.engine.events import Event

_POOL = ("10.204.0.0/16", 24)
_AHEAD_SECONDS = 0.3
"""What another thread gets to come as far as the lock that it will have to wait for."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Give an engine without a daemon; at the end nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="races-", dir="/var/tmp"))  # overlayfs needs a disk
    settings = Settings(
        paths=Paths(root=folder / "data", run=folder / "run"), cgroup_parent=folder.name, pools=(_POOL,)
    )
    made = Engine(settings)
    try:
        made.restore()
        load(made.images, [base_image.archive()])
        yield made
        for container in made.containers.parts.index.all():
            removing.remove_for_person(made.containers.parts, container, container.name, force=True)
    finally:
        made.close()
        engines.remove_control_groups(folder.name)
        shutil.rmtree(folder)


def made(engine: Engine, *command: str, name: str = "", binds: tuple[str, ...] = ()) -> Container:
    request = creating.CreateRequest(
        config=Config(image="busybox", cmd=command), host=HostConfig(binds=binds, network_mode="none"), name=name
    )
    return engine.containers.get(creating.create(engine.containers.parts, request).id)


@contextmanager
def waiting(container: Container, work: Callable[[], object]) -> Iterator[list[BaseException]]:
    """Have another thread at the container's lock meanwhile; give what it raised, after the end."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            raised.append(error)

    thread = threading.Thread(target=run)
    with container.lock:
        thread.start()
        time.sleep(_AHEAD_SECONDS)
        yield raised
    thread.join(60)
    assert not thread.is_alive()


def test_what_is_just_being_started_is_removed_by_force(engine: Engine) -> None:
    parts, container = engine.containers.parts, made(engine, "sleep", "1000")
    with waiting(container, lambda: removing.remove_for_person(parts, container, "c", force=True)) as raised:
        starting.start(parts, container, "c")
    assert raised == []
    assert container.removed


def test_a_name_is_not_kept_for_what_is_just_being_removed(engine: Engine) -> None:
    parts, container = engine.containers.parts, made(engine, "true", name="old")
    with waiting(container, lambda: updating.rename(parts, container, "new")) as raised:
        removing.remove_for_person(parts, container, "old")
    assert [type(error) for error in raised] == [NotFound]
    made(engine, "true", name="new")


def test_the_code_of_an_exec_is_known_when_its_client_has_its_output(engine: Engine) -> None:
    """A monitor lets its clients go before it has written the code down; the client of a busy machine took that for 0."""
    parts, execs = engine.containers.parts, engine.containers.execs
    container = made(engine, "sleep", "1000")
    starting.start(parts, container, "c")
    exec_ = execs.create(container, "c", ExecConfig(args=("sh", "-c", "sleep 1; exit 7"), terminal=True))
    execs.claim(exec_)
    session = execs.start(exec_)
    session.attachment.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        execs.run_attached(exec_, session, RawWire(Link(ours, "client"), b""), Wanted(terminal=True))
    assert (exec_.running, exec_.code) == (False, 7)


def test_a_client_that_goes_while_the_container_is_started_holds_nobody_up(engine: Engine) -> None:
    """What it would have read is kept for it in memory and on the disk; then the program waits for it, for ever."""
    parts, container = engine.containers.parts, made(engine, "sleep", "1000")
    attacher = attaching.begin(parts, container, "c")
    with waiting(container, lambda: attaching.give_up(container, attacher)):
        starting.start(parts, container, "c")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        attachment = attacher.wait(RawWire(Link(ours, "client"), b""))
    assert attachment is not None
    assert select.select([attachment], [], [], 10)[0], "it is still kept"
    assert attachment.read() is None


def test_files_are_copied_out_of_what_has_just_ended(engine: Engine) -> None:
    """Between the end of its program and the end of its monitor a container neither has a root nor is one mounted for us."""
    parts, container = engine.containers.parts, made(engine, "sleep", "1000")
    starting.start(parts, container, "c")
    monitor = int((parts.runtime.folder(container.id) / "monitor.pid").read_text())
    found: list[copying.PathStat] = []
    os.kill(monitor, signal.SIGSTOP)
    try:
        os.kill(container.state.pid, signal.SIGKILL)
        copy = threading.Thread(target=lambda: found.append(copying.path_stat(parts, container, "c", "/bin")))
        copy.start()
        time.sleep(_AHEAD_SECONDS)
    finally:
        os.kill(monitor, signal.SIGCONT)
    copy.join(60)
    assert [stat.name for stat in found] == ["bin"]


def test_the_end_of_a_start_that_failed_does_not_end_the_next_run(engine: Engine) -> None:
    """It is told by a worker, who may be late: what was started again meanwhile was taken down, with the other's code."""
    parts, container = engine.containers.parts, made(engine, "sleep", "1000")
    earlier = Exit(id=container.id, code=137, at=time.time_ns())
    with waiting(container, lambda: ending.ended(parts, earlier)) as raised:
        starting.start(parts, container, "c")
    assert raised == []
    assert (container.state.status, parts.runtime.state(container.id).status) == ("running", "running")


def test_a_volume_is_not_pruned_between_its_making_and_its_use(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = engine.events.publish

    def prune_at_once(kind: str, action: str, *more: Any) -> Event:
        if (kind, action) == ("volume", "create"):
            engine.volumes.prune(everything=True)
        return publish(kind, action, *more)

    monkeypatch.setattr(engine.events, "publish", prune_at_once)
    container = made(engine, "true", binds=("data:/data",))
    assert engine.volumes.holders("data") == (container.id,)


def test_who_stops_a_container_tells_of_it_after_its_end_is_told(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, container = engine.containers.parts, made(engine, "sleep", "1000")
    starting.start(parts, container, "c")
    publish, told = engine.events.publish, []

    def publish_slowly(kind: str, action: str, *more: Any) -> Event:
        if action == "die":
            time.sleep(_AHEAD_SECONDS)
        told.append(action)
        return publish(kind, action, *more)

    monkeypatch.setattr(engine.events, "publish", publish_slowly)
    stopping.stop(parts, container, "c")
    engines.wait_until(lambda: "die" in told, "the end", 10)
    assert told[-2:] == ["die", "stop"]


def test_no_end_waits_for_the_folders_of_those_that_were_removed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tens of thousands of files take seconds; some such containers at once, and nobody heard of the end of another."""
    parts, go_on, remove = engine.containers.parts, threading.Event(), shutil.rmtree

    def remove_slowly(folder: Path, **more: Any) -> None:
        if removing.GONE in folder.name:
            go_on.wait(60)
        remove(folder, **more)

    monkeypatch.setattr(shutil, "rmtree", remove_slowly)
    try:
        for _ in range(10):
            removing.remove_for_person(parts, made(engine, "true"), "c")
        container = made(engine, "true")
        starting.start(parts, container, "c")
        assert container.wait_until(lambda: container.state.status == "exited", 20)
    finally:
        go_on.set()


def test_what_is_removed_before_it_is_exported_is_not_found(engine: Engine) -> None:
    """The archive was begun, and broke off with a traceback in the daemon's log."""
    parts, container = engine.containers.parts, made(engine, "true")
    with waiting(container, lambda: b"".join(copying.export(parts, container))) as raised:
        removing.remove_for_person(parts, container, "c")
    assert [type(error) for error in raised] == [NotFound]


def test_what_has_just_ended_is_exported(engine: Engine) -> None:
    parts, container = engine.containers.parts, made(engine, "sleep", "1000")
    starting.start(parts, container, "c")
    monitor = int((parts.runtime.folder(container.id) / "monitor.pid").read_text())
    os.kill(monitor, signal.SIGSTOP)
    os.kill(container.state.pid, signal.SIGKILL)
    threading.Timer(_AHEAD_SECONDS, os.kill, (monitor, signal.SIGCONT)).start()
    assert b"bin/busybox" in b"".join(copying.export(parts, container))
    assert container.wait_until(lambda: container.state.status == "exited", 20)
    assert not rootfs.is_mounted(parts.folder(container) / "rootfs")


def test_what_is_just_being_removed_is_not_found_by_who_asks_what_it_changed(engine: Engine) -> None:
    parts, container = engine.containers.parts, made(engine, "true")
    removing.remove_for_person(parts, container, "c")
    with pytest.raises(NotFound):
        viewing.changes_of(parts, container)
