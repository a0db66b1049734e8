"""A release: what any versioning scheme makes of a version's text, in the one shape that the decision about tags needs.

The rule that keeps it simple: a policy (semver, calver, literal) only answers "what is its full tag, how does it sort, which
floating names does it compete for"; it never sees other releases, prefixes or variants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from declarative.core.tags.version import Order


@record
class Floating:
    """A name that a release competes for. `body` is the tag without prefix and variant; "" is the latest level."""

    level: str
    body: str


@record
class Release:
    """One version as its scheme reads it.

    `full`: body of its full tag. `order`: its place among the releases of its scheme. `floats`: names it competes for, most
    specific first; empty for what must not move anything (prereleases, build metadata). `final`: a release proper, not a
    prerelease. `movable`: its full tag may be overwritten (literal tags only).
    """

    full: str
    order: Order
    final: bool
    floats: tuple[Floating, ...] = ()
    movable: bool = False
