"""Other stacks that write the same names: who applies last has them.

The rule that keeps it simple: it is told, and nothing is refused; a name may be on its way from one stack to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.state import LABEL_STACK

if TYPE_CHECKING:
    from declarative.core.planner.draft import Draft

_NAMING = {"build", "tag", "import", "load"}


def note_taken(draft: Draft) -> None:
    """Note which names are taken from another stack's images: its next apply takes them back, and so on for ever."""
    actual, stack = draft.actual, draft.desired.stack
    applied = actual.revision.objects if actual.revision else {}
    for step in (entry.step for entry in draft.entries if entry.step.verb in _NAMING):
        for name in (touched.removeprefix("Tag/") for touched in step.touches if touched.startswith("Tag/")):
            state = actual.images.get(actual.references.get(name, ""))
            other = state.labels.get(LABEL_STACK, stack) if state is not None else stack
            if state is not None and other != stack and applied.get(f"Tag/{name}") != state.id:
                note = f"{name} names an image of stack {other} now, whose next apply takes the name back: give one another"
                draft.notes[note] = f"{step.kind}/{step.name}"
