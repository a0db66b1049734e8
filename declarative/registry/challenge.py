"""`WWW-Authenticate` read: text in, challenges out (RFC 9110, section 11.6.1).

The rule: pure, and it never raises. What cannot be read ends the list, as if the server had said no more.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

# Longer than any honest challenge; servers limit whole header blocks to 8 or 16 KiB.
_HEADER_MAX = 16 * 1024
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SKIP = re.compile(r"[ \t,]*")
_SEPARATOR = re.compile(r"[ \t]*,[ \t,]*")
_SCHEME = re.compile(_WORD)
# A scheme's one credential-like value (token68). It ends at a comma or the end, which tells it from a parameter.
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9\-._~+/]+=*[ \t]*(?=,|$)")
_PARAMETER = re.compile(rf'[ \t,]*({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))[ \t]*(?=,|$)', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


@record
class Challenge:
    """One way in that the server offers; scheme and parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Read every challenge of a header, or of several joined by commas."""
    header = header[:_HEADER_MAX]
    found: list[Challenge] = []
    position = _after(_SKIP, header, 0)
    while scheme := _SCHEME.match(header, position):
        position = _after(_TOKEN68, header, scheme.end())
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            parameters.setdefault(parameter[1].lower(), _value(parameter))
            position = parameter.end()
        found.append(Challenge(scheme=scheme[0].lower(), parameters=parameters))
        separator = _SEPARATOR.match(header, position)
        if separator is None:  # the end, or something that is not for us to guess
            break
        position = separator.end()
    return tuple(found)


def _value(parameter: re.Match[str]) -> str:
    quoted: str | None = parameter[2]
    return parameter[3] if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
