"""Path patterns as `.dockerignore` and `COPY --exclude` use them, exactly as moby/patternmatcher decides.

The rule: do what Docker does, oddities included; a file that Docker would send and we would not (or the other way round) is a
wrong image. A pattern is one of four kinds, as there: exact, prefix (`dir/**`), suffix (`**/name`), or an expression. The
order of patterns matters, `!` takes back, and a pattern that matches a folder matches everything in it.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, TypeAlias

from declarative.errors import Invalid
from declarative.oci.dockerfile.automaton import automaton
from declarative.oci.matching import STAR, compile_pattern, starred
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Matched: TypeAlias = tuple[bool, ...]
"""Which patterns matched a folder or one above it; handed down a walk so that no path is matched twice. () is the root's."""


@record
class Pattern:
    """One line: `text` cleaned and without its `!`; `negative` where it had one."""

    text: str
    negative: bool
    matches: Callable[[str], bool]


class PatternSet:
    """An ordered list of patterns. Raises Invalid for those that Docker refuses: a lone `!`, an unfinished `[`."""

    def __init__(self, lines: Iterable[str]) -> None:
        stripped = (line.strip() for line in lines)
        self.patterns: tuple[Pattern, ...] = tuple(_parse(clean(line)) for line in stripped if line)
        self.negated = any(pattern.negative for pattern in self.patterns)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def matches(self, path: str) -> bool:
        """Tell whether `path` (relative, `/` between parts) or a folder above it is matched in the end."""
        above = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)]
        matched = False
        for pattern in self.patterns:
            if pattern.negative == matched and (pattern.matches(path) or any(map(pattern.matches, above))):
                matched = not pattern.negative
        return matched

    def matches_below(self, path: str, parent: Matched) -> tuple[bool, Matched]:
        """Match one entry of a walk, given what its folder gave; the second value is for the entries below it."""
        if not parent:
            parent = (False,) * len(self.patterns)
        matched = False
        found: list[bool] = []
        for pattern, inherited in zip(self.patterns, parent, strict=True):
            # As in Docker, a pattern that cannot change the verdict is not tried, and so is not inherited either.
            hit = inherited or (pattern.negative == matched and pattern.matches(path))
            found.append(hit)
            if hit:
                matched = not pattern.negative
        return matched, tuple(found)

    def may_match_below(self, folder: str, *, negative: bool) -> bool:
        """Tell whether a pattern of that sign could match something in `folder`; True where it cannot be excluded."""
        return any(
            _WILD.search(stem) or f"{stem}/".startswith(f"{folder}/")
            for stem in (_stem(pattern.text) for pattern in self.patterns if pattern.negative == negative)
        )


_DEEP = "(.*/)?"
_ANY = ".*"
_FEW = 2
_CLASS = re.compile(r"\[|\\\w")
_WIDTHLESS = re.compile(r"\\[ABZb]")
_WILD = re.compile(r"[*?\[\]^\\]")


def _stem(text: str) -> str:
    return text.removesuffix("/**").removesuffix("/*")


