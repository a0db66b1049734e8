"""The digest of what a step takes: names, kinds, modes, owners, contents; not times, as in Docker.

The rule that keeps it simple: files say their own content's digest, however they know it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from declarative.engine.images.layers.entry import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from declarative.engine.build.choosing import Taking
    from declarative.engine.build.files import File, Files

_VERSION = b"declarative files 1\0"


def digest_of(sources: Iterable[tuple[Files, Taking]]) -> str:
    """Give the digest of all that is taken."""
    hasher = hashlib.sha256(_VERSION)
    for files, taking in sources:
        hasher.update(b"%d%d" % (taking.parents, taking.whole))
        _add(hasher.update, files, taking.name, taking.file)
        for path, file in taking.below:
            _add(hasher.update, files, path, file)
    return hasher.hexdigest()


def _add(update: Callable[[bytes], None], files: Files, name: bytes, file: File) -> None:
    content = files.digest(file) if file.kind is Kind.FILE else b""
    said = (name, file.kind.value, file.mode, file.uid, file.gid, file.size, file.target, file.major, file.minor)
    update(repr((said, file.xattrs)).encode() + content)
