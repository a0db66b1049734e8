"""What an image was made of, as its label keeps it: name of an input → digest.

The rule that keeps it simple: an image that a stack makes is known by what it was made of, as a base of others too. Built again
of the same, here or on another engine, it has another id, and nothing that stands on it has changed for that.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from declarative.core.state import LABEL_BUILD

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_inputs(inputs: Mapping[str, str]) -> str:
    """Write the label; the same inputs always give the same text."""
    return json.dumps(dict(inputs), sort_keys=True, separators=(",", ":"))


def read_inputs(labels: Mapping[str, str]) -> dict[str, str] | None:
    """Read what an image was made of; None where its labels do not say."""
    try:
        found = json.loads(labels.get(LABEL_BUILD, "null"))
    except (ValueError, RecursionError):  # somebody wrote over it
        return None
    return found if isinstance(found, dict) else None


def digest_of(inputs: Mapping[str, str]) -> str:
    """Give by what an image that is made of these is known as a base of others."""
    import hashlib  # few stacks build on their own

    return "sha256:" + hashlib.sha256(write_inputs(inputs).encode()).hexdigest()


def known_by(labels: Mapping[str, str]) -> str:
    """Give by what an image with these labels is known as a base; "" where they do not say what it was made of."""
    found = read_inputs(labels)
    return digest_of(found) if found is not None else ""
