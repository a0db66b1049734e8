"""Who owns an object, as its labels say it.

The rule: labels under our prefix are read and written here and nowhere else in this driver; a label that images hand down to
containers (stack, kind, name of the image) never makes a container ours: the kind has to fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core import canonical
from declarative.core.state import LABEL_INDEX, LABEL_KIND, LABEL_NAME, LABEL_SPEC, LABEL_STACK, PREFIX, Owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.state import Canonical

CONTAINER_KINDS = ("Container", "Job")
KIND_LOCK = "Lock"
KIND_HISTORY = "History"
KIND_FILES = "Files"  # volumes that hold the files of a container with a read-only root file system


def owner_of(labels: Mapping[str, str], kinds: tuple[str, ...]) -> Owner | None:
    """Read the owner of an object that can be of `kinds` only; None: foreign."""
    stack = labels.get(LABEL_STACK)
    if not stack or labels.get(LABEL_KIND) not in kinds:
        return None
    index = labels.get(LABEL_INDEX, "")
    return Owner(
        stack=stack,
        kind=labels[LABEL_KIND],
        name=labels.get(LABEL_NAME, ""),
        index=int(index) if index.isdecimal() else 0,
    )


def applied_of(labels: Mapping[str, str]) -> Canonical | None:
    """Read the spec of the last apply; None where there is none that can be read."""
    text = labels.get(LABEL_SPEC)
    return canonical.decode(text) if text else None


def without_ours(labels: Mapping[str, str]) -> dict[str, str]:
    """Give the labels that people set."""
    return {name: value for name, value in labels.items() if not name.startswith(PREFIX)}


def owned_labels(owner: Owner, applied: Canonical | None = None, salt: str = "") -> dict[str, str]:
    """Write the labels of an object that `owner` shall have; secrets in `applied` are sealed under `salt`."""
    labels = {LABEL_STACK: owner.stack, LABEL_KIND: owner.kind, LABEL_NAME: owner.name}
    if owner.index:
        labels[LABEL_INDEX] = str(owner.index)
    if applied is not None:
        labels[LABEL_SPEC] = canonical.encode(applied, salt)
    return labels


def holds_files(mount: Mapping[str, Any]) -> bool:
    """Whether a mount of HostConfig is a volume that we made for files (docker.read_only)."""
    return ((mount.get("VolumeOptions") or {}).get("Labels") or {}).get(LABEL_KIND) == KIND_FILES


def same_spec(labels: Mapping[str, str], owner: Owner, applied: Canonical) -> bool:
    """Whether an object that is there already is the one that `owner` would make: same owner, same spec label."""
    there = applied_of(labels)
    if there is None or owner_of(labels, (owner.kind,)) != owner:
        return False
    return there.keys() == applied.keys() and all(canonical.same(there[path], applied[path]) for path in applied)
