"""What networks cost: where the time of a container's network goes, and what a published port carries beside dockerd's.

The rule that keeps it simple: the same server behind both, asked from the same machine outside; the engine's own parts are timed
one by one, as `docker run -p` uses them.
"""

from __future__ import annotations

import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.networks.records import EndpointRequest, NetworkRequest, PortRequest
from tests.base_image import BASE_IMAGE
from tests.bench.harness import Figure
from tests.contract.engine import netlab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines import Engine

_ROUNDS = 60
_BETWEEN_SECONDS = 0.05  # what the rest of a container's start takes
_TRAFFIC_ROUNDS = 8
_TRAFFIC_SECONDS = 3
_GOAL_MILLISECONDS = 18.0
_GOAL_TRAFFIC = 1 / 0.95  # times, not rates, are compared
_STEPS = ("open namespace", "connect", "publish", "close")
_DNS_QUERIES = 2000
_GOAL_DNS_MICROSECONDS = 1000.0


def measure(engine: Engine, folder: Path) -> Iterator[Figure]:
    """Yield the figures, after a table of the steps."""
    del folder
    root = Path(tempfile.mkdtemp(prefix="n-", dir="/run"))
    try:
        with netlab.lab(root) as lab:
            yield from _start(lab)
            yield from _names(lab)
            yield from _traffic(lab, engine)
    finally:
        shutil.rmtree(root)


def _start(lab: netlab.Lab) -> Iterator[Figure]:
    cold = sum(_one(lab, 20000)[:-1])
    held = lab.box("held")  # somebody is there already
    rows = [_one(lab, 20001 + count) for count in range(_ROUNDS)]
    for name, samples in zip(_STEPS, zip(*rows, strict=True), strict=True):
        ordered = sorted(samples)
        middle = statistics.median(ordered)
        sys.stdout.write(f"  {name:16} {middle:6.2f} ms  ({ordered[0]:.2f} to {ordered[-1]:.2f})\n")
    totals = sorted(sum(row[:-1]) for row in rows)
    spread = f"{totals[0]:.1f} to {totals[-1]:.1f}, {_ROUNDS} rounds"
    yield Figure(
        name="network of a container that starts, one port published",
        ours=statistics.median(totals),
        unit="ms",
        goal=_GOAL_MILLISECONDS,
        spread=spread,
    )
    yield Figure(
        name="the same for the first, with bridge and rules", ours=cold, unit="ms", goal=4 * _GOAL_MILLISECONDS
    )
    lab.stop(held)


def _one(lab: netlab.Lab, port: int) -> tuple[float, ...]:
    """Start and end one container's network; milliseconds of each step."""
    id_ = secrets.token_hex(32)
    times = [time.perf_counter()]
    lab.networks.open_namespace(id_)
    times.append(time.perf_counter())
    lab.networks.connect(id_, "bridge", EndpointRequest(names=("bench",)))
    times.append(time.perf_counter())
    lab.networks.publish(id_, (PortRequest(port=80, host_ports=(port, port)),))
    times.append(time.perf_counter())
    lab.networks.close_namespace(id_)
    times.append(time.perf_counter())
    time.sleep(_BETWEEN_SECONDS)
    return tuple((after - before) * 1000 for before, after in pairwise(times))


def _names(lab: netlab.Lab) -> Iterator[Figure]:
    import socket

    from dnslib import DNSRecord  # type: ignore[import-untyped]

    from tests import sockets

    lab.networks.create(NetworkRequest(name="bench"))
    box = lab.box("web", "bench")
    packed = DNSRecord.question("web").pack()

    def made() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(5)
        sock.connect((str(box.endpoints[0].gateway), 53))
        return sock

    with sockets.made_in_network(box.namespace, made) as sock:
        begun = time.perf_counter()
        for _ in range(_DNS_QUERIES):
            sock.send(packed)
            sock.recv(600)
        took = (time.perf_counter() - begun) / _DNS_QUERIES * 1e6
    yield Figure(name="one name, asked and answered", ours=took, unit="µs", goal=_GOAL_DNS_MICROSECONDS)
    lab.stop(box)
    lab.networks.remove("bench")


def _traffic(lab: netlab.Lab, engine: Engine) -> Iterator[Figure]:
    if shutil.which("wrk") is None:
        sys.stdout.write("  no traffic measured: there is no wrk here\n")
        return
    ports = netlab.free_port(), netlab.free_port()
    served = tempfile.mkdtemp(prefix="served", dir="/run")
    Path(served, "index.html").write_text("x" * 1000)
    httpd = ["busybox", "httpd", "-f", "-p", "80", "-h", served]
    box = lab.box("web")
    lab.publish(box, 80, ports[0])
    name = engine.docker("run", "-d", "-p", f"{ports[1]}:80", BASE_IMAGE, "sleep", "900").stdout.strip()
    theirs = engine.api("GET", f"/containers/{name}/json")[1]["NetworkSettings"]["SandboxKey"]
    servers = [
        subprocess.Popen(argv)
        for argv in (
            ["nsenter", f"--net={box.namespace}", *httpd],
            [*engine._inside(), "nsenter", f"--net={theirs}", *httpd],
        )
    ]
    try:
        with netlab.outside() as (machine, near, _):
            for port in ports:
                netlab.settled(lambda: machine.reaches_at_all(near, port), lambda: "no server", 20)  # noqa: B023
            samples = [tuple(_rate(machine, near, port) for port in ports) for _ in range(_TRAFFIC_ROUNDS)]
        ours, peer = (sorted(1e6 / rate for rate in rates) for rates in zip(*samples, strict=True))
        yield Figure(
            name="a request through a published port, a connection each, at best",
            ours=ours[0],  # the least disturbed round of each: what others do on the machine is no cost of ours
            peer=peer[0],
            unit="µs",
            goal=_GOAL_TRAFFIC,
            spread=f"ours to {ours[-1]:.0f}, peer to {peer[-1]:.0f}, {_TRAFFIC_ROUNDS} rounds",
        )
    finally:
        engine.docker("rm", "-f", name)
        for server in servers:
            server.kill()
            server.wait()
        shutil.rmtree(served)
        lab.stop(box)


def _rate(machine: netlab.Box, host: str, port: int) -> float:
    """Give the requests in a second."""
    said = machine.run("wrk", "-t1", "-c8", f"-d{_TRAFFIC_SECONDS}s", f"http://{host}:{port}/")
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None:
        raise RuntimeError(said)
    return float(found[1])
