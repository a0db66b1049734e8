"""The records of images: which there are, what they are called, who needs them, which layers are unpacked.

The rule that keeps it simple: a record is made after what it speaks of is in its place, and goes before. All of it can be
made again out of the blobs and `index.json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.errors import NotFound
from declarative.oci import media
from declarative.oci.digest import Digest
from declarative.oci.documents import Descriptor
from declarative.oci.reference import Reference
from declarative.record import record

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from declarative.engine.db import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY,
    manifest TEXT NOT NULL, media_type TEXT NOT NULL, manifest_size INTEGER NOT NULL,
    listed TEXT NOT NULL, listed_size INTEGER NOT NULL,
    size INTEGER NOT NULL, parent TEXT NOT NULL DEFAULT '', added INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS images_by_parent ON images (parent);
CREATE TABLE IF NOT EXISTS image_names (
    name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE, named INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS image_names_by_image ON image_names (image);
CREATE TABLE IF NOT EXISTS image_holders (
    holder TEXT NOT NULL, image TEXT NOT NULL, chain TEXT NOT NULL, PRIMARY KEY (holder, image)
);
CREATE INDEX IF NOT EXISTS image_holders_by_image ON image_holders (image);
CREATE TABLE IF NOT EXISTS image_blobs (
    image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE, digest TEXT NOT NULL, PRIMARY KEY (image, digest)
);
CREATE INDEX IF NOT EXISTS image_blobs_by_digest ON image_blobs (digest);
CREATE TABLE IF NOT EXISTS image_chains (
    image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE, chain TEXT NOT NULL, PRIMARY KEY (image, chain)
);
CREATE INDEX IF NOT EXISTS image_chains_by_chain ON image_chains (chain);
CREATE TABLE IF NOT EXISTS layer_blobs (digest TEXT PRIMARY KEY, diff_id TEXT NOT NULL, size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS snapshots (
    chain TEXT PRIMARY KEY, parent TEXT NOT NULL, folder TEXT NOT NULL UNIQUE, settled INTEGER NOT NULL DEFAULT 0
);
"""
"""Names are references in full, with a tag or a digest. `listed` is the manifest as `index.json` lists it."""


@record
class ImageRow:
    """One image as it is recorded. `parent` is what it was built on here."""

    id: Digest
    manifest: Descriptor
    listed: Descriptor
    size: int
    parent: Digest | None
    added: int


@record
class LayerBlob:
    """What is known of a layer's blob: the digest of what it unpacks to, and the size of the files in it, in bytes."""

    digest: Digest
    diff_id: Digest
    size: int


