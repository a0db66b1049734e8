"""A dockerd of the machine's own in the same network: both work, and neither opens what the other keeps shut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.engine import netlab
from tests.contract.engine.test_networks import make

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.engine.netlab import Lab
    from tests.engines import Engine

pytestmark = pytest.mark.engine
_SERVE = ("sh", "-c", "nc -ll -p 81 -e hostname & exec nc -ll -p 80 -e hostname")
"""Port 80 is published, port 81 is not."""


@pytest.fixture(autouse=True)
def _drops(docker_engine: Engine) -> Iterator[None]:
    """Let FORWARD drop by policy, as dockerd has it where it was the one to switch forwarding on."""
    del docker_engine
    before = netlab._run("iptables", "-S", "FORWARD").splitlines()[0].split()[-1]
    netlab._run("iptables", "-P", "FORWARD", "DROP")
    yield
    netlab._run("iptables", "-P", "FORWARD", before)


@pytest.fixture
def theirs(docker_engine: Engine, base_image: str) -> Iterator[tuple[str, int]]:
    """Have a server in a container of dockerd's; gives its address and the port that it is published on."""
    port = netlab.free_port()
    name = docker_engine.docker(
        "run", "-d", "--hostname", "theirs", "-p", f"{port}:80", base_image, *_SERVE
    ).stdout.strip()
    address = docker_engine.api("GET", f"/containers/{name}/json")[1]["NetworkSettings"]["IPAddress"]
    netlab.settled(lambda: _answers("127.0.0.1", port), lambda: "dockerd's server does not start", 20)
    yield address, port
    docker_engine.docker("rm", "-f", name)


def _answers(host: str, port: int) -> bool:
    try:
        return "theirs" in netlab.ask(host, port, seconds=netlab.REFUSED_SECONDS)
    except OSError:
        return False


def test_both_work(lab: Lab, docker_engine: Engine, theirs: tuple[str, int]) -> None:
    address, their_port = theirs
    make(lab, "shop")
    port = netlab.free_port()
    with netlab.outside() as (machine, near, _):
        machine.serve(80)
        web, client = lab.box("web", "shop").serve(80), lab.box("client", "shop")
        assert web.ip != address
        lab.publish(web, 80, port)
        for ask in (netlab.ask, machine.ask, client.ask, web.ask):
            assert ask(near, port).startswith("web ")
        assert "theirs" in machine.ask(near, their_port)
        assert client.ask(web.ip, 80).startswith("web ")
        assert client.ask(near[:-1] + "2", 80) == f"outside {near}"
        assert web.ip in client.run("busybox", "nslookup", "-type=a", "web", str(web.endpoints[0].gateway))
        # from one's containers to the other's: what is published, and nothing else
        assert not client.reaches(address, 81)
        assert "theirs" in client.ask(near, their_port)
        inside = ("exec", docker_engine.docker("ps", "-q").stdout.split()[0], "nc", "-w", "1")
        assert docker_engine.docker(*inside, web.ip, "80", check=False).stdout == ""
        assert docker_engine.docker(*inside, near, str(port)).stdout.startswith("web ")


def test_a_network_that_dockerd_makes_later_stays_shut(lab: Lab, docker_engine: Engine, base_image: str) -> None:
    make(lab, "shop")
    client = lab.box("client", "shop")
    docker_engine.docker("network", "create", "later")
    name = docker_engine.docker(
        "run", "-d", "--hostname", "theirs", "--network", "later", base_image, *_SERVE
    ).stdout.strip()
    try:
        details = docker_engine.api("GET", f"/containers/{name}/json")[1]
        address = details["NetworkSettings"]["Networks"]["later"]["IPAddress"]
        netlab.settled(lambda: _answers(address, 80), lambda: "dockerd's server does not start", 20)
        link = f"br-{details['NetworkSettings']['Networks']['later']['NetworkID'][:12]}"
        netlab.settled(
            lambda: f"-o {link} -j RETURN" in netlab._run("iptables", "-S"), lambda: netlab._run("iptables", "-S")
        )
        assert not client.reaches(address, 80)
    finally:
        docker_engine.docker("rm", "-f", name)
        docker_engine.docker("network", "rm", "later")


def test_our_chains_go_with_the_last_container(lab: Lab, docker_engine: Engine) -> None:
    del docker_engine
    before = netlab._run("iptables", "-S")
    box = lab.box("one")
    assert netlab._run("iptables", "-S") != before
    lab.stop(box)
    netlab.settled(lambda: netlab._run("iptables", "-S") == before, lambda: netlab._run("iptables", "-S"))
