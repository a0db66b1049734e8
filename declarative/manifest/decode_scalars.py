"""Shapes of single values: text, numbers, truth, sizes, durations, words out of a list.

The rule that keeps it simple: one class per sort, and each accepts one YAML type, save where Compose lets a number
stand for text; then what was written counts (`1.10` stays `1.10`), not the number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from declarative.errors import Invalid
from declarative.manifest.decode import Schema, Shape
from declarative.manifest.suggest import did_you_mean
from declarative.manifest.yaml_nodes import TEMPLATED, Scalar, kind_of
from declarative.oci.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Node

# More is a mistake or an attack: the kernel takes 128 KiB for one argument or variable (MAX_ARG_STRLEN).
_LONGEST = 131_072
_SHORT = 4096

_size = lru_cache(maxsize=1024)(parse_size)
_duration = lru_cache(maxsize=1024)(parse_duration)


Match = Callable[[str], object]


class Text(Shape):
    """Text, or with `number` a number as it is written. `pattern` must match as a whole; `says` puts the pattern in words.

    `clean` turns the text into its canonical form; it may raise Invalid, whose problem and remedy are then shown.
    """

    __slots__ = ("_match", "clean", "empty", "name", "number", "pattern", "says")

    def __init__(
        self,
        name: str = "text",
        *,
        pattern: str = "",
        says: str = "",
        number: bool = False,
        empty: bool = False,
        clean: Callable[[str], Any] | None = None,
    ) -> None:
        self.name = name
        self.pattern = pattern
        self.says = says
        self.number = number
        self.empty = empty
        self.clean = clean
        self._match: Match | None = lazy_match(pattern, self) if pattern else None

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give the text, cleaned."""
        if type(node) is not Scalar:
            return reading.wrong(node, self.name)
        text = node.value
        if type(text) is not str:
            if not self.number or kind_of(node) != "a number":
                return reading.wrong(node, self.name, self._quoted(node))
            text = reading.text_of(node)
        if not text:
            return text if self.empty else reading.complain(node, "is empty", f"write {self.name}, or remove the key")
        if len(text) <= _SHORT and self._match is None and self.clean is None and "\0" not in text:
            return text
        return self._checked(text, node, reading)

    def _quoted(self, node: Scalar) -> str:
        if node.value is None:
            return ""
        if isinstance(node.value, bool) and self.says:
            return self.says
        return _remedy(node, "string", f'put it in quotes: "{node.text}"')

    def _checked(self, text: str, node: Node, reading: Reading) -> Any:
        if len(text) > _LONGEST or "\0" in text:
            return reading.complain(node, "is not usable as text", "it is longer than 128 KiB or holds a NUL character")
        if self._match is not None and self._match(text) is None:
            return reading.complain(node, f"`{_shown(text)}` is not {self.name}", self.says)
        if self.clean is None:
            return text
        try:
            return self.clean(text)
        except Invalid as error:
            return reading.refuse(node, error)

    def schema(self) -> Schema:
        """Give a string, or a number too."""
        made: Schema = {"type": ["string", "number"] if self.number else "string"}
        if self.pattern:
            made["pattern"] = f"^(?:{self.pattern}){'?' if self.empty else ''}$"
        elif not self.empty:
            made["minLength"] = 1
        return made

    def words(self) -> str:
        """Its name."""
        return self.name


class Boolean(Shape):
    """`true` or `false`."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give the truth."""
        if type(node) is Scalar and type(node.value) is bool:
            return node.value
        meant = _TRUTHS.get(node.text.lower()) if type(node) is Scalar else None
        return reading.wrong(node, "true or false", f"write {meant}" if meant else "")

    def schema(self) -> Schema:
        """Give a boolean."""
        return {"type": "boolean"}

    def words(self) -> str:
        """Say how it is written."""
        return "true or false"


_TRUTHS = {
    "yes": "true",
    "on": "true",
    "true": "true",
    "1": "true",
    "no": "false",
    "off": "false",
    "false": "false",
    "0": "false",
}


