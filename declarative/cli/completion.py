"""`declarative completion`: the completion script of a shell, made of the parsers themselves.

The rule that keeps it simple: verbs and options are written into the script, so that a shell asks us for names alone: of
resources, containers, stacks, fields (`__complete`).
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from declarative.cli.completion_scripts import Option, Value, VerbWords, bash, fish, zsh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser

SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
HELP = (
    "Print the completion script of a shell.\n\n"
    "  bash   source <(declarative completion bash)      in ~/.bashrc\n"
    "  zsh    declarative completion zsh > ~/.zfunc/_declarative      with ~/.zfunc in fpath before compinit\n"
    "  fish   declarative completion fish > ~/.config/fish/completions/declarative.fish"
)

# What the names are that a verb takes; asked for with `__complete`.
_NAMES = {
    "logs": "containers",
    "exec": "containers",
    "explain": "fields",
    "schema": "schemas",
    "build": "images",
    "tags": "schemes",
}
_ENGINES = ("auto", "docker", "embedded")


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="which shell")


def run(args: Args, context: Context) -> int:
    """Print the script."""
    context.out.write(SCRIPTS[args.shell](verbs()))
    return 0


def verbs() -> tuple[VerbWords, ...]:
    """Read every verb's parser."""
    from declarative.cli.main import load
    from declarative.cli.options import Parser
    from declarative.cli.verbs import VERBS

    found = []
    for name, text in VERBS.items():
        parser = Parser(prog=f"declarative {name}")
        load(name).add_arguments(parser)
        operand = _operand(name, parser)
        options = tuple(
            option for action in _actions(parser) if action.option_strings for option in _options(action, operand)
        )
        found.append(VerbWords(name=name, text=text, options=_distinct(options), operand=operand))
    return tuple(found)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Give the actions of a parser and of the parsers below it."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - the same
            for below in action.choices.values():
                yield from _actions(below)


def _distinct(options: tuple[Option, ...]) -> tuple[Option, ...]:
    return tuple({option.flags: option for option in options}.values())


def _options(action: argparse.Action, operand: Value) -> Iterator[Option]:
    """Make an option of an action. The short form of one that may stand alone (`logs -f web`) has the operand behind it."""
    repeats = isinstance(action, argparse._AppendAction | argparse._CountAction)  # noqa: SLF001 - the same
    text = " ".join((action.help or "").split())
    value = None if action.nargs == 0 else _value(action)
    short = [flag for flag in action.option_strings if not flag.startswith("--")]
    if action.nargs != "?" or not short:
        yield Option(flags=tuple(action.option_strings), text=text, value=value, repeats=repeats)
        return
    yield Option(flags=tuple(short), text=text, value=operand, repeats=repeats)
    rest = tuple(flag for flag in action.option_strings if flag not in short)
    yield Option(flags=rest, text=text, value=value, repeats=repeats)


def _value(action: argparse.Action) -> Value:
    if action.choices is not None:
        return Value(words=tuple(map(str, action.choices)))
    if action.metavar in {"FILE", "FOLDER"}:
        return Value(files=True)
    if action.metavar == "KIND/NAME":
        return Value(ask="targets")
    if action.dest == "stack":
        return Value(ask="stacks")
    return Value(words=_ENGINES if action.dest == "engine" else ())


def _operand(name: str, parser: argparse.ArgumentParser) -> Value:
    if name in _NAMES:
        return Value(ask=_NAMES[name])
    return next((_value(action) for action in _actions(parser) if not action.option_strings), Value())
