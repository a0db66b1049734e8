"""The daemon's process: its options, its start in order, its end.

The order of the start is the rule: lock the data root, open the records, take up what an earlier daemon left, listen, and only
then say so. Whoever can connect finds an engine that knows everything it has.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.errors import DeclarativeError, Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from declarative.dockerapi.transport import TlsFiles
    from declarative.engine.daemon.listen import Listener
    from declarative.engine.lock import RootLock
    from declarative.engine.log import Log
    from declarative.engine.runtime.sandbox import IdMaps
    from declarative.engine.settings import Settings

_DRAIN_SECONDS = 10.0  # for requests under way when the daemon is asked to end


def parser() -> argparse.ArgumentParser:
    """Give the options of `declarative engine serve`."""
    from declarative.dockerapi.places import DATA_ROOT, RUN_ROOT
    from declarative.registry.session import DOCKER_CERTS

    made = argparse.ArgumentParser(prog="declarative engine serve", description=_DESCRIPTION, allow_abbrev=False)
    add = made.add_argument
    add("--root", type=Path, default=DATA_ROOT, metavar="DIR", help="data root (default: %(default)s)")
    add("--run", type=Path, default=None, metavar="DIR",
        help=f"what a reboot may take (default: {RUN_ROOT}, or ROOT/run for another root)")  # fmt: skip
    add("--host", "-H", action="append", default=[], metavar="URL",
        help="where to listen, again for more: unix:///PATH, tcp://ADDRESS:PORT (default: unix://RUN/engine.sock)")  # fmt: skip
    add("--tlscacert", default="", metavar="FILE", help="clients need a certificate of this authority (TCP)")
    add("--tlscert", default="", metavar="FILE", help="this daemon's certificate (TCP)")
    add("--tlskey", default="", metavar="FILE", help="and its key")
    add("--tlsverify", action="store_true", help="taken for dockerd's sake: with TLS, clients are always verified")
    add("--mirror", action="append", default=[], metavar="URL", help="ask this registry before Docker Hub")
    add("--insecure-registry", action="append", default=[], metavar="HOST[:PORT]",
        help="speak to this registry without TLS, or without checking its certificate")  # fmt: skip
    add("--registry-certs", type=Path, default=Path(DOCKER_CERTS), metavar="DIR",
        help="certificates of registries: HOST[:PORT]/ca.crt, client.cert, client.key (default: %(default)s)")  # fmt: skip
    add("--cgroup-parent", default="declarative", metavar="NAME", help="control group of the containers' own")
    add("--default-address-pool", action="append", default=[], metavar="base=NET,size=N",
        help="what networks without a subnet are cut from")  # fmt: skip
    add(
        "--dns", action="append", default=[], metavar="ADDRESS", help="name servers of containers (default: the host's)"
    )
    add("--userns-remap", default="", metavar="USER[:GROUP]",
        help="give containers user namespaces: default, or whose /etc/subuid and /etc/subgid they have")  # fmt: skip
    add("--idle-exit", type=float, default=0.0, metavar="SECONDS",
        help="end when nothing runs and nobody asked anything for this long (default: never)")  # fmt: skip
    add("--log-format", choices=("text", "json"), default="text", help="of the log on standard error")
    add("--debug", action="store_true", help="log more")
    add("--fsck", action="store_true", help="check the data root of a stopped engine, mend what can be, and end")
    add("--probe", action="store_true", help="print as JSON whether this machine can run the engine, and end")
    return made


_DESCRIPTION = "Serve the embedded engine: the Docker Engine API on a unix socket, and on TCP with client certificates."


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    from declarative.engine.log import Log

    arguments = parser().parse_args(argv)
    log = Log(form=arguments.log_format, level="debug" if arguments.debug else "info")
    try:
        if arguments.probe:
            return _probe(arguments)
        if arguments.fsck:
            return _fsck(arguments)
        return serve(arguments, log)
    except DeclarativeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def serve(arguments: argparse.Namespace, log: Log) -> int:
    """Start, serve, end."""
    from declarative.engine.daemon.listen import listen
    from declarative.engine.daemon.router import Router, discover
    from declarative.engine.daemon.server import Server
    from declarative.engine.engine import Engine
    from declarative.engine.lock import RootLock
    from declarative.engine.runtime import cgroups, grace

    began = time.monotonic()
    settings = read_settings(arguments)
    hosts, tls = arguments.host or [f"unix://{settings.paths.socket}"], read_tls(arguments)
    _prepare_process()
    with RootLock(settings.paths.root) as lock, contextlib.ExitStack() as ending:
        settings.paths.run.mkdir(mode=0o711, parents=True, exist_ok=True)
        cgroups.settle(cgroups.detect(), f"/{settings.cgroup_parent}/engine")
        engine = Engine(settings, log)
        ending.callback(engine.close)
        engine.restore()
        listeners = [ending.enter_context(contextlib.closing(listen(host, tls))) for host in hosts]
        server = Server(
            Router(engine, discover(), log).answer,
            listeners,
            log,
            common_headers(),
            accepted=lambda: engine.runtime.expect_process(grace.SOON),
        )
        ending.callback(server.drain, _DRAIN_SECONDS)
        ending.callback(engine.events.close)
        _announce(settings, lock, listeners, log, began)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: server.stop())

        def tick() -> None:
            idle = arguments.idle_exit and server.quiet_for() >= arguments.idle_exit and engine.idle()
            if idle and server.retire():
                log.info("engine ends: nothing runs and nobody asks", seconds=arguments.idle_exit)

        server.serve(tick)
        log.info("engine ends")
        with contextlib.suppress(OSError):
            settings.paths.pid.unlink()
    log.info("engine ended")
    sys.stderr.flush()
    os._exit(0)  # threads that wait for a client's bytes must not hold the process


def _announce(settings: Settings, lock: RootLock, listeners: Sequence[Listener], log: Log, began: float) -> None:
    """Say that we serve, to whoever looks at the data root, the run root, or the log."""
    addresses = [listener.address for listener in listeners]
    lock.tell(addresses)
    settings.paths.pid.write_text(f"{os.getpid()}\n")
    gc.collect()
    gc.freeze()  # what start-up made stays for good: no need to look at it again
    took = round((time.monotonic() - began) * 1000)
    log.info("engine serves", at=", ".join(addresses), root=settings.paths.root, milliseconds=took)


def _probe(arguments: argparse.Namespace) -> int:
    import json

    from declarative.engine.probe import documents, probe

    sys.stdout.write(json.dumps(documents(probe(arguments.root.absolute()))) + "\n")
    return 0


def _fsck(arguments: argparse.Namespace) -> int:
    from declarative.engine.check import check
    from declarative.engine.lock import RootLock

    settings = read_settings(arguments)
    with RootLock(settings.paths.root):
        damage = check(settings)
        for line in damage:
            sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{len(damage)} problem{'s' if len(damage) != 1 else ''} found\n" if damage else "sound\n")
    return 1 if any(not line.mended for line in damage) else 0


def read_settings(arguments: argparse.Namespace) -> Settings:
    """Read the options into types. Raises Invalid."""
    from declarative.dockerapi.places import places
    from declarative.engine.paths import Paths
    from declarative.engine.settings import Settings
    from declarative.registry.proxies import Proxies

    where = places(arguments.root.absolute(), arguments.run.absolute() if arguments.run else None)
    return Settings(
        paths=Paths(root=where.root, run=where.run),
        mirrors=tuple(arguments.mirror),
        insecure=tuple(arguments.insecure_registry),
        certs=arguments.registry_certs.absolute(),
        proxies=Proxies.of(os.environ),
        cgroup_parent=arguments.cgroup_parent.strip("/"),
        pools=tuple(_pool(text) for text in arguments.default_address_pool),
        nameservers=tuple(arguments.dns),
        maps=_maps(arguments.userns_remap),
    )


def read_tls(arguments: argparse.Namespace) -> TlsFiles | None:
    """Give the TLS files, None where no option names any. Invalid where --tlsverify stands alone."""
    from declarative.dockerapi.transport import TlsFiles

    if not (arguments.tlscacert or arguments.tlscert or arguments.tlskey):
        if arguments.tlsverify:
            raise Invalid("--tlsverify", "needs files", "give --tlscacert, --tlscert and --tlskey")
        return None
    return TlsFiles(ca=arguments.tlscacert, cert=arguments.tlscert, key=arguments.tlskey)


def common_headers() -> dict[str, str]:
    """Give the headers of every answer, as dockerd sends them."""
    from declarative import __version__
    from declarative.engine.daemon.router import NEWEST

    return {
        "Api-Version": "{}.{}".format(*NEWEST),
        "Docker-Experimental": "false",
        "Ostype": "linux",
        "Server": f"Declarative/{__version__} (linux)",
    }


def _maps(text: str) -> IdMaps:
    from declarative.engine import subids
    from declarative.engine.runtime.sandbox import IdMaps

    return subids.maps_for(text) if text else IdMaps()


def _pool(text: str) -> tuple[str, int]:
    import ipaddress

    parts = dict(part.partition("=")[::2] for part in text.split(","))
    try:
        network = ipaddress.ip_network(parts["base"])
        size = int(parts["size"])
    except (KeyError, ValueError) as error:
        raise Invalid("--default-address-pool", f"{text!r}: {error}", "write base=10.201.0.0/16,size=24") from error
    if not network.prefixlen <= size <= network.max_prefixlen:
        raise Invalid("--default-address-pool", f"{text!r} holds no network of that size", "size is a prefix length")
    return str(network), size


def _prepare_process() -> None:
    """Make this process what a daemon should be: at home nowhere, with room for many connections."""
    os.chdir("/")
    os.umask(0o022)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 1 << 20)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    gc.set_threshold(10_000, 20, 20)
