"""Platforms: `os/architecture[/variant]`, with the many spellings of one machine brought to one.

The rule: a `Platform` is normalised when it is made by `parse` or `of_machine`; spellings follow
github.com/containerd/platforms (`database.go`).
"""

from __future__ import annotations

import os
import re

from declarative.errors import Invalid
from declarative.record import record, replace

_PART = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_SYSTEMS = frozenset({"linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "illumos", "plan9"})
# Spelling -> (architecture, variant implied).
_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
}
_ARCHITECTURES = frozenset(
    {"386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x", "wasm"}
)
# What an architecture means when no variant is said, and the variants that mean nothing more than that.
_IMPLIED = {"arm": "v7", "arm64": "v8", "amd64": "v1"}
_UNWRITTEN = frozenset({("arm64", "v8"), ("amd64", "v1")})


@record(order=True)
class Platform:
    """An operating system and a processor, as Go names them. `variant` is "" where the architecture says it all."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Parse `linux/arm64/v8`, `linux/amd64`, or an architecture alone (on linux); raise Invalid."""
        parts = text.lower().split("/")
        if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
            raise Invalid(repr(text[:80]), "not a platform", "write OS/ARCHITECTURE[/VARIANT], as in linux/arm64")
        if len(parts) == 1:
            return cls._parse_alone(text, parts[0])
        return cls(
            os="darwin" if parts[0] == "macos" else parts[0],
            architecture=parts[1],
            variant=parts[2] if len(parts) == 3 else "",
        ).normalised()

    @classmethod
    def _parse_alone(cls, text: str, part: str) -> Platform:
        if part in _ARCHITECTURES or part in _ALIASES:
            return cls(os="linux", architecture=part).normalised()
        problem = "an operating system alone is no platform" if part in _SYSTEMS else "unknown architecture"
        raise Invalid(repr(text), problem, "write OS/ARCHITECTURE[/VARIANT], as in linux/arm64")

    @classmethod
    def of_machine(cls, machine: str) -> Platform:
        """Return linux on `machine`, spelled as `uname -m` does."""
        return cls(os="linux", architecture=machine.lower()).normalised()

    @classmethod
    def local(cls) -> Platform:
        """Return linux on this machine's processor: what containers here run on."""
        return cls.of_machine(os.uname().machine)

    def normalised(self) -> Platform:
        """Bring alias spellings to the usual one: `aarch64` is arm64, `armhf` is arm/v7, arm64/v8 is arm64."""
        architecture, implied = _ALIASES.get(self.architecture, (self.architecture, ""))
        variant = f"v{self.variant}" if self.variant.isdecimal() else self.variant or implied
        if (architecture, variant) in _UNWRITTEN:
            variant = ""
        if architecture == "arm" and not variant:
            variant = _IMPLIED["arm"]
        return replace(self, architecture=architecture, variant=variant)

    def runnable(self) -> tuple[Platform, ...]:
        """Return what runs here, best first: an arm/v7 runs v6 and v5 as well, an amd64/v3 also v2 and v1."""
        level = self.variant or _IMPLIED.get(self.architecture, "")
        lowest = {"arm": 5, "amd64": 1}.get(self.architecture)
        if lowest is None or not level.removeprefix("v").isdecimal():
            return (self.normalised(),)
        levels = range(int(level.removeprefix("v")), lowest - 1, -1)
        return tuple(replace(self, variant=f"v{number}").normalised() for number in levels)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
