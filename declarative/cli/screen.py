"""A stream that people or programs read: whether it is a terminal, whether it may be coloured, and when nobody reads on.

The rule that keeps it simple: a reader that went away (`| head`), or a full disk, never stops the work. What is written after
that is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from typing import TextIO

CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36", "bold": "1", "dim": "2"}


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
        """Write one line."""
        self.write(text + "\n")

    def paint(self, text: str, *styles: str) -> str:
        """Give `text` in these styles (names of CODES), or as it is where there is no colour."""
        if not self.colour or not styles or not text:
            return text
        return f"\x1b[{';'.join(CODES[style] for style in styles)}m{text}\x1b[0m"
