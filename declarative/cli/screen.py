"""A stream that people or programs read: whether it is a terminal, whether it may be coloured, and when nobody reads on.

The rule that keeps it simple: a reader that went away (`| head`), or a full disk, never stops the work. What is written after
that is dropped. What a terminal would obey instead of showing it is spelled out in every line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from typing import TextIO

CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36", "bold": "1", "dim": "2"}
_CODE = f"(?:{'|'.join(CODES.values())})"
_PAINT = rf"(\x1b\[(?:0|{_CODE}(?:;{_CODE})*)m)"
_ESCAPES = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])"
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of what moves a cursor, breaks a line, or turns the direction of a text."""
_WRITTEN = frozenset("\t\u200c\u200d")
"""What is of these, and belongs to texts: the last two join letters of Persian and parts of emoji."""


def visible(text: str) -> str:
    """Spell out what a terminal would obey: a value of a manifest or a label must not hide or forge a line of a plan."""
    return "\n".join(line if line.isprintable() else _spelled(line) for line in text.split("\n"))


def _spelled(line: str) -> str:
    from unicodedata import category

    return "".join(
        character.encode("unicode_escape").decode()
        if category(character) in _OBEYED and character not in _WRITTEN
        else character
        for character in line
    )


def unstyled(text: str) -> str:
    """Leave out the colours and movements (ECMA-48) with which a program printed a line that is shown among ours."""
    return re.sub(_ESCAPES, "", text) if "\x1b" in text else text  # compiled then: it takes a millisecond


@record(frozen=False)
class Screen:
    """Standard output or standard error. `tty`: a person reads it live. `colour`: it may carry colours.

    `broken`: nothing can be written any more. `fault`: why, where that is more than a reader that went away.
    """

    stream: TextIO
    tty: bool = False
    colour: bool = False
    broken: bool = False
    fault: OSError | None = None

    @property
    def ascii_json(self) -> bool:
        """Whether JSON is to be written in ASCII here: no other encoding than UTF-8 has a sign for every character."""
        encoding = self.stream.encoding or "utf-8"  # a stream of text alone has none
        return encoding.lower().replace("_", "-") not in {"utf-8", "utf8"}

    def write(self, text: str) -> None:
        """Write text as it is, now."""
        if self.broken:
            return
        try:
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                encoding = self.stream.encoding or "ascii"
                self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self.stream.flush()
        except OSError as error:
            self.lose(error)

    def lose(self, error: OSError) -> None:
        """Hear that the stream took no more, by whoever writes to it past us."""
        self.broken = True
        if not isinstance(error, BrokenPipeError):
            self.fault = error

    def line(self, text: str = "") -> None:
        """Write one line, or several; nothing in them but our own colours is obeyed by a terminal."""
        self.write(self.shown(text) + "\n")

    def shown(self, text: str) -> str:
        """Give a text as it may go to a terminal: with colours of ours, where there are any, and all else spelled out."""
        parts = re.split(_PAINT, text) if self.colour and "\x1b" in text else [text]
        return "".join(part if index % 2 else visible(part) for index, part in enumerate(parts))

    def paint(self, text: str, *styles: str) -> str:
        """Give `text` in these styles (names of CODES), or as it is where there is no colour."""
        if not self.colour or not styles or not text:
            return text
        return f"\x1b[{';'.join(CODES[style] for style in styles)}m{text}\x1b[0m"
