"""Which ids of the machine containers in user namespaces get: /etc/subuid and /etc/subgid, read as dockerd reads them.

The rule that keeps it simple: the two files are the administrator's. They are read, never written; a line that lacks is told
word for word.
"""

from __future__ import annotations

import grp
import pwd
from pathlib import Path

from declarative.engine.runtime.sandbox import IdMap, IdMaps
from declarative.errors import Invalid

DEFAULT_USER = "dockremap"
"""Whose ids they are where nobody is named, as with dockerd."""
OPTION = "--userns-remap"
_ETC = Path("/etc")
_LAST = (1 << 32) - 2  # the highest id that is one: user_namespaces(7)


def maps_for(text: str, etc: Path = _ETC) -> IdMaps:
    """Give the maps that `--userns-remap` asks for: `default`, USER, UID, or one of them with `:GROUP` or `:GID`. Invalid."""
    user, colon, group = text.partition(":")
    if not user or (colon and not group):
        raise Invalid(OPTION, f"{text!r} names nobody", "write default, USER, UID or USER:GROUP")
    if group:
        _check_group(group)
    name, number = _user(DEFAULT_USER if text == "default" else user)
    if number == 0 or name == "root":
        raise Invalid(OPTION, "root cannot be mapped to itself", "name a user that has subordinate ids")
    return default_maps(name, number, etc)


def default_maps(name: str = DEFAULT_USER, number: int | None = None, etc: Path = _ETC) -> IdMaps:
    """Give the maps of a user's subordinate ids. Invalid, with the line to add, where there are none.

    Groups are looked up by the user's name too: subgid(5).
    """
    names = {name} if number is None else {name, str(number)}
    return IdMaps(uids=_maps(etc / "subuid", names, name), gids=_maps(etc / "subgid", names, name))


def _maps(path: Path, names: set[str], name: str) -> tuple[IdMap, ...]:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        text = ""
    found = read_maps(text, names)
    if not found:
        wanted = f"add one: echo {name}:165536:65536 >> {path}"
        raise Invalid("user namespace", f"{path} has no line for {name}", wanted)
    if any(one.outside == 0 for one in found):
        raise Invalid("user namespace", f"{path} gives {name} the id 0, which is the machine's root", "give it others")
    return found


def read_maps(text: str, names: set[str]) -> tuple[IdMap, ...]:
    """Give the ranges `NAME:FIRST:COUNT` of these names, one after the other from 0 on inside; other lines say nothing."""
    found: list[IdMap] = []
    inside = 0
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) != 3 or parts[0] not in names:
            continue
        if not all(part.isascii() and part.isdigit() for part in parts[1:]):
            continue
        first, count = int(parts[1]), int(parts[2])
        if count and first + count - 1 <= _LAST:
            found.append(IdMap(inside=inside, outside=first, size=count))
            inside += count
    return tuple(found)


def _user(text: str) -> tuple[str, int | None]:
    """Give name and number of a user. Who has subordinate ids need not be in passwd: then only one of them is known."""
    try:
        entry = pwd.getpwuid(int(text)) if text.isdigit() else pwd.getpwnam(text)
    except (KeyError, OverflowError):
        return text, int(text) if text.isdigit() else None
    return entry.pw_name, entry.pw_uid


def _check_group(text: str) -> None:
    try:
        grp.getgrgid(int(text)) if text.isdigit() else grp.getgrnam(text)
    except (KeyError, OverflowError):
        raise Invalid(OPTION, f"there is no group {text}", "leave it out: subordinate groups are the user's") from None
