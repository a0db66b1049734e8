"""The rules of one TagScheme, and the names it writes and reads: prefix, variant, levels.

The rule that keeps it simple: `write` and `recognise` are inverses; nothing else in the package knows how a tag is spelt.
Spelling follows Docker's official images: `1.9.2-alpine`, `1.9-alpine`, `1-alpine`, and plain `alpine` for the latest one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from declarative.core.tags import calver, literal, semver
from declarative.errors import Invalid
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.core.resources import Scheme, TagSchemeSpec
    from declarative.core.tags.release import Release

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")  # distribution-spec, "Pulling manifests": <reference> as a tag


@record
class _Policy:
    """A scheme: how it reads a version, the levels it writes where none are chosen, and all that it knows."""

    read: Callable[..., Release]
    default: tuple[str, ...]
    levels: tuple[str, ...]


_SCHEMES: dict[Scheme, _Policy] = {
    "semver": _Policy(read=semver.read, default=semver.LEVELS, levels=semver.LEVELS),
    "calver": _Policy(read=calver.read, default=calver.LEVELS, levels=calver.ALL_LEVELS),
    "literal": _Policy(read=literal.read, default=literal.LEVELS, levels=literal.LEVELS),
}


@record
class Prune:
    """What to take away. Nothing that still leads somewhere is ever taken.

    `levels`: remove floating tags of levels that the scheme no longer lists, where they point to what one of the known
    versions holds; anything else under such a name was put there by somebody else and stays.
    `keep`: remove full tags of all but the `keep` newest versions of the family; None keeps all. A version that a floating
    name leads to stays whatever its age (else `1` would be forgotten and a later backport would take it), as does the version
    that is published now. Prereleases count by their place in the order: those above the oldest kept version stay.
    """

    levels: bool = True
    keep: int | None = None


@record
class Rules:
    """How versions become tags. `levels` empty means the scheme's default; the full tag is written whether listed or not.

    (The full tags are the only memory there is: without them nobody could tell later what `1` ought to be.)
    `prefix` goes before versions, not before the latest tag: `v1.9.2`, `v1`, `latest`.
    `variant` names a family of its own: it never moves the plain tags, nor they it.
    """

    scheme: Scheme = "semver"
    levels: tuple[str, ...] = ()
    variant: str = ""
    prefix: str = ""
    build: Literal["refuse", "replace"] = "refuse"
    allow_retag: bool = False
    prune: Prune | None = None

    @classmethod
    def of(cls, spec: TagSchemeSpec, *, allow_retag: bool = False) -> Rules:
        """Take the rules out of a TagScheme. The default levels of semver stand for the default of any scheme."""
        foreign = spec.scheme != "semver" and spec.levels == semver.LEVELS
        return cls(
            scheme=spec.scheme,
            levels=() if foreign else spec.levels,
            variant=spec.variant,
            prefix=spec.prefix,
            build=spec.build,
            allow_retag=allow_retag,
            prune=Prune() if spec.prune else None,
        )

    @property
    def wanted(self) -> tuple[str, ...]:
        """The levels in force. Raises Invalid if one does not belong to the scheme."""
        if self.scheme == "literal":
            return literal.LEVELS
        for level in self.levels:
            if level not in self.possible:
                remedy = f"choose from {', '.join(self.possible)}"
                raise Invalid(f"level {level!r}", f"is not a level of scheme {self.scheme}", remedy)
        return self.levels or _SCHEMES[self.scheme].default

    def read(self, version: str) -> Release:
        """Read the version that a manifest states. Raises Invalid if the scheme cannot, or its tag would be too long."""
        release = _SCHEMES[self.scheme].read(version, self.wanted, replace_build=self.build == "replace")
        if not _TAG.fullmatch(self.write(release.full)):
            remedy = "a tag has at most 128 letters, digits, _, . and -"
            raise Invalid(
                f"version {version!r}", f"gives the tag {self.write(release.full)!r}, which is not valid", remedy
            )
        return release

    def write(self, body: str) -> str:
        """Spell a tag: `1.9` → `v1.9-alpine`; the body "" (the latest level) → `latest`, or the variant's bare name."""
        if not body:
            return self.variant or "latest"
        return f"{self.prefix}{body}-{self.variant}" if self.variant else f"{self.prefix}{body}"

    def recognise(self, tag: str) -> Release | None:
        """Read a tag as a full version of this family, with or without the prefix; None for everything else."""
        suffix = f"-{self.variant}" if self.variant else ""
        if self.scheme == "literal" or not tag.endswith(suffix):
            return None
        body = tag.removesuffix(suffix).removeprefix(self.prefix)
        try:
            return _SCHEMES[self.scheme].read(body, self.wanted, replace_build=False)
        except Invalid:
            return None

    def floating(self, release: Release, level: str) -> str | None:
        """Name the tag that `release` competes for on `level`, in force or not; None if it competes for none there."""
        try:
            read = _SCHEMES[self.scheme].read(release.full, (level,), replace_build=False)
        except Invalid:
            return None
        return next((self.write(name.body) for name in read.floats), None)

    @property
    def possible(self) -> tuple[str, ...]:
        """Every level that the scheme knows."""
        return _SCHEMES[self.scheme].levels
