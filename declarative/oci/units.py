"""Byte sizes and durations, written as Docker, Go and Compose write them.

The rule: sizes are whole bytes, durations whole nanoseconds; fractions exist in text only. Sizes follow
github.com/docker/go-units, durations Go's `time.ParseDuration` and `Duration.String`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.errors import Invalid

if TYPE_CHECKING:
    from decimal import Decimal

NANOSECOND = 1
MICROSECOND = 1000
MILLISECOND = 1000 * MICROSECOND
SECOND = 1000 * MILLISECOND
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# The engine's API carries both as int64.
_INT64_MAX = 2**63 - 1
# No number that fits 63 bits needs more; guards the conversion against megabytes of digits.
_TEXT_MAX = 200
_SIZE = re.compile(r"(?P<sign>-?)(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+) ?(?P<suffix>[a-zA-Z]*)", re.ASCII)
_SUFFIX = re.compile(r"b?|(?P<unit>[kmgtp])(?:i?b)?")
_POWERS = "kmgtp"
_BINARY_NAMES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_DECIMAL_NAMES = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")

# Go's units, and `d` and `w`, which Compose reads as well. Both code points for micro, as in Go.
_DURATION_UNITS = {
    "ns": NANOSECOND,
    "us": MICROSECOND,
    "\N{MICRO SIGN}s": MICROSECOND,
    "\N{GREEK SMALL LETTER MU}s": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": MINUTE,
    "h": HOUR,
    "d": DAY,
    "w": 7 * DAY,
}
_DURATION_PART = re.compile(r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?P<unit>[a-z\u00b5\u03bc]+)")


def parse_size(text: str) -> int:
    """Parse a size in bytes with k = 1024, as `--memory` and Compose do (`512m`, `1.5 GiB`); raise Invalid."""
    match = _SIZE.fullmatch(text) if len(text) <= _TEXT_MAX else None
    suffix = _SUFFIX.fullmatch(match["suffix"].lower()) if match else None
    # A blank before a suffix is allowed, a blank after one never matches; go-units allows one after a bare number too.
    if match is None or suffix is None:
        raise Invalid(repr(text[:_TEXT_MAX]), "not a size", "write a number and a unit, as in 512m or 1.5g")
    factor = 1024 ** (_POWERS.index(suffix["unit"]) + 1) if suffix["unit"] else 1
    size = _times(match["number"], factor)
    if match["sign"] and size:
        raise Invalid(repr(text), "a size cannot be negative")
    if size > _INT64_MAX:
        raise Invalid(repr(text), "larger than any size the engine can hold")
    return size


def format_size(size: float) -> str:
    """Write bytes with binary units and four significant digits: `3.42GiB`."""
    return _format_size(size, 1024, _BINARY_NAMES)


def format_decimal_size(size: float) -> str:
    """Write bytes with decimal units and four significant digits, as `docker images` does: `3.42GB`."""
    return _format_size(size, 1000, _DECIMAL_NAMES)


def exact_size(size: int) -> str:
    """Write bytes with the largest binary unit that leaves no fraction, as `parse_size` reads them: `1536MiB`, `1000B`."""
    power = 0
    while size and size % 1024 == 0 and power < len(_POWERS):
        size //= 1024
        power += 1
    return f"{size}{_BINARY_NAMES[power]}"


def parse_duration(text: str) -> int:
    """Parse a duration in nanoseconds (`1m30s`, `1.5h`, `500ms`, `2d`, `0`; a sign is allowed); raise Invalid."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total, position = 0, 0
    while len(text) <= _TEXT_MAX and (part := _DURATION_PART.match(rest, position)):
        unit = _DURATION_UNITS.get(part["unit"])
        if unit is None:
            raise _not_a_duration(text, f"unknown unit {part['unit']}")
        total += _times(part["number"], unit)
        position = part.end()
    if not rest or position != len(rest):
        raise _not_a_duration(text, "not a duration")
    if total > _INT64_MAX:
        raise _not_a_duration(text, "longer than 292 years")
    return sign * total


def format_duration(nanoseconds: int) -> str:
    """Write a duration as Go does: `1h0m0s`, `1m30s`, `1.5s`, `300ms`, `0s`. Hours are the largest unit."""
    if nanoseconds < 0:
        return "-" + format_duration(-nanoseconds)
    if nanoseconds < SECOND:
        return _format_fraction(nanoseconds)
    minutes, rest = divmod(nanoseconds, MINUTE)
    seconds = f"{_divided(rest, SECOND)}s"
    if minutes == 0:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"


def human_duration(nanoseconds: int) -> str:
    """Say a duration as `docker ps` does: `About a minute`, `3 hours`, `2 weeks`."""
    seconds = nanoseconds // SECOND
    minutes = nanoseconds // MINUTE
    hours = (nanoseconds + HOUR // 2) // HOUR  # go-units rounds the hours, and only them
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    return _human_days(nanoseconds // HOUR, hours)


def _human_days(whole_hours: int, hours: int) -> str:
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{whole_hours // 24 // 365} years"


def _format_size(size: float, base: int, names: tuple[str, ...]) -> str:
    scaled, power = float(size), 0
    while scaled >= base and power < len(names) - 1:
        scaled /= base
        power += 1
    return f"{scaled:.4g}{names[power]}"


def _format_fraction(nanoseconds: int) -> str:
    for unit, length in (("ms", MILLISECOND), ("µs", MICROSECOND), ("ns", NANOSECOND)):
        if nanoseconds >= length:
            return f"{_divided(nanoseconds, length)}{unit}"
    return "0s"


def _times(number: str, factor: int) -> int:
    return int(number) * factor if number.isdecimal() else int(_decimal(number) * factor)


def _decimal(number: str | int) -> Decimal:
    from decimal import Decimal  # few manifests have fractions, and it takes a millisecond to load

    return Decimal(number)


def _divided(number: int, length: int) -> str:
    text = f"{_decimal(number) / length:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _not_a_duration(text: str, problem: str) -> Invalid:
    return Invalid(
        repr(text[:_TEXT_MAX]), problem, "write numbers with units, as in 1m30s; units are ns us ms s m h d w"
    )
