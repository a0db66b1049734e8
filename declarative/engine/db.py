"""The one SQLite file of the engine's records (WAL): who owns records declares their tables beside the code that reads them.

The rule that keeps it simple: one connection, one lock, short transactions. A commit is on the disk before it returns.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from declarative.errors import Failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_BUSY_SECONDS = 10.0


class Database:
    """The records. `schemas`: scripts of `CREATE TABLE IF NOT EXISTS …`, one for each owner. Safe to use from several threads."""

    def __init__(self, path: Path, schemas: Sequence[str] = ()) -> None:
        """Open the file, made if it is missing. Failed where it is damaged or the disk is full."""
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        try:
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

    def close(self) -> None:
        """Close the file."""
        with self._lock:
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
        found = [str(row[0]) for row in self.rows("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def _failed(self, error: sqlite3.Error) -> Failed:
        remedy = "free space on its disk" if "full" in str(error) else "see `declarative engine fsck`"
        return Failed(str(self._path), f"the engine's records cannot be used: {error}", remedy)
