"""The cache of build steps: under which key which image was made, and when it was last of use.

The rule that keeps it simple: a key is a digest over everything that a step depends on; the record is a hint. An image that is
gone is a record to forget, and losing all records costs time, nothing else.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from declarative.oci.digest import Digest
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from declarative.engine.db import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS build_steps (
    key TEXT PRIMARY KEY, image TEXT NOT NULL, says TEXT NOT NULL,
    made INTEGER NOT NULL, used INTEGER NOT NULL, uses INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS build_steps_by_image ON build_steps (image);
CREATE TABLE IF NOT EXISTS build_digests (key TEXT PRIMARY KEY, digest TEXT NOT NULL, used INTEGER NOT NULL);
"""
_DIGESTS_KEPT = 10_000


@record
class StepRecord:
    """One remembered step. Times in nanoseconds since 1970; `uses` counts hits."""

    key: str
    image: Digest
    says: str
    made: int
    used: int
    uses: int


def cache_key(parent: Digest | None, says: str, inputs: Iterable[str] = ()) -> str:
    """Give the key of a step: what it is built on, what it says, and whatever else its result depends on."""
    return hashlib.sha256(json.dumps([str(parent or ""), says, list(inputs)]).encode()).hexdigest()


class StepCache:
    """The records. Safe to use from several threads."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def find(self, key: str) -> Digest | None:
        """Give the image that a step of this key has made; it may be gone."""
        rows = self._db.rows("SELECT image FROM build_steps WHERE key = ?", (key,))
        return Digest.parse(rows[0]["image"]) if rows else None

    def put(self, key: str, image: Digest, says: str, now: int) -> None:
        """Remember what a step has made."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO build_steps (key, image, says, made, used) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET image = excluded.image, made = excluded.made, used = excluded.used",
                (key, str(image), says, now, now),
            )

    def note_hits(self, keys: Sequence[str], now: int) -> None:
        """Note that these were of use."""
        if keys:
            with self._db.transaction() as connection:
                connection.executemany(
                    "UPDATE build_steps SET used = ?, uses = uses + 1 WHERE key = ?", [(now, key) for key in keys]
                )

    def forget(self, images: Iterable[Digest]) -> None:
        """Forget the steps that made these images."""
        with self._db.transaction() as connection:
            connection.executemany("DELETE FROM build_steps WHERE image = ?", [(str(image),) for image in images])

    def all(self) -> tuple[StepRecord, ...]:
        """Give every record, the one longest unused first."""
        rows = self._db.rows("SELECT key, image, says, made, used, uses FROM build_steps ORDER BY used, made")
        return tuple(
            StepRecord(
                key=row["key"],
                image=Digest.parse(row["image"]),
                says=row["says"],
                made=row["made"],
                used=row["used"],
                uses=row["uses"],
            )
            for row in rows
        )

    def digest(self, key: str) -> str:
        """Give the digest of files of an image, which never change; "" where it was not computed yet."""
        rows = self._db.rows("SELECT digest FROM build_digests WHERE key = ?", (key,))
        return str(rows[0]["digest"]) if rows else ""

    def put_digest(self, key: str, digest: str, now: int) -> None:
        """Remember the digest of files of an image; the ones remembered longest go."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO build_digests (key, digest, used) VALUES (?, ?, ?)", (key, digest, now)
            )
            connection.execute(
                "DELETE FROM build_digests WHERE used < (SELECT used FROM build_digests ORDER BY used DESC "
                "LIMIT 1 OFFSET ?)",
                (_DIGESTS_KEPT,),
            )
