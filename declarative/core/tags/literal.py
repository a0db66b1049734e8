"""The literal policy: the tag is what the manifest says, and it moves whenever its image does.

The rule that keeps it simple: no order, no levels, no promise. `nightly` and `stable` are names, not versions.
"""

from __future__ import annotations

import re

from declarative.core.tags.release import Release
from declarative.core.tags.version import shown
from declarative.errors import Invalid

LEVELS = ("full",)

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def read(text: str, levels: tuple[str, ...], *, replace_build: bool) -> Release:  # noqa: ARG001 - the policies' common shape
    """Take `text` as a tag. Raises Invalid if no registry would."""
    if not _TAG.fullmatch(text):
        remedy = "use letters, digits, _, . and -, at most 128, not starting with . or -"
        raise Invalid(f"tag {shown(text)!r}", "is not a valid tag", remedy)
    return Release(full=text, order=((0, 0, text),), final=True, movable=True)
