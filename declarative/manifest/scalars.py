"""Gives plain scalars their type.

The rule that keeps it simple: the core schema of YAML 1.2.2 (section 10.3.2) and nothing else, so `no`, `on`, `22:22` and
`2026-11-23` are text, `012` is twelve, and `0o14` is twelve too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from declarative.manifest.yaml_nodes import Plain

_WORDS: dict[str, Plain] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_NUMBER_START = frozenset("+-.0123456789")
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"(?P<infinity>[-+]?\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)")
_MOST_DIGITS = 300
"""Digits of a number: Python refuses to read integers of more than 4300, and ours have twenty. Longer ones stay text."""


def resolve(text: str) -> Plain:
    """Type a plain (unquoted) scalar by the core schema: None, bool, int, float, and text for all the rest."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START or len(text) > _MOST_DIGITS:
        return text
    return _number(text)


def _number(text: str) -> str | int | float:
    if _DECIMAL.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    if found := _SPECIAL.fullmatch(text):
        return float(text.replace(".", "")) if found["infinity"] else float("nan")
    return text
