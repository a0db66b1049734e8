"""Who `--chown=` means in an image that is not mounted.

The rule that keeps it simple: numbers are numbers; names are looked up as for a process, in copies of the image's two files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.engine.build.files import find, read
from declarative.engine.build.image_files import ImageFiles
from declarative.engine.images.layers.entry import Kind
from declarative.engine.runtime.users import resolve_user
from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_MODE = re.compile(r"0?[0-7]{1,4}", re.ASCII)
_ACCOUNTS = ("passwd", "group")
_FILE_MAX = 16 << 20


def find_owner(text: str, lowers: tuple[Path, ...], new_folder: Callable[[], Path]) -> tuple[int, int]:
    """Give user and group of `USER[:GROUP]`. A user alone stands for its group: by number the same one, by name its own."""
    user, _, group = text.partition(":")
    group = group or (user if _NUMBER.fullmatch(user) else "")
    if _NUMBER.fullmatch(user) and _NUMBER.fullmatch(group):
        return int(user), int(group)
    folder = new_folder()
    (folder / "etc").mkdir()
    with ImageFiles(lowers) as files:
        for name in _ACCOUNTS:
            file = find(files, b"etc/" + name.encode())
            if file is not None and file.kind is Kind.FILE and file.size <= _FILE_MAX:
                (folder / "etc" / name).write_bytes(b"".join(read(files, file)))
    found = resolve_user(folder, f"{user}:{group}" if group else user)
    return found.uid, found.gid


def parse_mode(text: str) -> int:
    """Read `--chmod=`: octal digits. Raises Invalid."""
    if not _MODE.fullmatch(text):
        problem = f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        raise Invalid("", problem)
    return int(text, 8)
