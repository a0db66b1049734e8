"""Machines for tests of networks: containers that are a namespace and a few sockets, a host outside, and what there is to count.

A socket belongs to the namespace that it was made in, whoever uses it. So a "container" here is a namespace that the engine made,
with sockets of the test's own in it: a server that says its name and who asks, a client that says what it was told.

The rule that keeps it simple: nothing of the package under test is used to look at what it did, but the records it gives back.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from declarative.engine.db import Database
from declarative.engine.events import Event, Events
from declarative.engine.networks.networks import SCHEMA, Networks
from declarative.engine.networks.records import Endpoint, EndpointRequest, PortRequest, PublishedPort
from declarative.engine.paths import Paths
from tests import engines, sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ANSWER_SECONDS = 5.0
REFUSED_SECONDS = 1.0
"""How long a packet that is dropped is waited for."""
_OUTSIDE = itertools.count(1)
_FIREWALLD_ROOT = engines.CACHE / "firewalld" / "root"
_FIREWALLD = """
mount -t overlay -o "lowerdir=$0/usr:/usr" none /usr
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay -o "lowerdir=$0/etc:/etc,upperdir=$1/upper,workdir=$1/work" none /etc
mount -t tmpfs none /usr/share/dbus-1/system-services  # no polkit: root may
mkdir -p /run/dbus /run/firewalld
getent passwd messagebus > /dev/null || useradd -r -U messagebus
dbus-uuidgen --ensure
dbus-daemon --system --nopidfile --fork
firewalld --nofork --nopid > /dev/null 2>&1 &
tries=0
until firewall-cmd --state > /dev/null 2>&1; do tries=$((tries + 1)); [ $tries -lt 100 ]; sleep 0.1; done
echo ready
wait
"""


@dataclass(slots=True, kw_only=True)
class Box:
    """A container: its namespace, and what serves in it."""

    id: str
    name: str
    namespace: str
    endpoints: list[Endpoint] = field(default_factory=list)
    opened: list[socket.socket] = field(default_factory=list)

    @property
    def ip(self) -> str:
        return str(self.endpoints[0].ipv4)

    @property
    def ip6(self) -> str:
        return str(self.endpoints[0].ipv6)

    def serve(self, port: int, *, udp: bool = False, family: int = socket.AF_INET) -> Box:
        """Answer everybody with this box's name and the asker's address."""
        made = sockets.made_in_network(self.namespace, partial(_listen, port, udp=udp, family=family))
        self.opened.append(made)
        threading.Thread(target=_answer_udp if udp else _answer_tcp, args=(made, self.name), daemon=True).start()
        return self

    def ask(self, host: str, port: int, *, udp: bool = False, seconds: float = _ANSWER_SECONDS) -> str:
        """Ask from inside; the answer, or OSError."""
        return ask(host, port, udp=udp, seconds=seconds, namespace=self.namespace)

    def reaches(self, host: str, port: int, *, udp: bool = False) -> bool:
        """Whether anybody answers."""
        try:
            self.ask(host, port, udp=udp, seconds=REFUSED_SECONDS)
        except OSError:
            return False
        return True

    def reaches_at_all(self, host: str, port: int) -> bool:
        """Whether a connection can be made, whatever is said on it."""
        try:
            sockets.made_in_network(
                self.namespace, partial(socket.create_connection, (host, port), REFUSED_SECONDS)
            ).close()
        except OSError:
            return False
        return True

    def run(self, *argv: str) -> str:
        """Run a program inside and give what it prints."""
        return _run("nsenter", f"--net={self.namespace}", *argv)

    def close(self) -> None:
        for made in self.opened:
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
            made.close()


@dataclass(slots=True, kw_only=True)
class Lab:
    """An engine's networks on scratch folders, and the containers that a test put into them."""

    paths: Paths
    networks: Networks
    db: Database
    events: Events
    warnings: list[str]
    boxes: list[Box] = field(default_factory=list)

    def box(self, name: str, *networks: str, **request: Any) -> Box:
        """Start a container in these networks (the default one), called `name`."""
        id_ = secrets.token_hex(32)
        path = self.networks.open_namespace(id_)
        made = Box(id=id_, name=name, namespace=str(path))
        self.boxes.append(made)
        for network in networks or ("bridge",):
            made.endpoints.append(self.networks.connect(id_, network, EndpointRequest(names=(name,), **request)))
        return made

    def publish(
        self, box: Box, port: int, host_port: int | tuple[int, int] = 0, address: str = "", protocol: str = "tcp"
    ) -> tuple[PublishedPort, ...]:
        span = host_port if isinstance(host_port, tuple) else (host_port, host_port)
        request = PortRequest(port=port, protocol=protocol, host_address=address, host_ports=span)
        return self.networks.publish(box.id, (request,))

    def stop(self, box: Box) -> None:
        box.close()
        self.networks.close_namespace(box.id)
        self.boxes.remove(box)

    def told(self) -> list[Event]:
        return list(self.events._past)

    def close(self) -> None:
        for box in self.boxes:
            box.close()
        self.networks.close()
        self.db.close()


def open_lab(root: Path, **options: Any) -> Lab:
    """Open the networks of an engine whose roots are below `root`, as its daemon does."""
    paths = Paths(root=root / "data", run=root / "run")
    for folder in (paths.root, paths.run):
        folder.mkdir(parents=True, exist_ok=True)
    db = Database(paths.database, (SCHEMA,))
    events = Events(time.time_ns)
    warnings: list[str] = []
    networks = Networks(paths, db, events, warn=lambda text, error: warnings.append(f"{text}: {error}"), **options)
    return Lab(paths=paths, networks=networks, db=db, events=events, warnings=warnings)


