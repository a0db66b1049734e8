"""`docker ps` and `docker container inspect`: what is listed, by which filters, in which form."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.e2e.engine.clients import FOREVER, HEX64, IMAGE

if TYPE_CHECKING:
    from tests.e2e.engine.clients import Daemon


def names(daemon: Daemon, *filters: str) -> list[str]:
    args = [part for text in filters for part in ("--filter", text)]
    return daemon.lines("ps", "-a", *args, "--format", "{{.Names}}")


@pytest.fixture
def crowd(daemon: Daemon) -> Daemon:
    """Give a daemon with five containers: created, running, paused, ended, failed; the newest last."""
    daemon.docker("network", "create", "back")
    daemon.docker("create", "--name", "created", "-l", "tier=web", "-l", "a=1", IMAGE)
    daemon.up(
        "running", "-l", "tier=web", "-p", "8081:80", "-v", "data:/data", "--network", "back", "--expose", "99/udp"
    )
    daemon.up("paused", "-l", "tier=db")
    daemon.docker("pause", "paused")
    daemon.docker("run", "--name", "ended", IMAGE, "true")
    daemon.docker("run", "--name", "failed", IMAGE, "sh", "-c", "exit 3", check=False)
    # dockerd lists from a copy, which on a busy machine comes after the end that `run` hears of
    engines.wait_until(lambda: len(daemon.lines("ps", "-q")) == 2, "the list to show the ends", 10)
    return daemon


def test_the_newest_come_first_and_only_those_that_run_unless_asked(crowd: Daemon) -> None:
    assert names(crowd) == ["failed", "ended", "paused", "running", "created"]
    assert crowd.lines("ps", "--format", "{{.Names}}") == ["paused", "running"]
    assert crowd.lines("ps", "-l", "--format", "{{.Names}}") == ["failed"]
    assert crowd.lines("ps", "-n", "2", "--format", "{{.Names}}") == ["failed", "ended"]
    assert all(HEX64.fullmatch(line) for line in crowd.lines("ps", "-aq", "--no-trunc"))


FILTERS = [
    (("status=running",), ["running"]),
    (("status=exited", "status=created"), ["failed", "ended", "created"]),
    (("status=paused",), ["paused"]),
    (("exited=3",), ["failed"]),
    (("exited=0",), ["ended"]),
    (("label=tier=web",), ["running", "created"]),
    (("label=tier",), ["paused", "running", "created"]),
    (("label=tier=web", "label=a"), ["created"]),
    (("name=ed$",), ["failed", "ended", "paused", "created"]),
    (("name=^/?running$",), ["running"]),
    (("name=run", "name=paus"), ["paused", "running"]),
    (("before=paused",), ["running", "created"]),
    (("since=paused",), ["failed", "ended"]),
    (("volume=data",), ["running"]),
    (("volume=/data",), ["running"]),
    (("network=back",), ["running"]),
    (("publish=8081",), ["running"]),
    (("publish=8000-8100/tcp",), ["running"]),
    (("expose=99/udp",), ["running"]),
    (("ancestor=busybox",), ["failed", "ended", "paused", "running", "created"]),
    (("ancestor=busybox:latest", "status=running"), ["running"]),
    (("health=none", "status=running"), ["running"]),
    (("is-task=false", "status=running"), ["running"]),
]


def test_filters(crowd: Daemon) -> None:
    found = {filters: names(crowd, *filters) for filters, _ in FILTERS}
    assert found == dict(FILTERS)
    made = crowd.field("ended", "{{.Id}}")
    assert names(crowd, f"id={made[:12]}") == ["ended"]
    assert names(crowd, f"ancestor={crowd.field('ended', '{{.Image}}')}", "exited=3") == ["failed"]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("nosuch=1", "invalid filter"),
        ("status=sleeping", "invalid filter 'status=sleeping'"),
        ("exited=x", "x"),
        ("before=ghost", "No such container: ghost"),
        ("health=fine", "fine"),
    ],
)
def test_filters_that_make_no_sense(daemon: Daemon, text: str, phrase: str) -> None:
    daemon.docker("create", IMAGE)
    assert phrase.lower() in daemon.fails("ps", "-a", "--filter", text).lower()


def test_columns(crowd: Daemon) -> None:
    template = "{{.Names}}|{{.Image}}|{{.Command}}|{{.Status}}|{{.Ports}}|{{.State}}|{{.Mounts}}|{{.Networks}}|{{.LocalVolumes}}"
    rows = {line.split("|")[0]: line.split("|")[1:] for line in crowd.lines("ps", "-a", "--format", template)}
    image, command, status, ports, state, mounts, networks, volumes = rows["running"]
    assert (image, command, state, mounts, networks, volumes) == (IMAGE, '"sleep 9000"', "running", "data", "back", "1")
    assert re.fullmatch(r"Up (Less than a second|\d+ seconds?|About a minute)", status)
    assert "0.0.0.0:8081->80/tcp" in ports
    assert "99/udp" in ports
    assert re.fullmatch(r"Up .* \(Paused\)", rows["paused"][2])
    assert re.fullmatch(r"Exited \(3\) .* ago", rows["failed"][2])
    assert rows["created"][2] == "Created"
    header = crowd.lines("ps")[0].split("  ")
    assert [name.strip() for name in header if name] == [
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAMES",
    ]


def test_sizes(daemon: Daemon) -> None:
    daemon.up("web")
    daemon.sh("web", "head -c 100000 /dev/zero > /big; rm /etc/passwd")
    (row,) = [json.loads(line) for line in daemon.lines("ps", "-s", "--format", "{{json .}}")]
    assert re.fullmatch(r"100kB \(virtual [\d.]+MB\)", row["Size"])
    _, (found,) = daemon.engine.api("GET", "/containers/json?size=1")
    image = daemon.engine.api("GET", f"/images/{IMAGE}/json")[1]["Size"]
    assert (found["SizeRw"], found["SizeRootFs"]) == (100000, image + 100000)
    sized = json.loads(daemon.out("inspect", "-s", "web"))[0]
    assert (sized["SizeRw"], sized["SizeRootFs"]) == (100000, image + 100000)


def test_an_image_without_its_name_is_shown_by_its_id(daemon: Daemon) -> None:
    daemon.docker("build", "-t", "app:1", "-", stdin=f"FROM {IMAGE}\nLABEL generation=1 test=ps\n")
    daemon.up("web", image="app:1")
    old = daemon.field("web", "{{.Image}}")
    assert daemon.out("ps", "--format", "{{.Image}}") == "app:1"
    daemon.docker("build", "-t", "app:1", "-", stdin=f"FROM {IMAGE}\nLABEL generation=2 test=ps\n")
    assert daemon.out("ps", "--format", "{{.Image}}") == old.removeprefix("sha256:")[:12]
    assert daemon.field("web", "{{.Config.Image}} {{.Image}}") == f"app:1 {old}"


def test_inspect_has_what_clients_read(daemon: Daemon) -> None:
    made = daemon.up("web", "-e", "A=b", "--restart", "on-failure:3", "--dns", "9.9.9.9", "--add-host", "db:10.0.0.9")
    found = daemon.inspect("web")
    assert (found["Id"], found["Name"], found["Path"], found["Args"]) == (made, "/web", "sleep", ["9000"])
    assert set(found) >= {"Created", "State", "Image", "ResolvConfPath", "HostnamePath", "HostsPath", "LogPath",
                          "RestartCount", "Driver", "Platform", "MountLabel", "ProcessLabel", "ExecIDs", "HostConfig",
                          "GraphDriver", "Mounts", "Config", "NetworkSettings"}  # fmt: skip
    assert found["Driver"] in {"overlay2", "overlayfs"}
    assert found["Platform"] == "linux"
    assert found["Config"]["Env"][0] == "A=b"
    assert found["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert (found["HostConfig"]["Dns"], found["HostConfig"]["ExtraHosts"]) == (["9.9.9.9"], ["db:10.0.0.9"])
    assert found["HostConfig"]["NetworkMode"] in {"default", "bridge"}
    assert set(found["State"]) >= {"Status", "Running", "Paused", "Restarting", "OOMKilled", "Dead", "Pid", "ExitCode", "Error",
                                   "StartedAt", "FinishedAt"}  # fmt: skip
    network = found["NetworkSettings"]["Networks"]["bridge"]
    assert set(network) >= {
        "IPAddress",
        "Gateway",
        "IPPrefixLen",
        "MacAddress",
        "NetworkID",
        "EndpointID",
        "Aliases",
        "DNSNames",
    }
    assert found["NetworkSettings"]["IPAddress"] == network["IPAddress"]


def test_the_defaults_of_a_container(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "web", IMAGE)
    found = daemon.inspect("web")
    host, config = found["HostConfig"], found["Config"]
    assert (host["ShmSize"], host["IpcMode"], host["CgroupnsMode"] in {"host", "private"}) == (
        64 << 20,
        "private",
        True,
    )
    assert host["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert host["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert "/proc/kcore" in host["MaskedPaths"]
    assert "/proc/sys" in host["ReadonlyPaths"]
    assert (host["PidsLimit"], host.get("Init"), host["Privileged"], host["PublishAllPorts"]) == (
        None,
        None,
        False,
        False,
    )
    assert (config["Tty"], config["OpenStdin"], config["StdinOnce"], config["User"]) == (False, False, False, "")
    assert (config["AttachStdout"], config["AttachStderr"], config["AttachStdin"]) == (True, True, False)
    assert config["Cmd"] == ["sh"]
    assert config["Hostname"] == found["Id"][:12]


def test_a_restart_policy_that_a_client_does_not_give_is_no(daemon: Daemon) -> None:
    _, made = daemon.engine.api("POST", "/containers/create?name=web", {"Image": IMAGE})
    assert daemon.inspect(made["Id"])["HostConfig"]["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}


@pytest.mark.parametrize("release", ["20", "26", "28"])
def test_clients_old_and_new_read_the_same(daemon: Daemon, release: str) -> None:
    from tests.e2e.engine.clients import client_exists

    if not client_exists(release):  # type: ignore[arg-type]
        pytest.skip("a guest's client")
    daemon.docker("run", "-d", "--name", "web", IMAGE, *FOREVER, release=release)  # type: ignore[arg-type]
    assert daemon.lines("ps", "--format", "{{.Names}} {{.Image}}", release=release) == [f"web {IMAGE}"]  # type: ignore[arg-type]
    daemon.docker("rm", "-f", "web", release=release)  # type: ignore[arg-type]