class Integer(Shape):
    """A whole number between bounds, both included."""

    __slots__ = ("largest", "name", "smallest")

    def __init__(self, name: str = "a whole number", *, smallest: int = 0, largest: int = 2**63 - 1) -> None:
        self.name = name
        self.smallest = smallest
        self.largest = largest

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give the number."""
        if type(node) is not Scalar or type(node.value) is not int:
            quoted = type(node) is Scalar and isinstance(node.value, str) and re.fullmatch(r"-?[0-9]+", node.value)
            return reading.wrong(node, self.name, _remedy(node, "int", "write it without quotes") if quoted else "")
        if not self.smallest <= node.value <= self.largest:
            return reading.complain(node, f"{_shown(node.text)} is out of range", f"write {self._range()}")
        return node.value

    def _range(self) -> str:
        return (
            f"{self.smallest} or more"
            if self.largest >= 2**31 - 1
            else f"a number from {self.smallest} to {self.largest}"
        )

    def schema(self) -> Schema:
        """Give an integer with bounds. JSON Schema takes 1.0 for one; we do not."""
        return {"type": "integer", "minimum": self.smallest, "maximum": self.largest}

    def words(self) -> str:
        """Its name."""
        return self.name


class Size(Shape):
    """Bytes: a number, or text with a unit (`512m`, `1.5g`; k = 1024). With `unlimited`, -1 too."""

    __slots__ = ("unlimited",)

    def __init__(self, *, unlimited: bool = False) -> None:
        self.unlimited = unlimited

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give whole bytes."""
        if type(node) is not Scalar or type(node.value) not in {str, int}:
            return reading.wrong(node, self.words())
        text = str(node.value)
        if self.unlimited and text == "-1":
            return -1
        try:
            return _size(text)
        except Invalid as error:
            return reading.complain(node, f"{error.subject} is {error.problem}", error.remedy)

    def schema(self) -> Schema:
        """Give an integer, or text with a unit."""
        number: Schema = {"type": "integer", "minimum": -1 if self.unlimited else 0}
        text = r"^(?:[0-9]+\.?[0-9]*|\.[0-9]+) ?(?:[bB]|[kmgtpKMGTP](?:[iI]?[bB])?)?$"
        return {"anyOf": [number, {"type": "string", "pattern": text + "|^-[0.]*1?$"}]}

    def words(self) -> str:
        """Say how it is written."""
        return "a size such as 512m"


class Duration(Shape):
    """Nanoseconds, out of text such as `1m30s`."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give nanoseconds, not negative."""
        if type(node) is not Scalar or type(node.value) is not str:
            number = type(node) is Scalar and kind_of(node) == "a number"
            if number and node.value == 0:  # type: ignore[union-attr]
                return 0
            return reading.wrong(node, self.words(), f"write the unit: {node.text}s" if number else "")  # type: ignore[union-attr]
        try:
            duration = _duration(node.value)
        except Invalid as error:
            return reading.complain(node, f"{error.subject} is {error.problem}", error.remedy)
        return duration if duration >= 0 else reading.complain(node, "a duration cannot be negative")

    def schema(self) -> Schema:
        """Text with units, or a bare zero."""
        return {
            "anyOf": [
                {"type": "string", "pattern": "^[-+]?(?:0|(?:(?:[0-9]+\\.?[0-9]*|\\.[0-9]+)[a-z\u00b5\u03bc]+)+)$"},
                {"const": 0},
            ]
        }

    def words(self) -> str:
        """Say how it is written."""
        return "a duration such as 1m30s"


class Enum(Shape):
    """One of some words. `instead` maps words that people try to the one they mean."""

    __slots__ = ("_canonical", "choices", "instead")

    def __init__(self, *choices: str, instead: Mapping[str, str] | None = None) -> None:
        self.choices = choices
        self.instead = instead or {}
        self._canonical = {choice: choice for choice in choices}

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give the word."""
        if type(node) is not Scalar or type(node.value) is not str:
            return reading.wrong(node, self.words())
        word = self._canonical.get(node.value)
        if word is not None:
            return word
        guess = self.instead.get(node.value)
        remedy = f"did you mean `{guess}`?" if guess else did_you_mean(node.value, self.choices)
        return reading.complain(node, f"unknown value `{_shown(node.value)}`", remedy or f"write {self.words()}")

    def schema(self) -> Schema:
        """Give an enum."""
        return {"enum": list(self.choices)}

    def words(self) -> str:
        """List the words."""
        return " | ".join(self.choices)


def lazy_match(pattern: str, owner: Any) -> Match:
    """Compile a pattern when it is first asked for: most stacks use a few of the hundred fields there are."""

    def first(text: str) -> Any:
        owner._match = re.compile(pattern, re.ASCII).fullmatch  # noqa: SLF001 - it gave itself for that
        return owner._match(text)  # noqa: SLF001

    return first


def _remedy(node: Node, kind: str, written: str) -> str:
    """Say how to change the type: quotes count where the value itself is written, a filter where a template gives it."""
    given = type(node) is Scalar and node.style == TEMPLATED
    return f"write {{{{ … | {kind} }}}}" if given else written


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
