"""`declarative __complete KIND [WORD…]`: the names that a completion script cannot know. Hidden; quick; silent about errors.

KIND is one of targets, containers, images, schemes, stacks, fields, schemas. The words are the command line so far, the last one
being completed; what they say about manifests and stack counts.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from declarative.cli.logs import names_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.core.resources import Desired

HELP = "Print the names that a completion script asks for."
_PATIENCE = 2.0  # seconds: nobody waits longer for a Tab
_TAKEN = {
    "-f": "files",
    "--file": "files",
    "--values": "values",
    "--set": "set",
    "--stack": "stack",
    "--engine": "engine",
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments."""
    parser.add_argument("what", choices=tuple(KINDS))
    parser.add_argument("words", nargs=argparse.REMAINDER)


def run(args: Args, context: Context) -> int:
    """Print one name a line; nothing where they cannot be found out."""
    from declarative.cli.alarm import alarm
    from declarative.errors import DeclarativeError

    try:
        with alarm(_PATIENCE):
            names = list(KINDS[args.what](args.words, context))
    except DeclarativeError:
        return 1
    for name in names:
        context.out.line(name)
    return 0


def taken(words: Sequence[str]) -> Args:
    """Read the options about manifests, stack and engine out of a command line that is not finished."""
    found = argparse.Namespace(files=[], values=[], set=[], stack="", engine="", timeout=_PATIENCE)
    done = list(words[:-1])  # the last word is still being written
    while done:
        option, equals, value = done.pop(0).partition("=")
        if option not in _TAKEN:
            continue
        if not (equals and option.startswith("--")):
            value = done.pop(0) if done else ""
            if value == "=":  # bash splits --file=x into three words
                value = done.pop(0) if done else ""
        name = _TAKEN[option]
        if not isinstance(getattr(found, name), list):
            setattr(found, name, value)
        elif option != "-f" or "logs" not in words or names_file(value):
            getattr(found, name).append(value)
    return found


def _desired(words: Sequence[str], context: Context) -> Desired:
    from declarative.cli.opening import load_manifests

    return load_manifests(taken(words), context, names_only=True).desired


def _targets(words: Sequence[str], context: Context) -> Iterable[str]:
    from declarative.core.planner.draft import known_resources

    return sorted(known_resources(_desired(words, context)))


def _containers(words: Sequence[str], context: Context) -> Iterable[str]:
    """Name containers, jobs and replicas: of the manifests, or of the engine where only --stack is given."""
    args = taken(words)
    if args.stack and not args.files:
        return _running(args, context)
    desired = _desired(words, context)
    replicas = (
        f"{name}-{index}"
        for name, container in desired.containers.items()
        if container.replicas > 1
        for index in range(1, container.replicas + 1)
    )
    return sorted([*desired.containers, *desired.jobs, *replicas])


def _running(args: Args, context: Context) -> Iterable[str]:
    from declarative.cli.choosing import owned_containers
    from declarative.cli.connection import open_driver
    from declarative.core.state import Scope

    driver = open_driver(args, context, read_only=True, start=False)
    try:
        owned = owned_containers(driver.snapshot(Scope(stack=args.stack)))
    finally:
        driver.close()
    return sorted({state.owner.name for state in owned if state.owner is not None})


def _stacks(words: Sequence[str], context: Context) -> Iterable[str]:
    from declarative.cli.connection import open_driver

    driver = open_driver(taken(words), context, read_only=True, start=False)
    try:
        return driver.stacks()
    finally:
        driver.close()


def _images(words: Sequence[str], context: Context) -> Iterable[str]:
    return sorted(_desired(words, context).images)


def _schemes(words: Sequence[str], context: Context) -> Iterable[str]:
    return sorted(_desired(words, context).schemes)


def _fields(words: Sequence[str], context: Context) -> Iterable[str]:
    """Give the next name of the path that is being written, and no further."""
    from declarative.manifest.explain import paths

    del context
    written = words[-1] if words else ""
    depth = written.count(".") + 1
    return dict.fromkeys(".".join(path.split(".")[:depth]) for path in paths() if path.startswith(written))


def _schemas(words: Sequence[str], context: Context) -> Iterable[str]:
    from declarative.manifest.schema import names

    del words, context
    return names()


KINDS: dict[str, Callable[[Sequence[str], Context], Iterable[str]]] = {
    "targets": _targets,
    "containers": _containers,
    "images": _images,
    "schemes": _schemes,
    "stacks": _stacks,
    "fields": _fields,
    "schemas": _schemas,
}
