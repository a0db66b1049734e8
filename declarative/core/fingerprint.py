"""What a saved plan remembers of the objects that its steps touch: one digest each, of everything a step may rest on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from declarative.core import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.core.state import Actual

ABSENT = "absent"


def fingerprint(actual: Actual, objects: Iterable[str]) -> dict[str, str]:
    """Digest the state of each object ("Container/NAME", "Tag/REFERENCE", …); `absent` where there is none."""
    return {name: _digest(actual, name) for name in sorted(set(objects))}


def _digest(actual: Actual, name: str) -> str:
    kind, _, rest = name.partition("/")
    match kind:
        case "Container":
            text = _container(actual, rest)
        case "Network":
            found = actual.networks.get(rest)
            text = canonical.encode(canonical.network(found.spec), "") + found.id if found else ""
        case "Volume":
            volume = actual.volumes.get(rest)
            text = canonical.encode(canonical.volume(volume.spec), "") + repr(volume.owner) if volume else ""
        case "Tag":
            text = actual.references.get(rest, "")
        case _:
            repository, _, tag = rest.rpartition(":")
            remote = actual.registry.get(repository, {}).get(tag)
            text = remote.digest if remote else ""
    return hashlib.sha256(text.encode()).hexdigest() if text else ABSENT


def _container(actual: Actual, name: str) -> str:
    """Take everything but what changes on its own while all is well: times, the number of restarts, becoming healthy."""
    found = actual.containers.get(name)
    if found is None:
        return ""
    flat = canonical.encode(canonical.container(found.spec), "")
    return f"{found.id} {found.image_id} {found.state} {found.health == 'unhealthy'} {flat}"