def clean(path: str) -> str:
    """Shorten a path as Go's filepath.Clean does: like normpath, but a leading `//` is one slash."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _parse(text: str) -> Pattern:
    negative = text.startswith("!")
    body = text[1:] if negative else text
    if not body:
        raise Invalid("pattern '!'", "excludes nothing", "write what to keep after the !, as in !docs/README.md")
    compile_pattern(body)  # for its refusal alone: Docker checks each pattern with filepath.Match before its own rules
    return Pattern(text=body, negative=negative, matches=_matcher(body))


def _matcher(text: str) -> Callable[[str], bool]:
    kind, pieces = _translate(text)
    if kind == "exact":
        return text.__eq__
    if kind == "prefix":
        prefix = text[:-2]
        return lambda path: path.startswith(prefix)
    if kind == "suffix":
        suffix = text[2:]
        bare = suffix[1:] if suffix.startswith("/") else None
        return lambda path: path.endswith(suffix) or path == bare
    try:
        compiled = re.compile(_joined(pieces) + r"\Z", re.ASCII)
    except re.error as error:
        raise Invalid(
            f"pattern {text!r}", f"is malformed: {error}", "close every [ and escape with \\ what is meant"
        ) from error
    if _may_run_away(pieces):
        return automaton(pieces, repeated=(STAR, _ANY), deep=_DEEP)
    return lambda path: compiled.match(path) is not None


def _translate(text: str) -> tuple[str, list[str]]:
    """Give the pattern's kind and the pieces of its expression, by the state machine of patternmatcher's `compile`."""
    kind, out, position, first = "exact", list[str](), 0, True
    while position < len(text):
        character = text[position]
        position += 1
        if text.startswith("**", position - 1):
            position += 1
            position += text.startswith("/", position)
            if position < len(text):
                out, kind = [*out, _DEEP], "regexp"
            else:
                out, kind = (out, "prefix") if kind == "exact" else ([*out, _ANY], "regexp")
            kind = "suffix" if first else kind
        elif character in "*?":
            out, kind = [*out, STAR if character == "*" else "[^/]"], "regexp"
        elif character == "\\" and position < len(text):
            out, kind = [*out, "\\" + text[position]], "regexp"
            position += 1
        elif character == "[":
            piece, position = _class(text, position)
            out, kind = [*out, piece], "regexp"
        else:
            out.append(re.escape(character))
            kind = "regexp" if character == "]" else kind
        first = False
    return kind, out


def _may_run_away(pieces: Sequence[str]) -> bool:
    """Tell whether an expression of these would be tried in more combinations than two pieces of any length make.

    With `_joined` it is not where each `**/` but the first follows a slash. What has no width an expression alone can say.
    """
    if sum(piece in {STAR, _DEEP, _ANY} for piece in pieces) <= _FEW or any(map(_WIDTHLESS.match, pieces)):
        return False
    later = [index for index, piece in enumerate(pieces) if piece == _DEEP][1:]
    return _holds_class(pieces) or any(pieces[index - 1] != "/" for index in later)


def _joined(pieces: Sequence[str]) -> str:
    """Join the pieces so that no folders of `a/**/b/**/c` are tried in all combinations; see `starred`.

    What stands between two `**/` and ends with a slash is sought once: the second takes what lies behind the first place. With a
    class or a letter behind a backslash, either of which may match a slash, that does not hold.
    """
    if _holds_class(pieces):
        return "".join(pieces)
    groups: list[list[str]] = [[]]
    for piece in pieces:
        if piece == _DEEP:
            groups.append([])
        else:
            groups[-1].append(piece)
    out = starred(groups[0])
    for number, group in enumerate(groups[1:], 2):
        once = number < len(groups) and group[-1:] == ["/"]
        out += f"(?>(?:.*?/)??{starred(group)})" if once else f"(?:.*/)?{starred(group)}"
    return out


def _holds_class(pieces: Sequence[str]) -> bool:
    return any(_CLASS.match(piece) for piece in pieces if piece not in {STAR, "[^/]"})


def _class(text: str, position: int) -> tuple[str, int]:
    """Copy a character class; Python alone would take `[`, `&&`, `||`, `~~`, `--` in it for set operations."""
    out = "["
    if text.startswith("^", position):
        out, position = "[^", position + 1
    while position < len(text) and text[position] != "]":
        escaped = text[position] == "\\"
        piece = text[position : position + 2] if escaped else text[position]
        out += "\\" + piece if piece in "[&|~" else piece
        position += len(piece)
    return out + "]", position + 1


def read_ignore_file(content: bytes) -> tuple[str, ...]:
    """Read the lines of a `.dockerignore`: comments and blanks dropped, paths cleaned and made relative.

    A `#` starts a comment in the first column only. Bytes that are not UTF-8 are kept as they are.
    """
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = (line.removesuffix("\r") for line in text.split("\n"))
    return tuple(_relative(line.strip()) for line in lines if not line.startswith("#") and line.strip())


def _relative(line: str) -> str:
    sign, body = ("!", line[1:].strip()) if line.startswith("!") else ("", line)
    if body:
        body = clean(body)
        body = body[1:] if len(body) > 1 and body.startswith("/") else body
    return sign + body


def match_any(lines: Sequence[str], path: str) -> bool:
    """Match one path against patterns that are used once."""
    return PatternSet(lines).matches(path)
