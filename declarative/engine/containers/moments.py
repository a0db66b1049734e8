"""Moments in nanoseconds since 1970, as the API writes and reads them.

The rule that keeps it simple: whole nanoseconds inside; 0 is "never", which Go writes as the year 1.
"""

from __future__ import annotations

import re
import time

from declarative.errors import Invalid
from declarative.oci.units import parse_duration

SECOND = 1_000_000_000
NEVER = "0001-01-01T00:00:00Z"
_STAMP = re.compile(r"(-?\d{1,18})(?:\.(\d{1,9}))?", re.ASCII)
_FORMS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H", "%Y-%m-%d")
_ZONE = re.compile(r"(?:Z|([+-])(\d\d):(\d\d))$", re.ASCII)


def write(moment: int) -> str:
    """Write a moment as Go's RFC3339Nano in UTC: trailing zeros of the fraction are left out."""
    if moment == 0:
        return NEVER
    seconds, rest = divmod(moment, SECOND)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{text}{fraction}Z"


def write_full(moment: int) -> str:
    """Write a moment with all nine digits, as `docker logs -t` shows it."""
    seconds, rest = divmod(moment, SECOND)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def read_stamp(text: str) -> int:
    """Read `SECONDS[.FRACTION]` of `since` and `until` in a query; 0 for "". Invalid, in Docker's words."""
    if text in {"", "0"}:
        return 0
    match = _STAMP.fullmatch(text)
    if match is None:
        raise Invalid("", f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(match[1]) * SECOND + int((match[2] or "").ljust(9, "0"))


def read_until(text: str, now: int) -> int:
    """Read the `until` of a prune: a duration before now, a time, or seconds since 1970. Invalid, in Docker's words."""
    try:
        return now - parse_duration(text)
    except Invalid:
        pass
    if _STAMP.fullmatch(text):
        return read_stamp(text)
    zone = _ZONE.search(text)
    offset = 0
    if zone is not None and "T" in text:
        if zone[1]:
            offset = (int(zone[2]) * 60 + int(zone[3])) * 60 * (1 if zone[1] == "+" else -1)
        text = text[: zone.start()]
    whole, _, fraction = text.partition(".")
    for form in _FORMS:
        try:
            seconds = _utc_seconds(whole, form)
        except ValueError:
            continue
        return (seconds - offset) * SECOND + (int(fraction[:9].ljust(9, "0")) if fraction.isdigit() else 0)
    raise Invalid("", f'failed to parse value as time or duration: "{text}"')


def _utc_seconds(text: str, form: str) -> int:
    import calendar

    return calendar.timegm(time.strptime(text, form))
