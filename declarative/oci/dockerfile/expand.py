r"""Expansion of variables in one word of a Dockerfile, as BuildKit's shell lexer does it.

The rule that keeps it simple: one cursor over the text and one method for each construct; a nested construct calls back with the
character it stops on. Forms: `$x`, `${x}`, `${x:-w}` `${x-w}`, `:+ +`, `:? ?`, `# ## % %%`, `/ //`. Words inside the braces are
expanded themselves. Quotes and escapes follow the Bourne shell, except that a `\` in double quotes only escapes `"`, `$`, `\`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.errors import Invalid
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SPECIAL = "@*#?-$!0"  # parameters that only a running shell has; a Dockerfile takes them for unset
_MESSAGE = {True: "is not allowed to be empty", False: "is not allowed to be unset"}


@record
class Expansion:
    """What a word became. `words`: split at unquoted blanks, after expansion. `matched`, `unmatched`: variables met."""

    text: str
    words: tuple[str, ...]
    matched: frozenset[str]
    unmatched: frozenset[str]


@record
class Style:
    """How to read: the `escape` character; whether quotes mean anything (not in here-documents); what to leave standing."""

    escape: str = "\\"
    quotes: bool = True
    keep_unset: bool = False
    keep_quotes: bool = False
    keep_escapes: bool = False


PLAIN = Style()


def expand(word: str, env: Mapping[str, str], style: Style = PLAIN) -> Expansion:
    """Expand `word`. Raises Invalid for unbalanced quotes or braces, an unknown form, and an unset `${x?}`."""
    reader = _Reader(word, env, style)
    try:
        text, words = reader.until("", keep_escapes=style.keep_escapes)
    except _BadWord as error:
        raise Invalid(f"word {word!r}", str(error), "mend the quotes, the braces, or the variable") from None
    except RecursionError:
        raise Invalid(f"word {word[:40]!r}...", "is nested too deep", "write fewer braces in braces") from None
    return Expansion(
        text=text, words=tuple(words), matched=frozenset(reader.matched), unmatched=frozenset(reader.unmatched)
    )


class _BadWord(Exception):
    """What is wrong with the word; becomes Invalid at the edge, where the whole word is in hand."""


class _Words:
    """Words as they form: blanks split them unless they came quoted."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.word = ""
        self.open = False

    def add(self, text: str) -> None:
        for character in text:
            if not character.isspace():
                self.add_raw(character)
            elif self.open:
                self.close()

    def add_raw(self, text: str) -> None:
        self.word += text
        self.open = True

    def close(self) -> None:
        if self.word:
            self.done.append(self.word)
            self.word, self.open = "", False


