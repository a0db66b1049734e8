"""A table as text: columns as wide as what they hold, two blanks between them, headings in bold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from declarative.cli.screen import Screen


def show_table(
    screen: Screen,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    styles: Sequence[str] = (),
    indent: str = "",
) -> None:
    """Print rows under their headings; `styles` has a style for each row, "" for none."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    screen.line(indent + screen.paint(_line(head, widths), "bold"))
    for number, row in enumerate(rows):
        style = styles[number] if styles else ""
        screen.line(indent + screen.paint(_line(row, widths), *((style,) if style else ())))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
