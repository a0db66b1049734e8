"""Builds in memory: the config that a Dockerfile's last stage adds to its base's. No instruction runs.

The rule: a RUN that says `false` or `exit N` fails, all others succeed and change nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.core.state import ImageConfig
from declarative.drivers.port import BuildFailed
from declarative.oci.dockerfile.lexer import Instruction, lex
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from declarative.core.resources import BuildSource

_FAILS = re.compile(r"(?:^|[;&|]\s*)(?:false|exit [1-9]\d*)\s*$")


def built_config(
    source: BuildSource, base: Callable[[str], ImageConfig], labels: Mapping[str, str], subject: str
) -> ImageConfig:
    """Give the config of the image that `source` makes. `base` gives the config of a base image."""
    text = source.dockerfile_inline.encode() or Path(source.dockerfile).read_bytes()
    stages: dict[str, ImageConfig] = {}
    name, config = "", ImageConfig()
    for instruction in lex(text, source.dockerfile or "Dockerfile").instructions:
        if instruction.name == "FROM":
            if name == source.target and name:
                break
            words = instruction.rest.split()
            config = stages[words[0]] if words[0] in stages else _base(words[0], base)
            name = words[2] if len(words) == 3 else str(len(stages))
        elif instruction.name == "RUN" and _FAILS.search(instruction.rest):
            raise _failed(instruction, source, subject)
        else:
            config = _after(config, instruction)
        stages[name] = config
    return replace(config, labels={**config.labels, **labels})


def _base(reference: str, base: Callable[[str], ImageConfig]) -> ImageConfig:
    return ImageConfig() if reference == "scratch" else base(reference)


def _after(config: ImageConfig, instruction: Instruction) -> ImageConfig:
    args, made = instruction.args, config
    match instruction.name:
        case "ENV":
            made = replace(config, environment={**config.environment, **_pairs(args)})
        case "LABEL":
            made = replace(config, labels={**config.labels, **_pairs(args)})
        case "CMD":
            made = replace(config, command=_program(instruction))
        case "ENTRYPOINT":
            made = replace(config, entrypoint=_program(instruction), command=None)
        case "VOLUME":
            made = replace(config, volumes=tuple(sorted({*config.volumes, *args})))
        case "EXPOSE":
            ports = (port if "/" in port else f"{port}/tcp" for port in args)
            made = replace(config, exposed=tuple(sorted({*config.exposed, *ports})))
        case "USER":
            made = replace(config, user=instruction.rest)
        case "WORKDIR":
            made = replace(config, working_dir=instruction.rest)
        case "STOPSIGNAL":
            made = replace(config, stop_signal=instruction.rest)
    return made


def _pairs(args: tuple[str, ...]) -> dict[str, str]:
    return {args[index].strip('"'): args[index + 1].strip('"') for index in range(0, len(args), 3)}


def _program(instruction: Instruction) -> tuple[str, ...]:
    return instruction.args if instruction.json_form else ("/bin/sh", "-c", instruction.rest)


def _failed(instruction: Instruction, source: BuildSource, subject: str) -> BuildFailed:
    place = f"{source.dockerfile or 'dockerfile_inline'}:{instruction.line}"
    problem = f"step `{instruction.original}` failed: exit code 1"
    return BuildFailed(
        subject,
        problem,
        "mend the Dockerfile",
        place,
        output=f"{instruction.original}\n",
        step=instruction.original,
        line=instruction.line,
        layer="",
    )
