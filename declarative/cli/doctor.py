"""`declarative doctor`: is this machine, and is the engine, fit for work? Each line ok, warn or fail, with what mends it.

The rule that keeps it simple: looking changes nothing, one check never stops the next, and the judgements are `cli.checks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from declarative.cli.checks import Check
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.drivers.address import Address
    from declarative.drivers.docker import DockerDriver

HELP = (
    "Check this machine and the engine: reachable, versions, BuildKit, credentials, clock, disk, warnings, leftovers of ours.\n"
    "Exits with 1 where something fails, and names what mends it. Changes nothing."
)
_PATIENCE = 5.0  # seconds an engine may take to answer its first ping
_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser)


def run(args: Args, context: Context) -> int:
    """Check, and print as it goes on."""
    from declarative.cli.alarm import alarm

    found: list[Check] = []
    with alarm(args.timeout):
        for check in _all(args, context):
            found.append(check)
            if not context.json:
                _show(check, context)
    failed = any(check.state == "fail" for check in found)
    if context.json:
        rows = [
            {"name": check.name, "state": check.state, "text": check.text, "remedy": check.remedy} for check in found
        ]
        context.print_json({"ok": not failed, "checks": rows})
    return 1 if failed else 0


def _show(check: Check, context: Context) -> None:
    screen = context.out
    remedy = f" — {check.remedy}" if check.remedy else ""
    screen.line(f"{screen.paint(f'{check.state:<5}', _STYLES[check.state])}{check.name:<13}{check.text}{remedy}")


def _all(args: Args, context: Context) -> Iterator[Check]:
    from declarative.cli import checks

    yield checks.program()
    yield from _stack(args, context)
    config, parsed = docker_config(context)
    yield from checks.credentials(config, parsed, context.environ.get("PATH", ""))
    yield from _engine(args, context)


def _stack(args: Args, context: Context) -> Iterator[Check]:
    """Check the manifests where there are any."""
    from declarative.cli import checks
    from declarative.cli.opening import load_manifests, manifest_files
    from declarative.errors import DeclarativeError, Usage

    try:
        manifest_files(args, context)
    except Usage:
        return
    try:
        loaded = load_manifests(args, context)
    except DeclarativeError as error:
        yield checks.Check(
            name="manifests", state="fail", text=error.args[1], remedy="`declarative validate` shows them"
        )
        return
    yield checks.Check(name="manifests", state="ok", text=f"stack {loaded.desired.stack} is valid")


def docker_config(context: Context) -> tuple[Path, object]:
    """Give where the Docker configuration is, and its content, or the error of reading it."""
    from pathlib import Path

    from declarative.errors import DeclarativeError
    from declarative.registry.credentials import DockerConfig

    path = Path(context.environ.get("DOCKER_CONFIG") or context.home / ".docker") / "config.json"
    try:
        content = path.read_bytes() if path.is_file() else b"{}"
        return path, DockerConfig.parse(content, subject=str(path), environment=context.environ)
    except (OSError, DeclarativeError) as error:
        return path, error


def _engine(args: Args, context: Context) -> Iterator[Check]:
    """Find the engine, reach it, and ask it; what fails first ends these checks."""
    from declarative.cli import checks
    from declarative.cli.connection import open_driver
    from declarative.drivers.address import resolve
    from declarative.errors import DeclarativeError

    try:
        address = resolve(args.engine or "auto", context.environ, context.home)
    except DeclarativeError as error:
        yield checks.failed("engine", error)
        return
    yield from checks.ways(address.endpoint, context.environ.get("PATH", ""))
    if address.embedded is not None:
        from declarative.cli.embedded import answers, probe

        yield from checks.machine(probe(address.embedded, context.environ))
        if not answers(address.embedded.socket):
            text = f"embedded, at {address.embedded.root}; does not run now, commands start it"
            yield checks.Check(name="engine", state="ok", text=text)
            return
    driver = open_driver(args, context, read_only=True, start=False)
    try:
        driver.client.ping(_PATIENCE)
        yield checks.Check(name="engine", state="ok", text=f"{address} answers ({address.origin})")
        yield from _reached(address, driver, context)
    except DeclarativeError as error:
        yield checks.failed("engine", error)
    finally:
        driver.close()


def _reached(address: Address, driver: DockerDriver, context: Context) -> Iterator[Check]:
    import time

    from declarative.cli import checks
    from declarative.cli.connection import holder
    from declarative.drivers.docker import health
    from declarative.drivers.docker.plugin import buildx_environment

    environment = buildx_environment(context.environ, context.home)
    before = time.time()
    found = health.look(driver.client, buildx=environment is not None)
    after = time.time()
    yield checks.version(found.info)
    yield checks.builder(found.info, _buildx(environment))
    if found.time is not None:
        yield checks.clock(found.time, before, after)
    yield checks.disk(address.endpoint, found.root)
    yield from checks.warnings(found.warnings)
    yield from checks.leftovers(health.leftovers(driver.client), holder(context, "doctor"))


def _buildx(environment: dict[str, str] | None) -> Callable[[], str]:
    """Give a call that asks `docker buildx` for its version; "" where it is not installed."""

    def ask() -> str:
        import subprocess

        if environment is None:
            return ""
        try:
            ended = subprocess.run(
                ["docker", "buildx", "version"],
                check=False, capture_output=True, text=True, timeout=_PATIENCE, env=environment,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return "?"
        words = ended.stdout.split()
        return words[1] if ended.returncode == 0 and len(words) > 1 else "?"

    return ask