class _Reader:
    """A cursor over one word."""

    def __init__(self, text: str, env: Mapping[str, str], style: Style) -> None:
        self.text = text
        self.at = 0
        self.env = env
        self.style = style
        self.keep_escapes = style.keep_escapes
        self.matched: set[str] = set()
        self.unmatched: set[str] = set()

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        character = self.peek()
        self.at += len(character)
        return character

    def until(self, stop: str, *, keep_escapes: bool) -> tuple[str, list[str]]:
        """Read up to and over `stop` ("" is the end of the text)."""
        before, self.keep_escapes = self.keep_escapes, keep_escapes
        try:
            return self._until(stop)
        finally:
            self.keep_escapes = before

    def _until(self, stop: str) -> tuple[str, list[str]]:
        out, words = "", _Words()
        special: dict[str, Callable[[], str]] = {"$": self.dollar}
        if self.style.quotes:
            special |= {"'": self.single_quoted, '"': self.double_quoted}
        while character := self.peek():
            if character == stop:
                self.take()
                words.close()
                return out, words.done
            if character in special:
                piece = special[character]()
                (words.add if character == "$" else words.add_raw)(piece)
            elif character == self.style.escape:
                piece = self.escaped()
                if piece:
                    words.add_raw(piece)
            else:
                piece = self.take()
                words.add(piece)
            out += piece
        if stop:
            raise _BadWord(f"ends while looking for the matching {stop}")
        words.close()
        return out, words.done

    def escaped(self) -> str:
        kept = self.take() if self.keep_escapes else self.take()[:0]
        return kept + self.take()

    def single_quoted(self) -> str:
        quote = self.take()
        end = self.text.find(quote, self.at)
        if end < 0:
            raise _BadWord("ends while looking for the matching single quote")
        inner, self.at = self.text[self.at : end], end + 1
        return f"'{inner}'" if self.style.keep_quotes else inner

    def double_quoted(self) -> str:
        out = self.take() if self.style.keep_quotes else self.take()[:0]
        while character := self.peek():
            if character == '"':
                return out + (self.take() if self.style.keep_quotes else self.take()[:0])
            if character == "$":
                out += self.dollar()
            elif character == self.style.escape:
                out += self.escaped_in_quotes()
            else:
                out += self.take()
        raise _BadWord("ends while looking for the matching double quote")

    def escaped_in_quotes(self) -> str:
        escape = self.take()
        kept = escape if self.keep_escapes else ""
        if not self.peek():
            return kept
        return kept + (self.take() if self.peek() in ('"', "$", escape) else escape)

    def dollar(self) -> str:
        self.take()
        if self.peek() != "{":
            name = self.name()
            value = self.value(name) if name else "$"
            return f"${name}" if value is None and self.style.keep_unset else value or ""
        self.take()
        if not self.peek():
            raise _BadWord("has no closing }")
        if self.peek() in "{}:":
            raise _BadWord("has a bad substitution")
        name = self.name()
        operator = self.take()
        if operator == "}":
            value = self.value(name)
            return f"${{{name}}}" if value is None and self.style.keep_unset else value or ""
        return self.replaced(name) if operator == "/" else self.modified(name, operator)

    def modified(self, name: str, operator: str) -> str:
        empty_is_unset = operator == ":"
        sign = self.take() if empty_is_unset else operator
        allowed = "+-?" if empty_is_unset else "+-?#%"
        if not sign or sign not in allowed:
            raise _BadWord(f"has an unknown modifier ({operator if not empty_is_unset else operator + sign})")
        word = self.inner("}", keep_escapes=sign in "#%")
        value = self.value(name)
        if value is None and self.style.keep_unset:
            return f"${{{name}{operator if not empty_is_unset else operator + sign}{word}}}"
        missing = value is None or (empty_is_unset and not value)
        if sign in "#%":
            return _trimmed(value or "", sign, word)
        if sign == "?" and missing:
            raise _BadWord(f"{name}: {word or _MESSAGE[value is not None]}")
        if sign == "+":
            return "" if missing else word
        return word if missing else value or ""

    def replaced(self, name: str) -> str:
        everywhere = self.peek() == "/"
        if everywhere:
            self.take()
        pattern = self.inner("/", keep_escapes=True)
        replacement = self.inner("}", keep_escapes=True)
        value = self.value(name)
        if value is None and self.style.keep_unset:
            return f"${{{name}/{'/' if everywhere else ''}{pattern}/{replacement}}}"
        return _compiled(pattern).sub(lambda _: replacement, value or "", count=0 if everywhere else 1)

    def inner(self, stop: str, *, keep_escapes: bool) -> str:
        try:
            return self.until(stop, keep_escapes=keep_escapes)[0]
        except _BadWord:
            if self.peek():
                raise
            raise _BadWord(f"has no closing {stop}") from None

    def name(self) -> str:
        found = re.compile(r"[0-9]+|[^\W\d]\w*").match(self.text, self.at)
        if found:
            self.at = found.end()
            return found[0]
        return self.take() if self.peek() and self.peek() in _SPECIAL else ""

    def value(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.unmatched if value is None else self.matched).add(name)
        return value


def _trimmed(value: str, sign: str, word: str) -> str:
    """Cut off the prefix (`#`) or suffix (`%`) that `word` matches; the sign doubled asks for the longest one."""
    longest = word.startswith(sign)
    expression = _compiled(word.removeprefix(sign))
    cuts = range(len(value) + 1)
    if longest == (sign == "#"):
        cuts = cuts[::-1]
    for cut in cuts:
        gone, kept = (value[:cut], value[cut:]) if sign == "#" else (value[cut:], value[:cut])
        if expression.fullmatch(gone):
            return kept
    return value


def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a shell pattern so that no word costs exponential time: what stands between two stars is sought once."""
    first, *others = pattern_to_regex(pattern).split(".*")
    once = "".join(f"(?>.*?{chunk})" for chunk in others[:-1] if chunk)
    return re.compile(first + once + (f".*{others[-1]}" if others else ""))


def pattern_to_regex(pattern: str) -> str:
    """Turn a shell pattern of `*`, `?` and escapes into an expression. Raises (as Invalid, from `expand`) for a bad escape."""
    out, at = "", 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "\\":
            following = pattern[at : at + 1]
            if following not in ("*", "?", "\\", "}", "/"):
                raise _BadWord(f"has an invalid escape \\{following}")
            character, at = following, at + 1
            out += re.escape(character)
        else:
            out += {"*": ".*", "?": "."}.get(character) or re.escape(character)
    return out
