"""Bounds what a template makes, so that a slip (or a hostile manifest) ends in an error and not in a full machine.

The rule that keeps it simple: whatever makes a text or a list is asked before it runs how much it will make, and what it made is
counted. What is bounded: loop rounds and calls together (`MOST_STEPS`), `range` (`MOST_RANGE`), each text and list and the output
(`LARGEST`), all that is made on the way (`MOST_MADE`), and the size of numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

from declarative.manifest.scope import TemplateFault
from declarative.manifest.sources import LARGEST

MOST_STEPS = 200_000
"""Loop rounds and calls of one template: a stack of ten thousand containers, twenty rounds each."""
MOST_RANGE = 10_000
MOST_MADE = 8 * LARGEST
"""Characters and list items made by one template, kept or not."""
_MOST_BITS = 4096
"""Bits of a number: no value of a manifest has more than 64, and Python computes far beyond what fits into memory."""
_WIDE_PERCENT = re.compile(r"%[^a-zA-Z%]*(?:[0-9]{5}|\*)")
_WIDE_FIELD = re.compile(r"\{[^{}]*:[^{}]*(?:[0-9]{5}|\{)")
_SIZED = frozenset({"batch", "center", "expandtabs", "indent", "ljust", "rjust", "round", "slice", "zfill"})
"""Filters and methods of texts whose number says how much they make."""
_INDENTED = frozenset({"expandtabs", "indent", "tojson"})
"""Those of which a number says how wide each line, tab or item is."""
_NEVER_ENDS = "does a loop or a macro never end?"

_T = TypeVar("_T")


class Bounds:
    """Counts what one template does. Every check raises TemplateFault."""

    def __init__(self) -> None:
        self._steps = 0
        self._made = 0

    def step(self) -> None:
        """Count one round of a loop, or one call."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise TemplateFault(f"the template takes more than {MOST_STEPS:,} steps", _NEVER_ENDS)

    def result(self, value: _T) -> _T:
        """Count what was made, and give it back."""
        if isinstance(value, int):
            _check_bits(value.bit_length())
        elif isinstance(value, str | list | tuple):
            made = weight(value)
            check_length(made)
            self._made += made
            if self._made > MOST_MADE:
                raise TemplateFault("the template makes too much text on its way", _NEVER_ENDS)
        return value


def check_operator(operator: str, left: object, right: object) -> None:
    """Refuse `left operator right` where the result would be too large."""
    if operator == "*":
        if isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() + right.bit_length())
        for sized, times in ((left, right), (right, left)):
            if isinstance(sized, str | list | tuple) and isinstance(times, int):
                check_length(max(1, weight(sized)) * times)
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * max(right, 0))
    elif operator == "%" and isinstance(left, str):
        _check_format(left, _WIDE_PERCENT, left.count("%"), right)


def check_call(name: str, value: object, arguments: tuple[object, ...]) -> None:
    """Refuse the filter or the method `name` of `value` where the result would be too large."""
    if name in _SIZED and any(isinstance(number, int) and abs(number) > LARGEST for number in arguments):
        raise TemplateFault("a number in the template is too large", "use a smaller one")
    if name in _INDENTED:
        widths = [abs(number) for number in arguments if isinstance(number, int)]
        check_length((1 + _indented(value)) * max(widths, default=0))
    if not isinstance(value, str):
        if name == "join":
            check_length(weight(value) * (1 + weight(arguments)))
    elif name == "join":
        check_length(weight(arguments) * (1 + len(value)))
    elif name == "replace" and len(arguments) > 1:
        check_length(len(value) + value.count(str(arguments[0])) * weight(arguments[1]))
    elif name in {"indent", "wordwrap", "translate"}:
        check_length(len(value) * max(1, *(weight(argument) for argument in (*arguments, ""))))
    elif name in {"format", "format_map"}:
        _check_format(value, _WIDE_FIELD, value.count("{"), arguments)


def check_format_filter(pattern: object, arguments: tuple[object, ...]) -> None:
    """Refuse the `format` filter, which is the `%` operator, where the result would be too large."""
    check_operator("%", pattern, arguments)


def bounded_range(*arguments: int) -> range:
    """Give the `range` that templates have."""
    made = range(*arguments)
    try:
        small = len(made) <= MOST_RANGE
    except OverflowError:
        small = False
    if not small:
        raise TemplateFault(f"the range has more than {MOST_RANGE:,} numbers", "use a smaller one")
    return made


def held(value: object) -> object:
    """Give an iterator as a list, so that its size can be told before it is used."""
    return list(islice(value, LARGEST)) if isinstance(value, Iterator) else value


def check_length(size: int) -> None:
    """Refuse a text or list of more than `LARGEST` characters or items."""
    if size > LARGEST:
        raise TemplateFault(f"the template gives more than {LARGEST // 1024 // 1024} MiB", _NEVER_ENDS)


def weight(value: object) -> int:
    """Count characters and items of a value, with everything inside; stops counting beyond `LARGEST`."""
    total = 0
    rest = [value]
    while rest and total <= LARGEST:
        item = rest.pop()
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, list | tuple):
            total += len(item)
            rest += item
        elif isinstance(item, dict):
            total += len(item)
            rest += item.values()
    return total


def _indented(value: object) -> int:
    return value.count("\n") + value.count("\t") if isinstance(value, str) else weight(value)


def _check_bits(bits: int) -> None:
    if bits > _MOST_BITS:
        raise TemplateFault("the template computes a number that is too large", "check the expression")


def _check_format(pattern: str, wide: re.Pattern[str], fields: int, arguments: object) -> None:
    """Refuse widths of more than four digits, and widths that are arguments: `"%1000000000d" % 1`."""
    if wide.search(pattern):
        raise TemplateFault("the format asks for too wide a field", "use a smaller width")
    check_length(len(pattern) + fields * weight(arguments))
