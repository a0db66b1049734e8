"""The entry of the program: finds the verb, runs it, and turns every ending into an exit code.

The rule that keeps it simple: nothing is imported before it is known to be needed. `--help` reads one table; a verb imports
its own file and no other verb's.
"""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from declarative.cli.verbs import HIDDEN, VERBS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from declarative.cli.context import Context

_HELP = ("-h", "--help", "help")


def program() -> NoReturn:
    """Be the program: run this process's command line and end the process.

    Taking the interpreter apart, object by object, is 20 ms of an apply without changes, for memory that the kernel takes back
    anyway. The engine's daemon has threads that are to be waited for; it ends as Python does.
    """
    code = main()
    if "declarative.cli.engine" in sys.modules:
        sys.exit(code)
    import os

    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):  # closed by whoever reads it: there is nobody to tell
                stream.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and give its exit code; see DESIGN section 5 for what they mean."""
    # A short run makes many objects and little garbage: looking for cycles after every 700 of them is a third of a plan's time.
    gc.set_threshold(100_000, 50, 50)
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in _HELP and len(arguments) == 1:
        return _print(overview())
    if not arguments:
        sys.stderr.write(overview())
        return 64
    return _guarded(arguments)


def overview() -> str:
    """Give the text of `declarative --help`."""
    lines = [
        "declarative: YAML manifests in, a plan out, and any Docker engine converged.",
        "",
        "usage: declarative VERB [options]      declarative VERB --help",
        "",
    ]
    lines += [f"  {name:<12}{text}" for name, text in VERBS.items()]
    lines += [
        "",
        "exit codes: 0 done, in sync · 1 error · 2 changes (with --exit-code) · 3 drift · 4 lock held · 64 wrong usage",
        "",
    ]
    return "\n".join(lines)


def _print(text: str) -> int:
    from declarative.cli.screen import Screen

    if sys.stdout is None:  # it was closed when we were started
        return 0
    out = Screen(stream=sys.stdout)
    out.write(text)
    if not out.broken:
        return 0
    from declarative.cli.context import Context

    context = Context.of_process()
    context.out = out
    return _ended(0, context)


def _ended(code: int, context: Context) -> int:
    """Write what is left. Give the exit code: 1 where standard output could not be written, which is said here, once."""
    context.close_screens()
    if context.out.broken:
        _forget_stdout()
    error = context.out.fault
    if error is None:
        return code
    from declarative.cli.faults import show
    from declarative.errors import Failed, reason_of

    show(Failed("standard output", reason_of(error)), context)
    return 1


def _forget_stdout() -> None:
    """Keep the interpreter from writing to what takes nothing once more on its way out."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _guarded(arguments: list[str]) -> int:
    from declarative.cli.context import Context

    context = Context.of_process()
    return _ended(_run(arguments, context), context)


def _run(arguments: list[str], context: Context) -> int:
    from declarative.cli.faults import report
    from declarative.errors import DeclarativeError, Interrupted

    try:
        return _dispatch(arguments, context)
    except SystemExit as end:  # argparse, after it printed the help of a verb
        return int(end.code or 0)
    except DeclarativeError as error:
        return report(error, context, arguments)
    except KeyboardInterrupt:
        return report(Interrupted("", "interrupted"), context, arguments)
    except BrokenPipeError:
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: a crash says where to report it
        from declarative.cli.faults import crash

        return crash(error, context, arguments)


def _dispatch(arguments: list[str], context: Context) -> int:
    from declarative.cli.options import Parser, hoist

    verb, rest = hoist(arguments)
    if verb == "help":
        verb, rest = (rest[0] if rest else ""), ["--help"]
    if verb not in VERBS and verb not in HIDDEN:
        raise _unknown(verb)
    module = load(HIDDEN.get(verb, verb))
    parser = Parser(prog=f"declarative {verb}", description=module.HELP)
    module.add_arguments(parser)
    args = parser.parse_args(rest)
    context.adopt(args)
    code: int = module.run(args, context)
    return code


def load(verb: str) -> ModuleType:
    """Import the file of a verb. Raises Unsupported where this version has none."""
    import importlib

    name = f"declarative.cli.{verb}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        from declarative.errors import Unsupported

        raise Unsupported(verb, "this version cannot do it yet") from None


def _unknown(verb: str) -> Exception:
    from declarative.errors import Usage
    from declarative.manifest.suggest import did_you_mean

    if not verb:
        return Usage("", "no verb is given", "`declarative --help` lists them")
    return Usage(verb, "there is no such verb", did_you_mean(verb, VERBS) or "`declarative --help` lists them")
