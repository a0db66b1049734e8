"""The daemon is killed, or the machine goes down: what runs is kept, what is gone is made again, nothing is left over."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from declarative.engine.networks.records import Endpoint, NetworkRequest
from tests import sockets
from tests.contract.engine import netlab
from tests.contract.engine.netlab import Box
from tests.contract.engine.test_networks import make
from tests.contract.engine.test_networks_names import NAME_SERVER, found, query

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).resolve().parents[3]
_PREAMBLE = """
import json, os, sys
from pathlib import Path
from declarative.engine.networks.records import Endpoint, NetworkRequest
from tests import sockets
from tests.contract.engine import netlab
lab = netlab.open_lab(Path(sys.argv[1]))
lab.networks.restore({})
def told(*boxes):
    rows = [(box.id, box.name, box.ip, box.endpoints[0].link) for box in boxes]
    print(json.dumps(rows), flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def daemon(scratch: Path, script: str) -> Iterator[tuple[list[Box], subprocess.Popen[str]]]:
    """Run a script as a daemon of its own, until it is killed: gives the containers that it told of."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PREAMBLE + script, str(scratch)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        rows = json.loads(process.stdout.readline() or "[]")
        boxes = [
            Box(id=id_, name=name, namespace=str(scratch / "run" / "netns" / id_), endpoints=[_at(ip, link)])
            for id_, name, ip, link in rows
        ]
        yield boxes, process
        for box in boxes:
            box.close()
    finally:
        _kill(process)


def _at(ip: str, link: str) -> Any:
    return Endpoint(
        id="", network_id="", network_name="", container_id="", ipv4=ip_address(ip), link=link  # type: ignore[arg-type]
    )  # fmt: skip


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    process.communicate()


def adopt(lab: netlab.Lab, boxes: list[Box]) -> None:
    for box in boxes:
        box.endpoints = list(lab.networks.container(box.id).endpoints)
    lab.boxes += boxes


def test_containers_keep_their_networks_when_the_daemon_is_killed(scratch: Path) -> None:
    port = netlab.free_port()
    script = f"""
lab.networks.create(NetworkRequest(name="shop"))
web, client = lab.box("web", "shop", aliases=("www",)), lab.box("client", "shop")
lab.publish(web, 80, {port})
told(web, client)
"""
    before = netlab.traces()
    with daemon(scratch, script) as (boxes, process):
        web, client = boxes
        web.serve(80)
        assert netlab.ask("127.0.0.1", port).startswith("web ")
        _kill(process)
        as_it_was = netlab.traces()
        assert netlab.ask("127.0.0.1", port).startswith("web "), "ports stay published without a daemon"
        assert client.ask(web.ip, 80).startswith("web ")

        lab = netlab.open_lab(scratch)
        with _unbroken("127.0.0.1", port):
            lab.networks.restore({box.id: os.getpid() for box in boxes})
        assert netlab.traces() == as_it_was
        adopt(lab, boxes)
        assert lab.warnings == []
        assert [endpoint.names for box in boxes for endpoint in box.endpoints] == [("web",), ("client",)]
        assert found(query(client, "www")) == [web.ip]
        assert found(query(client, "www", server=NAME_SERVER)) == [web.ip]
        assert lab.networks.container(web.id).ports[0].host_port == port
        with pytest.raises(OSError, match="Address already in use"):
            socket.create_server(("127.0.0.1", port))
        newcomer = lab.box("newcomer", "shop")
        assert newcomer.ip not in {web.ip, client.ip}
        assert newcomer.ask(web.ip, 80).startswith("web ")
        for box in (newcomer, web, client):
            lab.stop(box)
        lab.networks.remove("shop")
        lab.close()
    netlab.settled(lambda: netlab.traces() == before, lambda: str(netlab.traces() - before))


@contextlib.contextmanager
def _unbroken(host: str, port: int) -> Iterator[None]:
    """Ask again and again meanwhile; every time somebody has to answer."""
    over = threading.Event()
    results: list[str] = []

    def ask() -> None:
        while not over.is_set() or len(results) < 20:
            try:
                results.append(netlab.ask(host, port, seconds=2))
            except OSError as error:
                results.append(f"failed: {error}")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert [result for result in results if result.startswith("failed")] == []


def test_a_connection_lives_on_through_a_restart(scratch: Path) -> None:
    port = netlab.free_port()
    with daemon(scratch, f"web = lab.box('web'); lab.publish(web, 80, {port}); told(web)") as ((web,), process):
        server = sockets.made_in_network(web.namespace, lambda: socket.create_server(("", 80)))
        web.opened.append(server)
        with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as client:
            inside, _ = server.accept()
            with inside:
                for step in ("before", "dead", "restored"):
                    if step == "dead":
                        _kill(process)
                    if step == "restored":
                        lab = netlab.open_lab(scratch)
                        lab.networks.restore({web.id: os.getpid()})
                    client.sendall(step.encode())
                    assert inside.recv(100).decode() == step
        lab.networks.close_namespace(web.id)
        lab.close()


def test_what_ended_meanwhile_is_cleared(scratch: Path) -> None:
    before = netlab.traces()
    port = netlab.free_port()
    script = f"web, other = lab.box('web'), lab.box('other'); lab.publish(web, 80, {port}); told(web, other)"
    with daemon(scratch, script) as ((web, other), process):
        _kill(process)
        lab = netlab.open_lab(scratch)
        lab.networks.restore({other.id: os.getpid()})
        assert lab.networks.container(web.id).endpoints == ()
        assert not Path(web.namespace).exists()
        left = netlab.traces()
        assert f"link {web.endpoints[0].link}" not in left
        assert f"link {other.endpoints[0].link}" in left
        with contextlib.closing(socket.create_server(("127.0.0.1", port))):
            pass
        lab.networks.close_namespace(other.id)
        lab.close()
    netlab.settled(lambda: netlab.traces() == before, lambda: str(netlab.traces() - before))


def test_a_reboot_leaves_the_definitions_and_nothing_else(scratch: Path) -> None:
    before, rules = netlab.traces(), netlab.saved_rules()
    port = netlab.free_port()
    script = f"""
lab.networks.create(NetworkRequest(name="shop", options={{"com.docker.network.bridge.name": "shop0"}}))
web = lab.box("web", "shop")
lab.publish(web, 80, {port})
told(web)
"""
    with daemon(scratch, script) as ((web,), process):
        _kill(process)
        # all processes, mounts, links and rules gone, as after a reboot; a run root on a disk is still there
        netlab._run("umount", web.namespace)
        netlab._run("umount", str(Path(web.namespace).parent))
        for line in netlab.traces() - before:
            if line.startswith(("link shop0", "link decl")):
                netlab._run("ip", "link", "del", line.removeprefix("link "))
            if line.startswith("table"):
                netlab._run("nft", "delete", *line.split())
        netlab.put_rules(rules)
        netlab.settled(lambda: netlab.traces() == before, lambda: str(netlab.traces() - before))
        lab = netlab.open_lab(scratch, boot="another")
        lab.networks.restore({})
        assert lab.networks.get("shop").link == "shop0"
        assert lab.networks.container(web.id).endpoints == ()
        again = lab.box("web", "shop").serve(80)
        lab.publish(again, 80, port)
        assert netlab.ask("127.0.0.1", port).startswith("web ")
        lab.stop(again)
        lab.networks.remove("shop")
        lab.close()
    netlab.settled(lambda: netlab.traces() == before, lambda: str(netlab.traces() - before))


def test_what_the_kernel_lost_is_made_again(scratch: Path) -> None:
    """Somebody removed a bridge, a pair, a mount, the rules, while nobody looked after them."""
    port = netlab.free_port()
    script = f"""
lab.networks.create(NetworkRequest(name="shop", options={{"com.docker.network.bridge.name": "shop0"}}))
boxes = [lab.box(name, "shop") for name in ("web", "client", "third")]
lab.publish(boxes[0], 80, {port})
told(*boxes)
"""
    before = netlab.traces()
    with daemon(scratch, script) as ((web, client, third), process):
        holders = {
            box.id: subprocess.Popen(["nsenter", f"--net={box.namespace}", "sleep", "infinity"])
            for box in (web, client, third)
        }
        web.serve(80)
        netlab.settled(lambda: all(_entered(holder.pid) for holder in holders.values()), lambda: "nsenter is slow")
        _kill(process)
        netlab._run("ip", "link", "del", client.endpoints[0].link)
        netlab._run("ip", "link", "del", "shop0")
        netlab._run("umount", third.namespace)
        netlab._run("nft", "flush", "ruleset")
        lab = netlab.open_lab(scratch)
        lab.networks.restore({id_: holder.pid for id_, holder in holders.items()})
        assert lab.warnings == []
        adopt(lab, [web, client, third])
        assert netlab.ask("127.0.0.1", port).startswith("web ")
        for box in (client, third):
            assert box.ask(web.ip, 80).startswith("web ")
            assert found(query(box, "web")) == [web.ip]
        for holder in holders.values():
            holder.kill()
            holder.wait()
        for box in (web, client, third):
            lab.stop(box)
        lab.networks.remove("shop")
        lab.close()
    netlab.settled(lambda: netlab.traces() == before, lambda: str(netlab.traces() - before))


def _entered(pid: int) -> bool:
    return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def test_a_port_that_somebody_took_meanwhile_is_told_of(scratch: Path) -> None:
    port = netlab.free_port()
    with daemon(scratch, f"web = lab.box('web'); lab.publish(web, 80, {port}); told(web)") as ((web,), process):
        web.serve(80)
        _kill(process)
        with contextlib.closing(socket.create_server(("127.0.0.1", port))):
            lab = netlab.open_lab(scratch)
            lab.networks.restore({web.id: os.getpid()})
            assert [f"0.0.0.0:{port}/tcp" in warning for warning in lab.warnings] == [True]
            assert netlab.ask("127.0.0.1", port).startswith("web "), "the rules go on"
        lab.networks.close_namespace(web.id)
        lab.close()


def test_a_daemon_that_ends_leaves_running_containers_alone(scratch: Path) -> None:
    port = netlab.free_port()
    before = netlab.traces()
    lab = netlab.open_lab(scratch)
    lab.networks.restore({})
    web = lab.box("web").serve(80)
    lab.publish(web, 80, port)
    as_it_was = netlab.traces()
    lab.networks.close()
    lab.db.close()
    assert netlab.traces() == as_it_was
    assert netlab.ask("127.0.0.1", port).startswith("web ")
    again = netlab.open_lab(scratch)
    again.networks.restore({web.id: os.getpid()})
    again.boxes.append(web)
    again.stop(web)
    again.close()
    netlab.settled(lambda: netlab.traces() == before, lambda: str(netlab.traces() - before))


def test_two_engines_on_one_machine_do_not_touch_each_other(scratch: Path) -> None:
    before = netlab.traces()
    one, two = netlab.open_lab(scratch / "a"), netlab.open_lab(scratch / "b")
    with contextlib.closing(two):
        one.networks.restore({})
        two.networks.restore({})
        ports = netlab.free_port(), netlab.free_port()
        boxes = [lab.box("web").serve(80) for lab in (one, two)]
        for lab, box, port in zip((one, two), boxes, ports, strict=True):
            lab.publish(box, 80, port)
        assert boxes[0].ip != boxes[1].ip
        assert not boxes[0].reaches(boxes[1].ip, 80)
        assert boxes[0].ask(str(boxes[0].endpoints[0].gateway), ports[1]).startswith("web ")
        one.networks.restore({boxes[0].id: os.getpid()})
        one.stop(boxes[0])
        one.networks.close()
        assert netlab.ask("127.0.0.1", ports[1]).startswith("web ")
        one = netlab.open_lab(scratch / "a")
        one.networks.restore({})
        one.close()
        assert netlab.ask("127.0.0.1", ports[1]).startswith("web ")
        two.stop(boxes[1])
    netlab.settled(lambda: netlab.traces() == before, lambda: str(netlab.traces() - before))


_MORTAL = """
import signal
steps = 0
def mortal(owner, name):
    real = getattr(owner, name)
    def call(*args, **more):
        global steps
        steps += 1
        if steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **more)
        steps += 1
        if steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, call)
