"""The one SQLite file of the engine's records (WAL): who owns records declares their tables beside the code that reads them.

The rule that keeps it simple: one connection, one lock, short transactions. A commit is on the disk before it returns.

A full disk must not stop what makes room on it: to stop and to remove containers is to write records. So the write-ahead log,
which all writing goes to, has its blocks before it needs them, and they are kept while nobody has the file open.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from declarative.errors import Failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ROOM = 5 << 20
"""Bytes of a log that has its blocks: SQLite begins it anew after 1000 pages of 4 KiB, and a transaction may be under way."""

_BUSY_SECONDS = 10.0
# bytes; a log that begins with zeros is an empty one (sqlite.org/fileformat2.html#the_write_ahead_log)
_LOG_HEADER = 32


class Database:
    """The records. `schemas`: scripts of `CREATE TABLE IF NOT EXISTS …`, one for each owner. Safe to use from several threads.

    `room`: bytes on the disk that are kept for writing when it is full.
    """

    def __init__(self, path: Path, schemas: Sequence[str] = (), *, room: int = 0) -> None:
        """Open the file, made if it is missing. Failed where it is damaged or the disk is full."""
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._kept = path.with_name(f"{path.name}-room") if room else None
        self._lock = threading.RLock()
        self._depth = 0
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        try:
            self._take_room()
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("PRAGMA foreign_keys=ON")
            for schema in schemas:
                self._connection.executescript(schema)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        if room:
            self._make_room(room)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._kept is not None:
                with suppress(OSError):
                    self._kept.hardlink_to(self._log)  # SQLite removes the log: its blocks stay ours by another name
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for reading and writing; all of it is kept at the end of the block, or nothing after an error.

        A block inside a block of the same thread is part of the outer one.
        """
        with self._lock:
            outermost = self._depth == 0
            self._depth += 1
            try:
                if outermost:
                    self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                if outermost:
                    self._connection.execute("COMMIT")
            except BaseException as error:
                if outermost and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
                    raise self._failed(error) from error
                raise
            finally:
                self._depth -= 1

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Read: all rows of one SELECT."""
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def damage(self) -> list[str]:
        """Give what SQLite finds wrong with the file, nothing for a sound one."""
        try:
            found = [str(row[0]) for row in self.rows("PRAGMA integrity_check")]
        except Failed as error:
            return [error.problem]
        return [] if found == ["ok"] else found

    def _take_room(self) -> None:
        """Have the log begin in the blocks that were kept; where there is a log, it has its own, and nothing was kept."""
        if self._kept is None or not self._kept.exists():
            return
        if self._log.exists():
            self._kept.unlink()
            return
        with self._kept.open("r+b") as file:
            # what it held is in the records: should it be seen again, it changes nothing
            file.write(bytes(_LOG_HEADER))
        self._kept.rename(self._log)

    def _make_room(self, size: int) -> None:
        with suppress(OSError), self._log.open("r+b") as file:  # no room now is no reason not to serve
            os.posix_fallocate(file.fileno(), 0, size)

    def _failed(self, error: sqlite3.Error) -> Failed:
        remedy = "free space on its disk" if "full" in str(error) else "see `declarative engine fsck`"
        return Failed(str(self._path), f"the engine's records cannot be used: {error}", remedy)
