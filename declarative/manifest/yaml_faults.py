"""Says in plain words what is wrong with a YAML text, and where reading can resume behind it.

The rule that keeps it simple: one table from the parser's words to ours; what is not in the table is passed on as the parser
said it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import yaml

from declarative.manifest.yaml_parse import TOO_DEEP
from declarative.record import record

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKER = re.compile(r"---(?:\s|$)")
_UNQUOTED = re.compile(r"(?:^|[:,\[-])\s*(?P<open>\{\{)")
_STATEMENT = re.compile(r"^\s*(?P<open>\{[%#])")

QUOTE_IT = 'quote the whole value: "{{ … }}"'
_WHOLE_FILE = "statements stand inside a quoted value, or in a file called *.yaml.j2, which is rendered as a whole"


@record
class Fault:
    """What is wrong. `line` and `column` count from 1; reading resumes behind line `last`, where the parser gave up."""

    line: int
    column: int
    last: int
    text: str
    remedy: str


class _Words(NamedTuple):
    text: str
    remedy: str
    at_start: bool = False
    """Whether the place to show is where the construct began, not where the parser gave up."""


_LIST_OPEN = _Words(
    "the list that opens here is not closed", "close it with `]`, and separate its items with `,`", True
)
_MAP_OPEN = _Words(
    "the mapping that opens here is not closed", "close it with `}`, and separate its pairs with `,`", True
)
_QUOTE_OPEN = _Words(
    "the quote that opens here is not closed", "close it, or double a quote that is meant as text", True
)
_ODD_INDENT = _Words(
    "this line does not continue what stands above it",
    "check its indentation, and whether the line above closes its quotes and brackets",
)
_FAULTS: dict[str, _Words] = {
    "mapping values are not allowed in this context": _Words(
        "there is a `:` where no key can be", "quote a value that holds `: `, and check the indentation"
    ),
    "did not find expected key": _ODD_INDENT,
    "did not find expected '-' indicator": _ODD_INDENT,
    "did not find expected ',' or ']'": _LIST_OPEN,
    "did not find expected ',' or '}'": _MAP_OPEN,
    "found unexpected document indicator": _QUOTE_OPEN,
    "found unexpected end of stream": _QUOTE_OPEN,
    "could not find expected ':'": _Words("this key has no `:`", "write `key: value`", True),
    "found unknown escape character": _Words(
        "this escape is not one of YAML's", "write `\\\\` for a backslash, or use single quotes"
    ),
    # libyaml 0.2.6 and later look ahead in flow style and give up there, before the parser hands us a bracket to count
    "exceeded maximum nesting depth": _Words(*TOO_DEEP),
    "found incompatible YAML document": _Words("this version of YAML is not supported", "drop the %YAML line"),
}


def explain(error: yaml.YAMLError, text: str) -> Fault:
    """Turn the parser's complaint about `text` into a fault."""
    if isinstance(error, yaml.MarkedYAMLError) and (error.problem_mark or error.context_mark):
        return _marked(error, text.splitlines())
    found = _UNPRINTABLE.search(text)
    start = found.start() if found else 0
    line = len(text[:start].splitlines() or [""])
    code = f"U+{ord(found[0]):04X}" if found else "unknown"
    return Fault(
        line=line,
        column=start - text.rfind("\n", 0, start),
        last=len(text.splitlines()),
        text=f"there is a control character ({code}), which YAML does not allow",
        remedy="remove it, or write it as an escape in double quotes",
    )


def _marked(error: yaml.MarkedYAMLError, lines: list[str]) -> Fault:
    end = error.problem_mark or error.context_mark
    start = error.context_mark or end
    assert end is not None  # noqa: S101 - the caller checked that one of the two is there
    assert start is not None  # noqa: S101 - the same
    problem = error.problem or "not valid YAML"
    words = (
        _FAULTS.get(problem) or _start_of_token(problem, _at(lines, end.line, end.column)) or _Words(_said(error), "")
    )
    mark = start if words.at_start else end
    line, column = mark.line, mark.column
    if template := _template(_at(lines, line), _at(lines, end.line)):
        words, column, line = template[0], template[1], line if template[2] else end.line
    line, column = _inside(lines, line, column)
    return Fault(line=line + 1, column=column + 1, last=end.line + 1, text=words.text, remedy=words.remedy)


def _inside(lines: list[str], line: int, column: int) -> tuple[int, int]:
    """Move a place behind the last line, where the parser reports what it misses, to the end of that line."""
    if line < len(lines) or not lines:
        return line, column
    return len(lines) - 1, len(lines[-1])


def _at(lines: list[str], line: int, column: int | None = None) -> str:
    if line >= len(lines):
        return ""
    return lines[line] if column is None else lines[line][column : column + 1]


def _template(shown: str, last: str) -> tuple[_Words, int, bool] | None:
    """Recognise a template that YAML reads as a mapping or as nothing: the words, the column, whether it is on the line shown."""
    for text, here in ((shown, True), (last, False)):
        if found := _UNQUOTED.search(text):
            return _Words("YAML reads `{{` as the start of a mapping", QUOTE_IT), found.start("open"), here
        if found := _STATEMENT.search(text):
            return _Words(f"YAML cannot read `{found['open']}`", _WHOLE_FILE), found.start("open"), here
    return None


def _start_of_token(problem: str, character: str) -> _Words | None:
    if "cannot start any token" not in problem:
        return None
    if character == "\t":
        return _Words("there is a tab where YAML wants spaces", "indent with spaces")
    return _Words(f"a value cannot start with `{character}`", "quote the value")


def _said(error: yaml.MarkedYAMLError) -> str:
    said = ", ".join(part for part in (error.context, error.problem) if part)
    return f"not valid YAML: {said}"


def next_document(text: str, beyond: int, start: int) -> int | None:
    """Find the next line with `---` (counted from 0) at `start` or later and behind `beyond`; None where there is none."""
    lines = text.splitlines()
    first = max(start, beyond + 1)
    return next((number for number in range(first, len(lines)) if _MARKER.match(lines[number])), None)
