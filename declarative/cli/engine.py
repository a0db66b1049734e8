"""`declarative engine`: which engine is used and what it is; and the embedded one's daemon: serve, start, stop, status, fsck.

The rule that keeps it simple: the daemon is another program, `python -m declarative.engine`; `serve` becomes it, and knows
nothing of its options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.dockerapi.places import Places
    from declarative.drivers.address import Address

HELP = """Say which engine is used, how it was found, and what it can do; or see to the embedded engine's daemon.

  status   (or show, or nothing) which engine is used; exits with 1 where it does not answer
  start    start the embedded engine in the background, and wait until it answers; it stays until it is stopped
  stop     end it; its containers go on, and it takes them up again when it is started
  serve    be the daemon, in the foreground
  fsck     check images and records of a stopped engine, and mend what can be mended

Commands start the embedded engine themselves when they need it; it ends by itself when nothing runs and nobody asks.
DECLARATIVE_ENGINE_ROOT names another data root than /var/lib/declarative."""
DAEMON_OPTIONS = (
    ("--root", "DIR", "data root (default: DECLARATIVE_ENGINE_ROOT, else /var/lib/declarative)"),
    ("--run", "DIR", "what a reboot may take: sockets, bundles, namespaces (default: /run/declarative, or ROOT/run)"),
    ("--host", "URL", "where to listen: unix:///PATH, tcp://ADDRESS:PORT; may be repeated (default: RUN/engine.sock)"),
    ("--tlscacert", "FILE", "over TCP, clients need a certificate of this authority"),
    ("--tlscert", "FILE", "the daemon's own certificate, for TCP"),
    ("--tlskey", "FILE", "and its key"),
    ("--mirror", "URL", "ask this registry before Docker Hub; may be repeated"),
    (
        "--insecure-registry",
        "HOST[:PORT]",
        "speak to this registry without TLS, or with any certificate; may be repeated",
    ),
    ("--registry-certs", "DIR", "certificates of registries, as (and by default) /etc/docker/certs.d"),
    ("--cgroup-parent", "NAME", "the control group that holds the containers' own"),
    ("--default-address-pool", "base=NET,size=N", "what networks without a subnet are cut from; may be repeated"),
    ("--dns", "ADDRESS", "name server of containers; may be repeated (default: the machine's)"),
    ("--userns-remap", "USER", "give containers user namespaces: default, or whose /etc/subuid lines they have"),
    ("--idle-exit", "SECONDS", "end when nothing runs and nobody asked anything for this long (default: never)"),
)
"""As the daemon's own program has them (`python -m declarative.engine --help`; a test compares)."""

_WHAT = ("status", "show", "start", "stop", "serve", "fsck")


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser, manifests=False)
    parser.add_argument("what", nargs="?", choices=_WHAT, default="status", metavar="|".join(_WHAT))
    group = parser.add_argument_group("options of the daemon (serve, start; --root and --run of all)")
    for name, metavar, text in DAEMON_OPTIONS:
        group.add_argument(name, dest=f"daemon_{name[2:].replace('-', '_')}", action="append", default=[],
                           metavar=metavar, help=text)  # fmt: skip
    group.add_argument("--debug", action="store_true", help="log more")


def run(args: Args, context: Context) -> int:
    """Look, or see to the daemon."""
    if args.what in {"status", "show"}:
        return _status(args, context)
    return {"start": _start, "stop": _stop, "serve": _serve, "fsck": _fsck}[args.what](args, context)


def _places(args: Args, context: Context) -> Places:
    """Give the places that the daemon's options name, else the environment."""
    from declarative.dockerapi.places import places, places_of

    known = places_of(context.environ)
    root = context.folder / args.daemon_root[-1] if args.daemon_root else None
    run_root = context.folder / args.daemon_run[-1] if args.daemon_run else None
    return places(root or known.root, run_root) if root or run_root else known


def _daemon_words(args: Args) -> list[str]:
    """Give the daemon's options as they were given to us, its places left out."""
    words = [
        f"{name}={value}"
        for name, _, _ in DAEMON_OPTIONS
        if name not in {"--root", "--run"}
        for value in getattr(args, f"daemon_{name[2:].replace('-', '_')}")
    ]
    words += ["--debug"] if args.debug else []
    return [*words, f"--log-format={args.log_format}"]


def _serve(args: Args, context: Context) -> int:
    import os

    from declarative.cli.embedded import command

    where = _places(args, context)
    argv, extra = command([f"--root={where.root}", f"--run={where.run}", *_daemon_words(args)])
    context.close_screens()
    os.execve(argv[0], argv, {**context.environ, **extra})  # noqa: S606 - it becomes this process, with its signals


def _fsck(args: Args, context: Context) -> int:
    import subprocess

    from declarative.cli.embedded import command

    where = _places(args, context)
    argv, extra = command(["--fsck", f"--root={where.root}", f"--run={where.run}"])
    context.close_screens()
    return subprocess.run(argv, check=False, env={**context.environ, **extra}).returncode


def _start(args: Args, context: Context) -> int:
    from declarative.cli.embedded import ensure, serving

    where = _places(args, context)
    started = ensure(where, context.environ, "--engine", _daemon_words(args))
    found = serving(where)
    text = "started" if started else "runs already"
    _tell(context, {"state": text, "address": f"unix://{where.socket}", "pid": found.pid if found else 0})
    return 0


def _stop(args: Args, context: Context) -> int:
    from declarative.cli.embedded import stop

    where = _places(args, context)
    stopped = stop(where)
    _tell(context, {"state": "stopped" if stopped else "does not run", "address": f"unix://{where.socket}"})
    return 0


def _status(args: Args, context: Context) -> int:
    from declarative.cli.alarm import alarm
    from declarative.cli.connection import find_engine
    from declarative.cli.embedded import answers, running

    address = find_engine(args, context)
    if address.embedded is not None and not answers(address.embedded.socket):
        holder = running(address.embedded)
        state = (
            f"does not answer, process {holder.pid}" if holder else "does not run; commands start it when they need it"
        )
        _tell(context, {"address": str(address), "origin": address.origin, "state": state})
        return 1
    with alarm(args.timeout):
        _tell(context, _look(args, context, address))
    return 0


def _tell(context: Context, found: dict[str, str | int | list[str]]) -> None:
    if context.json:
        context.print_json(found)
        return
    width = max(map(len, found)) + 2
    for name, value in found.items():
        title = name.replace("_", " ") + ":"
        text = ", ".join(value) if isinstance(value, list) else str(value)
        context.out.line(f"{context.out.paint(title.ljust(width), 'bold')}{text or '-'}")


def _look(args: Args, context: Context, address: Address) -> dict[str, str | int | list[str]]:
    from declarative.cli.connection import open_driver
    from declarative.drivers.docker.health import look
    from declarative.drivers.docker.plugin import buildx_environment

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
        "builder": "own" if address.embedded else "buildkit" if info.buildkit else "classic",
        "stacks": stacks,
    }
