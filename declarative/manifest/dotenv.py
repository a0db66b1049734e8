"""Reads env files as Compose does: `NAME=VALUE` lines, comments, quotes, `export`, and `${NAME}` of what stands above.

The rule that keeps it simple: one expression per sort of value, one pass over the text. What Compose takes silently from the
shell (a name without a value, a variable that no line above sets) is a problem here: a manifest says the same everywhere.
"""

from __future__ import annotations

import re

_BLANK = re.compile(r"(?:\s+|#[^\n]*)+")
_NAME = re.compile(r"(?:export[ \t]+)?(?P<name>[^\s=:#'\"]+)[ \t]*(?P<mark>[=:]?)[ \t]*")
_SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PLAIN = re.compile(r"[^\n]*")
_COMMENT = re.compile(r"(?:^|[ \t]+)#.*")
_REST = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|$)")
_VARIABLE = re.compile(
    r"\\\$|\$\$|\$(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)(?::?-(?P<default>[^}]*))?\})"
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "$": "$", '"': '"', "\\": "\\"}


class Fault(Exception):
    """What is wrong, at an offset of the text."""

    def __init__(self, offset: int, text: str, remedy: str) -> None:
        super().__init__(text)
        self.offset = offset
        self.text = text
        self.remedy = remedy


def parse_env(text: str, above: dict[str, str] | None = None) -> tuple[dict[str, str], tuple[Fault, ...]]:
    """Give the variables of an env file and all that is wrong with it; `above` are the variables of the files before it."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    values: dict[str, str] = {}
    faults: list[Fault] = []
    position = 0
    while position < len(text):
        if blank := _BLANK.match(text, position):
            position = blank.end()
            continue
        try:
            name, value, position = _line(text, position, {**(above or {}), **values})
            values[name] = value
        except Fault as fault:
            faults.append(fault)
            end = text.find("\n", max(position, fault.offset))
            position = len(text) if end < 0 else end + 1
    return values, tuple(faults)


def _line(text: str, position: int, known: dict[str, str]) -> tuple[str, str, int]:
    head = _NAME.match(text, position)
    if head is None:
        raise Fault(position, "not a NAME=VALUE line", "begin a comment with #")
    if not head["mark"]:
        raise Fault(
            position, f"{head['name']} has no value", f"write {head['name']}=VALUE, or {head['name']}= for an empty one"
        )
    start = head.end()
    for pattern, mark in ((_SINGLE, "'"), (_DOUBLE, '"')):
        if text[start : start + 1] != mark:
            continue
        quoted = pattern.match(text, start)
        if quoted is None:
            raise Fault(start, "the quote is not closed", f"close it with {mark}")
        rest = _REST.match(text, quoted.end())
        if rest is None:
            raise Fault(quoted.end(), "text after the closing quote", "put all of the value into the quotes")
        value = quoted[1].replace("\\'", "'") if mark == "'" else _unescape(_expand(quoted[1], known, start))
        return head["name"], value, rest.end()
    plain = _PLAIN.match(text, start)
    assert plain is not None  # noqa: S101 - the expression matches the empty text
    value = _COMMENT.sub("", plain[0], count=1).strip()
    return head["name"], _expand(value, known, start), plain.end()


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[0]), text)


def _expand(text: str, known: dict[str, str], offset: int) -> str:
    def value(found: re.Match[str]) -> str:
        name = found["name"] or found["braced"]
        if name is None:
            return "$"
        if name in known:
            return known[name]
        if found["default"] is not None:
            return found["default"]
        raise Fault(offset, f"no line above sets {name}", f"set {name} first, or write '…' for a plain $")

    return _VARIABLE.sub(value, text)
