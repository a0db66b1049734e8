"""What goes wrong with a disk, in our words.

The rule that keeps it simple: one place knows which error numbers mean that there is no room, or no permission.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from declarative.errors import Denied, Failed

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def saying(subject: str) -> Iterator[None]:
    """Turn errors of the file system into ours: Failed "disk full", Denied. Others pass."""
    try:
        yield
    except OSError as error:
        translated = disk_error(subject, error)
        if translated is None:
            raise
        raise translated from error


def disk_error(subject: str, error: OSError) -> Failed | Denied | None:
    """Give our error for one of the file system's; None for one that says something of the request, not of the disk."""
    if error.errno in _FULL:
        return Failed(subject, "disk full", "make room below the data root, then try again")
    if error.errno in _DENIED:
        return Denied(subject, f"cannot be written: {error.strerror}", "run as root, or choose another data root")
    return None


def is_full(error: BaseException) -> bool:
    """Tell whether an error, ours or the file system's, means that the disk is full."""
    cause = error.__cause__ if isinstance(error, Failed) else error
    return isinstance(cause, OSError) and cause.errno in _FULL
