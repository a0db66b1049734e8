"""`declarative exec`: run a command in a container of the stack, with a terminal where there is one; its exit code is ours."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.core.state import ContainerState
    from declarative.drivers.port import Driver

HELP = (
    "Run a command in a running container: NAME (its first replica), NAME-INDEX, or the engine's name.\n\n"
    "  declarative exec web -- sh\n"
    "  declarative exec -u root web-2 -- ls -l /data\n\n"
    "A terminal is given where standard input and output are one. Exits with the command's exit code."
)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser)
    parser.add_argument("-u", "--user", default="", help="the user, or USER:GROUP")
    parser.add_argument("-w", "--workdir", default="", metavar="PATH", help="the folder to begin in")
    parser.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE", type=_variable,
                        help="a variable for the command; NAME alone takes ours")  # fmt: skip
    parser.add_argument("-T", "--no-tty", action="store_true", help="no terminal, though there is one here")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="NAME -- COMMAND", help="where, and what to run")


def run(args: Args, context: Context) -> int:
    """Find the container and run the command in it."""
    from declarative.cli.connection import open_driver
    from declarative.cli.history import stack_of
    from declarative.cli.terminal import streams
    from declarative.errors import Usage

    if context.json:
        raise Usage("exec", "prints what the command prints, which is no JSON document", "leave -o json out")
    name, command = split(args.words)
    stack, engine = stack_of(args, context)
    driver = open_driver(args, context, engine=engine)
    try:
        state = _running(driver, stack, name)
        variables = dict(_with_ours(text, context) for text in args.env)
        with streams(context, tty=not args.no_tty) as ends:
            return driver.exec(state.name, command, ends, user=args.user, workdir=args.workdir, environment=variables)
    finally:
        driver.close()


def split(words: list[str]) -> tuple[str, list[str]]:
    """Take `NAME -- COMMAND…` apart; the dashes may be left out where the command needs none. Raises Usage."""
    from declarative.errors import Usage

    name, *command = words or [""]
    if name == "--" and command:
        name, *command = command
    if command and command[0] == "--":
        command = command[1:]
    elif command and command[0].startswith("-"):
        raise Usage("exec", f"{command[0]} stands behind the name", f"write exec {command[0]} … {name} -- COMMAND")
    if not name or name == "--":
        raise Usage("exec", "no container is named", "write exec NAME -- COMMAND")
    if not command:
        raise Usage("exec", "no command is given", f"write exec {name} -- sh")
    return name, command


def _running(driver: Driver, stack: str, name: str) -> ContainerState:
    """Find the first running container that `name` means. NotFound, or Conflict where none of them runs."""
    from declarative.cli.choosing import choose
    from declarative.core.state import Scope
    from declarative.errors import Conflict

    found = choose(driver.snapshot(Scope(stack=stack)), [name])
    for state in found:
        if state.state == "running":
            return state
    owner = found[0].owner
    is_job = owner is not None and owner.kind == "Job"
    remedy = f"a job runs to its end; see `declarative logs {name}`" if is_job else "apply the stack first"
    raise Conflict(f"container {found[0].name}", f"does not run: it is {found[0].state}", remedy)


def _variable(text: str) -> str:
    if not text or text.startswith("="):
        message = f"{text!r} is not NAME=VALUE"
        raise argparse.ArgumentTypeError(message)
    return text


def _with_ours(text: str, context: Context) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    return name, value if equals else context.environ.get(name, "")
