"""From what a builder printed to the line of the Dockerfile where it failed.

The rule that keeps it simple: both builders count; we count along. The classic one numbers every instruction up to the target
("Step 3/7 : RUN x"), BuildKit those of a stage that make something ("[build 2/5] RUN x"), with the FROM if it names an image.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from declarative.oci.dockerfile.lexer import Instruction, Source

# No two repetitions side by side can share a line between them in many ways: a RUN may print a line of a hundred megabytes.
_CLASSIC = re.compile(r"(?m)^Step (\d+)/\d+ ?:")
_FAILED = re.compile(r"(?m)^(?: > |(?>.*?ERROR).* )\[(?:[\w/]+ )??(?:([a-z][a-z0-9_.-]*) +| *)(\d+)/\d+\]")
_EXCERPT = re.compile(r"(?m)^\S*[\w.-]:(\d+)\n-{10,}")
_COUNTED = ("ADD", "COPY", "RUN", "WORKDIR")


@record
class _Part:
    """One stage by its text alone: `pulled` if its base is an image (neither scratch nor an earlier stage)."""

    name: str
    pulled: bool
    instructions: tuple[Instruction, ...]


def failing_line(source: Source, output: str, target: str = "") -> int:
    """Find the line that the output of a failed build points to; 0 if it names no step."""
    if found := _EXCERPT.search(output):
        return int(found[1])
    if failed := _FAILED.findall(output):
        label, number = failed[-1]
        return buildkit_line(source, label, int(number), target)
    if classic := _CLASSIC.findall(output):
        return classic_line(source, int(classic[-1]), target)
    return 0


def classic_line(source: Source, step: int, target: str = "") -> int:
    """Give the line of the classic builder's step (from 1) in a build of `target`; 0 if there is none."""
    parts = _parts(source)
    last = _target(parts, target)
    end = parts[last].instructions[-1].line if parts else 0
    lines = [instruction.line for instruction in source.instructions if instruction.line <= end]
    return lines[step - 1] if 1 <= step <= len(lines) else 0


def buildkit_line(source: Source, label: str, step: int, target: str = "") -> int:
    """Give the line of BuildKit's step (from 1) in the stage it calls `label` ("", a name, or "stage-2"); 0 if there is none."""
    parts = _parts(source)
    named = [number for number, part in enumerate(parts) if label in (part.name, f"stage-{number}")]
    if not parts or (label and not named):
        return 0
    part = parts[named[-1] if label else _target(parts, target)]
    start, *rest = part.instructions
    counted = [start] if part.pulled else []
    lines = [each.line for each in (*counted, *(each for each in rest if each.name in _COUNTED))]
    return lines[step - 1] if 1 <= step <= len(lines) else 0


def _parts(source: Source) -> list[_Part]:
    starts = [number for number, each in enumerate(source.instructions) if each.name == "FROM" and each.args]
    parts: list[_Part] = []
    for start, end in zip(starts, [*starts[1:], len(source.instructions)], strict=True):
        args = source.instructions[start].args
        base = args[0].lower()
        pulled = base != "scratch" and all(base != part.name for part in parts)
        name = args[2].lower() if len(args) == 3 else ""
        parts.append(_Part(name=name, pulled=pulled, instructions=source.instructions[start:end]))
    return parts


def _target(parts: list[_Part], target: str) -> int:
    """Find the stage to build; the last one where `target` is "" or unknown."""
    named = [number for number, part in enumerate(parts) if target and part.name == target.lower()]
    if named:
        return named[-1]
    return int(target) if target.isdecimal() and int(target) < len(parts) else len(parts) - 1
