"""A semantic version: reading it strictly and ordering it, by SemVer 2.0.0 and nothing else.

The rule that keeps it simple: one accepted grammar (SemVer section 2, 9, 10), plus a leading `v` on input because git tags
carry one. No coercion of `1.2`, no repair of `01`: what cannot be read is refused, since a guess would move somebody's tag.
"""

from __future__ import annotations

import functools
import re
from typing import TypeAlias

from declarative.errors import Invalid
from declarative.record import field, record

Order: TypeAlias = tuple[tuple[int, int, str], ...]
"""A sort key: each part is (class, number, text), compared left to right; a longer key is greater than its own prefix."""

LONGEST = 256
"""Characters read at most. A tag holds 128; the limit keeps a hostile tag from costing quadratic integer parsing."""

_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRERELEASE_PART = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_GRAMMAR = re.compile(
    rf"v?(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER})"
    rf"(?:-(?P<prerelease>{_PRERELEASE_PART}(?:\.{_PRERELEASE_PART})*))?"
    r"(?:\+(?P<build>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
_FINAL = (3, 0, "")


@functools.total_ordering
@record
class Version:
    """One semantic version. Equality and order are precedence (section 11), so build metadata takes no part in either."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()
    build: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read `1.9.2`, `v1.9.2`, `2.0.0-rc.1`, `1.2.3+b5`. Raises Invalid for anything that SemVer 2.0.0 does not allow."""
        found = _GRAMMAR.fullmatch(text) if len(text) <= LONGEST else None
        if found is None:
            raise Invalid(f"version {shown(text)!r}", "is not a semantic version", _remedy(text))
        prerelease, build = found["prerelease"], found["build"]
        return cls(
            major=int(found["major"]),
            minor=int(found["minor"]),
            patch=int(found["patch"]),
            prerelease=tuple(prerelease.split(".")) if prerelease else (),
            build=tuple(build.split(".")) if build else (),
        )

    @property
    def order(self) -> Order:
        """The precedence of section 11 as a sort key: a release sorts after all of its prereleases."""
        core = ((0, self.major, ""), (0, self.minor, ""), (0, self.patch, ""))
        return (*core, *map(identifier_order, self.prerelease)) if self.prerelease else (*core, _FINAL)

    def __lt__(self, other: Version) -> bool:
        return self.order < other.order

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        if self.prerelease:
            text += "-" + ".".join(self.prerelease)
        return f"{text}+{'.'.join(self.build)}" if self.build else text


def identifier_order(part: str) -> tuple[int, int, str]:
    """Section 11.4: numeric identifiers by number and below all others, which go by ASCII."""
    return (1, int(part), "") if part.isdigit() else (2, 0, part)


def shown(text: str) -> str:
    """`text` short enough for an error message."""
    return text if len(text) <= 64 else text[:61] + "..."


def _remedy(text: str) -> str:
    """Say what is missing for the slips that people make."""
    bare = text.strip().removeprefix("v")
    if bare != text.removeprefix("v"):
        return "remove the blanks around it"
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", bare):
        return f"write all three numbers, as in {shown(bare)}{'.0' * (2 - bare.count('.'))}"
    if re.match(r"0[0-9]|[0-9]+\.0[0-9]|[0-9]+\.[0-9]+\.0[0-9]", bare):
        return "numbers have no leading zeros"
    return "write MAJOR.MINOR.PATCH, as in 1.9.2 or 2.0.0-rc.1, or choose scheme: calver or literal"