@contextmanager
def lab(root: Path, **options: Any) -> Iterator[Lab]:
    """Open a lab; at the end stop every container, end it, and insist that the machine is as it was."""
    before = traces()
    made = open_lab(root, **options)
    try:
        made.networks.restore({})
        yield made
        for box in tuple(made.boxes):
            made.stop(box)
    finally:
        made.close()
    settled(lambda: traces() - before == set(), lambda: f"left behind: {sorted(traces() - before)}")


@contextmanager
def rules_kept() -> Iterator[None]:
    """Put the rules of iptables back as they were: a dockerd of the run lives beside these tests, and has its chains there."""
    before = saved_rules()
    yield
    put_rules(before)


def saved_rules() -> dict[str, str]:
    """Give the rules of iptables, by program."""
    return {program: _run(f"{program}-save") for program in ("iptables", "ip6tables")}


def put_rules(saved: dict[str, str]) -> None:
    """Have these rules of iptables and no others."""
    for program, rules in saved.items():
        subprocess.run([f"{program}-restore"], input=rules, text=True, check=True, capture_output=True)


def traces() -> set[str]:
    """Give what can be left behind on this machine, one line each: links, namespaces, rules."""
    links = {f"link {row['ifname']}" for row in json.loads(_run("ip", "-j", "link"))}
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    mounts = {f"mount {line.split()[4]}" for line in lines if " - nsfs " in line or "/run/netns" in line}
    tables = {line for line in _run("nft", "list", "tables").splitlines() if "declarative" in line}
    chains = set()
    for program in ("iptables", "ip6tables"):
        if any(f" {program[:-6]} filter" in f" {line}" for line in _run("nft", "list", "tables").splitlines()):
            chains |= {f"{program} {line}" for line in _run(program, "-S").splitlines() if "DECLARATIVE" in line}
    return links | mounts | tables | chains


def settled(holds: Callable[[], bool], told: Callable[[], str], seconds: float = 5.0) -> None:
    """Wait until it holds: the kernel takes pairs down a moment after their namespace."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, told()
        time.sleep(0.02)


def ask(
    host: str, port: int, *, udp: bool = False, seconds: float = _ANSWER_SECONDS, namespace: str = "/proc/self/ns/net"
) -> str:
    """Connect, and give what the other side says of itself and of us; OSError where nobody answers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    def make() -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        made.settimeout(seconds)
        try:
            made.connect((host, port))
        except OSError:
            made.close()
            raise
        return made

    with sockets.made_in_network(namespace, make) as made:
        if udp:
            made.send(b"who")
        said = made.recv(1000).decode()
        if not said:
            raise ConnectionResetError
        return said


def free_port(*, udp: bool = False) -> int:
    """Give a port that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as made:
        made.bind(("", 0))
        return int(made.getsockname()[1])


@contextmanager
def outside() -> Iterator[tuple[Box, str, str]]:
    """Give another machine on a cable to this one, and this one's IPv4 and IPv6 addresses on that cable."""
    count = next(_OUTSIDE)
    near, far = f"10.99.{count}.1", f"10.99.{count}.2"
    near6, far6 = f"fd99:{count}::1", f"fd99:{count}::2"
    holder = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        name = f"cable{count}"
        _run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        _run("ip", "addr", "add", f"{near}/24", "dev", name)
        _run("ip", "-6", "addr", "add", f"{near6}/64", "dev", name, "nodad")
        _run("ip", "link", "set", name, "up")
        machine = Box(id="outside", name="outside", namespace=f"/proc/{holder.pid}/ns/net")
        machine.run("ip", "addr", "add", f"{far}/24", "dev", "eth0")
        machine.run("ip", "-6", "addr", "add", f"{far6}/64", "dev", "eth0", "nodad")
        machine.run("ip", "link", "set", "eth0", "up")
        machine.run("ip", "link", "set", "lo", "up")
        yield machine, near, near6
        machine.close()
    finally:
        holder.kill()
        holder.communicate()
        subprocess.run(["ip", "link", "del", f"cable{count}"], check=False, capture_output=True)


@contextmanager
def firewalld() -> Iterator[Callable[..., str]]:
    """Run firewalld beside the engine, as a machine that has it does; gives `firewall-cmd`."""
    with tempfile.TemporaryDirectory(prefix="fw") as scratch:
        holder = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"),
                *("sh", "-ec", _FIREWALLD, str(_FIREWALLD_ROOT), scratch),
            ],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n", (
                "firewalld does not run: run `bash tests/install-host` as root"
            )
            (inside,) = engines.children(holder.pid)

            def command(*args: str) -> str:
                return _run("nsenter", f"--mount=/proc/{inside}/ns/mnt", "firewall-cmd", *args)

            yield command
        finally:
            holder.kill()
            holder.communicate()
            subprocess.run(["nft", "delete", "table", "inet", "firewalld"], check=False, capture_output=True)
            Path("/run/dbus/system_bus_socket").unlink(missing_ok=True)


def _listen(port: int, *, udp: bool, family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("", port))
    if not udp:
        made.listen()
    return made


def _answer_tcp(made: socket.socket, name: str) -> None:
    while True:
        try:
            client, address = made.accept()
        except OSError:
            return
        with client, contextlib.suppress(OSError):
            client.sendall(f"{name} {address[0]}".encode())


def _answer_udp(made: socket.socket, name: str) -> None:
    while True:
        try:
            said, address = made.recvfrom(1000)
            if not said:  # shut down
                return
            made.sendto(f"{name} {address[0]}".encode(), address)
        except OSError:
            return


def _run(*argv: str) -> str:
    ended = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, f"{' '.join(argv)}: exit {ended.returncode}\n{ended.stderr}"
    return ended.stdout
