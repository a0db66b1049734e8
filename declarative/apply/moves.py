"""The words of a script: how a step that takes several calls and waits is written down as a generator.

A script yields moves and is resumed with their results, or with their errors thrown in, so that `try` and `except` around a
`yield` say how a step is undone. The rule that keeps it simple: scripts call nothing themselves. The executor makes the moves,
in its own threads, and gives waiting scripts no thread at all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from declarative.record import record

if TYPE_CHECKING:
    from declarative.core.actions import Action
    from declarative.core.plan import Await


@record
class Do:
    """Execute one action. `cut`: when a stop was asked for, it is not begun, and the reason is thrown in instead."""

    action: Action
    cut: bool = False


@record
class Ask:
    """Make one reading call; the script is resumed with its result."""

    question: Callable[[], Any]


@record
class Wait:
    """Wait until all of these hold. Failed is thrown in when one cannot hold any more or its deadline is over."""

    awaits: tuple[Await, ...]


@record
class Pause:
    """Let time pass."""

    seconds: float


Move = Do | Ask | Wait | Pause
Script = Generator[Move, Any, None]
