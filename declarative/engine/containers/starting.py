"""Starting a container: root, network, sandbox, monitor; and taking all of it back where one of them fails.

The rule that keeps it simple: the network is wired while the runtime makes the process, which waits; only when both are ready,
and whoever attached is connected, is it let go. `release` undoes whatever was done, in whatever state it was left.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from declarative.engine.containers import joining, log_options, modes, mounting, probing, user_namespaces
from declarative.engine.containers.container import Health
from declarative.engine.containers.health import plan_of
from declarative.engine.containers.life import Call, Move, allowed, move
from declarative.engine.containers.parts import LOG, SHM
from declarative.engine.containers.sandboxing import Site, sandbox_of
from declarative.engine.runtime.oci import StartRefused
from declarative.engine.runtime.rotation import Policy
from declarative.errors import DeclarativeError, Failed, NotFound
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts
    from declarative.engine.containers.user_namespaces import UserNamespace
    from declarative.engine.runtime.sandbox import Shared

CANNOT_START = 128
"""The exit code of a container that could not be started, where the runtime does not say another (Docker's)."""


def start(parts: Parts, container: Container, name: str) -> bool:
    """Start a container for a person; False where it runs already. Errors in Docker's words."""
    with container.lock:
        if container.removed:
            raise NotFound("", f"No such container: {name}")
        if not allowed(Call.START, container.state.status, id=container.id, name=name):
            return False
        container.become(restarts=0, pause=0)
        begin(parts, container)
    return True


def begin(parts: Parts, container: Container) -> None:
    """Start a container that does not run; the caller holds its lock. Failed."""
    container.insist_on_record()
    if not container.config.cmd and not container.config.entrypoint:
        raise Failed("", "No command specified")
    try:
        pid, started = _bring_up(parts, container)
    except BaseException as error:
        _took_nothing(parts, container, error)
        raise
    health = Health() if plan_of(container.config) else None
    container.become(
        status=move(container.state.status, Move.START),
        pid=pid,
        started=started,
        exit_code=0,
        error="",
        oom_killed=False,
        stopped=False,
        health=health,
    )
    parts.records.put_state(container)
    parts.tell(container, "start")
    if health is not None:
        probing.plan_next(parts, container)


def _bring_up(parts: Parts, container: Container) -> tuple[int, int]:
    """Make the process and let it go; give its id, and when."""
    giver = joining.donor(parts, container)
    if giver is not None:  # it is called as the one whose network it has, as in Docker
        named = replace(container.config, hostname=giver.config.hostname, domainname=giver.config.domainname)
        container.config = named
    space = user_namespaces.of_start(parts, container)
    joining.prepare_files(parts, container, space.root)
    if space.maps:
        pid = _make_mapped(parts, container, space, giver)
    else:
        network = _network(parts, container, giver)
        wiring = _Beside(lambda: _wire(parts, container))
        try:
            pid = _make(parts, container, network, space)
        finally:
            problem = wiring.result()
        if problem is not None:
            raise problem
    rotate(parts, container)
    for attacher in container.attachers:
        attacher.connect(parts.runtime.attach(container.id))
    container.attachers.clear()
    started = parts.clock()
    parts.runtime.start(container.id)
    return pid, started


def _network(parts: Parts, container: Container, giver: Container | None) -> Shared:
    """Give the network namespace; a container's own is made."""
    if container.network_mode == "host":
        return "host"
    if giver is not None:
        return _namespace_of(parts, giver)
    return parts.networks.open_namespace(container.id)  # in no network, too: it may be connected to one while it runs


def _make_mapped(parts: Parts, container: Container, space: UserNamespace, giver: Container | None) -> int:
    """Make the process of a container in a user namespace, and wire its network then; give its id.

    Its root has powers over a network only if its user namespace owns that, so the runtime has to make both.
    """
    pid = _make(parts, container, _namespace_of(parts, giver) if giver else "private", space)
    if joining.owns_namespace(container):
        parts.networks.take_namespace(container.id, pid, given=container.host.sysctls or {})
    _wire(parts, container)
    return pid


def _make(parts: Parts, container: Container, network: Shared, space: UserNamespace) -> int:
    """Have the runtime make the process, which waits; give its id."""
    root = mounting.mount_root(parts, container, space.maps)
    shm = _shared_memory(parts, container, space.root)
    stdin_open = container.config.open_stdin
    with mounting.showing(parts, container, space.maps, root) as (reached, show):
        wanted = mounting.mounts_of(parts, container, space.root, show)
        site = Site(root=reached, wanted=wanted, network=network, space=space, shm=shm)
        return parts.runtime.create(
            sandbox_of(parts, container, site),
            log=log_path(parts, container),
            stdin=stdin_open,
            leave_stdin_open=stdin_open and not container.config.stdin_once,
        )


def rotate(parts: Parts, container: Container) -> None:
    """Have the log rotated, if its options say so."""
    path, kept = log_path(parts, container), log_options.keeping(container.host.log_config)
    if path is not None and kept.size:
        parts.runtime.rotate_log(container.id, path, Policy(max_size=kept.size, max_files=kept.files))


def _wire(parts: Parts, container: Container) -> None:
    joining.join(parts, container)
    joining.write_files(parts, container)


def _namespace_of(parts: Parts, giver: Container) -> Shared:
    """Give the network namespace of a container that runs."""
    from pathlib import Path

    if giver.network_mode == "host":
        return "host"
    path = parts.networks.namespace(giver.id)
    return path if path.exists() else Path(f"/proc/{giver.state.pid}/ns/net")


def _shared_memory(parts: Parts, container: Container, owner: tuple[int, int]) -> Path | None:
    if container.host.ipc_mode == "shareable":
        return mounting.share_memory(parts, container, owner)
    other = parts.index.find(modes.joined(container.host.ipc_mode) or "-")
    if other is None:
        return None
    folder = parts.folder(other) / SHM
    return folder if folder.exists() else None


def log_path(parts: Parts, container: Container) -> Path | None:
    """Give where a container's output is kept, None where it is not."""
    return None if container.host.log_config.type == log_options.NONE else parts.folder(container) / LOG


class _Beside:
    """Work done beside other work: its error is for whoever asks for the result."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._problem: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self._thread.start()

    def result(self) -> BaseException | None:
        """Wait for the end; give the error, if there was one."""
        self._thread.join()
        return self._problem

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the work was asked for
            self._problem = error


def _took_nothing(parts: Parts, container: Container, error: BaseException) -> None:
    """Take back what a failed start has done, and write down why."""
    for attacher in container.attachers:
        attacher.connect(None)
    container.attachers.clear()
    release(parts, container)
    before = container.state.exit_code  # of its last run, which says more
    code = error.code if isinstance(error, StartRefused) else before or CANNOT_START
    text = str(error) if isinstance(error, DeclarativeError) else f"{type(error).__name__}: {error}"
    container.become(error=text, exit_code=code, pid=0)
    parts.records.put_state(container)
    if container.host.auto_remove:
        from declarative.engine.containers import removing

        removing.remove(parts, container, volumes=True, released=True)


def release(parts: Parts, container: Container) -> None:
    """Take back all that a running container has: processes, network, mounts. What fails is told, and the rest is done."""
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        ("runtime", lambda: parts.runtime.delete(container.id)),
        ("network", lambda: parts.networks.close_namespace(container.id)),
        ("mounts", lambda: mounting.unmount(parts, container)),
        ("volumes", lambda: parts.volumes.unmount(container.id)),
    )
    for what, work in steps:
        try:
            work()
        except (DeclarativeError, OSError) as error:
            parts.log.fault("a container's remains cannot be taken back", error, container=container.id, what=what)
