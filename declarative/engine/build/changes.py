"""Changes to an image's configuration as lines of a Dockerfile: `docker commit --change`, `docker import --change`.

The rule that keeps it simple: the same instructions, read and applied as in a build; what would change a file is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.engine.build import commands as c
from declarative.engine.build.draft import Draft, edit
from declarative.engine.build.instructions import read
from declarative.engine.build.scope import Scope
from declarative.errors import Invalid
from declarative.oci.dockerfile.lexer import lex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from declarative.oci.config import RunDefaults

ALLOWED = (
    "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip


def apply_changes(run: RunDefaults, lines: Sequence[str]) -> RunDefaults:
    """Apply the lines in order. Invalid, in Docker's words, for one that is wrong or changes more than the configuration."""
    if not any(line.strip() for line in lines):
        return run
    source = lex("\n".join(lines).encode("utf-8", "surrogateescape"), "change")
    draft, scope = Draft(run=run), Scope().stage(run.env)
    for instruction in source.instructions:
        if instruction.name not in ALLOWED:
            raise Invalid("", f"{instruction.name.lower()} is not a valid change command", f"use {', '.join(ALLOWED)}")
        step = read(instruction, "change")
        if not isinstance(step, c.From):
            changed = edit(draft, scope, step)
            draft, scope = changed.draft, changed.scope
    return draft.run
