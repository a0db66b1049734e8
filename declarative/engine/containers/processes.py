"""One more process for a running container: what `docker exec` and health checks run.

The rule that keeps it simple: it gets what the container's first process got, but for what is said otherwise.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.containers.mapped_entries import outside
from declarative.engine.containers.sandboxing import environment
from declarative.engine.containers.security import read_options
from declarative.engine.containers.user_namespaces import of_process
from declarative.engine.runtime import capabilities
from declarative.engine.runtime.sandbox import Process, Rlimit
from declarative.engine.runtime.users import resolve_user
from declarative.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.engine.containers.container import Container
    from declarative.engine.containers.parts import Parts


def process_of(
    parts: Parts,
    container: Container,
    args: tuple[str, ...],
    *,
    user: str = "",
    cwd: str = "",
    env: Iterable[str] = (),
    terminal: bool = False,
    privileged: bool = False,
) -> Process:
    """Give the process. Invalid, in Docker's words, for a user who is not there."""
    host = container.host
    root = open_root(container)
    try:
        found = resolve_user(root, user or container.config.user, host.group_add or ())
    finally:
        os.close(root)
    given = environment(parts, container, found, terminal=terminal)
    values = dict(entry.partition("=")[::2] for entry in given)
    for entry in env:
        name, sign, value = entry.partition("=")
        if sign:
            values[name] = value
        else:
            values.pop(name, None)
    maps = of_process(container.state.pid)
    open_all = privileged or host.privileged
    return Process(
        args=args,
        env=tuple(f"{name}={value}" for name, value in values.items()),
        cwd=cwd or container.config.working_dir or "/",
        user=found,
        terminal=terminal,
        capabilities=capabilities.resolve(host.cap_add or (), host.cap_drop or (), privileged=open_all),
        privileged=privileged,
        no_new_privileges=read_options(host.security_opt or ()).no_new_privileges,
        oom_score_adj=host.oom_score_adj,
        owner=outside(maps, found.uid, found.gid) if maps else None,
        rlimits=tuple(
            Rlimit(name=f"RLIMIT_{limit.name.upper()}", soft=limit.soft, hard=limit.hard)
            for limit in host.ulimits or ()
        ),
    )


def open_root(container: Container) -> int:
    """Open the root folder of a running container as its first process sees it. Conflict where it has just ended.

    A process id may have become another's: then its root would be the machine's. What opened it counts only if that process is
    in the container's control group after that.
    """
    pid = container.state.pid
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise _ended(container) from None
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        groups = ""
    if f"/{container.id}" not in groups:
        os.close(root)
        raise _ended(container)
    return root


def _ended(container: Container) -> Conflict:
    return Conflict("", f"container {container.id} is not running")
