"""Instants as clients write them, and as Docker prints them. All are nanoseconds since 1970.

The rule that keeps it simple: a time without a zone is UTC: the daemon has no zone of its own.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from declarative.errors import Invalid
from declarative.oci.units import parse_duration

SECOND = 1_000_000_000

_UNIX = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9}))?", re.ASCII)
_DATE = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})(?:[T ](?P<clock>\d{2}(?::\d{2}(?::\d{2})?)?)(?:\.(?P<fraction>\d{1,9}))?)?"
    r"(?P<zone>Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_instant(text: str, now: int, name: str = "time") -> int:
    """Read seconds since 1970 (with a fraction), a date and time (RFC 3339, or the beginning of one), or a duration ago.

    `name` is the parameter's, for the error. Raises Invalid.
    """
    if match := _UNIX.fullmatch(text):
        fraction = int((match[2] or "").ljust(9, "0"))
        return int(match[1]) * SECOND + (-fraction if text.startswith("-") else fraction)
    if match := _DATE.fullmatch(text):
        return _of_date(match, text, name)
    try:
        return now - parse_duration(text)
    except Invalid:
        raise Invalid(
            name, f"{text[:80]!r} is no time", "give seconds since 1970, a date and time, or a duration such as 1h30m"
        ) from None


def rfc3339(instant: int) -> str:
    """Print as Docker does: UTC, as many digits of the fraction as it has (Go's RFC3339Nano)."""
    seconds, nanoseconds = divmod(instant, SECOND)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{text}{fraction}Z"


def _of_date(match: re.Match[str], text: str, name: str) -> int:
    clock = (match["clock"] or "00").split(":")
    clock += ["00"] * (3 - len(clock))
    zone = (match["zone"] or "Z").replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(f"{match['date']}T{':'.join(clock)}{zone}")
    except ValueError as error:
        raise Invalid(name, f"{text[:80]!r} is no time: {error}") from None
    whole = moment - _EPOCH
    return (whole.days * 86400 + whole.seconds) * SECOND + int((match["fraction"] or "").ljust(9, "0"))
