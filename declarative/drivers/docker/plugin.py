"""Whether `docker buildx` is on this machine: looked for where the docker command looks, without starting anything.

The rule: a few looks at the file system, for every plan asks this.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Where docker looks beside the person's own folder (docker/cli, cli-plugins/manager/manager_unix.go).
SYSTEM_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)


def buildx_environment(
    environ: Mapping[str, str], home: Path, folders: tuple[str, ...] = SYSTEM_FOLDERS
) -> dict[str, str] | None:
    """Give the environment that `docker buildx` runs with; None where docker or the plugin is not installed."""
    own = f"{environ.get('DOCKER_CONFIG') or f'{home}/.docker'}/cli-plugins"
    if not any(_runs(f"{folder}/docker-buildx") for folder in (own, *folders)):
        return None
    if not any(_runs(f"{folder}/docker") for folder in environ.get("PATH", os.defpath).split(":") if folder):
        return None
    return {**environ, "HOME": str(home)}


def _runs(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113 - a dozen Path objects cost more than the looks
