"""The lock of a stack: a named volume, because creating one is atomic in every engine and answers with the one that is there.

How it goes
    hold     create `declarative-lock-STACK`; whose nonce comes back in the labels holds it. Every 15 s the holder puts a new
             volume `….beat-K` in the place of the last one: a life sign that needs no common clock.
    stale    the holder is dead for certain (drivers.holder), or neither lock nor beat has changed for 60 s of our own clock.
    break    two may find the same lock stale, and an engine removes by name alone, so that the slower one would remove the
             lock of the faster. Hence who breaks the lock of nonce N first creates `….break-N`, looks again that the lock
             still is N's, removes it, and then its marker. A marker whose maker died is broken in the same way, by its nonce.
    lose     a holder that was silent for 60 s and lives after all finds another nonce with `check` and stops.

The rule: nothing here relies on clocks of two machines, and whoever comes next cleans up after whoever was killed.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from declarative.core.state import LABEL_KIND, LABEL_NAME, LABEL_STACK, PREFIX, SUFFIX_MAKING
from declarative.dockerapi.wire import quote_name
from declarative.drivers.docker import history
from declarative.drivers.docker.ahead import name_of
from declarative.drivers.docker.containers import remove
from declarative.drivers.docker.labels import CONTAINER_KINDS, KIND_FILES, KIND_LOCK
from declarative.drivers.docker.networks import created_volume
from declarative.drivers.holder import FIELDS, certainly_dead
from declarative.errors import Conflict, DeclarativeError, LockHeld, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.dockerapi.client import EngineClient
    from declarative.dockerapi.wire import Json

BEAT_SECONDS = 15.0
STALE_SECONDS = 60.0
POLL_SECONDS = 0.2
_LAST_BEAT_SECONDS = 5.0  # an engine that does not answer must not keep us from ending

_FIELD = PREFIX + "lock."


def lock_name(stack: str) -> str:
    """Name the volume that is the lock of `stack`."""
    return f"declarative-lock-{stack}"


class VolumeLease:
    """A stack's lock while it is held. See `drivers.port.Lease`."""

    def __init__(self, client: EngineClient, stack: str, holder: Mapping[str, str], beat: float) -> None:
        self._client = client
        self._stack = stack
        self._holder = holder
        self._beat = beat
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beats, name=f"lock of {stack}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Give the lock back. Where the engine cannot be reached, the lock is stale as soon as this process has ended."""
        if self._released.is_set():
            return
        self._released.set()
        self._thread.join(_LAST_BEAT_SECONDS)
        with suppress(DeclarativeError):
            self.check()
            _remove(self._client, lock_name(self._stack))

    def check(self) -> None:
        """Raise LockHeld where somebody took the lock away from us."""
        found = _labels(self._client, lock_name(self._stack))
        if found is None or found.get("nonce") != self._holder["nonce"]:
            raise _held(self._stack, found or {"command": "another apply"}, "took the lock over, for we were silent")

    def _beats(self) -> None:
        number = 0
        while not self._released.wait(self._beat):
            with suppress(DeclarativeError):  # the next one may get through
                _create(self._client, self._stack, _beat_name(self._stack, number + 1), self._holder)
                number += 1
                _remove(self._client, _beat_name(self._stack, number - 1))
        with suppress(DeclarativeError):
            if number:
                _remove(self._client, _beat_name(self._stack, number))


def _beat_name(stack: str, number: int) -> str:
    return f"{lock_name(stack)}.beat-{number}"


def acquire(
    client: EngineClient,
    stack: str,
    *,
    timeout: float,
    holder: Mapping[str, str],
    beat: float = BEAT_SECONDS,
    stale: float = STALE_SECONDS,
) -> VolumeLease:
    """Take the lock, or raise LockHeld after `timeout` seconds. What a killed predecessor left is swept away."""
    end = time.monotonic() + timeout
    seen: object = None
    since = time.monotonic()
    while True:
        found = _create(client, stack, lock_name(stack), holder)
        if found.get("nonce") == holder["nonce"]:
            return _swept(client, stack, VolumeLease(client, stack, holder, beat))
        now = time.monotonic()
        if (state := (found.get("nonce"), _others(client, stack))) != seen:
            seen, since = state, now
        if certainly_dead(found, holder) or now - since >= stale:
            _break(client, stack, lock_name(stack), found, holder)
            seen = None
        elif now >= end:
            raise _held(stack, found, "is applying this stack")
        else:
            time.sleep(min(POLL_SECONDS, max(end - now, 0.01)))


