"""`declarative logs`: what a stack's containers print, merged by time, with their names before it."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.core.state import ContainerState
    from declarative.drivers.port import Driver, LogLine

HELP = (
    "Print the output of containers, merged; of all of the stack, or of those named: NAME means every replica, NAME-INDEX one.\n"
    "With --stack no manifest is needed. Ctrl-C ends --follow."
)
_COLOURS = ("cyan", "yellow", "green", "blue")
_ENDED_BY_PERSON = 130
_TICK = 0.25  # seconds
_ENDINGS = (".yaml", ".yml", ".j2")


def add_arguments(parser: Parser) -> None:
    """Add the options. People type `logs -f web` for --follow, so -f is the manifest only where what it names can be one."""
    add_common(parser, bare_file=True)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a container or job, or NAME-INDEX (default: all)")
    parser.add_argument("-F", "--follow", action="store_true", help="go on until the containers end, or Ctrl-C; so does -f "
                        "unless a FILE follows that ends in .yaml, .yml or .j2, or has a slash")  # fmt: skip
    parser.add_argument(
        "--tail", type=_lines, default=None, metavar="N", help="only the last N lines of each (default: all)"
    )
    parser.add_argument("--since", default="", metavar="WHEN", help="only what is newer: 10m, or 2026-11-23T10:00:00Z")
    parser.add_argument("-t", "--timestamps", action="store_true", help="begin each line with its time")
    parser.add_argument("--no-prefix", action="store_true", help="do not begin lines with the container's name")


def run(args: Args, context: Context) -> int:
    """Choose the containers and print until there is no more."""
    from declarative.cli.connection import open_driver
    from declarative.cli.history import stack_of
    from declarative.errors import Usage

    read_bare_file(args)
    if context.json and args.follow:
        raise Usage("logs", "-o json is one document, and --follow has no end", "leave one of them out")
    stack, engine = stack_of(args, context)
    since = moment(args.since)
    driver = open_driver(args, context, engine=engine, read_only=True)
    try:
        return _print(stack, since, driver, args, context)
    except KeyboardInterrupt:
        if not args.follow:
            raise
        return _ENDED_BY_PERSON
    finally:
        driver.close()


def read_bare_file(args: Args) -> None:
    """Tell `-f stack.yaml` from `-f` and from `-f web`."""
    files = [name for name in args.files if names_file(name)]
    args.follow = args.follow or len(files) < len(args.files)
    args.names = [name for name in args.files if name and name not in files] + args.names
    args.files = files


def names_file(name: str) -> bool:
    """Whether what stands behind -f is meant as a manifest."""
    return name in {"-", ".", ".."} or "/" in name or name.endswith(_ENDINGS)


def _print(stack: str, since: str, driver: Driver, args: Args, context: Context) -> int:
    from declarative.cli.alarm import alarm
    from declarative.cli.choosing import choose
    from declarative.core.state import Scope

    with alarm(args.timeout):
        chosen = choose(driver.snapshot(Scope(stack=stack)), args.names)
        prefixes = {} if args.no_prefix or len(chosen) < 2 else _prefixes(chosen, context)
        lines = _lines_of(chosen, since, driver, args)
        if context.json:
            context.print_json({"stack": stack, "lines": [_as_json(line) for line in lines]})
            return 0
        for line in _interruptible(lines) if args.follow else lines:
            context.out.write(f"{prefixes.get(line.container, '')}{_text(line)}\n")
            if context.out.broken:
                break
    if not chosen:
        context.err.line(f"{stack}: no container is there — apply the stack first")
    return 0


def _lines_of(chosen: Sequence[ContainerState], since: str, driver: Driver, args: Args) -> Iterator[LogLine]:
    if not chosen:
        return iter(())
    names = [state.name for state in chosen]
    return driver.logs(names, follow=args.follow, tail=args.tail, since=since, timestamps=args.timestamps)


def _interruptible(lines: Iterator[LogLine]) -> Iterator[LogLine]:
    """Give the lines as they come, and let Ctrl-C through within `_TICK`.

    A signal that comes just before a thread begins to wait for a socket is not noticed until something arrives there, which
    may be never; so another thread waits for the socket.
    """
    import threading
    from queue import Empty, SimpleQueue

    queue: SimpleQueue[LogLine | BaseException | None] = SimpleQueue()

    def drain() -> None:
        try:
            for line in lines:
                queue.put(line)
            queue.put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that reads
            queue.put(error)

    threading.Thread(target=drain, daemon=True).start()
    while True:
        try:
            item = queue.get(timeout=_TICK)
        except Empty:
            continue
        if item is None:
            return
        if isinstance(item, BaseException):
            raise item
        yield item


def _prefixes(chosen: Sequence[ContainerState], context: Context) -> Mapping[str, str]:
    """Give engine name → what its lines begin with, all equally wide, each container in its own colour."""
    from declarative.cli.choosing import short_name

    width = max(len(short_name(state)) for state in chosen)
    colours = cycle(_COLOURS)
    return {state.name: context.out.paint(f"{short_name(state):<{width}} | ", next(colours)) for state in chosen}


def _text(line: LogLine) -> str:
    text = line.text.decode("utf-8", "replace")
    return f"{line.time} {text}" if line.time else text


def _as_json(line: LogLine) -> dict[str, str]:
    text = line.text.decode("utf-8", "replace")
    return {"container": line.container, "stream": line.stream, "time": line.time, "text": text}


def moment(text: str) -> str:
    """Read --since: a duration before now, or a time; gives RFC 3339, "" for the beginning. Raises Usage."""
    import time
    from datetime import UTC, datetime, timedelta

    from declarative.errors import Invalid, Usage
    from declarative.oci.units import parse_duration

    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            ago = timedelta(microseconds=parse_duration(text) / 1000)
            found = datetime.fromtimestamp(time.time(), UTC) - ago
        except (Invalid, OverflowError) as error:
            remedy = "write 10m, or 2026-11-23T10:00:00Z"
            raise Usage("--since", f"{text!r} is neither a duration nor a time", remedy) from error
    return (found if found.tzinfo else found.astimezone()).isoformat()


def _lines(text: str) -> int | None:
    import argparse

    if text == "all":
        return None
    if not (text.isascii() and text.isdigit()):
        message = f"{text!r} is not a number of lines, nor `all`"
        raise argparse.ArgumentTypeError(message)
    return int(text)
