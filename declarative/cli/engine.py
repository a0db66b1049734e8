"""`declarative engine`: which engine is used, and what it is. Serving the embedded engine comes with a later version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser

HELP = (
    "Say which engine is used, how it was found, and what it can do.\n"
    "serve, start, stop and fsck are for the embedded engine, which comes with a later version."
)
_EMBEDDED = ("serve", "start", "stop", "fsck")


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser, manifests=False)
    parser.add_argument("what", nargs="?", choices=("status", "show", *_EMBEDDED), default="status",
                        help="status (default), or show, which is the same")  # fmt: skip


def run(args: Args, context: Context) -> int:
    """Look and print."""
    from declarative.cli.alarm import alarm
    from declarative.errors import Unsupported

    if args.what in _EMBEDDED:
        problem = "the embedded engine comes with a later version"
        raise Unsupported(
            f"engine {args.what}", problem, "use Docker or Podman: `declarative engine status` says which"
        )
    with alarm(args.timeout):
        found = _look(args, context)
    if context.json:
        context.print_json(found)
        return 0
    width = max(map(len, found)) + 2
    for name, value in found.items():
        title = name.replace("_", " ") + ":"
        text = ", ".join(value) if isinstance(value, list) else value
        context.out.line(f"{context.out.paint(title.ljust(width), 'bold')}{text or '-'}")
    return 0


def _look(args: Args, context: Context) -> dict[str, str | list[str]]:
    from declarative.cli.connection import open_driver
    from declarative.drivers.address import resolve
    from declarative.drivers.docker.health import look
    from declarative.drivers.docker.plugin import buildx_environment

    address = resolve(args.engine or "auto", context.environ, context.home)
    driver = open_driver(args, context, read_only=True)
    try:
        buildx = buildx_environment(context.environ, context.home) is not None
        info = look(driver.client, buildx=buildx).info
        stacks = list(driver.stacks())
    finally:
        driver.close()
    return {
        "address": str(address),
        "origin": address.origin,
        "name": info.name,
        "version": info.version,
        "api_version": info.api_version,
        "platform": info.platform,
        "builder": "buildkit" if info.buildkit else "classic",
        "stacks": stacks,
    }
