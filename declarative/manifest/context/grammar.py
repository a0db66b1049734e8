"""What each Dockerfile instruction may look like: names, number of arguments, flags.

The rule that keeps it simple: one row for each instruction. A check says what would surely fail in any builder; what only some
builders know is a feature (see `features`), not a mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.manifest.suggest import did_you_mean
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.oci.dockerfile.lexer import Instruction


@record
class Shape:
    """How many arguments: `least`, `most` (None: any number); which `flags`, without dashes."""

    least: int = 1
    most: int | None = None
    flags: tuple[str, ...] = ()


_COPY = ("from", "chown", "chmod", "link", "parents", "exclude")
_ADD = ("chown", "chmod", "link", "keep-git-dir", "checksum", "unpack", "exclude")
_HEALTH = ("interval", "timeout", "start-period", "start-interval", "retries")

SHAPES = {
    "ADD": Shape(least=2, flags=_ADD),
    "ARG": Shape(),
    "CMD": Shape(least=0),
    "COPY": Shape(least=2, flags=_COPY),
    "ENTRYPOINT": Shape(least=0),
    "ENV": Shape(),
    "EXPOSE": Shape(),
    "FROM": Shape(flags=("platform",)),
    "HEALTHCHECK": Shape(flags=_HEALTH),
    "LABEL": Shape(),
    "MAINTAINER": Shape(most=1),
    "ONBUILD": Shape(least=0),
    "RUN": Shape(flags=("mount", "network", "security", "device")),
    "SHELL": Shape(),
    "STOPSIGNAL": Shape(most=1),
    "USER": Shape(most=1),
    "VOLUME": Shape(),
    "WORKDIR": Shape(most=1),
}


@record
class Complaint:
    """What is wrong with one instruction, and the way out."""

    text: str
    remedy: str = ""


def complaints(instruction: Instruction) -> Iterator[Complaint]:
    """Yield what is wrong with an instruction by its shape alone."""
    shape = SHAPES.get(instruction.name)
    if shape is None:
        remedy = did_you_mean(instruction.name, SHAPES) or "see the Dockerfile reference"
        yield Complaint(text=f"unknown instruction: {instruction.written}", remedy=remedy)
        return
    yield from _flag_complaints(instruction, shape)
    count = len(instruction.args)
    if instruction.name == "ONBUILD":
        yield from _trigger_complaints(instruction)
    elif instruction.name == "FROM" and not _is_from(instruction):
        yield Complaint(
            text="FROM requires either one or three arguments", remedy="write FROM image, or FROM image AS name"
        )
    elif count < shape.least:
        yield Complaint(text=_too_few(instruction.name, count, shape), remedy="add what is missing")
    elif instruction.name in ("ADD", "COPY") and instruction.heredocs and instruction.args[-1].startswith("<<"):
        yield Complaint(
            text=f"{instruction.name} cannot accept a heredoc as a destination", remedy="name a destination"
        )
    elif instruction.name == "SHELL" and not instruction.json_form:
        yield Complaint(text="SHELL requires the arguments to be in JSON form", remedy='write SHELL ["/bin/sh", "-c"]')


def _is_from(instruction: Instruction) -> bool:
    args = instruction.args
    return len(args) == 1 or (len(args) == 3 and args[1].upper() == "AS")


def _flag_complaints(instruction: Instruction, shape: Shape) -> Iterator[Complaint]:
    for flag in instruction.flags:
        name = flag[2:].partition("=")[0]
        if name not in shape.flags:
            yield Complaint(text=f"unknown flag: --{name}", remedy=did_you_mean(name, shape.flags))


def _trigger_complaints(instruction: Instruction) -> Iterator[Complaint]:
    trigger = instruction.trigger
    if trigger is None:
        yield Complaint(text="ONBUILD requires at least one argument", remedy="write the instruction to be run later")
    elif trigger.name == "ONBUILD":
        yield Complaint(text="Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", remedy="write it once")
    elif trigger.name in ("FROM", "MAINTAINER"):
        yield Complaint(text=f"{trigger.name} isn't allowed as an ONBUILD trigger", remedy="remove it")
    else:
        yield from complaints(trigger)


def _too_few(name: str, count: int, shape: Shape) -> str:
    if shape.least == 2 and count == 1:
        return (
            f"{name} requires at least two arguments, but only one was provided. Destination could not be determined."
        )
    if shape.least == 2:
        return f"{name} requires at least two arguments"
    return f"{name} requires exactly one argument" if shape.most == 1 else f"{name} requires at least one argument"
