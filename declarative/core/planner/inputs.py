"""By what a finished image is known: the inputs that it was made of, as its label keeps them, and how two sets of them differ.

The rule that keeps it simple: what cannot be seen is no change. A base image that has gone from the engine says nothing about the
image that was built on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.build_label import digest_of, read_inputs
from declarative.core.plan import Change
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.resources import Image


@record
class Inputs:
    """What an image is to be made of.

    `known`: as the label of the finished image has it. `unseen`: names of inputs that the label has too, and that nobody can
    look at now. `pending`: why some are not known before others are made; "" where that is not so. `once`: what some may be in
    the label for the same: by what a base was known while the stack made it, which it does no more.
    """

    known: Mapping[str, str]
    once: Mapping[str, str] = field(default_factory=dict)
    unseen: frozenset[str] = field(default=frozenset())
    pending: str = ""

    def digest(self) -> str:
        """Give by what the image will be known as a base; "" where somebody must make or bring another one before."""
        return "" if self.pending or self.unseen else digest_of(self.known)

    def made(self, labels: Mapping[str, str]) -> bool:
        """Tell, by its labels, whether an image was made of these; of what is unseen it may have had any."""
        key = read_inputs(labels)
        if key is None or self.pending or not self.unseen <= key.keys():
            return False
        seen = {name: value for name, value in key.items() if name not in self.unseen}
        return seen.keys() == self.known.keys() and all(
            value in {self.known[name], self.once.get(name)} for name, value in seen.items()
        )


def changes_of(image: Image, inputs: Inputs, labels: Mapping[str, str]) -> tuple[Change, ...]:
    """Name the inputs that differ from those of the image that has these labels."""
    before, now = read_inputs(labels) or {}, inputs.known
    if not before:
        return ()
    return tuple(
        Change(
            path=f"spec.build.{name}",
            before=before.get(name),
            after=now.get(name),
            source=image.places.at(f"spec.build.{name.partition(':')[0].partition('/')[0]}"),
        )
        for name in sorted(before.keys() | now.keys())
        if before.get(name) not in {now.get(name), inputs.once.get(name, now.get(name))}
        and name not in inputs.unseen
        and not (name == "context" and _entries(before, now))
    )


def _entries(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Whether the context's own entries tell more than its digest does."""
    return any(
        before.get(name) != after.get(name) for name in before.keys() | after.keys() if name.startswith("context/")
    )


def cause_of(changes: tuple[Change, ...]) -> str:
    """Say why an image that is there is made anew."""
    if not changes:
        return "not made by this resource"
    names = [change.path.removeprefix("spec.build.").replace("base:", "base image ") for change in changes]
    return f"{', '.join(names)} changed"
