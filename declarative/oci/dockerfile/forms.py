"""How the rest of an instruction's line splits into arguments: JSON arrays, blank-separated words, name=value pairs, flags.

The rule that keeps it simple: one table from instruction to form. Nothing is unquoted or expanded here, except inside JSON and
flags, where the form itself says so.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from declarative.errors import Invalid
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable

_BLANKS = re.compile(r"[\t\v\f\r ]+")


@record
class Form:
    """Arguments, and whether they came as JSON."""

    args: tuple[str, ...] = ()
    json: bool = False


def form_of(name: str, rest: str, escape: str, place: str) -> Form:
    """Split `rest` as instruction `name` (upper case) has it; an unknown one keeps it whole. Raises Invalid at `place`."""
    return _FORMS.get(name, _whole)(rest, escape, place)


def flags_of(rest: str) -> tuple[tuple[str, ...], str]:
    """Split off leading `--flag=value` words (quotes and backslashes resolved); `--` alone ends them."""
    flags: list[str] = []
    at = 0
    while True:
        at += len(rest[at:]) - len(rest[at:].lstrip())
        if not rest.startswith("--", at):
            return tuple(flags), rest[at:]
        word, at = _flag(rest, at)
        if word == "--":
            return tuple(flags), rest[at:].strip()
        flags.append(word)


def _flag(rest: str, at: int) -> tuple[str, int]:
    word, quote = "", ""
    while at < len(rest):
        character = rest[at]
        if not quote and character.isspace():
            break
        at += 1
        if character == quote or (not quote and character in "'\""):
            quote = "" if quote else character
        elif character == "\\" and at < len(rest):
            word, at = word + rest[at], at + 1
        elif character != "\\":
            word += character
    return word, at


def json_array(rest: str, place: str) -> tuple[str, ...] | None:
    """Read a JSON array of strings; None if `rest` is no JSON array at all. Raises Invalid for one of anything else."""
    text = rest.lstrip()
    if not text.startswith("["):
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None
    except RecursionError:
        raise Invalid("JSON array", "is nested too deep", "write a flat array of strings", place) from None
    if not all(isinstance(item, str) for item in value):
        problem = "when using JSON array syntax, arrays must be comprised of strings only"
        raise Invalid(rest, problem, "put every element in double quotes", place)
    return tuple(value)


def words(rest: str, escape: str) -> list[str]:
    """Split at blanks outside quotes; quotes and escapes stay in the words."""
    out: list[str] = []
    word, quote, at = "", "", 0
    while at < len(rest):
        character = rest[at]
        at += 1
        if not quote and character.isspace():
            out += [word] if word else []
            word = ""
            continue
        if character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        elif character == escape and quote != "'" and at < len(rest):
            character, at = character + rest[at], at + 1
        word += character
    return out + ([word] if word else [])


def _whole(rest: str, escape: str, place: str) -> Form:
    del escape, place
    return Form(args=(rest,) if rest else ())


def _listed(rest: str, escape: str, place: str) -> Form:
    del escape, place
    return Form(args=tuple(_BLANKS.split(rest.strip())) if rest.strip() else ())


def _maybe_json(rest: str, escape: str, place: str) -> Form:
    found = json_array(rest, place)
    return Form(args=found, json=True) if found is not None else _whole(rest, escape, place)


def _maybe_json_list(rest: str, escape: str, place: str) -> Form:
    found = json_array(rest, place)
    return Form(args=found, json=True) if found is not None else _listed(rest, escape, place)


def _names(rest: str, escape: str, place: str) -> Form:
    del place
    return Form(args=tuple(words(rest, escape)))


def _pairs(kind: str) -> Callable[[str, str, str], Form]:
    def split(rest: str, escape: str, place: str) -> Form:
        found = words(rest, escape)
        if not found:
            return Form()
        if "=" not in found[0]:
            parts = _BLANKS.split(rest, maxsplit=1)
            if len(parts) < 2:
                raise Invalid(kind, f"{kind} must have two arguments", f"write {kind} NAME=VALUE", place)
            return Form(args=(parts[0], parts[1], ""))
        for word in found:
            if "=" not in word:
                problem = f"can't find = in {word!r}"
                raise Invalid(kind, problem, "write NAME=VALUE pairs, with quotes around blanks", place)
        return Form(args=tuple(part for word in found for part in (*word.split("=", 1), "=")))

    return split


def _health(rest: str, escape: str, place: str) -> Form:
    kind, _, command = _BLANKS.sub(" ", rest.strip(), count=1).partition(" ")
    if not kind:
        return Form()
    if kind.upper() != "CMD":
        return Form(args=(kind, command) if command else (kind,))
    inner = _maybe_json(command.strip(), escape, place)
    return Form(args=(kind, *inner.args), json=inner.json)


_FORMS: dict[str, Callable[[str, str, str], Form]] = {
    "ADD": _maybe_json_list,
    "ARG": _names,
    "CMD": _maybe_json,
    "COPY": _maybe_json_list,
    "ENTRYPOINT": _maybe_json,
    "ENV": _pairs("ENV"),
    "EXPOSE": _listed,
    "FROM": _listed,
    "HEALTHCHECK": _health,
    "LABEL": _pairs("LABEL"),
    "RUN": _maybe_json,
    "SHELL": _maybe_json,
    "VOLUME": _maybe_json_list,
}
