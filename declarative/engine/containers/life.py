"""A container's life: its states, what leads from one to the next, and what each call of the API may do in each.

                       start                     die
    created ──────────────────────▶ running ─────────────▶ exited
       │                            ▲  │  ▲                 │  │
       │                     unpause│  │  └─── start ───────┘  │
       │                            │  ▼pause                  │
       │                            paused ── die ─────────────┤
       │                                                       │
       │        running ── fall (die, and a policy starts it   │
       │                         again) ──▶ restarting ────────┤ stop, kill
       │                         start ◀────────┘              │
       └───────────────── remove ──▶ removing ◀── remove ──────┘
                                       │ fail ──▶ dead ── remove ──▶ removing

The rule that keeps it simple: `MOVES` is the only place that says which state follows, `ANSWERS` the only one that says what a
call gets. A state that a table does not name is an error of ours.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from declarative.errors import Conflict, DeclarativeError, Failed
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping


class Status(StrEnum):
    """What a container is; the words of `State.Status`."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class Move(StrEnum):
    """What happens to a container."""

    START = "start"
    DIE = "die"
    FALL = "fall"  # it died, and its restart policy will start it again
    PAUSE = "pause"
    UNPAUSE = "unpause"
    GIVE_UP = "give up"  # nobody waits for its restart any more: stopped, killed, or the policy is exhausted
    REMOVE = "remove"
    FAIL = "fail"  # removal did not come to its end


MOVES: Mapping[tuple[Status, Move], Status] = {
    (Status.CREATED, Move.START): Status.RUNNING,
    (Status.EXITED, Move.START): Status.RUNNING,
    (Status.DEAD, Move.START): Status.RUNNING,
    (Status.RESTARTING, Move.START): Status.RUNNING,
    (Status.RUNNING, Move.DIE): Status.EXITED,
    (Status.PAUSED, Move.DIE): Status.EXITED,
    (Status.RUNNING, Move.FALL): Status.RESTARTING,
    (Status.PAUSED, Move.FALL): Status.RESTARTING,
    (Status.EXITED, Move.FALL): Status.RESTARTING,  # a start that failed, on a container that had run
    (Status.RUNNING, Move.PAUSE): Status.PAUSED,
    (Status.PAUSED, Move.UNPAUSE): Status.RUNNING,
    (Status.RESTARTING, Move.GIVE_UP): Status.EXITED,
    (Status.CREATED, Move.REMOVE): Status.REMOVING,
    (Status.EXITED, Move.REMOVE): Status.REMOVING,
    (Status.DEAD, Move.REMOVE): Status.REMOVING,
    (Status.REMOVING, Move.FAIL): Status.DEAD,
}


def move(status: Status, what: Move) -> Status:
    """Give the state that follows. Failed where nothing leads there: an error of the engine."""
    try:
        return MOVES[status, what]
    except KeyError:
        raise Failed("container", f"nothing leads from {status} by {what}") from None


class Call(StrEnum):
    """A call of the API that depends on the state."""

    START = "start"
    STOP = "stop"
    KILL = "kill"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    EXEC = "exec"
    TOP = "top"
    RESIZE = "resize"
    REMOVE = "remove"


@record(kw_only=False)
class Refusal:
    """What a call gets that may not be: an error class and Docker's phrase, with `{id}` and `{name}` (as the client wrote it)."""

    phrase: str
    error: type[DeclarativeError] = Conflict


UNCHANGED = "unchanged"
"""The call finds everything as it wants it: status 304, or 204 where the API has no 304."""

_NOT_RUNNING = Refusal("container {id} is not running")
_NOT_PAUSED = Refusal("Container {id} is not paused", Failed)  # dockerd answers 500 here
_RESTARTING = Refusal("Container {id} is restarting, wait until the container is running")
_LEAVING = Refusal("container is marked for removal and cannot be started")
_IDLE = (Status.CREATED, Status.EXITED, Status.DEAD, Status.REMOVING)

ANSWERS: Mapping[Call, Mapping[Status, Refusal | str]] = {
    Call.START: {
        Status.RUNNING: UNCHANGED,
        Status.RESTARTING: UNCHANGED,
        Status.PAUSED: Refusal("cannot start a paused container, try unpause instead"),
        Status.REMOVING: _LEAVING,
        Status.DEAD: _LEAVING,
    },
    Call.STOP: dict.fromkeys(_IDLE, UNCHANGED),
    Call.KILL: dict.fromkeys(_IDLE, Refusal("cannot kill container: {name}: container {id} is not running")),
    Call.PAUSE: {
        **dict.fromkeys(_IDLE, _NOT_RUNNING),
        Status.PAUSED: Refusal("Container {id} is already paused"),
        Status.RESTARTING: _RESTARTING,
    },
    Call.UNPAUSE: {
        **dict.fromkeys(_IDLE, _NOT_PAUSED),
        Status.RUNNING: _NOT_PAUSED,
        Status.RESTARTING: _NOT_PAUSED,
    },
    Call.EXEC: {
        **dict.fromkeys(_IDLE, _NOT_RUNNING),
        Status.PAUSED: Refusal("Container {name} is paused, unpause the container before exec"),
        Status.RESTARTING: _RESTARTING,
    },
    Call.TOP: {**dict.fromkeys(_IDLE, _NOT_RUNNING), Status.RESTARTING: _RESTARTING},
    Call.RESIZE: {**dict.fromkeys(_IDLE, _NOT_RUNNING), Status.RESTARTING: _NOT_RUNNING},
    Call.REMOVE: {
        Status.RUNNING: Refusal(
            'cannot remove container "{label}": container is running: stop the container before removing or force remove'
        ),
        Status.PAUSED: Refusal('cannot remove container "{label}": container is paused and must be unpaused first'),
        Status.RESTARTING: Refusal(
            'cannot remove container "{label}": container is restarting: '
            "stop the container before removing or force remove"
        ),
        Status.REMOVING: Refusal("removal of container {name} is already in progress"),
    },
}
"""What is not listed is done."""


def allowed(call: Call, status: Status, *, id: str, name: str, label: str = "") -> bool:  # noqa: A002 - Docker's word
    """Tell whether a call has something to do; False where it finds everything as it wants it.

    `name`: as the client wrote it. `label`: the container's own name with its slash. Conflict or Failed, in Docker's words,
    where the state forbids the call.
    """
    answer = ANSWERS[call].get(status)
    if answer is None:
        return True
    if isinstance(answer, str):
        return False
    raise answer.error("", answer.phrase.format(id=id, name=name, label=label or f"/{name}"))
