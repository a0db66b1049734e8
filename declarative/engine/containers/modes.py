"""Namespace modes as the API writes them: "host", "container:ID", "private", a network's name.

The rule that keeps it simple: a mode is a text in the records; these functions are the only ones that take it apart.
"""

from __future__ import annotations

PREFIX = "container:"
BRIDGE = "bridge"
_OWN = frozenset({"", "default", BRIDGE})


def joined(mode: str) -> str:
    """Give the container that a mode joins, "" for any other mode."""
    return mode.removeprefix(PREFIX) if mode.startswith(PREFIX) else ""


def network_of(mode: str) -> str:
    """Give the name of the network that a network mode stands for, "" where it joins a container."""
    if mode in _OWN:
        return BRIDGE
    return "" if mode.startswith(PREFIX) else mode


def is_user_defined(mode: str) -> bool:
    """Tell whether a network mode names a network that a person made."""
    return mode not in _OWN and mode not in {"host", "none"} and not mode.startswith(PREFIX)
