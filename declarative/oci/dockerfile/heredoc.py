"""Here-documents: which a line announces, and their bodies in the lines below it.

The rule that keeps it simple: a body is taken line by line until its name stands alone, before anything looks at the lines as
instructions; so nothing in a body can be mistaken for one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.errors import Invalid
from declarative.oci.dockerfile.expand import Style, expand
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEREDOC = re.compile(r"(\d*)<<(-?)\s*([^<]*)")
_ALONE = re.compile(r"\d*<<-?")
_PLAIN = Style(keep_unset=True)
_QUOTED = Style(keep_unset=True, keep_quotes=True)
_RAW = Style(keep_unset=True, keep_quotes=True, keep_escapes=True)


@record
class Heredoc:
    """One here-document. `expand`: variables count in the body (its name was not quoted). `chomp`: `<<-`, tabs go."""

    name: str
    expand: bool
    chomp: bool
    descriptor: int = 0
    content: str = ""

    @property
    def text(self) -> str:
        """The body as the container or the file gets it: without leading tabs where `<<-` says so."""
        return re.sub(r"(?m)^\t+", "", self.content) if self.chomp else self.content


def parse_heredoc(word: str) -> Heredoc | None:
    """Read one word such as `<<EOF`, `3<<-'END'`; None if it is no here-document. Raises Invalid for unbalanced quotes."""
    match = _HEREDOC.fullmatch(word)
    if match is None or not match[3]:
        return None
    plain = expand(match[3], {}, _PLAIN).words
    if len(plain) != 1:
        return None
    quoted = expand(match[3], {}, _QUOTED).words
    return Heredoc(
        name=plain[0], expand=plain == quoted, chomp=bool(match[2]), descriptor=int(match[1][:9]) if match[1] else 0
    )


def heredocs_in(line: str) -> tuple[Heredoc, ...]:
    """Find the here-documents that an instruction's line announces. A line with unbalanced quotes announces none."""
    try:
        words = expand(line, {}, _RAW).words
    except Invalid:
        return ()
    found = (parse_heredoc(word) for word in _joined(words))
    return tuple(heredoc for heredoc in found if heredoc is not None)


def take_bodies(
    heredocs: Sequence[Heredoc], lines: Sequence[str], at: int, place: str
) -> tuple[tuple[Heredoc, ...], int]:
    """Read the bodies from `lines` from index `at` on; give the index after them, too. Raises Invalid if one has no end."""
    done: list[Heredoc] = []
    for heredoc in heredocs:
        body, start = "", at
        while True:
            if at >= len(lines):
                remedy = f"end it with a line that is only {heredoc.name} (it starts at line {start + 1})"
                raise Invalid(f"here-document <<{heredoc.name}", "is not terminated", remedy, place)
            line = lines[at].rstrip("\r\n")
            at += 1
            if (line.lstrip("\t") if heredoc.chomp else line) == heredoc.name:
                break
            body += lines[at - 1]
        done.append(replace(heredoc, content=body))
    return tuple(done), at


def _joined(words: Sequence[str]) -> Iterator[str]:
    """Put `<<` and the name after it back together."""
    pending = ""
    for word in words:
        if not pending and _ALONE.fullmatch(word):
            pending = word + " "
            continue
        yield pending + word
        pending = ""
