"""Three-way differences: what the manifest asks, what the last apply asked, what is there.

Each difference between desired and actual is a `change` (desired is not what was applied last), `drift` (actual is not
what was applied last), or both. Secrets compare by value or by seal and show as `***`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.canonical import is_secret, same
from declarative.core.plan import Change
from declarative.core.secret import MASK

if TYPE_CHECKING:
    from declarative.core.plan import Origin
    from declarative.core.resources import Places
    from declarative.core.state import Canonical

_MISSING: Any = object()


def differences(desired: Canonical, actual: Canonical, applied: Canonical, places: Places) -> tuple[Change, ...]:
    """List where `actual` is not `desired`, in the order of the paths; `applied` tells the origin of each."""
    if desired == actual:
        return ()
    changes = []
    for path in sorted(desired.keys() | actual.keys()):
        want = desired.get(path, _MISSING)
        have = actual.get(path, _MISSING)
        if _same(want, have):
            continue
        last = applied.get(path, _MISSING)
        secret = is_secret(want) or is_secret(have) or is_secret(last)
        changes.append(
            Change(
                path=path,
                before=_shown(have, secret=secret),
                after=_shown(want, secret=secret),
                origin=origin(changed=not _same(want, last), drifted=not _same(have, last)),
                source=places.at(path),
            )
        )
    return tuple(changes)


def origin(*, changed: bool, drifted: bool) -> Origin:
    """Name the origin of a difference. Neither cannot be: two equal pairs make a third."""
    if changed and drifted:
        return "both"
    return "drift" if drifted else "change"


def combined(changes: tuple[Change, ...]) -> Origin:
    """Give the origin of a step that is made of `changes`."""
    origins = {change.origin for change in changes}
    return origin(changed=bool(origins & {"change", "both"}), drifted=bool(origins & {"drift", "both"}))


def _same(one: Any, other: Any) -> bool:
    if one is _MISSING or other is _MISSING:
        return one is other
    return same(one, other)


def _shown(value: Any, *, secret: bool) -> Any:
    if value is _MISSING:
        return None
    return MASK if secret else value
