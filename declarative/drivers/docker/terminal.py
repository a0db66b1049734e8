"""Programs that a person talks to: a command in a running container, a shell in an image.

The rule: three parties, two directions. The person's bytes go in on a thread of their own, so that the program's come out while
nobody types; the exit code is asked for when the stream has ended.
"""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from declarative.drivers.docker.containers import path_of, remove
from declarative.errors import DeclarativeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from declarative.dockerapi.client import EngineClient
    from declarative.dockerapi.duplex import Duplex
    from declarative.drivers.port import Streams

END_OF_FILE = b"\x04"
"""What ends the input of a program at a terminal; closing our half of the connection would cut its output off."""

_TICK = 0.25
"""Seconds between two looks at the window's size, and until the reader of the keyboard notices that the program has ended."""


def execute(
    client: EngineClient,
    container: str,
    command: Sequence[str],
    streams: Streams,
    *,
    user: str,
    workdir: str,
    environment: Mapping[str, str],
) -> int:
    """Run a command in a running container; its exit code."""
    body: dict[str, Any] = {
        "Cmd": list(command),
        "AttachStdin": streams.stdin is not None,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": streams.tty,
        "User": user,
        "WorkingDir": workdir,
        "Env": [f"{name}={value}" for name, value in environment.items()],
    }
    identity = client.post_json(path_of(container, "/exec"), None, body)["Id"]
    started = {"Detach": False, "Tty": streams.tty}
    duplex = client.hijack(f"/exec/{identity}/start", None, started, framed=not streams.tty)
    _talk(duplex, streams, lambda size: _resize(client, f"/exec/{identity}/resize", size))
    return int(client.get_json(f"/exec/{identity}/json")["ExitCode"] or 0)


def run(client: EngineClient, image: str, command: Sequence[str], streams: Streams) -> int:
    """Run a command in a new container of `image`, and remove the container afterwards; the exit code."""
    body = {
        "Image": image,
        "Entrypoint": list(command),
        "Cmd": [],
        "Tty": streams.tty,
        "OpenStdin": streams.stdin is not None,
        "StdinOnce": streams.stdin is not None,
        "AttachStdin": streams.stdin is not None,
        "AttachStdout": True,
        "AttachStderr": True,
    }
    name = str(client.post_json("/containers/create", None, body)["Id"])
    try:
        query = {"stream": True, "stdin": streams.stdin is not None, "stdout": True, "stderr": True}
        duplex = client.hijack(path_of(name, "/attach"), query, framed=not streams.tty)
        client.post_json(path_of(name, "/start"))
        _talk(duplex, streams, lambda size: _resize(client, path_of(name, "/resize"), size))
        return int(client.post_json(path_of(name, "/wait"))["StatusCode"])
    finally:
        remove(client, name, volumes=True)


def _resize(client: EngineClient, path: str, size: tuple[int, int]) -> None:
    with suppress(DeclarativeError):  # the program may have ended in this moment
        client.post_json(path, {"h": size[0], "w": size[1]})


def _talk(duplex: Duplex, streams: Streams, resize: Callable[[tuple[int, int]], None]) -> None:
    ended = threading.Event()
    sender = threading.Thread(target=_send, args=(duplex, streams, resize, ended), daemon=True)
    with duplex:
        sender.start()
        try:
            for frame in duplex.frames():
                (streams.stderr if frame.stream == "stderr" else streams.stdout)(frame.data)
        finally:
            ended.set()
            sender.join(2 * _TICK)


def _send(duplex: Duplex, streams: Streams, resize: Callable[[tuple[int, int]], None], ended: threading.Event) -> None:
    """Send what is typed until it ends, and tell the window's size whenever it changes."""
    size, open_ = None, streams.stdin is not None
    while not ended.is_set():
        if streams.tty and streams.size is not None and (now := streams.size()) != size:
            size = now
            resize(now)
        if not open_ or streams.stdin is None:
            if not streams.tty:
                return
            ended.wait(_TICK)
            continue
        if not select.select([streams.stdin], [], [], _TICK)[0]:
            continue
        data = os.read(streams.stdin, 1 << 16)
        with suppress(DeclarativeError, OSError):  # the program may have closed its end
            if not data:
                open_ = False
            if data or streams.tty:
                duplex.write(data or END_OF_FILE)
            else:
                duplex.close_write()
