"""Opening files below a folder that somebody else fills: an image's root, a container's.

The rule that keeps it simple: symbolic links mean what they mean to a process whose root is that folder, so none leads out of it.
`openat2` does it in the kernel (5.6 and later); before that, a walk that follows each link itself.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path, PurePosixPath
from stat import S_ISLNK, S_ISREG

from declarative.engine.runtime import kernel

_LINKS_MAX = 40  # as the kernel has it, MAXSYMLINKS


def open_in_root(root: Path | int, path: str, flags: int = os.O_RDONLY) -> int:
    """Open a file below `root` (a folder, or a descriptor of one); OSError as open(2), ELOOP for too many links."""
    folder = root if isinstance(root, int) else os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            return kernel.openat2(folder, path, flags, kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            return _walk(folder, path, flags)
    finally:
        if not isinstance(root, int):
            os.close(folder)


def read_in_root(root: Path | int, path: str, limit: int) -> bytes | None:
    """Give a regular file's content, at most `limit` bytes of it; None where there is none."""
    try:
        # a named pipe in the place of a file must not hold us up
        descriptor = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        if not S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def resolve_in_root(root: Path, path: str) -> str:
    """Give what an absolute path names below `root`, without links: those that are there are followed, what is not there is kept.

    The answer holds as long as nobody changes the file system.
    """
    todo = [part for part in reversed(path.split("/")) if part not in {"", "."}]
    found: list[str] = []
    links = 0
    while todo:
        name = todo.pop()
        if name == "..":
            found = found[:-1]
            continue
        try:
            target = str(root.joinpath(*found, name).readlink())
        except OSError:  # no link, or nothing there
            found.append(name)
            continue
        links += 1
        if links > _LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            found = []
        todo += [part for part in reversed(target.split("/")) if part not in {"", "."}]
    return "/" + "/".join(found)


def _walk(root: int, path: str, flags: int) -> int:
    """Open without openat2: one name after the other, none through a link that the kernel would follow."""
    todo = list(PurePosixPath("/", path).parts[1:])
    todo.reverse()
    stack = [os.dup(root)]
    links = 0
    try:
        while todo:
            name = todo.pop()
            if name == "..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            try:
                target = os.readlink(name, dir_fd=stack[-1])
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
            else:
                links += 1
                if links > _LINKS_MAX or (not todo and flags & os.O_NOFOLLOW):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if target.startswith("/"):
                    for folder in stack[1:]:
                        os.close(folder)
                    del stack[1:]
                todo += reversed([part for part in target.split("/") if part not in {"", "."}])
                continue
            last = flags if not todo else os.O_PATH | os.O_DIRECTORY
            stack.append(os.open(name, last | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stack[-1]))
        return _as_asked(stack, flags)
    finally:
        for folder in stack:
            os.close(folder)


def _as_asked(stack: list[int], flags: int) -> int:
    if len(stack) == 1 or S_ISLNK(os.fstat(stack[-1]).st_mode):
        return os.open(".", flags | os.O_CLOEXEC, dir_fd=stack[-1])
    return stack.pop()
