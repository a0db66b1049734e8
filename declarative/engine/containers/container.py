"""A container as the engine holds it: what it was asked to be, where it is in its life, who works on it now.

The rule that keeps it simple: every part is a frozen record, replaced as a whole; readers need no lock and see one moment. Who
replaces one holds `lock`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from declarative.engine.containers import modes
from declarative.engine.containers.life import Status
from declarative.engine.containers.shapes import FLAG, NUMBER, TEXT, Kind, Shape, many, one, shape
from declarative.errors import Failed
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from declarative.engine.containers.attaching import Attacher
    from declarative.engine.containers.config import Config, EndpointConfig
    from declarative.engine.containers.host import HostConfig
    from declarative.engine.containers.points import Point
    from declarative.engine.containers.schedule import Appointment

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
UNREADABLE = "its record cannot be read ({}): copy what you need of it, remove it, and create it again"


@record
class Probe:
    """One run of a health check: nanoseconds since 1970, exit code (-1: it took too long), the beginning of its output."""

    start: int = 0
    end: int = 0
    exit_code: int = 0
    output: str = ""


@record
class Health:
    """What the health check found: the last five probes, and how many failed in a row."""

    status: str = STARTING
    streak: int = 0
    log: tuple[Probe, ...] | None = ()


@record
class State:
    """Where a container is in its life. Times in nanoseconds since 1970, 0 for never.

    `stopped`: a person stopped it, so that no policy starts it again. `restarts`: by its policy, since a person started it;
    `pause`: the last pause before one.
    """

    status: Status = Status.CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started: int = 0
    finished: int = 0
    stopped: bool = False
    restarts: int = 0
    pause: int = 0
    health: Health | None = None

    @property
    def is_up(self) -> bool:
        """Whether a process of its exists."""
        return self.status in {Status.RUNNING, Status.PAUSED}

    @property
    def is_active(self) -> bool:
        """Whether it is up or will be again by itself: what `docker ps` shows."""
        return self.is_up or self.status is Status.RESTARTING


shape(
    Probe,
    Shape("start", "start", NUMBER),
    Shape("end", "end", NUMBER),
    Shape("exit_code", "exit_code", NUMBER),
    Shape("output", "output", TEXT),
)
shape(
    Health,
    Shape("status", "status", TEXT),
    Shape("streak", "streak", NUMBER),
    Shape("log", "log", many(Probe)),
)


_STATUS = Kind(name="a status", zero=Status.CREATED, read=lambda value, _: Status(value), write=str)
shape(
    State,
    Shape("status", "status", _STATUS),
    Shape("pid", "pid", NUMBER, omit=True),
    Shape("exit_code", "exit_code", NUMBER, omit=True),
    Shape("error", "error", TEXT, omit=True),
    Shape("oom_killed", "oom_killed", FLAG, omit=True),
    Shape("started", "started", NUMBER, omit=True),
    Shape("finished", "finished", NUMBER, omit=True),
    Shape("stopped", "stopped", FLAG, omit=True),
    Shape("restarts", "restarts", NUMBER, omit=True),
    Shape("pause", "pause", NUMBER, omit=True),
    Shape("health", "health", one(Health), omit=True),
)


class Container:
    """One container. `created` in nanoseconds since 1970; `image_id` as `sha256:…`, "" for none; `networks` by name.

    `lock`: held by whoever starts, ends, changes or removes it, however long that takes. `attachers` wait for its next start.
    `later`: appointments, such as a restart or the next probe. `changed` is notified when the state does.
    `broken`: what cannot be read of its record; then nobody knows what it was asked to be.
    """

    __slots__ = (
        "_exits",
        "_falls",
        "attachers",
        "broken",
        "changed",
        "config",
        "created",
        "fall_code",
        "host",
        "id",
        "image_id",
        "later",
        "lock",
        "name",
        "networks",
        "platform",
        "points",
        "removed",
        "state",
    )

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - Docker's word
        name: str,
        created: int,
        image_id: str,
        config: Config,
        host: HostConfig,
        networks: Mapping[str, EndpointConfig],
        points: tuple[Point, ...],
        state: State,
        platform: str = "linux",
        broken: str = "",
    ) -> None:
        self.id = id
        self.name = name
        self.created = created
        self.image_id = image_id
        self.config = config
        self.host = host
        self.networks = networks
        self.points = points
        self.state = state
        self.platform = platform
        self.broken = broken
        self.lock = threading.RLock()
        self.changed = threading.Condition(threading.Lock())
        self.attachers: list[Attacher] = []
        self.later: dict[str, Appointment] = {}
        self.removed = False
        self._exits = self._falls = 0
        self.fall_code = 0

    def become(self, first: Callable[[], None] = lambda: None, **changes: object) -> State:
        """Replace parts of the state, and tell who waits; do what comes `first` in between. The caller holds `lock`."""
        state = replace(self.state, **changes)
        with self.changed:
            if self.state.is_active and not state.is_up and state.status is not self.state.status:
                self._falls += 1
                self.fall_code = state.exit_code
            if self.state.is_active and not state.is_active:
                self._exits += 1
            self.state = state
            first()
            self.changed.notify_all()
        return state

    def insist_on_record(self) -> None:
        """Refuse what needs to know what it was asked to be. Failed."""
        if self.broken:
            raise Failed("", f"container {self.name}: {UNREADABLE.format(self.broken)}")

    def wait_until(self, true: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until something is true of the container; False after `timeout` seconds without."""
        with self.changed:
            return self.changed.wait_for(true, timeout)

    def vanish(self) -> None:
        """Say that it is removed: nobody finds it any more."""
        with self.changed:
            self.removed = True
            self.changed.notify_all()

    @property
    def exits(self) -> int:
        """How often it has ended for good, restarts by its policy not counted, since this daemon knows it."""
        return self._exits

    @property
    def falls(self) -> int:
        """How often it has ended, whatever its policy does then, or was given up by that; `fall_code`: its exit code then."""
        return self._falls

    def plan(self, what: str, appointment: Appointment) -> None:
        """Remember what is to happen later, in place of what was to."""
        self.call_off(what)
        self.later[what] = appointment

    def call_off(self, what: str) -> None:
        """Have it not happen."""
        planned = self.later.pop(what, None)
        if planned is not None:
            planned.call_off()

    @property
    def attributes(self) -> dict[str, str]:
        """What events tell of it: labels, image and name."""
        return {**(self.config.labels or {}), "image": self.config.image, "name": self.name}

    @property
    def network_mode(self) -> str:
        """HostConfig.NetworkMode."""
        return self.host.network_mode

    @property
    def shares_network_of(self) -> str:
        """The id of the container whose network it has, "" for none."""
        return modes.joined(self.host.network_mode)
