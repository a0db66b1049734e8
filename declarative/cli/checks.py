"""What `doctor` makes of what it sees: each function gives checks, well or not, with the way out.

The rule that keeps it simple: limits stand at the top, each with its reason; nothing here speaks to an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from declarative.dockerapi.transport import SshEndpoint, UnixEndpoint
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from declarative.core.state import EngineInfo
    from declarative.dockerapi.transport import Endpoint
    from declarative.drivers.docker.health import Leftover
    from declarative.errors import DeclarativeError

CLOCK_SECONDS = 2.0  # NTP keeps machines within milliseconds; `logs --since` and certificates suffer beyond seconds
FREE_BYTES = 2 * 1024**3  # a build of a common base image wants about that much
FREE_SHARE = 0.05  # ext4 keeps the last 5 % for root, and engines stall when their disk is full
BARE_BYTES = 256 * 1024**2  # below this even a pull of a small image fails

_KNOWN_WARNINGS = {
    "no swap limit support": "boot with swapaccount=1 on the kernel's command line, or live without memory_swap",
    "no memory limit support": "boot with cgroup_enable=memory on the kernel's command line",
    "no kernel memory": "nothing to do: the limit is obsolete",
    "no oom kill disable": "nothing to do: cgroup v2 has no such switch",
    "no blkio": "nothing to do unless you limit disk speed",
    "bridge-nf-call-iptables is disabled": "sysctl -w net.bridge.bridge-nf-call-iptables=1",
    "bridge-nf-call-ip6tables is disabled": "sysctl -w net.bridge.bridge-nf-call-ip6tables=1",
    "ipv4 forwarding is disabled": "sysctl -w net.ipv4.ip_forward=1",
    "api is accessible on http": "serve the API with TLS, or reach it with --engine ssh://…",
    "insecure": "serve the API with TLS, or reach it with --engine ssh://…",
    "devicemapper": "move the engine to the overlay2 storage driver",
    "support for cgroup v1 is deprecated": "boot the engine's machine with cgroup v2 (systemd.unified_cgroup_hierarchy=1)",
}


@record
class Check:
    """One line of `doctor`."""

    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


def failed(name: str, error: DeclarativeError) -> Check:
    """Make a failed check of an error."""
    text = f"{error.subject}: {error.problem}" if error.subject else error.problem
    return Check(name=name, state="fail", text=text, remedy=error.remedy)


def program() -> Check:
    """Say what we are."""
    import sys

    from declarative import __version__

    python = ".".join(str(part) for part in sys.version_info[:3])
    return Check(name="declarative", state="ok", text=f"{__version__}, Python {python}")


# ---- this machine


def credentials(path: Path, config: object, search: str) -> Iterator[Check]:
    """Check the Docker configuration: readable, helpers installed, not open to others. `search`: the value of PATH."""
    from declarative.errors import DeclarativeError
    from declarative.registry.credentials import DockerConfig

    name = "credentials"
    if isinstance(config, DeclarativeError):
        yield Check(name=name, state="fail", text=str(config), remedy=f"repair {path}, or log in anew")
        return
    if not isinstance(config, DockerConfig):
        yield Check(name=name, state="fail", text=f"{path} cannot be read: {config}", remedy=f"chmod u+r {path}")
        return
    helpers = {*config.helpers.values(), *([config.store] if config.store else [])}
    missing = sorted(helper for helper in helpers if not _which(f"docker-credential-{helper}", search))
    for helper in missing:
        remedy = f"install it, or take {helper} out of {path}"
        yield Check(name=name, state="fail", text=f"docker-credential-{helper} is not on PATH", remedy=remedy)
    if any(auth.known for auth in config.auths.values()) and path.stat().st_mode & 0o077:
        yield Check(name=name, state="warn", text=f"others can read {path}", remedy=f"chmod 600 {path}")
    elif not missing:
        known = sorted({*config.helpers, *(server for server, auth in config.auths.items() if auth.known)})
        kept = f", kept by docker-credential-{config.store}" if config.store else ""
        yield Check(name=name, state="ok", text=f"for {', '.join(known) or 'no registry'}{kept}")


def ways(endpoint: Endpoint, search: str) -> Iterator[Check]:
    """Check that there is what the way to the engine needs."""
    if isinstance(endpoint, SshEndpoint):
        program_ = endpoint.command[0]
        if not _which(program_, search):
            yield Check(name="ssh", state="fail", text=f"{program_} is not on PATH", remedy="install openssh-client")


def machine(found: Iterable[Mapping[str, object]]) -> Iterator[Check]:
    """Say what the embedded engine found when it tried this machine out."""
    there = []
    for one in found:
        if not one["problem"]:
            there.append(str(one["name"]))
            continue
        state: Literal["warn", "fail"] = "fail" if one["needed"] else "warn"
        yield Check(name=str(one["name"]), state=state, text=str(one["problem"]), remedy=str(one["remedy"]))
    yield Check(name="machine", state="ok", text=f"has {', '.join(there) or 'nothing that the embedded engine needs'}")


def _which(name: str, search: str) -> str | None:
    import shutil

    return shutil.which(name, path=search or None)


# ---- the engine


def version(info: EngineInfo) -> Check:
    """Say what the engine is."""
    text = f"{info.name} {info.version}, API {info.api_version}, {info.platform}"
    return Check(name="version", state="ok", text=text)


def builder(info: EngineInfo, buildx: Callable[[], str]) -> Check:
    """Say what builds images."""
    if info.name in {"podman", "declarative"}:
        return Check(name="builder", state="ok", text="the engine's own")
    found = buildx()
    if info.buildkit and found != "?":
        return Check(name="builder", state="ok", text=f"BuildKit, through docker buildx {found}")
    if found == "?":
        text, remedy = "docker buildx does not run", "try `docker buildx version`, and install the plugin anew"
        return Check(name="builder", state="fail", text=text, remedy=remedy)
    text = "the classic one: a Dockerfile that needs BuildKit is refused"
    remedy = "install the docker command and its buildx plugin (docker-buildx, or docker-buildx-plugin)"
    if found:
        remedy = "update the engine to 18.09 or newer"
    return Check(name="builder", state="warn", text=text, remedy=remedy)


def clock(there: float, before: float, after: float) -> Check:
    """Compare the engine's clock with ours, which was read before and after it; in seconds."""
    apart = max(before - there, there - after, 0.0)
    if apart <= CLOCK_SECONDS:
        return Check(name="clock", state="ok", text="the engine's agrees with ours")
    text = f"the engine's is {apart:.0f} s {'behind' if there < before else 'ahead of'} ours"
    return Check(name="clock", state="warn", text=text, remedy="timedatectl set-ntp true, on the one that is wrong")


