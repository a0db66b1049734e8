r"""Records of a pax extended header (POSIX, pax, "pax Extended Header"): `LENGTH KEY=VALUE\\n`.

The rule that keeps it simple: records stay in order and may repeat, since one sparse format needs that; the last one counts.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from declarative.errors import Invalid

Records: TypeAlias = tuple[tuple[bytes, bytes], ...]

_TIME = re.compile(rb"(-?)(\d{1,12})(?:\.(\d*))?", re.ASCII)


def parse_records(content: bytes, subject: str) -> Records:
    """Give the records in order. Invalid where a length is wrong or a key is missing."""
    records = []
    at = 0
    while at < len(content) and content[at : at + 1] != b"\0":
        space = content.find(b" ", at, at + 10)
        digits = content[at:space] if space > 0 else b""
        if not digits.isdigit():
            raise Invalid(subject, "a damaged pax header", "make the archive again")
        end = at + int(digits)
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not (space + 3 <= end <= len(content)) or content[end - 1 : end] != b"\n" or not equals or not key:
            raise Invalid(subject, "a damaged pax header", "make the archive again")
        records.append((key, value))
        at = end
    return tuple(records)


def format_records(records: Records) -> bytes:
    """Write records; the length counts its own digits."""
    parts = []
    for key, value in records:
        rest = len(key) + len(value) + 3
        length = rest + len(str(rest))
        length = rest + len(str(length))
        parts.append(b"%d %s=%s\n" % (length, key, value))
    return b"".join(parts)


def parse_time(value: bytes, subject: str) -> int:
    """Give nanoseconds since 1970 of decimal seconds. Invalid for anything else."""
    match = _TIME.fullmatch(value)
    if match is None:
        raise Invalid(subject, f"a pax header has {value[:40]!r} for a time")
    time = int(match[2]) * 1_000_000_000 + int((match[3] or b"").ljust(9, b"0")[:9])
    return -time if match[1] else time


def format_time(time: int) -> bytes:
    """Write nanoseconds since 1970 as decimal seconds, without trailing zeros."""
    seconds, rest = divmod(abs(time), 1_000_000_000)
    text = f"{seconds}.{rest:09}".rstrip("0").rstrip(".")
    return f"{'-' if time < 0 else ''}{text}".encode()
