"""The variables about platforms that BuildKit sets by itself.

The rule that keeps it simple: without a platform in the manifest the engine's own decides, which is not known here.
"""

from __future__ import annotations


def platform_args(platform: str) -> dict[str, str]:
    """Derive the automatic ARGs of `linux/arm64/v8`; {} for "". The build platform is the engine's, and is left out."""
    if not platform:
        return {}
    system, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    return {
        "TARGETPLATFORM": platform,
        "TARGETOS": system,
        "TARGETARCH": architecture,
        "TARGETVARIANT": variant,
    }


NAMES = (
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
)
