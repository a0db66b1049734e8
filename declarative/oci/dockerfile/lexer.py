"""A Dockerfile's text as a list of instructions: directives, continuations, comments, flags, forms, here-documents.

The rule that keeps it simple: shapes only. Whether an instruction exists, how many arguments it takes and what they mean is for
the reader above. Behaviour follows BuildKit's parser (frontend/dockerfile/parser), which is what people's files are written for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.errors import Invalid
from declarative.oci.dockerfile.forms import Form, flags_of, form_of
from declarative.oci.dockerfile.heredoc import Heredoc, heredocs_in, take_bodies
from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LONGEST_LINE = 65535
"""Bytes in one line, as in BuildKit; more is not a Dockerfile but something that was taken for one."""

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = ("syntax", "escape", "check")
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_WITH_HEREDOCS = ("ADD", "COPY", "RUN")


@record
class Instruction:
    """One instruction. `name` in upper case, `written` as it was; `flags` with their dashes, as in `--from=build`.

    `args`: as the form of the instruction splits them; for ENV and LABEL triples of name, value and "=" ("" in the old form).
    `json_form`: the arguments were a JSON array. `rest`: the text after name and flags. `original`: the whole, continuations
    joined. `line`, `end_line` count from 1. `trigger`: what an ONBUILD holds. `gap`: an empty line stood where it continues.
    """

    name: str
    written: str
    flags: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    json_form: bool = False
    rest: str = ""
    original: str = ""
    line: int = 0
    end_line: int = 0
    heredocs: tuple[Heredoc, ...] = ()
    trigger: Instruction | None = None
    gap: bool = False


@record
class Source:
    """A lexed Dockerfile: instructions, the escape character, and directives with their lines."""

    instructions: tuple[Instruction, ...]
    escape: str = "\\"
    directives: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def syntax(self) -> str:
        """The front end that `# syntax=` asks for, without its options; "" if none."""
        return self.directives.get("syntax", ("", 0))[0].split(" ")[0]


def lex(text: bytes, file: str = "Dockerfile") -> Source:
    """Read a Dockerfile. Raises Invalid, with `file` and line, for what BuildKit's parser refuses."""
    lines = _lines(text, file)
    directives = _directives(lines, file)
    escape = directives.get("escape", ("\\", 0))[0]
    instructions = tuple(_instructions(lines, escape, file))
    if not instructions:
        raise Invalid(file, "has no instructions", "start with FROM", file)
    return Source(instructions=instructions, escape=escape, directives=directives)


def _lines(text: bytes, file: str) -> list[str]:
    """Split into lines that keep their ends. Bytes that are not UTF-8 survive as surrogates."""
    raw = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(raw, start=1):
        if len(line) > LONGEST_LINE:
            problem = f"dockerfile line greater than max allowed size of {LONGEST_LINE}"
            raise Invalid(file, problem, "is this a Dockerfile at all?", f"{file}:{number}")
        if b"\0" in line:
            raise Invalid(file, "holds a NUL byte: this is a binary file", "name the Dockerfile", f"{file}:{number}")
    ended = [line + b"\n" for line in raw[:-1]] + ([raw[-1]] if raw[-1] else [])
    return [line.decode("utf-8", "surrogateescape") for line in ended]


def _directives(lines: Sequence[str], file: str) -> dict[str, tuple[str, int]]:
    """Read the directives at the top; the first line that is none, or none that is known, ends them."""
    found: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines, start=1):
        if number == 1 and line.startswith("#!"):
            continue
        match = _DIRECTIVE.fullmatch(line.strip())
        name = match[1].lower() if match else ""
        if match is None or name not in _DIRECTIVES:
            break
        if name in found:
            raise Invalid(file, f"only one {name} parser directive can be used", "remove one", f"{file}:{number}")
        if name == "escape" and match[2] not in ("\\", "`"):
            problem = f"invalid escape token {match[2]!r}"
            raise Invalid(file, problem, "it must be \\ or `", f"{file}:{number}")
        found[name] = (match[2], number)
    return found


def _instructions(lines: Sequence[str], escape: str, file: str) -> Iterator[Instruction]:
    at = 0
    while at < len(lines):
        start = at
        text, at, gap = _logical_line(lines, at, escape)
        if not text:
            continue
        place = f"{file}:{start + 1}"
        instruction = _parsed(text, escape, place)
        heredocs = heredocs_in(text) if "<<" in text and _may_hold_heredocs(instruction) else ()
        bodies, at = take_bodies(heredocs, lines, at, place)
        yield replace(_placed(instruction, start + 1, at, bodies), gap=gap)


def _parsed(text: str, escape: str, place: str) -> Instruction:
    try:
        return parse_instruction(text, escape, place)
    except RecursionError:
        raise Invalid("ONBUILD", "is nested too deep", "write it once", place) from None


def _logical_line(lines: Sequence[str], at: int, escape: str) -> tuple[str, int, bool]:
    """Join a line with those that continue it, leaving out comments and blank lines in between; tell whether one was blank."""
    quoted = re.escape(escape)
    continued = re.compile(rf"(?:(?<!{quoted})|^){quoted}[ \t]*\Z")
    line = lines[at].rstrip("\r\n").lstrip()
    at += 1
    if line.startswith("#"):
        return "", at, False
    gap = False
    out, open_ = _continuation(line, continued)
    while open_ and at < len(lines):
        line = lines[at].rstrip("\r\n")
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            gap = gap or not line.strip()
            continue
        piece, open_ = _continuation(line, continued)
        out += piece
    return out, at, gap


def _continuation(line: str, continued: re.Pattern[str]) -> tuple[str, bool]:
    found = continued.search(line)
    return (line[: found.start()], True) if found else (line, False)


def parse_instruction(text: str, escape: str, place: str) -> Instruction:
    """Read one logical line: name, flags, arguments. Raises Invalid at `place`."""
    name, _, rest = _BLANKS.sub(" ", text.strip(), count=1).partition(" ")
    flags, rest = flags_of(rest.strip())
    upper = name.upper()
    if upper == "ONBUILD" and rest:  # a chain of them is refused above; it is read to the end to say so
        trigger = parse_instruction(rest, escape, place)
        return Instruction(name=upper, written=name, flags=flags, rest=rest, original=text, trigger=trigger)
    form: Form = form_of(upper, rest, escape, place)
    return Instruction(
        name=upper, written=name, flags=flags, args=form.args, json_form=form.json, rest=rest, original=text
    )


def _may_hold_heredocs(instruction: Instruction) -> bool:
    inner = instruction.trigger or instruction
    return inner.name in _WITH_HEREDOCS and not inner.json_form


def _placed(instruction: Instruction, line: int, end_line: int, heredocs: tuple[Heredoc, ...]) -> Instruction:
    """Give an instruction its lines and bodies; those of an ONBUILD belong to its trigger."""
    trigger = instruction.trigger and _placed(instruction.trigger, line, end_line, heredocs)
    return replace(instruction, line=line, end_line=end_line, heredocs=heredocs, trigger=trigger)
