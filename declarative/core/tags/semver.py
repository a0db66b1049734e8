"""The semver policy: 1.9.2 competes for 1.9, 1 and latest; prereleases and builds compete for nothing.

The rule that keeps it simple: what cannot be told from the tag alone never floats. `1.2.3+b5` written as `1.2.3-b5` reads back as
a prerelease, so it is treated as one from the start; otherwise the outcome would depend on who publishes next.
"""

from __future__ import annotations

from declarative.core.tags.release import Floating, Release
from declarative.core.tags.version import Order, Version, identifier_order
from declarative.errors import Invalid

LEVELS = ("major", "minor", "patch", "latest")


def read(text: str, levels: tuple[str, ...], *, replace_build: bool) -> Release:
    """Read a version. Raises Invalid if it is none, or has build metadata and `replace_build` is false."""
    version = Version.parse(text)
    if version.build and not replace_build:
        problem = "has build metadata, and + cannot be part of a tag"
        raise Invalid(f"version {text!r}", problem, "drop it, or set build: replace to write - in its place")
    final = not (version.prerelease or version.build)
    floats = _floats(version, levels) if final else ()
    return Release(full=str(version).replace("+", "-"), order=_order(version), final=final, floats=floats)


def _order(version: Version) -> Order:
    """Order a build as the prerelease it will be read back as, so that one tag has one place whoever looks."""
    if not version.build:
        return version.order
    core = Version(major=version.major, minor=version.minor, patch=version.patch).order[:-1]
    tail = str(version).replace("+", "-").split("-", 1)[1]
    return (*core, *map(identifier_order, tail.split(".")))


def _floats(version: Version, levels: tuple[str, ...]) -> tuple[Floating, ...]:
    bodies = {"minor": f"{version.major}.{version.minor}", "major": str(version.major), "latest": ""}
    return tuple(Floating(level=level, body=body) for level, body in bodies.items() if level in levels)
