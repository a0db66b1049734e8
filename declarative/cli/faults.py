"""How errors are shown: one line each on standard error, or JSON; a crash says where to report it.

The rule that keeps it simple: the text of an error is made by the error; this file only decides where it goes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from declarative.cli.screen import unstyled
from declarative.errors import DeclarativeError, Failed, InvalidManifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from declarative.cli.context import Context

REPORT_AT = "the project's issue tracker"
_OUTPUT_LINES = 40  # of what a failed step printed; the whole is in the engine's own log
_LINE_LENGTH = 2000  # characters of one such line: minified code and base64 come in lines of megabytes


def report(error: DeclarativeError, context: Context, arguments: Sequence[str]) -> int:
    """Print an error that was raised on purpose; gives the exit code."""
    _catch_up(context, arguments)
    if context.json and not context.out.broken:
        context.print_json({"errors": as_json(error)})
    show(error, context)
    return error.exit_code


def show(error: DeclarativeError, context: Context) -> None:
    """Print an error for a person, or as log lines where the log is JSON."""
    screen = context.err
    if context.log_format == "json":
        import json

        for fields in as_json(error):
            screen.write(json.dumps({"level": "error", **fields}, ensure_ascii=screen.ascii_json) + "\n")
        return
    for item in leaves(error):
        screen.line(screen.paint("error: ", "red", "bold") + str(item))
        if isinstance(item, Failed) and item.output:
            lines = unstyled(item.output).rstrip("\n").splitlines()[-_OUTPUT_LINES:]
            screen.line("\n".join(screen.paint("    " + _cut(line), "dim") for line in lines))


def _cut(line: str) -> str:
    half = _LINE_LENGTH // 2
    return line if len(line) <= _LINE_LENGTH else f"{line[:half]} … {line[-half:]}"


def leaves(error: DeclarativeError) -> list[object]:
    """Give every single problem that an error stands for."""
    problems = getattr(error, "problems", ())
    return list(problems) or [error]


def as_json(error: DeclarativeError) -> list[dict[str, str]]:
    """Give every problem of an error as JSON: subject, problem, remedy, place, and output where there is some."""
    if isinstance(error, InvalidManifest):
        return [
            {
                "subject": item.subject,
                "problem": item.text,
                "remedy": item.remedy,
                "place": str(item.span) if item.span else "",
            }
            for item in error.problems
        ]
    return [_one(item) for item in leaves(error) if isinstance(item, DeclarativeError)]


def _one(error: DeclarativeError) -> dict[str, str]:
    fields = {"subject": error.subject, "problem": error.problem, "remedy": error.remedy, "place": error.place}
    if isinstance(error, Failed) and error.output:
        fields["output"] = error.output
    return fields


def crash(error: BaseException, context: Context, arguments: Sequence[str]) -> int:
    """Print a short text about an error of ours; the traceback only with -v."""
    _catch_up(context, arguments)
    if context.verbose:
        import traceback

        context.err.write("".join(traceback.format_exception(error)))
    problem = f"this is a fault of declarative itself: {type(error).__name__}: {error}"
    remedy = f"please report it at {REPORT_AT}" + (
        "" if context.verbose else ", with the output of the same run with -v"
    )
    if context.json and not context.out.broken:
        context.print_json({"errors": [{"subject": "", "problem": problem, "remedy": remedy, "place": ""}]})
    context.err.line(context.err.paint("error: ", "red", "bold") + f"{problem} — {remedy}")
    return 1


def _catch_up(context: Context, arguments: Sequence[str]) -> None:
    """Follow -o json and -v though the command line may be what is wrong."""
    words = list(arguments)
    if any(pair in {("-o", "json"), ("--output", "json")} for pair in pairwise(words)):
        context.json = True
    if {"-ojson", "-o=json", "--output=json"} & set(words):
        context.json = True
    if {"-v", "-vv", "--verbose"} & set(words):
        context.verbose = max(context.verbose, 1)
