"""Networks: kinds, names, addresses, ports, and who reaches whom."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.e2e.engine.clients import FOREVER, HEX64, IMAGE

if TYPE_CHECKING:
    from tests.e2e.engine.clients import Daemon

_SERVE = ("sh", "-c", "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www")
_ECHO_UDP = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 53))
while True:
    data, sender = s.recvfrom(1000)
    s.sendto(data, sender)
"""


def serve(daemon: Daemon, name: str, *options: str) -> str:
    return daemon.up(name, "-h", name, *options, command=_SERVE)


def fetch(daemon: Daemon, *options: str, url: str) -> str:
    """GET from a container of its own, which keeps trying for a moment."""
    script = f"for i in 1 2 3 4 5 6 7 8 9 10; do timeout 3 wget -q -O - {url} && exit 0; sleep 0.2; done; exit 1"
    return daemon.run(*options, IMAGE, "sh", "-c", script)


def address(daemon: Daemon, name: str, network: str = "bridge") -> str:
    return daemon.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"]  # type: ignore[no-any-return]


def test_the_networks_that_are_always_there(daemon: Daemon) -> None:
    rows = sorted(daemon.lines("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"))
    assert rows == ["bridge bridge local", "host host local", "none null local"]
    for name in ("bridge", "host", "none"):
        assert f"{name} is a pre-defined network and cannot be removed" in daemon.fails("network", "rm", name)


def test_names_are_found_at_dockers_address_too(daemon: Daemon) -> None:
    for network in ("back", "other"):
        daemon.docker("network", "create", *(["--internal"] if network == "other" else []), network)
    daemon.up("db", "--network", "back", "--network-alias", "store")
    daemon.docker("network", "connect", "--alias", "stored", "other", "db")
    daemon.up("web", "--network", "back")
    daemon.docker("network", "connect", "other", "web")
    ask = ("exec", "web", "nslookup", "-type=a")
    assert daemon.field("db", "{{.NetworkSettings.Networks.back.IPAddress}}") in daemon.out(*ask, "store", "127.0.0.11")
    daemon.docker("network", "disconnect", "back", "web")
    there = daemon.field("db", "{{.NetworkSettings.Networks.other.IPAddress}}")
    assert there in daemon.out(*ask, "stored", "127.0.0.11")
    assert "nobody" in daemon.sh("web", "nc -w 2 127.0.0.11 54 </dev/null || echo nobody")
    assert (
        daemon.sh("web", "echo in > /tmp/f; nc -l -p 5353 < /tmp/f & sleep 0.2; nc -w 1 127.0.0.1 5353 </dev/null")
        == "in"
    )