def disk(endpoint: Endpoint, root: str) -> Check:
    """Look at the disk that holds the engine's data, where it is on this machine and can be seen."""
    import shutil

    from declarative.oci.units import format_size

    unseen = Check(name="disk", state="ok", text=f"{root or 'the data root'} cannot be seen from here")
    if not isinstance(endpoint, UnixEndpoint) or not root:
        return unseen
    try:
        usage = shutil.disk_usage(root)
    except OSError:
        return unseen
    text = f"{format_size(usage.free)} of {format_size(usage.total)} free at {root}"
    state: Literal["ok", "warn", "fail"] = "ok"
    if usage.free < FREE_BYTES or usage.free < FREE_SHARE * usage.total:
        state = "fail" if usage.free < BARE_BYTES else "warn"
    remedy = "" if state == "ok" else "docker image prune, docker builder prune, or a larger disk"
    return Check(name="disk", state=state, text=text, remedy=remedy)


def warnings(lines: Iterable[str]) -> Iterator[Check]:
    """Hand on what the engine itself warns of, with what mends it."""
    for line in lines:
        text = " ".join(line.split())
        remedy = next((way for start, way in _KNOWN_WARNINGS.items() if start in text.lower()), "")
        yield Check(name="warning", state="warn", text=text, remedy=remedy or "see the engine's documentation")


def leftovers(found: Iterable[Leftover], ours: Mapping[str, str]) -> Iterator[Check]:
    """Tell what a killed apply left from what one under way has. `ours` describes this process, as a lock's holder."""
    from declarative.drivers.holder import certainly_dead

    found = tuple(found)
    living = {item.stack for item in found if item.kind == "lock" and not certainly_dead(item.holder, ours)}
    for item in found:
        who = item.holder
        if item.stack in living:
            if item.kind == "lock" and ".beat-" not in item.name:
                process = f"process {who.get('pid') or '?'} on {who.get('host') or 'an unknown machine'}"
                text = f"stack {item.stack} is held by `{who.get('command') or '?'}`, {process}"
                yield Check(name="lock", state="ok", text=text)
            continue
        remedy = f"the next apply of stack {item.stack} tidies it up; or docker {_removal(item)}"
        text = f"{item.kind} {item.name} was left by a command that was killed"
        yield Check(name="leftover", state="warn", text=text, remedy=remedy)
    if not found:
        yield Check(name="leftovers", state="ok", text="none of ours")


def _removal(item: Leftover) -> str:
    return f"volume rm {item.name}" if item.kind == "lock" else f"rm -f {item.name}"
