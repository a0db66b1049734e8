"""Writes plain scalars so that they are read back as they are: which strings need quotes to stay strings.

The rule that keeps it simple: the inverse of `scalars.resolve`, and careful about readers of YAML 1.1 too.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from declarative.manifest.yaml_nodes import Plain

_OLD_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "null", "true", "false", "~"})
_OLD_NUMBER = re.compile(r"[-+.]?[0-9.][0-9a-fA-FxXoOeE_:.,+-]*|[-+]?\.(?:inf|nan)", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/.@%+=,:~$()*-]*(?: [A-Za-z0-9_/.@%+=,:~$()*-]+)*")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f]")
_UNPRINTABLE = re.compile("[\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff\u2028\u2029]")


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
