"""Resource limits of a process, as `docker run --ulimit` writes them.

The rule: names and forms of github.com/docker/go-units; -1 is "unlimited", on either side.
"""

from __future__ import annotations

import re

from declarative.errors import Invalid
from declarative.record import record

NAMES = frozenset(
    {
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    }
)
# int64, as the engine's API has it.
_FORM = r"(?P<name>[^=]+)=(?P<soft>-?[0-9]{1,18})(?::(?P<hard>-?[0-9]{1,18}))?"


@record(order=True)
class Ulimit:
    """A soft and a hard limit; the unit is that of setrlimit(2) for the name. -1 is unlimited."""

    name: str
    soft: int
    hard: int

    @classmethod
    def parse(cls, text: str) -> Ulimit:
        """Parse `nofile=1024` or `nofile=1024:2048`; raise Invalid."""
        match = re.fullmatch(_FORM, text, re.ASCII)
        if match is None:
            raise Invalid(repr(text[:80]), "not a limit", "write NAME=SOFT[:HARD], as in nofile=1024:2048")
        soft = int(match["soft"])
        return cls.checked(match["name"], soft, int(match["hard"]) if match["hard"] else soft)

    @classmethod
    def checked(cls, name: str, soft: int, hard: int) -> Ulimit:
        """Return the limit; raise Invalid for an unknown name, or a soft limit above the hard one."""
        if name not in NAMES:
            raise Invalid(repr(name[:80]), "unknown limit", f"known are {', '.join(sorted(NAMES))}")
        if hard != -1 and (soft == -1 or soft > hard):
            raise Invalid(name, f"the soft limit {soft} is above the hard limit {hard}")
        return cls(name=name, soft=soft, hard=hard)

    def __str__(self) -> str:
        return f"{self.name}={self.soft}:{self.hard}"
