"""JSON as Go reads it: half of a surrogate pair becomes U+FFFD, since no UTF-8 can say it.

The rule that keeps it simple: what others wrote is read here, so that every text of it can be written, shown and compared.
"""

from __future__ import annotations

import json
import re
from typing import Any

Json = Any
"""A parsed JSON document; whoever has it reads it into types at once."""

_HALF = re.compile("[\ud800-\udfff]")
_MAY_HOLD_HALVES = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")


def parse(content: bytes) -> Json:
    """Read a document. ValueError, RecursionError."""
    document = json.loads(content)
    return _whole(document) if _MAY_HOLD_HALVES.search(content) else document


def _whole(value: Json) -> Json:
    match value:
        case str():
            return _HALF.sub("\ufffd", value)
        case list():
            return [_whole(each) for each in value]
        case dict():
            return {_whole(name): _whole(each) for name, each in value.items()}
    return value
