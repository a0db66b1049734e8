"""The field tables: one file per kind, and `TABLES` with all of them. Decoding, schemas and `explain` follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.manifest.fields.container import CONTAINER
from declarative.manifest.fields.image import IMAGE
from declarative.manifest.fields.job import JOB
from declarative.manifest.fields.network import NETWORK
from declarative.manifest.fields.stack import STACK
from declarative.manifest.fields.tag_scheme import TAG_SCHEME
from declarative.manifest.fields.volume import VOLUME

if TYPE_CHECKING:
    from declarative.manifest.fields.table import Table

TABLES: dict[str, Table] = {table.kind: table for table in (STACK, IMAGE, TAG_SCHEME, CONTAINER, JOB, NETWORK, VOLUME)}
