"""Signals by name and number, as Docker reads them.

The rule that keeps it simple: Linux' numbers, the same on every architecture that containers run on here.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

_RTMIN, _RTMAX = 34, 64
_MOST = 64

NUMBERS: Mapping[str, int] = {
    **{item.name.removeprefix("SIG"): item.value for item in signal.Signals if item.value < _RTMIN},
    "CLD": 17,
    "POLL": 29,
    "IOT": 6,
    "STKFLT": 16,
    **{f"RTMIN+{n}": _RTMIN + n for n in range(1, 16)},
    **{f"RTMAX-{n}": _RTMAX - n for n in range(1, 15)},
    "RTMIN": _RTMIN,
    "RTMAX": _RTMAX,
}


def number_of(text: str) -> int:
    """Give the number of `SIGTERM`, `term` or `15`. Invalid, in Docker's words, for what is none."""
    if text.isascii() and text.isdigit():
        number = int(text)
        if number == 0 or number > 1 << 30:
            raise Invalid("", f"invalid signal: {text}")
        return number
    number = NUMBERS.get(text.upper().removeprefix("SIG"), 0)
    if not number:
        raise Invalid("", f"invalid signal: {text}")
    return number
