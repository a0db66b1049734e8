"""A JSON value that knows where it stands: the edge at which image documents become types.

The rule: reads are typed and name the path when they fail; null counts as absent, as it does in Go, which writes most of
these documents. No value leaves here unchecked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.errors import Invalid
from declarative.oci.json_text import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

# distribution-spec, "Pushing Manifests": registries must take manifests of 4 MiB; nobody needs to take more.
DOCUMENT_MAX = 4 * 1024 * 1024


class Node:
    """One JSON object of the document `subject`, at `path` in it."""

    __slots__ = ("_fields", "path", "subject")

    def __init__(self, fields: Mapping[str, object], subject: str, path: str = "") -> None:
        self._fields = fields
        self.subject = subject
        self.path = path

    @classmethod
    def parse(cls, content: bytes, subject: str) -> Node:
        """Read the top object of a JSON document of at most 4 MiB; raise Invalid."""
        if len(content) > DOCUMENT_MAX:
            raise Invalid(subject, f"larger than {DOCUMENT_MAX} bytes")
        try:
            value = parse(content)
        except (ValueError, RecursionError) as error:
            raise Invalid(subject, f"not a JSON document: {str(error)[:120]}") from error
        if not isinstance(value, dict):
            raise Invalid(subject, "not a JSON object")
        return cls(value, subject)

    def has(self, key: str) -> bool:
        """Tell whether `key` is there and not null."""
        return self._fields.get(key) is not None

    def fields(self) -> tuple[str, ...]:
        """Return the names of all fields, in the order of the document."""
        return tuple(self._fields)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string; raise Invalid if it is missing without a `default`, or something else."""
        value = self._fields.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self.wrong(key, "a string", value)
        return value

    def integer(self, key: str) -> int:
        """Return a whole number; raise Invalid if it is missing or something else."""
        value = self._fields.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(key, "a whole number", value)
        return value

    def natural(self, key: str, default: int | None = None) -> int:
        """Return a whole number that is not negative; raise Invalid."""
        if default is not None and not self.has(key):
            return default
        number = self.integer(key)
        if number < 0:
            raise self.wrong(key, "zero or more", number)
        return number

    def flag(self, key: str) -> bool:
        """Return a boolean, False where it is missing; raise Invalid if it is something else."""
        value = self._fields.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "true or false", value)
        return bool(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings, empty where it is missing; raise Invalid."""
        values = self._list(key)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(key, "a list of strings", values)
        return tuple(str(value) for value in values)

    def pairs(self, key: str) -> dict[str, str]:
        """Return a map of strings to strings, empty where it is missing; raise Invalid."""
        fields = self._object(key)
        if not all(isinstance(value, str) for value in fields.values()):
            raise self.wrong(key, "a map of strings", fields)
        return {name: str(value) for name, value in fields.items()}

    def names(self, key: str) -> tuple[str, ...]:
        """Return the keys of a map of empty objects (how Go writes a set), empty where it is missing; raise Invalid."""
        fields = self._object(key)
        if not all(isinstance(value, dict) for value in fields.values()):
            raise self.wrong(key, "a map of empty objects", fields)
        return tuple(fields)

    def child(self, key: str) -> Node:
        """Return the object under `key`; raise Invalid if it is missing or something else."""
        value = self._fields.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "an object", value)
        return Node(value, self.subject, f"{self.path}.{key}")

    def children(self, key: str) -> tuple[Node, ...]:
        """Return the objects of a list, empty where it is missing; raise Invalid."""
        found = []
        for index, value in enumerate(self._list(key)):
            if not isinstance(value, dict):
                raise self.wrong(key, "a list of objects", value)
            found.append(Node(value, self.subject, f"{self.path}.{key}[{index}]"))
        return tuple(found)

    def wrong(self, key: str, wanted: str, found: object) -> Invalid:
        """Make the error for a field that is not what it must be."""
        place = f"{self.path}.{key}"
        if found is None:
            return Invalid(self.subject, f"{place} is missing")
        return Invalid(self.subject, f"{place} must be {wanted}, not {repr(found)[:80]}")

    def _list(self, key: str) -> list[object]:
        value = self._fields.get(key)
        if value is not None and not isinstance(value, list):
            raise self.wrong(key, "a list", value)
        return value or []

    def _object(self, key: str) -> dict[str, object]:
        value = self._fields.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(key, "an object", value)
        return value or {}
