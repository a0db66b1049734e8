"""Finds and reads the manifest files that `-f` names.

The rule that keeps it simple: this file knows files, bytes and characters, and nothing of YAML. What cannot be read is a
Problem, and all of them are reported at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from declarative.errors import Problem, Span
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST = 8 * 1024 * 1024
"""Bytes of one manifest. A thousand containers take about half a megabyte; what is larger is a wrong file, not a manifest."""

_SUFFIXES = (".yaml", ".yml", ".yaml.j2")
STANDARD_INPUT = "<stdin>"
NOT_TEXT = "encode it, as with base64"
"""What to do about a value that is not UTF-8: manifests, plans and the engine's API hold text."""


@record
class Source:
    """One text to be read. `name` is as a person would write it, for messages; relative paths inside count from `folder`."""

    name: str
    text: str
    folder: Path

    @property
    def is_template(self) -> bool:
        """Whether the whole text is a template, to be rendered before it is YAML."""
        return self.name.endswith(".j2")


def read_sources(
    arguments: Iterable[str], *, stdin: BinaryIO, working_folder: Path
) -> tuple[tuple[Source, ...], tuple[Problem, ...]]:
    """Read what the `-f` arguments name, in their order; a file named twice is read once.

    An argument is a file, a folder (its *.yaml, *.yml and *.yaml.j2, sorted, not its subfolders) or `-`. Relative paths count
    from `working_folder`. Never raises for bad input: what is wrong comes back as problems beside the sources that could be read.
    """
    sources: list[Source] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for argument in arguments:
        found = _files(argument, working_folder)
        if isinstance(found, Problem):
            problems.append(found)
            continue
        for name, path in found:
            key = name if path is None else _identity(path)
            if key not in seen:
                seen.add(key)
                read = _read(name, path, stdin, working_folder)
                if isinstance(read, Problem):
                    problems.append(read)
                else:
                    sources.append(read)
    return tuple(sources), tuple(problems)


def _identity(path: Path) -> str:
    """Name the file behind `path`, so that a file named twice is read once. Path.resolve raises for a loop of symbolic links."""
    try:
        return os.path.realpath(path)
    except ValueError:
        return str(path)


def _files(argument: str, working_folder: Path) -> list[tuple[str, Path | None]] | Problem:
    """Name the files that one argument stands for; None is standard input."""
    if argument == "-":
        return [(STANDARD_INPUT, None)]
    path = working_folder / argument
    try:
        if not path.is_dir():
            return [(argument, path)]
        names = sorted(entry.name for entry in path.iterdir() if entry.name.endswith(_SUFFIXES) and not entry.is_dir())
    except (OSError, ValueError) as error:
        return _unreadable(argument, error)
    if not names:
        return Problem(
            subject=argument,
            text="the folder holds no manifest",
            remedy="manifests are called *.yaml, *.yml or *.yaml.j2; subfolders are not searched: name each with its own -f",
        )
    return [(str(Path(argument) / name), path / name) for name in names]


def _read(name: str, path: Path | None, stdin: BinaryIO | None, working_folder: Path) -> Source | Problem:
    try:
        if path is None:
            data = stdin.read(LARGEST + 1) if stdin else b""
        else:
            with path.open("rb") as stream:
                data = stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        return _unreadable(name, error)
    text = decode(name, data)
    if isinstance(text, Problem):
        return text
    return Source(name=name, text=text, folder=working_folder if path is None else path.parent)


def read_file(name: str, working_folder: Path) -> Source | Problem:
    """Read one file that is named on the command line; relative paths count from `working_folder`."""
    return _read(name, working_folder / name, None, working_folder)


def decode(name: str, data: bytes) -> str | Problem:
    """Turn the bytes of the file `name` into text: UTF-8, a byte order mark is dropped; anything else is a problem."""
    if len(data) > LARGEST:
        return Problem(
            subject=name,
            text=f"the file is larger than {LARGEST // 1024 // 1024} MiB, too large for a manifest",
            remedy="is it the right file? A manifest of that size can be split over several -f",
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Problem(subject=name, text="the file is in UTF-16, not UTF-8", remedy="save it as UTF-8")
    if b"\0" in data:
        return Problem(subject=name, text="the file is binary, not a manifest", remedy="name a YAML file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8-sig")) + 1
        return Problem(
            subject=name,
            text=f"the byte 0x{data[error.start]:02x} is not UTF-8",
            remedy="save the file as UTF-8",
            span=Span(file=name, line=line, column=column),
        )


def is_text(text: str) -> bool:
    """Whether text of the process's environment or arguments was UTF-8: Python keeps other bytes as surrogates (PEP 383)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unreadable(name: str, error: OSError | ValueError) -> Problem:
    if isinstance(error, FileNotFoundError):
        return Problem(subject=name, text="there is no such file or folder", remedy="check the path given with -f")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Problem(subject=name, text=f"cannot be read: {reason.lower()}", remedy="check the path and its permissions")
