"""A layer that was unpacked before it was known on which others.

The rule that keeps it simple: it is taken where it would have come out the same; in doubt it is unpacked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.images.layers.tree import Tree
from declarative.errors import Invalid
from declarative.record import record

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.oci.digest import Digest


@record
class Loose:
    """A layer unpacked before it was known on what: `folder` waits to be published. The rest as of `Applied`."""

    folder: Path
    diff_id: Digest
    files: int
    rooted: bool
    implicit: tuple[bytes, ...]

    def fits(self, lowers: tuple[Path, ...]) -> bool:
        """Tell whether it is the same on these layers: none of them has anything where it made a folder for want of one."""
        if not self.implicit or not lowers:
            return True
        tree = Tree(lowers[0], lowers[1:], overlay=True)
        try:
            return not any(_is_there(tree, path) for path in self.implicit)
        except Invalid:
            return False
        finally:
            tree.close()


def _is_there(tree: Tree, path: bytes) -> bool:
    parent, _, name = path.rpartition(b"/")
    folder = tree.folder(parent)
    return folder is not None and tree.lookup(folder, name) is not None