from declarative.engine.networks import links, namespaces, netlink, nftables, store
from declarative.engine.networks.networks import Networks
for owner, names in (
    (netlink.Netlink, ("run",)), (namespaces, ("create", "remove", "enter")), (nftables.Nftables, ("run",)),
    (store.Attachments, ("put_all", "put_ports", "remove")), (store.Definitions, ("put", "remove")),
):
    for name in names:
        mortal(owner, name)
lab.networks.create(NetworkRequest(name="shop"))
web = lab.box("web", "shop")
lab.publish(web, 80, int(sys.argv[3]))
lab.networks.connect(web.id, "bridge")
lab.networks.disconnect(web.id, "shop")
lab.stop(web)
lab.networks.remove("shop")
print(steps)
"""


@pytest.mark.slow
def test_killed_at_any_step_it_starts_again_and_nothing_is_left(scratch: Path) -> None:
    """The daemon dies before and after every single change that it makes, one run for each."""
    port = netlab.free_port()
    before = netlab.traces()
    step = 1
    while True:
        ended = subprocess.run(
            [sys.executable, "-c", _PREAMBLE + _MORTAL, str(scratch), str(step), str(port)],
            check=False, cwd=_ROOT, capture_output=True, text=True,
        )  # fmt: skip
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        lab = netlab.open_lab(scratch)
        lab.networks.restore({})
        names = [network.name for network in lab.networks.list()]
        assert set(names) - {"shop"} == {"bridge", "host", "none"}, f"step {step}"
        if "shop" not in names:
            lab.networks.create(NetworkRequest(name="shop"))
        web = lab.box("web", "shop").serve(80)
        lab.publish(web, 80, port)
        assert netlab.ask("127.0.0.1", port).startswith("web "), f"step {step}"
        lab.stop(web)
        lab.networks.remove("shop")
        lab.close()
        assert lab.warnings == []
        netlab.settled(lambda: netlab.traces() == before, lambda: f"step {step}: {netlab.traces() - before}")  # noqa: B023
        step += 1
    assert step > 40, "the harness does not kill"
    lab = netlab.open_lab(scratch)
    lab.networks.restore({})
    lab.close()
    netlab.settled(lambda: netlab.traces() == before, lambda: str(netlab.traces() - before))


def test_restoring_twice_changes_nothing(lab: netlab.Lab) -> None:
    make(lab, "shop")
    port = netlab.free_port()
    web = lab.box("web", "shop").serve(80)
    lab.publish(web, 80, port)
    before = netlab.traces()
    lab.networks.restore({web.id: os.getpid()})
    assert netlab.traces() == before
    assert netlab.ask("127.0.0.1", port).startswith("web ")
