"""Gives plain scalars their type, and says which strings need quotes to stay strings.

The rule that keeps it simple: the core schema of YAML 1.2.2 (section 10.3.2) and nothing else, so `no`, `on`, `22:22` and
`2026-11-23` are text, `012` is twelve, and `0o14` is twelve too.
"""

from __future__ import annotations

import json
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

_OLD_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "null", "true", "false", "~"})
_OLD_NUMBER = re.compile(r"[-+.]?[0-9.][0-9a-fA-FxXoOeE_:.,+-]*|[-+]?\.(?:inf|nan)", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/.@%+=,:~$()*-]*(?: [A-Za-z0-9_/.@%+=,:~$()*-]+)*")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f]")
_UNPRINTABLE = re.compile("[\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff\u2028\u2029]")


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


def write(value: Plain) -> str:
    """Write a value as a scalar that `resolve` reads back, strings quoted where they need it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _write_float(value)
    return quote(value) if isinstance(value, str) else str(value)


def _write_float(value: float) -> str:
    if value != value:  # noqa: PLR0124 - the definition of NaN
        return ".nan"
    if value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    return repr(value)


def quote(text: str) -> str:
    """Write a string so that it stays a string: plain where YAML 1.2 *and* 1.1 readers would read text, else in quotes."""
    if is_plain(text):
        return text
    if (
        ('"' in text or "\\" in text)
        and "'" not in text
        and "\n" not in text
        and "\t" not in text
        and is_printable(text)
    ):
        return f"'{text}'"
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def is_printable(text: str) -> bool:
    """Whether `text` may stand in a `|` block as it is, and be read back as it is."""
    return not _UNPRINTABLE.search(text) and not _CONTROL.search(text)


def is_plain(text: str) -> bool:
    """Whether `text` may be written without quotes, in every place of a block style document."""
    if not _PLAIN.fullmatch(text) or text.casefold() in _OLD_WORDS:
        return False
    return not (_OLD_NUMBER.fullmatch(text) or ": " in text or text.endswith(":") or text.startswith(("...", "---")))
