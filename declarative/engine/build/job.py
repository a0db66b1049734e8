"""A step that is ready to be done: what its result depends on, apart from how it is made.

The rule that keeps it simple: the cache looks at `says` and `inputs`, never at `act`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@record
class Job:
    """One step. `says`: its line of history. `inputs`: whatever else changes the result.

    `act` fills the folder of a new layer, None where no file changes. `container`: the id under which it is told to run, "" for
    a step without a container.
    """

    says: str
    inputs: tuple[str, ...] = ()
    act: Callable[[Path], None] | None = field(default=None, compare=False)
    container: str = ""