class ImageRecords:
    """The records of images in `db`. Several calls are one where the caller has a transaction open."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.transaction = db.transaction

    def damage(self) -> list[str]:
        """Give what is wrong with the file of the records, nothing for a sound one."""
        return self._db.damage()

    def images(self) -> tuple[ImageRow, ...]:
        """Give all images, the first added first."""
        return tuple(_image(row) for row in self._db.rows("SELECT * FROM images ORDER BY added, id"))

    def image(self, id: Digest) -> ImageRow | None:  # noqa: A002 - the word of this place
        """Give one image, None where it is not recorded."""
        rows = self._db.rows("SELECT * FROM images WHERE id = ?", (str(id),))
        return _image(rows[0]) if rows else None

    def ids(self, prefix: str) -> tuple[Digest, ...]:
        """Give the images whose ID begins so: `sha256:` and hex digits."""
        rows = self._db.rows("SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 2", (prefix, prefix + "g"))
        return tuple(Digest.parse(row["id"]) for row in rows)

    def put(self, row: ImageRow, blobs: Iterable[Digest], chain: Iterable[Digest]) -> None:
        """Record an image, and the blobs and unpacked layers that it needs; one that is there is replaced, its names kept."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " manifest = excluded.manifest, media_type = excluded.media_type,"
                " manifest_size = excluded.manifest_size, listed = excluded.listed,"
                " listed_size = excluded.listed_size, parent = excluded.parent",
                (
                    str(row.id),
                    str(row.manifest.digest),
                    row.manifest.media_type,
                    row.manifest.size,
                    str(row.listed.digest),
                    row.listed.size,
                    row.size,
                    str(row.parent or ""),
                    row.added,
                ),
            )
            for table, digests in (("image_blobs", blobs), ("image_chains", chain)):
                connection.execute(f"DELETE FROM {table} WHERE image = ?", (str(row.id),))  # noqa: S608 - our own words
                statement = f"INSERT OR IGNORE INTO {table} VALUES (?, ?)"  # noqa: S608
                connection.executemany(statement, [(str(row.id), str(digest)) for digest in digests])

    def drop(self, id: Digest) -> None:  # noqa: A002
        """Forget an image and its names."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM images WHERE id = ?", (str(id),))

    def children(self, id: Digest) -> tuple[Digest, ...]:  # noqa: A002
        """Give the images that were built on this one."""
        rows = self._db.rows("SELECT id FROM images WHERE parent = ? ORDER BY added, id", (str(id),))
        return tuple(Digest.parse(row["id"]) for row in rows)

    def set_parent(self, id: Digest, parent: Digest) -> None:  # noqa: A002
        """Record what an image was built on."""
        with self._db.transaction() as connection:
            connection.execute("UPDATE images SET parent = ? WHERE id = ?", (str(parent), str(id)))

    # ---- names

    def names(self, id: Digest | None = None) -> tuple[tuple[Reference, Digest], ...]:  # noqa: A002
        """Give all names in order, or those of one image, each with its image."""
        where, values = ("WHERE image = ?", (str(id),)) if id is not None else ("", ())
        rows = self._db.rows(f"SELECT name, image FROM image_names {where} ORDER BY name", values)  # noqa: S608
        return tuple((Reference.parse(row["name"]), Digest.parse(row["image"])) for row in rows)

    def named(self, reference: Reference) -> Digest | None:
        """Give the image of a name in full."""
        rows = self._db.rows("SELECT image FROM image_names WHERE name = ?", (reference.canonical(),))
        return Digest.parse(rows[0]["image"]) if rows else None

    def name(self, reference: Reference, id: Digest, now: int) -> None:  # noqa: A002
        """Give an image a name, which may be taken from another."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO image_names VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET image = excluded.image, named = excluded.named",
                (reference.canonical(), str(id), now),
            )

    def unname(self, reference: Reference) -> None:
        """Take a name away."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM image_names WHERE name = ?", (reference.canonical(),))

    def last_named(self, id: Digest) -> int:  # noqa: A002
        """Give when an image got its last name, in nanoseconds since 1970; 0 for never."""
        rows = self._db.rows("SELECT max(named) AS last FROM image_names WHERE image = ?", (str(id),))
        return int(rows[0]["last"] or 0)

    # ---- holders

    def hold(self, id: Digest, chain: Digest | None, holder: str) -> None:  # noqa: A002
        """Record that `holder` needs an image and its unpacked layers up to `chain`."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO image_holders VALUES (?, ?, ?)", (holder, str(id), str(chain or ""))
            )

    def release(self, holder: str) -> tuple[Digest, ...]:
        """Forget what a holder needs; give the tops of the chains that it needed."""
        with self._db.transaction() as connection:
            rows = connection.execute("SELECT chain FROM image_holders WHERE holder = ?", (holder,)).fetchall()
            connection.execute("DELETE FROM image_holders WHERE holder = ?", (holder,))
        return tuple(Digest.parse(row["chain"]) for row in rows if row["chain"])

    def holders(self, id: Digest) -> tuple[str, ...]:  # noqa: A002
        """Give who needs an image."""
        rows = self._db.rows("SELECT holder FROM image_holders WHERE image = ? ORDER BY holder", (str(id),))
        return tuple(row["holder"] for row in rows)

    def held_chain(self, id: Digest, holder: str) -> Digest | None:  # noqa: A002
        """Give the top of the chain that a holder needs of an image; None for an image without layers. NotFound."""
        rows = self._db.rows("SELECT chain FROM image_holders WHERE image = ? AND holder = ?", (str(id), holder))
        if not rows:
            raise NotFound("", f"No such image: {id}")
        return Digest.parse(rows[0]["chain"]) if rows[0]["chain"] else None

    def held_chains(self) -> tuple[Digest, ...]:
        """Give the tops of the chains that holders need."""
        rows = self._db.rows("SELECT DISTINCT chain FROM image_holders WHERE chain != ''")
        return tuple(Digest.parse(row["chain"]) for row in rows)

    def needs_chain(self, chain: Digest) -> bool:
        """Tell whether an image needs an unpacked layer."""
        return bool(self._db.rows("SELECT 1 FROM image_chains WHERE chain = ? LIMIT 1", (str(chain),)))

    # ---- blobs

    def needs_blob(self, digest: Digest) -> bool:
        """Tell whether an image needs a blob."""
        return bool(self._db.rows("SELECT 1 FROM image_blobs WHERE digest = ? LIMIT 1", (str(digest),)))

    def with_blob(self, digest: Digest) -> tuple[Digest, ...]:
        """Give the images that need a blob."""
        rows = self._db.rows("SELECT image FROM image_blobs WHERE digest = ?", (str(digest),))
        return tuple(Digest.parse(row["image"]) for row in rows)

    def blobs(self, id: Digest) -> tuple[Digest, ...]:  # noqa: A002
        """Give the blobs of one image."""
        rows = self._db.rows("SELECT digest FROM image_blobs WHERE image = ?", (str(id),))
        return tuple(Digest.parse(row["digest"]) for row in rows)

    def learn(self, blob: LayerBlob) -> None:
        """Record what a layer's blob unpacks to."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO layer_blobs VALUES (?, ?, ?)", (str(blob.digest), str(blob.diff_id), blob.size)
            )

    def layer_blob(self, digest: Digest) -> LayerBlob | None:
        """Give what is known of a layer's blob."""
        rows = self._db.rows("SELECT * FROM layer_blobs WHERE digest = ?", (str(digest),))
        if not rows:
            return None
        return LayerBlob(digest=digest, diff_id=Digest.parse(rows[0]["diff_id"]), size=rows[0]["size"])

    def blob_of(self, diff_id: Digest) -> LayerBlob | None:
        """Give a blob that unpacks to this, where one is known."""
        rows = self._db.rows("SELECT digest FROM layer_blobs WHERE diff_id = ? LIMIT 1", (str(diff_id),))
        return self.layer_blob(Digest.parse(rows[0]["digest"])) if rows else None

    def forget_blob(self, digest: Digest) -> None:
        """Forget what was known of a blob."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM layer_blobs WHERE digest = ?", (str(digest),))


def _image(row: sqlite3.Row) -> ImageRow:
    kind = row["media_type"] if row["listed"] == row["manifest"] else media.OCI_MANIFEST
    return ImageRow(
        id=Digest.parse(row["id"]),
        manifest=Descriptor(
            media_type=row["media_type"], digest=Digest.parse(row["manifest"]), size=row["manifest_size"]
        ),
        listed=Descriptor(media_type=kind, digest=Digest.parse(row["listed"]), size=row["listed_size"]),
        size=row["size"],
        parent=Digest.parse(row["parent"]) if row["parent"] else None,
        added=row["added"],
    )
