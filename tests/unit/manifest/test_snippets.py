"""Snippets: the mark stands under what is wrong, whatever the line is made of."""

from __future__ import annotations

import pytest

from declarative.errors import Span
from declarative.manifest.snippets import snippet


def show(text: str, line: int, column: int, length: int = 1) -> list[str]:
    return snippet(text, Span(file="a.yaml", line=line, column=column, length=length)).split("\n")


def test_the_line_above_is_shown_and_numbers_are_aligned() -> None:
    text = "".join(f"key{number}: x\n" for number in range(1, 12))
    assert show(text, 10, 8) == [" 9 | key9: x", "10 | key10: x", "   |        ^"]


def test_the_mark_is_as_long_as_what_is_wrong() -> None:
    assert show("imgae: x\n", 1, 1, 5) == ["1 | imgae: x", "  | ^^^^^"]


def test_tabs_and_wide_characters_move_the_mark_as_a_terminal_does() -> None:
    assert show("\tx\n", 1, 2) == ["1 |     x", "  |     ^"]
    assert show("日本: é\n", 1, 5) == ["1 | 日本: é", "  |       ^"]
    assert show("e\u0301x\n", 1, 3) == ["1 | e\u0301x", "  |  ^"]


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in snippet("a: \x1b[31mred\n", Span(file="a", line=1, column=4))


def test_a_line_of_a_megabyte_is_cut_around_the_place() -> None:
    shown = show("a" * 500_000 + "!" + "a" * 500_000, 1, 500_001)
    assert all(len(line) < 200 for line in shown)
    assert shown[0][shown[1].index("^")] == "!"


@pytest.mark.parametrize("line", [0, 3, 100])
def test_a_place_that_is_no_line_of_the_text_has_no_snippet(line: int) -> None:
    assert snippet("a\nb\n", Span(file="a", line=line, column=1)) == ""


def test_a_place_behind_the_end_of_the_line_is_marked_there() -> None:
    assert show("a: [\n", 1, 99) == ["1 | a: [", "  |     ^"]


def test_a_line_without_a_column_has_no_mark() -> None:
    assert show("a: 1\n", 1, 0) == ["1 | a: 1"]