def test_the_default_bridge(daemon: Daemon) -> None:
    serve(daemon, "web")
    found = daemon.inspect("bridge", kind="network")
    subnet = ipaddress.ip_network(found["IPAM"]["Config"][0]["Subnet"])
    ip = address(daemon, "web")
    assert ipaddress.ip_address(ip) in subnet
    assert next(iter(found["Containers"].values()))["Name"] == "web"
    assert fetch(daemon, url=f"http://{ip}/") == "web"
    assert fetch(daemon, "--link", "web:db", url="http://db/") == "web"
    assert "bad address" in daemon.fails("run", "--rm", IMAGE, "wget", "-q", "-O", "-", "http://web/")
    gateway = daemon.inspect("web")["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
    assert f"default via {gateway}" in daemon.run(IMAGE, "ip", "route")


def test_links_give_names_and_old_variables(daemon: Daemon) -> None:
    daemon.up("db", "-e", "SECRET=x", "--expose", "5432")
    seen = daemon.run("--link", "db:database", IMAGE, "sh", "-c", "grep database /etc/hosts; env")
    assert re.search(r"^[\d.]+\tdatabase \w+ db$", seen, re.MULTILINE)
    assert "DATABASE_NAME=/" in seen
    assert "DATABASE_ENV_SECRET=x" in seen
    assert "DATABASE_PORT_5432_TCP_PORT=5432" in seen
    assert (
        "could not get container for ghost" in daemon.fails("run", "--rm", "--link", "ghost:x", IMAGE, "true").lower()
    )


def test_an_interface_has_its_broadcast_address(daemon: Daemon) -> None:
    daemon.docker("network", "create", "--subnet", "10.9.0.0/24", "net")
    shown = daemon.out(
        "run", "--rm", "--network", "net", "--ip", "10.9.0.130", IMAGE, "ip", "-4", "-o", "addr", "show", "eth0"
    )
    assert "inet 10.9.0.130/24 brd 10.9.0.255 scope global eth0" in " ".join(shown.split())


def test_a_network_of_one_s_own_resolves_names_and_aliases(daemon: Daemon) -> None:
    made = daemon.out("network", "create", "back")
    assert HEX64.fullmatch(made)
    identity = serve(daemon, "web", "--network", "back", "--network-alias", "www", "--network-alias", "site")
    for name in ("web", "www", "site", identity[:12]):
        assert fetch(daemon, "--network", "back", url=f"http://{name}/") == "web"
    ip = address(daemon, "web", "back")
    reverse = daemon.run("--network", "back", IMAGE, "nslookup", ip)
    assert "web.back" in reverse
    assert daemon.fails("run", "--rm", "--network", "back", IMAGE, "nslookup", "nosuch.")
    assert daemon.fails(
        "run", "--rm", IMAGE, "sh", "-c", f"timeout 1 wget -q -O - http://{ip}/; exit $?"
    )  # from another network


def test_two_containers_of_one_alias_answer_in_turn(daemon: Daemon) -> None:
    daemon.docker("network", "create", "back")
    for name in ("one", "two"):
        daemon.up(name, "--network", "back", "--network-alias", "both")
    ips = {address(daemon, name, "back") for name in ("one", "two")}
    seen = daemon.run("--network", "back", IMAGE, "nslookup", "both")
    assert all(ip in seen for ip in ips)


def test_the_first_network_counts_for_a_name_that_several_know_and_for_the_way_out(daemon: Daemon) -> None:
    order = ("z-both", "b-back", "c-front", "a-inner")  # leads out both ways; leads out, by name; does not
    daemon.docker("network", "create", "--ipv6", "--subnet", "fd00:99::/64", "z-both")
    daemon.docker("network", "create", "--internal", "a-inner")
    for network in ("c-front", "b-back"):
        daemon.docker("network", "create", network)
    daemon.up("asks", "--network", "a-inner")
    for network in order:
        daemon.up(f"in-{network}", "--network", network, "--network-alias", "app")
        if network != "a-inner":
            daemon.docker("network", "connect", network, "asks")
    for network in order:
        found = [daemon.sh("asks", "nslookup -type=a app | grep -v :53 | grep ^Address").split() for _ in range(4)]
        assert found == [["Address:", address(daemon, f"in-{network}", network)]] * 4
        last = daemon.sh("asks", "nslookup -type=a app.a-inner | grep -v :53 | grep ^Address").split()
        assert last == ["Address:", address(daemon, "in-a-inner", "a-inner")]
        gateway = daemon.inspect("asks")["NetworkSettings"]["Networks"][network]["Gateway"]
        assert daemon.sh("asks", "ip route | awk '/^default/ { print $3 }'") == gateway
        daemon.docker("network", "disconnect", network, "asks")


def test_a_link_goes_before_a_name(daemon: Daemon) -> None:
    daemon.docker("network", "create", "back")
    for name in ("db", "other"):
        daemon.up(name, "--network", "back")
    daemon.up("asks", "--network", "back", "--link", "other:db")
    found = [daemon.sh("asks", "nslookup -type=a db | grep -v :53 | grep ^Address").split() for _ in range(4)]
    assert found == [["Address:", address(daemon, "other", "back")]] * 4


def test_a_renamed_container_is_known_by_its_new_name(daemon: Daemon) -> None:
    daemon.docker("network", "create", "back")
    daemon.up("old", "-h", "host", "--network", "back", command=_SERVE)
    daemon.docker("rename", "old", "new")
    assert fetch(daemon, "--network", "back", url="http://new/") == "host"
    assert fetch(daemon, "--network", "back", url="http://host/") == "host"
    assert daemon.fails("run", "--rm", "--network", "back", IMAGE, "nslookup", "old.")


def test_a_network_of_both_families_is_left_and_entered_again(daemon: Daemon) -> None:
    daemon.docker("network", "create", "--ipv6", "--subnet", "10.78.0.0/24", "--subnet", "fd78::/64", "both")
    daemon.docker("network", "create", "other")
    daemon.up("web", "--network", "both")
    daemon.docker("network", "disconnect", "both", "web")
    assert daemon.inspect("web")["NetworkSettings"]["Networks"] == {}
    daemon.docker("network", "connect", "other", "web")
    daemon.docker("network", "connect", "both", "web")
    assert "default via fd78::1" in daemon.sh("web", "ip -6 route")
    daemon.docker("network", "disconnect", "both", "web")
    assert "default" in daemon.sh("web", "ip route")
    assert "default" not in daemon.sh("web", "ip -6 route")


def test_an_interface_has_the_link_local_addresses_that_were_asked_for(daemon: Daemon) -> None:
    daemon.docker("network", "create", "back")
    daemon.up("web", "--network", "back", "--link-local-ip", "169.254.34.68")
    assert "169.254.34.68/16" in daemon.sh("web", "ip addr show eth0")
    daemon.docker("network", "disconnect", "back", "web")
    daemon.docker("network", "connect", "--link-local-ip", "169.254.34.69", "back", "web")
    assert "169.254.34.69/16" in daemon.sh("web", "ip addr")
    daemon.docker("network", "create", "other")
    said = daemon.fails("network", "connect", "--link-local-ip", "169.254.34", "other", "web")
    assert "invalid link-local IP address: 169.254.34" in said


def test_fixed_addresses(daemon: Daemon) -> None:
    daemon.docker(
        "network",
        "create",
        "--subnet",
        "10.77.0.0/24",
        "--gateway",
        "10.77.0.9",
        "--ip-range",
        "10.77.0.128/25",
        "fixed",
    )
    daemon.up("web", "--network", "fixed", "--ip", "10.77.0.50", "--mac-address", "02:42:0a:4d:00:99")
    daemon.up("other", "--network", "fixed")
    assert address(daemon, "web", "fixed") == "10.77.0.50"
    assert ipaddress.ip_address(address(daemon, "other", "fixed")) in ipaddress.ip_network("10.77.0.128/25")
    seen = daemon.sh("web", "ip addr show eth0; ip route")
    assert "10.77.0.50/24" in seen
    assert "02:42:0a:4d:00:99" in seen
    assert "default via 10.77.0.9" in seen
    said = daemon.fails("run", "--rm", "--network", "fixed", "--ip", "10.77.0.50", IMAGE, "true")
    assert "Address already in use" in said
    assert "user specified IP address" in daemon.fails("run", "--rm", "--ip", "10.77.0.51", IMAGE, "true")
    said = daemon.fails("run", "--rm", "--network", "fixed", "--ip", "10.78.0.1", IMAGE, "true")
    assert "10.78.0.1" in said
    daemon.docker("stop", "web")
    daemon.docker("start", "web")
    assert address(daemon, "web", "fixed") == "10.77.0.50"


def test_connect_and_disconnect_while_running(daemon: Daemon) -> None:
    daemon.docker("network", "create", "front")
    daemon.docker("network", "create", "back")
    serve(daemon, "web", "--network", "front")
    daemon.docker("network", "connect", "--alias", "www", "back", "web")
    assert fetch(daemon, "--network", "back", url="http://www/") == "web"
    assert daemon.sh("web", "ls /sys/class/net | grep -c eth") == "2"
    assert sorted(daemon.inspect("web")["NetworkSettings"]["Networks"]) == ["back", "front"]
    assert "already exists in network back" in daemon.fails("network", "connect", "back", "web")
    daemon.docker("network", "disconnect", "front", "web")
    assert daemon.sh("web", "ls /sys/class/net | grep -c eth") == "1"
    assert fetch(daemon, "--network", "back", url="http://www/") == "web"
    assert "is not connected to" in daemon.fails("network", "disconnect", "front", "web")
    daemon.docker("restart", "-t", "0", "web")
    assert fetch(daemon, "--network", "back", url="http://www/") == "web"
    assert "No such container: ghost" in daemon.fails("network", "connect", "back", "ghost")
    assert "network nosuch not found" in daemon.fails("network", "connect", "nosuch", "web")
    assert "endpoint ghost not found" in daemon.fails("network", "disconnect", "-f", "back", "ghost")


def test_a_container_that_was_started_in_no_network_is_connected_while_it_runs(daemon: Daemon) -> None:
    daemon.docker("network", "create", "front")
    serve(daemon, "web", "--network", "front")
    daemon.docker("network", "disconnect", "front", "web")
    daemon.docker("restart", "-t", "0", "web")
    daemon.docker("run", "-d", "--name", "beside", "--network", "container:web", IMAGE, "sleep", "1000")
    daemon.docker("network", "connect", "front", "web")
    assert fetch(daemon, "--network", "front", url="http://web/") == "web"
    assert daemon.sh("beside", "ls /sys/class/net | grep -c eth") == "1"


def test_a_created_container_is_connected_before_it_starts(daemon: Daemon) -> None:
    daemon.docker("network", "create", "back")
    daemon.docker("create", "--name", "web", IMAGE, *_SERVE)
    daemon.docker("network", "connect", "back", "web")
    daemon.docker("start", "web")
    assert sorted(daemon.inspect("web")["NetworkSettings"]["Networks"]) == ["back", "bridge"]
    assert daemon.sh("web", "ls /sys/class/net | grep -c eth") == "2"


def test_several_networks_from_the_start(daemon: Daemon) -> None:
    daemon.docker("network", "create", "front")
    daemon.docker("network", "create", "back")
    serve(daemon, "web", "--network", "name=front,alias=f", "--network", "name=back,alias=b")
    assert fetch(daemon, "--network", "front", url="http://f/") == "web"
    assert fetch(daemon, "--network", "back", url="http://b/") == "web"


def test_an_internal_network_has_no_way_out(daemon: Daemon) -> None:
    daemon.docker("network", "create", "--internal", "inner")
    serve(daemon, "web", "--network", "inner", "-p", "8082:80")
    assert fetch(daemon, "--network", "inner", url="http://web/") == "web"
    assert "default" not in daemon.run("--network", "inner", IMAGE, "ip", "route")


def test_host_none_and_another_container_s_network(daemon: Daemon) -> None:
    assert daemon.run("--network", "none", IMAGE, "ls", "/sys/class/net").split() == ["lo"]
    machine = daemon.enter("readlink", "/proc/self/ns/net").stdout.strip()
    assert daemon.run("--network", "host", IMAGE, "readlink", "/proc/self/ns/net") == machine
    serve(daemon, "web", "-p", "8083:80")
    assert fetch(daemon, "--network", "container:web", url="http://127.0.0.1/") == "web"
    assert daemon.run("--network", "container:web", IMAGE, "hostname") == "web"
    assert "No such container: ghost" in daemon.fails("run", "--rm", "--network", "container:ghost", IMAGE, "true")
    said = daemon.fails("run", "--rm", "--network", "container:web", "-p", "1:1", IMAGE, "true").lower()
    assert "conflicting options: port publishing and the container type network mode" in said
    assert "network nosuch not found" in daemon.fails("run", "--rm", "--network", "nosuch", IMAGE, "true")


def test_published_ports(daemon: Daemon) -> None:
    serve(daemon, "web", "-p", "8084:80", "-p", "127.0.0.1:8085:80", "-p", "8090-8092:90-92")
    assert daemon.wait_http(8084) == "web\n"
    assert daemon.wait_http(8085) == "web\n"
    assert fetch(daemon, url=f"http://{_gateway(daemon)}:8084/") == "web"  # from another container, through the machine
    said = daemon.fails("run", "--rm", "--name", "second", "-p", "8084:80", IMAGE, "true", code=125)
    assert "Bind for 0.0.0.0:8084 failed: port is already allocated" in said
    ports = daemon.inspect("web")["NetworkSettings"]["Ports"]
    assert {"HostIp": "127.0.0.1", "HostPort": "8085"} in ports["80/tcp"]
    assert ports["91/tcp"][0]["HostPort"] == "8091"
    daemon.docker("stop", "web")
    with pytest.raises(OSError, match="refused"):
        daemon.connect(8084)
    daemon.docker("start", "web")
    assert daemon.wait_http(8084) == "web\n"


def _gateway(daemon: Daemon) -> str:
    return daemon.inspect("bridge", kind="network")["IPAM"]["Config"][0]["Gateway"]  # type: ignore[no-any-return]


def test_a_container_in_no_network_publishes_nothing_until_it_is_in_one_again(daemon: Daemon) -> None:
    daemon.docker("network", "create", "n1")
    daemon.docker("network", "create", "n2")
    web = ("--publish", "8088:80", "--network", "n1", IMAGE, "sh", "-c", "echo up > /index.html; httpd -f -p 80 -h /")
    daemon.docker("run", "-d", "--name", "web", *web)
    daemon.docker("network", "disconnect", "n1", "web")
    assert daemon.out("ps", "--format", "{{.Ports}}") == ""
    assert daemon.out("port", "web") == ""
    assert daemon.field("web", "{{json .NetworkSettings.Ports}}") == "{}"
    daemon.docker("run", "--rm", "--publish", "8088:80", IMAGE, "true")
    daemon.docker("network", "connect", "n2", "web")
    assert "0.0.0.0:8088->80/tcp" in daemon.out("ps", "--format", "{{.Ports}}")
    assert daemon.get(8088) == (200, "up\n")
    daemon.docker("network", "disconnect", "n2", "web")
    daemon.docker("run", "-d", "--name", "other", "--publish", "8088:80", IMAGE, "sleep", "9000")
    assert "port is already allocated" in daemon.fails("network", "connect", "n1", "web")


@pytest.mark.parametrize("mode", ["host", "none", "container:web"])
def test_ports_are_exposed_in_networks_alone(daemon: Daemon, mode: str) -> None:
    daemon.docker("run", "-d", "--name", "web", "--expose", "80", IMAGE, "sleep", "9000")
    daemon.docker("commit", "--change", "EXPOSE 81", "web", "exposing")
    daemon.docker("run", "-d", "--name", "third", "--network", mode, "exposing", "sleep", "9000")
    assert daemon.out("ps", "--filter", "name=web", "--format", "{{.Ports}}") == "80/tcp"
    assert daemon.out("ps", "--filter", "name=third", "--format", "{{.Ports}}") == ""
    assert daemon.field("third", "{{json .NetworkSettings.Ports}}") == "{}"


def test_ports_that_the_engine_chooses(daemon: Daemon) -> None:
    daemon.docker("build", "-t", "exposing", "-", stdin=f"FROM {IMAGE}\nEXPOSE 80 53/udp\n")
    daemon.up("web", "-P", image="exposing", command=_SERVE)
    found = daemon.inspect("web")["NetworkSettings"]["Ports"]
    assert sorted(found) == ["53/udp", "80/tcp"]
    port = int(found["80/tcp"][0]["HostPort"])
    assert port >= 32768
    assert daemon.wait_http(port)
    daemon.up("other", "-p", "80")
    assert int(daemon.out("port", "other", "80/tcp").splitlines()[0].rpartition(":")[2]) >= 32768


def test_a_port_that_a_program_of_the_machine_has_is_refused(daemon: Daemon) -> None:
    import socket

    taken = daemon.engine._in_network(lambda: socket.create_server(("127.0.0.1", 8086)))
    with taken:
        said = daemon.fails("run", "--rm", "-p", "127.0.0.1:8086:80", IMAGE, "true", code=125)
    assert "address already in use" in said


def test_udp_is_published_too(daemon: Daemon) -> None:
    import socket

    daemon.up("dns", "-p", "8087:53/udp")
    pid = daemon.field(
        "dns", "{{.State.Pid}}"
    )  # busybox cannot serve UDP: a program of the machine, in its network, does
    argv = [*daemon.engine._inside(), "nsenter", f"--target={pid}", "--net", sys.executable, "-c", _ECHO_UDP]
    echo = subprocess.Popen(argv)

    def made() -> socket.socket:
        sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sending.settimeout(0.5)
        sending.connect(("127.0.0.1", 8087))
        return sending

    def answers() -> bool:
        with daemon.engine._in_network(made) as sending:
            try:
                sending.send(b"ping")
                return sending.recv(100) == b"ping"
            except OSError:
                return False

    try:
        engines.wait_until(answers, "an echo", 20)
    finally:
        daemon.docker("rm", "-f", "dns")
        for child in engines.children(echo.pid):
            os.kill(child, signal.SIGKILL)
        echo.wait()


def test_names_of_the_caller_s_choice(daemon: Daemon) -> None:
    options = ("--add-host", "db:10.9.8.7", "--add-host", "six:fd00::7", "--add-host", "machine:host-gateway")
    seen = daemon.run(*options, IMAGE, "cat", "/etc/hosts")
    assert "10.9.8.7\tdb" in seen
    assert "fd00::7\tsix" in seen
    assert f"{_gateway(daemon)}\tmachine" in seen
    seen = daemon.run(
        "--dns", "9.9.9.9", "--dns-search", "example.test", "--dns-option", "ndots:3", IMAGE, "cat", "/etc/resolv.conf"
    )
    assert {"nameserver 9.9.9.9", "search example.test", "options ndots:3"} <= set(seen.splitlines())


def test_what_a_container_writes_into_etc_hosts_is_its_own(daemon: Daemon) -> None:
    daemon.up("web")
    daemon.sh("web", "echo '1.2.3.4 mine' >> /etc/hosts; echo '# x' >> /etc/resolv.conf")
    assert "mine" in daemon.sh("web", "cat /etc/hosts")
    assert "mine" not in daemon.run(IMAGE, "cat", "/etc/hosts")
    assert daemon.lines("diff", "web") == []


def test_ls_inspect_and_filters(daemon: Daemon) -> None:
    made = daemon.out(
        "network",
        "create",
        "--label",
        "a=b",
        "--driver",
        "bridge",
        "-o",
        "com.docker.network.bridge.name=br-mine",
        "--attachable",
        "back",
    )
    daemon.docker("network", "create", "front")
    assert daemon.lines("network", "ls", "-q", "--no-trunc", "--filter", "label=a=b") == [made]
    assert daemon.lines("network", "ls", "--filter", "name=fro", "--format", "{{.Name}}") == ["front"]
    assert set(daemon.lines("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}")) == {"front", "back"}
    assert set(daemon.lines("network", "ls", "--filter", "dangling=true", "--format", "{{.Name}}")) >= {"front", "back"}
    assert daemon.lines("network", "ls", "--filter", "driver=host", "--format", "{{.Name}}") == ["host"]
    found = daemon.inspect("back", kind="network")
    assert (found["Id"], found["Driver"], found["Labels"], found["Attachable"]) == (made, "bridge", {"a": "b"}, True)
    assert (found["Scope"], found["Internal"], found["EnableIPv6"], found["Containers"]) == ("local", False, False, {})
    assert found["Options"] == {"com.docker.network.bridge.name": "br-mine"}
    assert "br-mine" in daemon.enter("ip", "link").stdout
    assert daemon.inspect(made[:12], kind="network")["Name"] == "back"


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        (("back",), "network with name back already exists"),
        (("--subnet", "10.77.0.0/24", "--gateway", "10.78.0.1", "x1"), "no matching subnet for gateway"),
        (("--subnet", "nonsense", "x2"), "invalid"),
        (("--subnet", "10.99.0.0/24", "x4"), "overlap"),
        (("host",), "operation is not permitted on predefined host network"),
    ],
)
def test_networks_that_cannot_be(daemon: Daemon, options: tuple[str, ...], phrase: str) -> None:
    daemon.docker("network", "create", "--subnet", "10.99.0.0/16", "back")
    assert phrase in daemon.fails("network", "create", *options).lower()


