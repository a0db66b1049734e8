"""Who `--user` means: looked up in the root file system's own passwd and group, as Docker does it.

The rule that keeps it simple: the files are another's. They are read below the root only, a bounded number of bytes, and a line
that is not one is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.runtime.rooted import read_in_root
from declarative.engine.runtime.sandbox import User
from declarative.errors import Invalid
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_FILE_MAX = 16 << 20
_ID_MAX = (1 << 31) - 1  # as in runc and dockerd
_DEFAULT_HOME = "/"


@record
class _Account:
    name: str
    uid: int
    gid: int
    home: str


@record
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def resolve_user(root: Path | int, text: str, groups: Iterable[str] = ()) -> User:
    """Give the user of `NAME|UID[:GROUP|GID]` with `groups` (`--group-add`) in the file system at `root`.

    Invalid, in Docker's words, for a name that is not there. A number need not be in the files. A group given with the user
    stands for the user's groups in the file; the primary group is among the additional ones (CVE-2022-36109).
    """
    name, _, group = text.partition(":")
    account = _account(root, name)
    gid, additional = account.gid, []
    listed = _groups(root) if group or account.name or groups else ()
    if group:
        gid = _gid(listed, group)
    elif account.name:
        additional = [entry.gid for entry in listed if account.name in entry.members]
    additional += [_gid(listed, wanted) for wanted in groups]
    return User(uid=account.uid, gid=gid, additional=tuple(dict.fromkeys((gid, *additional))), home=account.home)


def _account(root: Path | int, wanted: str) -> _Account:
    number = _number(wanted or "0", "user")
    for entry in _accounts(root):
        if entry.name == wanted or entry.uid == number:
            return entry
    if number is None:
        raise Invalid("", f"unable to find user {wanted}: no matching entries in passwd file")
    return _Account(name="", uid=number, gid=0, home=_DEFAULT_HOME)


def _gid(groups: Iterable[_Group], wanted: str) -> int:
    number = _number(wanted, "group")
    for entry in groups:
        if entry.name == wanted or entry.gid == number:
            return entry.gid
    if number is None:
        raise Invalid("", f"unable to find group {wanted}: no matching entries in group file")
    return number


def _number(text: str, what: str) -> int | None:
    if not text.isascii() or not text.removeprefix("-").isdigit():
        return None
    number = int(text)
    if not 0 <= number <= _ID_MAX:
        raise Invalid("", f"invalid {what} {text}: uids and gids must be in range 0-{_ID_MAX}")
    return number


def _accounts(root: Path | int) -> Iterable[_Account]:
    for fields in _lines(root, "etc/passwd", 4):
        uid, gid = _id(fields[2]), _id(fields[3])
        if uid is not None and gid is not None:
            home = fields[5] if len(fields) > 5 and fields[5] else _DEFAULT_HOME
            yield _Account(name=fields[0], uid=uid, gid=gid, home=home)


def _groups(root: Path | int) -> tuple[_Group, ...]:
    found = []
    for fields in _lines(root, "etc/group", 3):
        gid = _id(fields[2])
        if gid is not None:
            members = tuple(fields[3].split(",")) if len(fields) > 3 else ()
            found.append(_Group(name=fields[0], gid=gid, members=members))
    return tuple(found)


def _id(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= _ID_MAX else None


def _lines(root: Path | int, path: str, fields: int) -> Iterable[list[str]]:
    content = read_in_root(root, path, _FILE_MAX) or b""
    for line in content.decode("utf-8", "surrogateescape").splitlines():
        found = line.strip().split(":")
        if len(found) >= fields and found[0] and not found[0].startswith("#"):
            yield found
