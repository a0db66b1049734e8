"""The folders of unpacked layers, below the layers' root.

    l/NAME      a layer's own files, whiteouts as overlayfs has them; NAME has eight letters, since the kernel limits the
                mount options of a stack of layers to a page
    new/NAME    one that is being unpacked, or on its way out

The rule that keeps it simple: a folder gets its name under `l` by one rename, when it is whole, and loses it by another. What is
in `new` when the engine starts is what a crash left.
"""

from __future__ import annotations

import errno
import os
import queue
import secrets
import stat
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from declarative.engine.images.layers.tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def _random_name() -> str:
    return secrets.token_hex(4)


class Folders:
    """The folders below `root`. `name` makes names. Safe to use from several threads."""

    def __init__(self, root: Path, name: Callable[[], str] = _random_name) -> None:
        self._root = root
        self._whole = root / "l"
        self._new = root / "new"
        self._name = name
        self._gone: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._left = 0
        self._changed = threading.Condition()
        self._eraser: threading.Thread | None = None
        for folder in (root, self._whole, self._new):  # layers have set-id files, which nobody else may reach
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Give the place of a whole folder."""
        return self._whole / name

    def whole(self) -> tuple[Path, ...]:
        """Give all whole folders."""
        return tuple(sorted(self._whole.iterdir()))

    @contextmanager
    def fresh(self, below: Path | None) -> Iterator[Path]:
        """Give a new folder, its owner and mode as of the one `below`; it goes after an error, wherever it is then."""
        folder = self._new / self._name()
        folder.mkdir()
        try:
            if below is not None:
                self.root_as(folder, below)
            else:
                folder.chmod(0o755)
            yield folder
        except BaseException:
            with suppress(FileNotFoundError):
                _remove(folder)
            raise

    def root_as(self, folder: Path, below: Path) -> None:
        """Give a folder the owner and mode of the one below it: where a layer says nothing of the root, it stays as it is."""
        status = below.stat()
        os.chown(folder, status.st_uid, status.st_gid)
        folder.chmod(stat.S_IMODE(status.st_mode))

    def publish(self, folder: Path) -> Path:
        """Give a folder its name among the whole ones. OSError with EXDEV where it is on another disk."""
        while True:
            target = self._whole / self._name()
            if not target.exists():
                return folder.rename(target)

    def hide(self, folder: Path) -> Path:
        """Take a folder out of sight, and give where it is now, for `erase`."""
        gone = self._new / f"{self._name()}.gone"
        try:
            return folder.rename(gone)
        except FileNotFoundError:
            return gone
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return folder

    def erase(self, folder: Path) -> None:
        """Remove a folder, if it is there; nobody sees half of it."""
        with suppress(FileNotFoundError):
            _remove(folder if folder.parent == self._new else self.hide(folder))

    def erase_later(self, folder: Path) -> None:
        """Take a folder out of sight now, and remove it in its own time: tens of thousands of files take seconds."""
        gone = folder if folder.parent == self._new else self.hide(folder)
        with self._changed:
            self._left += 1
            self._gone.put(gone)
            if self._eraser is None:
                self._eraser = threading.Thread(target=self._erase_all, name="erase", daemon=True)
                self._eraser.start()

    def drain(self, seconds: float) -> bool:
        """Wait until all that was to be removed is, at most so long; tell whether it is. A restart removes the rest."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._left, seconds)

    def clean(self) -> None:
        """Remove what a crash left in `new`."""
        for folder in self._new.iterdir():
            self.erase_later(folder)

    def _erase_all(self) -> None:
        while True:
            folder = self._gone.get()
            with suppress(OSError):  # a restart tries again
                _remove(folder)
            with self._changed:
                self._left -= 1
                self._changed.notify_all()

    def rebooted(self, boot: str) -> bool:
        """Tell whether another run of the kernel than `boot` was the last to be told by `note_boot`."""
        file = self._root / "boot"
        return not file.is_file() or file.read_text() != boot

    def note_boot(self, boot: str) -> None:
        """Record which run of the kernel this is."""
        written = self._new / f"{self._name()}.boot"
        written.write_text(boot)
        written.rename(self._root / "boot")


def _remove(path: Path) -> None:
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_tree(fd, os.fsencode(path.name))
    except NotADirectoryError:
        path.unlink()
    finally:
        os.close(fd)
