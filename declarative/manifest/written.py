"""Numbers that know how they were written, so that `1.20` stays `1.20` in the text that a template makes of it.

The rule that keeps it simple: they are numbers like any other in all but `str`, and what is computed from them is a plain number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from declarative.manifest.yaml_nodes import Plain, Scalar


class WrittenInt(int):
    """A whole number, and its text: `007`, `0x10`."""

    _text: str

    def __str__(self) -> str:
        return self._text


class WrittenFloat(float):
    """A number with a fraction or an exponent, and its text: `1.20`, `12e4567`."""

    _text: str

    def __str__(self) -> str:
        return self._text


def written(value: Plain, text: str) -> Plain:
    """Give `value`, read from `text`, so that `str` gives that text; all but numbers, and numbers that do so, as they are."""
    made: WrittenInt | WrittenFloat
    if type(value) is int and str(value) != text:
        made = WrittenInt(value)
    elif type(value) is float and str(value) != text:
        made = WrittenFloat(value)
    else:
        return value
    made._text = text  # noqa: SLF001 - an underscore keeps it from templates; int takes no slots
    return made


def leaf(scalar: Scalar) -> Plain:
    """Give a scalar's value, a number as it was written."""
    return written(scalar.value, scalar.text)
