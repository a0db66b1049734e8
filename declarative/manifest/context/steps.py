"""From what a builder printed to the line of the Dockerfile where it failed.

The rule that keeps it simple: both builders count; we count along. The classic one numbers every instruction up to the target
("Step 3/7 : RUN x"), BuildKit those of a stage that make something ("[build 2/5] RUN x").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from declarative.manifest.context.dockerfile import Dockerfile
    from declarative.manifest.context.stages import Stage

_CLASSIC = re.compile(r"(?m)^Step (\d+)/\d+ ?:")
_FAILED = re.compile(r"(?m)^(?: > |.*ERROR.* )\[(?:[\w/]+ )??(?:([a-z][a-z0-9_.-]*) +)? *(\d+)/\d+\]")
_EXCERPT = re.compile(r"(?m)^\S*[\w.-]+:(\d+)\n-{10,}")
_COUNTED = ("ADD", "COPY", "RUN", "WORKDIR")


def failing_line(dockerfile: Dockerfile, output: str) -> int:
    """Find the line that a failed build's output points to; 0 if it names no step."""
    if found := _EXCERPT.search(output):
        return int(found[1])
    if failed := _FAILED.findall(output):
        label, number = failed[-1]
        return buildkit_line(dockerfile, label, int(number))
    if classic := _CLASSIC.findall(output):
        return classic_line(dockerfile, int(classic[-1]))
    return 0


def classic_line(dockerfile: Dockerfile, step: int) -> int:
    """Give the line of the classic builder's step (from 1); 0 if there is none."""
    lines = [instruction.line for instruction in dockerfile.global_args]
    for stage in dockerfile.stages[: dockerfile.target + 1]:
        lines += [stage.line, *(instruction.line for instruction in stage.instructions)]
    return lines[step - 1] if 1 <= step <= len(lines) else 0


def buildkit_line(dockerfile: Dockerfile, label: str, step: int) -> int:
    """Give the line of BuildKit's step (from 1) in the stage it calls `label` ("", a name, or "stage-2")."""
    stage = _labelled(dockerfile, label)
    if stage is None:
        return 0
    pulled = [stage.line] if stage.base in stage.images else []  # neither scratch nor an earlier stage is a step
    lines = [*pulled, *(each.line for each in stage.instructions if each.name in _COUNTED)]
    return lines[step - 1] if 1 <= step <= len(lines) else 0


def _labelled(dockerfile: Dockerfile, label: str) -> Stage | None:
    if not label:
        return dockerfile.stages[dockerfile.target] if dockerfile.stages else None
    named = [stage for stage in dockerfile.stages if label in (stage.name, f"stage-{stage.index}")]
    return named[-1] if named else None
