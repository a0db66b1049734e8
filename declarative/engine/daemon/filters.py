"""Filters of lists, prunes and events: `{"label": ["a=b"], "reference": ["busy*"]}`.

The rule that keeps it simple: values of one name are alternatives, but for labels, which must all be there; a name that the
endpoint does not know is refused, as dockerd refuses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

Filters = dict[str, tuple[str, ...]]


def check_names(filters: Filters, known: Collection[str]) -> None:
    """Raise Invalid, in Docker's words, for a filter that is none of `known`."""
    for name in filters:
        if name not in known:
            raise Invalid("", f"invalid filter '{name}'")


def flag(filters: Filters, name: str, *, default: bool) -> bool:
    """Give a filter that is a boolean. Invalid for another value, or for both."""
    found = {value.lower() for value in filters.get(name, ())}
    if not found:
        return default
    if found <= {"1", "true"}:
        return True
    if found <= {"0", "false"}:
        return False
    raise Invalid("", f"invalid filter '{name}={sorted(found)}'")


def labels_match(wanted: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Tell whether all `NAME` or `NAME=VALUE` are there."""
    for entry in wanted:
        name, equals, value = entry.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True


def labels_allow(filters: Filters, labels: Mapping[str, str]) -> bool:
    """Apply `label` and `label!`, as prunes have them."""
    if not labels_match(filters.get("label", ()), labels):
        return False
    return not any(labels_match((entry,), labels) for entry in filters.get("label!", ()))