def test_a_driver_that_there_is_not(embedded: Daemon) -> None:
    """Dockerd says the same, after fifteen seconds of looking for a plugin."""
    assert "nosuch" in embedded.fails("network", "create", "--driver", "nosuch", "back")
    assert "nosuch" in embedded.fails("volume", "create", "--driver", "nosuch", "data")
    assert "nosuch" in embedded.fails("create", "--volume-driver", "nosuch", "-v", "data:/x", IMAGE)
    assert embedded.lines("volume", "ls", "-q") == []


def test_rm_and_prune(daemon: Daemon) -> None:
    for name in ("used", "idle", "other"):
        daemon.docker("network", "create", name)
    daemon.up("web", "--network", "used")
    said = daemon.fails("network", "rm", "used")
    assert "has active endpoints" in said
    assert daemon.lines("network", "rm", "idle") == ["idle"]
    assert "network nosuch not found" in daemon.fails("network", "rm", "nosuch")
    assert daemon.out("network", "prune", "-f").split() == ["Deleted", "Networks:", "other"]
    daemon.docker("rm", "-f", "web")
    daemon.docker("network", "rm", "used")


def test_a_stopped_container_gets_back_into_its_networks(daemon: Daemon) -> None:
    daemon.docker("network", "create", "back")
    serve(daemon, "web", "--network", "back")
    daemon.docker("stop", "web")
    assert daemon.inspect("back", kind="network")["Containers"] == {}
    daemon.docker("start", "web")
    assert fetch(daemon, "--network", "back", url="http://web/") == "web"
    daemon.docker("stop", "web")
    daemon.docker("network", "rm", "back")
    assert "network" in daemon.fails("start", "web")


