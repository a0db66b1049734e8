"""What builds stand on: by what each base is known, and which of them are yet to come.

The rule that keeps it simple: what the stack makes is known by what it is made of (`build_label`), all else by its id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.build_label import known_by
from declarative.core.planner.inputs import Inputs
from declarative.core.planner.names import familiar
from declarative.core.resources import PullSource
from declarative.core.state import LABEL_STACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from declarative.core.planner.draft import Draft
    from declarative.core.planner.images import ImageOutcome
    from declarative.core.resources import BuildSource, Image


class Bases:
    """The bases of all builds of a plan. `made` says what a reference will be that the stack makes or pulls, None for others."""

    def __init__(self, draft: Draft, makers: Mapping[str, Image], made: Callable[[str], ImageOutcome | None]) -> None:
        self._draft = draft
        self._makers = makers
        self._made = made

    def inputs(self, source: BuildSource) -> Inputs:
        """Say what a build would be made of. Only images of the stack are planned for it: what is missing may not be needed."""
        known, once, unseen, pending = dict(source.parts), {}, set(), ""
        for base in source.bases:
            name = familiar(base)
            maker, outcome = self._makers.get(name), self._made(name)
            found = (outcome.made or outcome.id) if outcome is not None else self._draft.actual.references.get(name)
            if found is not None:
                known[f"base:{name}"] = found
                if outcome is None and (left := self._left(found)):
                    once[f"base:{name}"] = left
                continue
            unseen.add(f"base:{name}")
            if outcome is not None and not (maker is not None and self.is_gone(maker)):
                pending = pending or f"base image {base}: {outcome.why}"
        return Inputs(known=known, once=once, unseen=frozenset(unseen), pending=pending)

    def made(self, source: BuildSource) -> tuple[str, ...]:
        """Name those that the stack makes."""
        found = {name: self._made(name) for name in map(familiar, source.bases)}
        return tuple(name for name, outcome in found.items() if outcome is not None and outcome.made is not None)

    def is_gone(self, image: Image) -> bool:
        """Whether an image is only to be pulled as it may have been before: nobody knows of another one."""
        source = image.spec.source
        return isinstance(source, PullSource) and familiar(source.reference) not in self._draft.actual.references

    def _left(self, image_id: str) -> str:
        """Give by what an image was known while this stack made it; "" where that never was so."""
        state = self._draft.actual.images.get(image_id)
        ours = state is not None and state.labels.get(LABEL_STACK) == self._draft.desired.stack
        return known_by(state.labels) if state is not None and ours else ""
