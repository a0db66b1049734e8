"""Moments in nanoseconds since 1970, as the API writes and reads them.

The rule that keeps it simple: whole nanoseconds inside; 0 is "never", which Go writes as the year 1.
"""

from __future__ import annotations

import re
import time

from declarative.errors import Invalid

SECOND = 1_000_000_000
NEVER = "0001-01-01T00:00:00Z"
_STAMP = re.compile(r"(-?\d{1,18})(?:\.(\d{1,9}))?", re.ASCII)


def write(moment: int) -> str:
    """Write a moment as Go's RFC3339Nano in UTC: trailing zeros of the fraction are left out."""
    if moment == 0:
        return NEVER
    seconds, rest = divmod(moment, SECOND)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{text}{fraction}Z"


def read_stamp(text: str) -> int:
    """Read `SECONDS[.FRACTION]` of `since` and `until` in a query; 0 for "". Invalid, in Docker's words."""
    if text in {"", "0"}:
        return 0
    match = _STAMP.fullmatch(text)
    if match is None:
        raise Invalid("", f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(match[1]) * SECOND + int((match[2] or "").ljust(9, "0"))
