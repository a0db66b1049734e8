"""Scenes for the planner: what was applied, what somebody did since, and what the manifests say now.

The rule that keeps it simple: a scene is data and at most one function on the engine in memory; the plan's text is in a file of
the scene's name under tests/cases/reconcile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from declarative.core.plan import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.drivers.memory import MemoryEngine

_HEAD = "apiVersion: declarative/v1"
FOREVER = "sleep, '9000'"


def doc(kind: str, name: str, spec: str = "") -> str:
    """Write one document; `spec` is the inside of a flow mapping, one field per line."""
    lines = "".join(f"  {line.strip()}\n" for line in spec.strip().splitlines())
    return f"---\n{_HEAD}\nkind: {kind}\nmetadata: {{name: {name}}}\n" + (f"spec:\n{lines}" if lines else "")


def run(name: str, spec: str = "", *, image: str = "busybox", command: str = FOREVER) -> str:
    """Write a Container that is ready at once."""
    return doc("Container", name, f"image: {image}\ncommand: [{command}]\nupdate: {{monitor: 0s}}\n{spec}")


def job(name: str, spec: str = "", *, image: str = "busybox", command: str = "'true'") -> str:
    """Write a Job."""
    return doc("Job", name, f"image: {image}\ncommand: [{command}]\n{spec}")


def build(name: str, lines: str = "ENV A=1", spec: str = "tags: [latest]") -> str:
    """Write an Image that is built of a Dockerfile with these lines, split by `;`."""
    text = "\\n".join(
        ["FROM busybox", *(line.strip() for line in lines.split(";")), 'CMD [\\"sleep\\", \\"9000\\"]', ""]
    )
    return doc("Image", name, f'build: {{context: ., dockerfile_inline: "{text}"}}\n{spec}')


def released(version: str, spec: str = "") -> str:
    """Write the TagScheme of the Image `app`."""
    return doc("TagScheme", "release", f"image: app\nversion: {version}\n{spec}")


def nothing(engine: MemoryEngine) -> None:
    """Nobody did anything."""
    del engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """`applied`: manifests applied one after the other; `since`: what happened then; `now`: what is planned."""

    name: str
    applied: tuple[str, ...] = ()
    since: Callable[[MemoryEngine], None] = nothing
    now: str = ""
    policy: Policy = field(default_factory=Policy)
