"""What the engine is and holds: /_ping, /version, /info, /system/df.

The rule that keeps it simple: facts come from `machine` and from the parts of the engine; here they get Docker's names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative import __version__
from declarative.engine.daemon import machine, usage
from declarative.engine.daemon.http import Answer, Request, Response, Route, Stream
from declarative.engine.daemon.router import NEWEST, OLDEST
from declarative.engine.daemon.times import rfc3339
from declarative.errors import Invalid

if TYPE_CHECKING:
    from declarative.engine.engine import Engine

_HUB = "docker.io"
_INDEX = "https://index.docker.io/v1/"
_LOOPBACK = ("::1/128", "127.0.0.0/8")
_NO_COMMIT = {"ID": "", "Expected": ""}
_NO_SWARM = {
    "NodeID": "",
    "NodeAddr": "",
    "LocalNodeState": "inactive",
    "ControlAvailable": False,
    "Error": "",
    "RemoteManagers": None,
}


def ping(engine: Engine, request: Request) -> Response:
    """Say that we are here, and that clients use the classic builder."""
    del engine
    headers = {
        "Builder-Version": "1",
        "Swarm": "inactive",
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
        "Content-Length": "0" if request.method == "HEAD" else "2",
    }
    return Stream(chunks=(b"OK",), content_type="text/plain; charset=utf-8", headers=headers)


def version(engine: Engine, request: Request) -> Response:
    """GET /version."""
    del request, engine
    newest, oldest = "{}.{}".format(*NEWEST), "{}.{}".format(*OLDEST)
    arch, kernel = machine.architecture(), machine.kernel()
    details = {
        "ApiVersion": newest,
        "Arch": arch,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": kernel,
        "MinAPIVersion": oldest,
        "Os": "linux",
    }
    components: list[dict[str, Any]] = [{"Name": "Engine", "Version": __version__, "Details": details}]
    for program in ("runc", "conmon"):
        found = machine.program_version(program)
        components.append({"Name": program, "Version": found, "Details": {"GitCommit": ""}})
    document = {
        "Platform": {"Name": "declarative"},
        "Components": components,
        "Version": __version__,
        "ApiVersion": newest,
        "MinAPIVersion": oldest,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": arch,
        "KernelVersion": kernel,
        "BuildTime": "",
    }
    return Answer(document=document)


def info(engine: Engine, request: Request) -> Response:
    """GET /info."""
    del request
    document = {
        "ID": engine.identity,
        **_counts(engine),
        **_limits(),
        **_machine(engine),
        "RegistryConfig": _registries(engine),
        "IndexServerAddress": _INDEX,
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": None,
            "Log": ["json-file", "local", "none"],
        },
        "LoggingDriver": "json-file",
        "Debug": False,
        "NFd": machine.descriptors(),
        "NGoroutines": machine.threads(),
        "NEventsListener": engine.events.listening(),
        "SystemTime": rfc3339(engine.clock()),
        "GenericResources": None,
        "HttpProxy": _masked(engine.settings.proxies.http),
        "HttpsProxy": _masked(engine.settings.proxies.https),
        "NoProxy": engine.settings.proxies.bypass,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "Runtimes": {"runc": {"path": "runc"}},
        "DefaultRuntime": "runc",
        "Swarm": _NO_SWARM,
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "",
        "ContainerdCommit": _NO_COMMIT,
        "RuncCommit": {"ID": machine.program_version("runc"), "Expected": machine.program_version("runc")},
        "InitCommit": _NO_COMMIT,
        "SecurityOptions": machine.security_options(mapped=bool(engine.settings.maps)),
        "ProductLicense": "",
        "CDISpecDirs": [],
        "Warnings": warnings() or None,
    }
    return Answer(document=document)


def _counts(engine: Engine) -> dict[str, int]:
    running, paused, stopped = engine.containers.counts()
    return {
        "Containers": running + paused + stopped,
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": stopped,
        "Images": len(engine.images.list()),
    }


def _limits() -> dict[str, Any]:
    groups = machine.groups()
    return {
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": groups.version,
        "MemoryLimit": groups.memory,
        "SwapLimit": groups.swap,
        "KernelMemoryTCP": False,
        "CpuCfsPeriod": groups.cpu,
        "CpuCfsQuota": groups.cpu,
        "CPUShares": groups.cpu,
        "CPUSet": groups.cpuset,
        "PidsLimit": groups.pids,
        "OomKillDisable": groups.oom_kill_disable,
        "IPv4Forwarding": machine.forwards(),
        "BridgeNfIptables": machine.filters_bridges(4),
        "BridgeNfIp6tables": machine.filters_bridges(6),
    }


def _machine(engine: Engine) -> dict[str, Any]:
    name, os_version = machine.operating_system()
    return {
        "Driver": "overlayfs",
        "DriverStatus": [
            ["Backing Filesystem", machine.file_system(engine.paths.root)],
            ["Supports d_type", "true"],
            ["Native Overlay Diff", "true"],
        ],
        "DockerRootDir": str(engine.paths.root),
        "KernelVersion": machine.kernel(),
        "OperatingSystem": name,
        "OSVersion": os_version,
        "OSType": "linux",
        "Architecture": machine.machine(),
        "NCPU": machine.processors(),
        "MemTotal": machine.memory(),
        "Name": machine.host_name(),
    }


def _registries(engine: Engine) -> dict[str, Any]:
    mirrors = [f"{mirror.rstrip('/')}/" for mirror in engine.settings.mirrors]
    hub = {"Name": _HUB, "Mirrors": mirrors, "Secure": True, "Official": True}
    others = {
        name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False} for name in engine.settings.insecure
    }
    return {
        "AllowNondistributableArtifactsCIDRs": None,
        "AllowNondistributableArtifactsHostnames": None,
        "InsecureRegistryCIDRs": list(_LOOPBACK),
        "IndexConfigs": {_HUB: hub, **others},
        "Mirrors": mirrors,
    }


def _masked(url: str) -> str:
    """Hide user and password as dockerd does."""
    scheme, sign, rest = url.partition("://")
    _, login, host = rest.rpartition("@")
    return f"{scheme}{sign}xxxxx:xxxxx@{host}" if login else url


def warnings() -> list[str]:
    """Give what `docker info` warns of, in dockerd's words."""
    groups = machine.groups()
    found = [
        ("No memory limit support", groups.memory),
        ("No swap limit support", groups.swap),
        ("No cpu shares support", groups.cpu),
        ("No cpuset support", groups.cpuset),
        ("IPv4 forwarding is disabled", machine.forwards()),
    ]
    return [f"WARNING: {text}" for text, there in found if not there]


def disk_usage(engine: Engine, request: Request) -> Response:
    """GET /system/df: what images, containers, volumes and the build cache take."""
    wanted = request.query.texts("type")
    unknown = sorted(set(wanted) - usage.KINDS.keys())
    if unknown:
        raise Invalid("", f"unknown object type: {unknown[0]}")
    kinds = wanted or tuple(usage.KINDS)
    document: dict[str, Any] = {}
    for kind in kinds:
        document |= usage.KINDS[kind](engine, request.version)
    if "image" in kinds:
        document["LayersSize"] = usage.layers(engine)
    if request.version < (1, 42):
        document["BuilderSize"] = 0
    return Answer(document=document)


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/_ping", handler=ping),
    Route(method="HEAD", path="/_ping", handler=ping),
    Route(method="GET", path="/version", handler=version),
    Route(method="GET", path="/info", handler=info),
    Route(method="GET", path="/system/df", handler=disk_usage, since=(1, 25)),
)