def test_version_six(daemon: Daemon) -> None:
    daemon.docker("network", "create", "--ipv6", "--subnet", "fd77:1::/64", "six")
    serve(daemon, "web", "--network", "six", "--ip6", "fd77:1::50")
    found = json.loads(daemon.field("web", "{{json .NetworkSettings.Networks.six}}"))
    assert (found["GlobalIPv6Address"], found["GlobalIPv6PrefixLen"]) == ("fd77:1::50", 64)
    assert fetch(daemon, "--network", "six", url="http://[fd77:1::50]/") == "web"
    assert "fd77:1::50" in daemon.run("--network", "six", IMAGE, "nslookup", "-type=AAAA", "web")
    daemon.docker("network", "disconnect", "six", "web")
    daemon.docker("network", "connect", "--ip6", "fd77:1::51", "six", "web")
    assert fetch(daemon, "--network", "six", url="http://[fd77:1::51]/") == "web"


def test_nothing_of_a_network_is_left_on_the_machine(daemon: Daemon) -> None:
    def links() -> set[str]:
        return {re.split(r"[:@]", line)[1].strip() for line in daemon.enter("ip", "-o", "link").stdout.splitlines()}

    before = links()
    daemon.docker("network", "create", "back")
    for number in range(3):
        daemon.up(f"web{number}", "--network", "back", "-p", f"{8100 + number}:80")
    daemon.docker("rm", "-f", "web0", "web1", "web2")
    daemon.docker("network", "rm", "back")
    engines.wait_until(lambda: links() <= before | {"docker0"}, "the links to go", 10)
    assert FOREVER