def _create(client: EngineClient, stack: str, name: str, holder: Mapping[str, str]) -> dict[str, str]:
    """Create a volume of ours, or find the one that is there; who made it."""
    labels = {LABEL_STACK: stack, LABEL_KIND: KIND_LOCK, LABEL_NAME: name}
    labels |= {_FIELD + field: holder.get(field, "") for field in FIELDS}
    return holder_of(created_volume(client, {"Name": name, "Driver": "local", "Labels": labels}))


def holder_of(document: Json) -> dict[str, str]:
    """Read who made a lock, and since when, from its volume."""
    labels = document.get("Labels") or {}
    found = {field: labels.get(_FIELD + field, "") for field in FIELDS}
    return {**found, "since": document.get("CreatedAt", "")}


def _labels(client: EngineClient, name: str) -> dict[str, str] | None:
    try:
        return holder_of(client.get_json(f"/volumes/{quote_name(name)}"))
    except NotFound:
        return None


def _remove(client: EngineClient, name: str) -> None:
    with suppress(NotFound):
        client.delete(f"/volumes/{quote_name(name)}")


def _volumes(client: EngineClient, stack: str, kind: str = KIND_LOCK) -> list[str]:
    # Looked through by us: of two labels Podman 4 gives what has one of them, and what comes out of here is removed.
    filters = {"label": [f"{LABEL_STACK}={stack}"]}
    found = client.get_json("/volumes", {"filters": filters}).get("Volumes") or ()
    wanted = {LABEL_STACK: stack, LABEL_KIND: kind}.items()
    return sorted(item["Name"] for item in found if wanted <= (item.get("Labels") or {}).items())


def _others(client: EngineClient, stack: str) -> tuple[str, ...]:
    return tuple(name for name in _volumes(client, stack) if ".beat-" in name)


def _break(client: EngineClient, stack: str, name: str, stale: Mapping[str, str], holder: Mapping[str, str]) -> None:
    """Remove a stale lock or marker, if it still is the one that we found stale."""
    marker = f"{lock_name(stack)}.break-{stale.get('nonce') or 'unknown'}"
    found = _create(client, stack, marker, holder)
    if found.get("nonce") != holder["nonce"]:
        if certainly_dead(found, holder):
            _break(client, stack, marker, found, holder)
        else:
            time.sleep(POLL_SECONDS)
        return
    try:
        now = _labels(client, name)
        if now is not None and now.get("nonce") == stale.get("nonce"):
            _remove(client, name)
    finally:
        _remove(client, marker)


def _swept(client: EngineClient, stack: str, lease: VolumeLease) -> VolumeLease:
    try:
        _sweep(client, stack)
    except BaseException:
        lease.__exit__()
        raise
    return lease


def _sweep(client: EngineClient, stack: str) -> None:
    """Clean up after whoever was killed: beats, markers, containers and revisions that were only half made, their files."""
    for name in _volumes(client, stack):
        if name != lock_name(stack):
            _remove(client, name)
    filters = {"label": [f"{LABEL_STACK}={stack}"]}
    for item in client.get_json("/containers/json", {"all": True, "filters": filters}):
        labels = item.get("Labels") or {}
        ours = labels.get(LABEL_STACK) == stack and labels.get(LABEL_KIND) in CONTAINER_KINDS
        if ours and name_of(item).endswith(SUFFIX_MAKING):
            remove(client, item["Id"], volumes=True)
    for name in _volumes(client, stack, KIND_FILES):
        with suppress(Conflict):  # its container is there
            _remove(client, name)
    history.sweep(client, stack)


def _held(stack: str, who: Mapping[str, str], what: str) -> LockHeld:
    name = who.get("user") or "somebody"
    place = f" on {who['host']}" if who.get("host") else ""
    process = f" (process {who['pid']})" if who.get("pid") else ""
    since = f", since {who['since']}" if who.get("since") else ""
    command = f": {who['command']}" if who.get("command") else ""
    remedy = "wait until it is done, or give a longer --lock-timeout"
    return LockHeld(f"stack {stack}", f"{name}{place}{process} {what}{since}{command}", remedy)
